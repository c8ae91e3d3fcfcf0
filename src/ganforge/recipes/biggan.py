from ganforge.recipes import Recipe

recipe = Recipe(
    name="biggan",
    objective="hinge",
    family="biggan",
    citation="Brock, Donahue, Simonyan 2018, Large Scale GAN Training for High Fidelity "
    "Natural Image Synthesis, arXiv 1809.11096",
    headline="Class-conditional samples of high fidelity; truncation trades variety for it.",
    settings={
        "conditioning": "projection",
        "latent.size": 80,
        "width": 32,
        "batch_size": 64,
        "lr": 0.0002,
        "lr.G": 5e-05,
        "betas": (0.0, 0.999),
        "ema": 50000.0,
        "terms": {"orthogonal": 0.0001},
    },
    about="The large class-conditional GAN, by rule for sizes from 32 to 256. Needs labels.",
)
