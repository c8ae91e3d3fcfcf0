from ganforge.recipes import Recipe

recipe = Recipe(
    name="lsgan",
    objective="lsgan",
    family="dcgan",
    citation="Mao et al. 2016, Least Squares Generative Adversarial Networks, arXiv 1611.04076",
    headline="The gradient does not vanish for samples far on the right side; trains without "
    "batch norm.",
    settings={
        "latent.size": 128,
        "width": 64,
        "batch_size": 64,
        "lr": 0.0002,
        "betas": (0.5, 0.999),
    },
    about="A one-line change that makes a DCGAN steadier. Without batch norm: --set d_norm=none.",
)
