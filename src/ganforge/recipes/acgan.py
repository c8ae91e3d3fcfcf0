from ganforge.recipes import Recipe

recipe = Recipe(
    name="acgan",
    objective="gan",
    family="dcgan",
    citation="Odena, Olah, Shlens 2016, Conditional Image Synthesis with Auxiliary "
    "Classifier GANs, arXiv 1610.09585",
    headline="Samples of a class are recognised as that class, with the diversity of the "
    "real ones.",
    settings={
        "conditioning": "auxiliary",
        "latent.size": 100,
        "width": 64,
        "batch_size": 64,
        "lr": 0.0002,
        "betas": (0.5, 0.999),
    },
    about="Samples by class through a classifier in D; within a class it can lose variety.",
)
