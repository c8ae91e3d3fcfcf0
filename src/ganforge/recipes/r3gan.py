from ganforge.recipes import Recipe

recipe = Recipe(
    name="r3gan",
    objective="rpgan",
    family="r3gan",
    citation="Huang et al. 2024, The GAN is dead; long live the GAN! A Modern Baseline GAN, "
    "arXiv 2501.05441",
    headline="1000 of 1000 modes of Stacked MNIST: relativistic pairs with R1 and R2 cover "
    "and converge.",
    settings={
        "latent.size": 64,
        "width": 16,
        "batch_size": 64,
        "lr": 0.0002,
        "betas": (0.0, 0.99),
        "ema": 20000.0,
    },
    toy={"lr": 3e-3, "gamma": 0.005, "rate_end": 0.1, "horizon": 1_100_000},
    about="The modern choice: no tricks, covers its data, does not collapse.",
)
