from ganforge.recipes import Recipe

recipe = Recipe(
    name="gan",
    objective="gan",
    family="mlp",
    citation="Goodfellow et al. 2014, Generative Adversarial Nets, arXiv 1406.2661",
    headline="The value function has its optimum at p_g = p_data, D = 1/2; the "
    "non-saturating loss keeps a gradient where the minimax one vanishes.",
    settings={
        "latent.size": 100,
        "latent.kind": "uniform",
        "width": 512,
        "batch_size": 100,
        "lr": 0.0002,
        "betas": (0.5, 0.999),
    },
    about="The first GAN: two small fully connected networks. For learning how it works, "
    "and for vectors; on pictures it loses modes. The minimax game: --set "
    "saturating=true.",
)
