from ganforge.recipes import Recipe

recipe = Recipe(
    name="wavegan",
    objective="wgan-gp",
    family="wavegan",
    citation="Donahue, McAuley, Puckette 2018, Adversarial Audio Synthesis, arXiv 1802.04208",
    headline="Raw sound of a second, without a model of sound: one-dimensional DCGAN, WGAN-GP.",
    settings={
        "latent.size": 100,
        "latent.kind": "uniform",
        "width": 64,
        "batch_size": 64,
        "lr": 1e-4,
        "betas": (0.5, 0.9),
    },
    about="Sound: a folder of WAV, FLAC or OGG. --set samples=4096 is four times quicker.",
)
