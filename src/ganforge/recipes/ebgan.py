from ganforge.recipes import Recipe

recipe = Recipe(
    name="ebgan",
    objective="ebgan",
    family="dcgan",
    citation="Zhao, Mathieu, LeCun 2016, Energy-based Generative Adversarial Network, arXiv "
    "1609.03126",
    headline="The energy of reals lies below the margin, that of forgeries near it.",
    settings={
        "latent.size": 100,
        "width": 64,
        "batch_size": 64,
        "lr": 0.001,
        "betas": (0.5, 0.999),
    },
    about="D is an autoencoder and its error the energy. --set pulling_away=0.1 spreads "
    "the samples.",
)
