from ganforge.recipes import Recipe

recipe = Recipe(
    name="wgan-gp",
    objective="wgan-gp",
    family="dcgan",
    citation="Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv 1704.00028",
    headline="The same settings train many architectures; the critic's gradient norms lie near 1.",
    settings={
        "latent.size": 128,
        "width": 64,
        "batch_size": 64,
        "d_steps": 5,
        "lr": 0.0001,
        "betas": (0.0, 0.9),
    },
    about="Hard to break, slow: five critic steps, each with a second derivative.",
)
