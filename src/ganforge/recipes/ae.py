from ganforge.recipes import Recipe

recipe = Recipe(
    name="ae",
    objective="ae",
    family="dcgan",
    citation="Hinton, Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural "
    "Networks, Science 313",
    headline="A baseline without an adversary: its samples are blurred.",
    settings={
        "latent.size": 64,
        "width": 64,
        "batch_size": 64,
        "lr": 0.001,
        "betas": (0.9, 0.999),
    },
    about="Not a GAN. The blur that GANs are to beat.",
)
