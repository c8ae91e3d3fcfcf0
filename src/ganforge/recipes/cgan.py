from ganforge.recipes import Recipe

recipe = Recipe(
    name="cgan",
    objective="gan",
    family="dcgan",
    citation="Mirza, Osindero 2014, Conditional Generative Adversarial Nets, arXiv 1411.1784",
    headline="Given a class, G makes that class.",
    settings={
        "conditioning": "concat",
        "latent.size": 100,
        "width": 64,
        "batch_size": 64,
        "lr": 0.0002,
        "betas": (0.5, 0.999),
    },
    about="Samples by class. Needs labels: sub-folders, or a set that has them.",
)
