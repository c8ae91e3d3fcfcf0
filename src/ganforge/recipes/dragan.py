from ganforge.recipes import Recipe

recipe = Recipe(
    name="dragan",
    objective="dragan",
    family="dcgan",
    citation="Kodali et al. 2017, On Convergence and Stability of GANs, arXiv 1705.07215",
    headline="Penalising the gradient around the data alone avoids bad local equilibria: "
    "fewer collapses over random architectures.",
    settings={
        "latent.size": 100,
        "width": 64,
        "batch_size": 64,
        "lr": 0.0001,
        "betas": (0.5, 0.999),
    },
    about="The classical loss with a penalty near the data; one D step a turn.",
)
