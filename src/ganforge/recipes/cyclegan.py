from ganforge.recipes import Recipe

recipe = Recipe(
    name="cyclegan",
    objective="cyclegan",
    family="johnson",
    citation="Zhu, Park, Isola, Efros 2017, Unpaired Image-to-Image Translation using "
    "Cycle-Consistent Adversarial Networks, arXiv 1703.10593",
    headline="Two sets of pictures without pairs suffice: what is translated and back is the same again.",
    settings={
        "paired": False,
        "width": 32,
        "depth": 4,
        "critic_width": 32,
        "patch": 2,
        "batch_size": 8,
        "lr": 2e-4,
        "betas": (0.5, 0.999),
    },
    about="Unpaired, both ways: ganforge train TARGET --recipe cyclegan --set inputs=SOURCE.",
)
