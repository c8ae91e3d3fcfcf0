from ganforge.recipes import Recipe

recipe = Recipe(
    name="cut",
    objective="cut",
    family="johnson",
    citation="Park, Efros, Zhang, Zhu 2020, Contrastive Learning for Unpaired Image-to-Image "
    "Translation, arXiv 2007.15651",
    headline="One way needs no way back: patches stay recognisable, at half of CycleGAN's cost.",
    settings={
        "paired": False,
        "width": 32,
        "depth": 4,
        "critic_width": 32,
        "patch": 2,
        "batch_size": 8,
        "lr": 2e-4,
        "betas": (0.5, 0.999),
    },
    about="Unpaired, one way, half the networks of cyclegan: --set inputs=SOURCE.",
)
