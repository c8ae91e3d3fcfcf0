from ganforge.recipes import Recipe

recipe = Recipe(
    name="sngan",
    objective="hinge",
    family="resnet",
    citation="Miyato et al. 2018, Spectral Normalization for Generative Adversarial "
    "Networks, arXiv 1802.05957",
    headline="Spectral normalisation bounds D's Lipschitz constant and trains where others fail.",
    settings={
        "latent.size": 128,
        "width": 64,
        "batch_size": 64,
        "d_steps": 5,
        "lr": 0.0002,
        "betas": (0.0, 0.9),
    },
    about="A residual network with a bounded D. Strong, slower than DCGAN.",
)
