from ganforge.recipes import Recipe

recipe = Recipe(
    name="began",
    objective="began",
    family="dcgan",
    citation="Berthelot, Schumm, Metz 2017, BEGAN, arXiv 1703.10717",
    headline="The measure M falls as quality rises, and the balance gamma holds, with 0 <= k <= 1.",
    settings={
        "latent.size": 64,
        "width": 64,
        "batch_size": 64,
        "lr": 0.0001,
        "betas": (0.5, 0.999),
    },
    about="Smooth and steady, with a convergence measure of its own; gamma trades variety "
    "for quality.",
)
