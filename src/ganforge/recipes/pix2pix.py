from ganforge.recipes import Recipe

recipe = Recipe(
    name="pix2pix",
    objective="gan",
    family="unet",
    citation="Isola, Zhu, Zhou, Efros 2016, Image-to-Image Translation with Conditional Adversarial "
    "Networks, arXiv 1611.07004",
    headline="One objective translates any pairs of pictures: edges to photographs, labels to "
    "streets; L1 alone is blurred.",
    settings={
        "paired": True,
        "pairs": True,
        "terms": {"l1": 100.0},
        "width": 64,
        "dropout": 0.5,
        "batch_size": 16,
        "lr": 2e-4,
        "betas": (0.5, 0.999),
    },
    about="Pairs: --set inputs=FOLDER with the same names, or inputs=left for pictures side by side.",
)
