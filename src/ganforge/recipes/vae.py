from ganforge.recipes import Recipe

recipe = Recipe(
    name="vae",
    objective="vae",
    family="dcgan",
    citation="Kingma, Welling 2013, Auto-Encoding Variational Bayes, arXiv 1312.6114",
    headline="A baseline without an adversary: steady, and blurred.",
    settings={
        "latent.size": 64,
        "width": 64,
        "batch_size": 64,
        "lr": 0.001,
        "betas": (0.9, 0.999),
    },
    about="Not a GAN. Never collapses, always blurs.",
)
