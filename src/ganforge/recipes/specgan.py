from ganforge.recipes import Recipe

recipe = Recipe(
    name="specgan",
    objective="wgan-gp",
    family="dcgan",
    citation="Donahue, McAuley, Puckette 2018, Adversarial Audio Synthesis, arXiv 1802.04208",
    headline="Spectrograms as pictures: easier to learn than waves, blurred by their inversion.",
    settings={
        "view": "spectrogram",
        "latent.size": 100,
        "latent.kind": "uniform",
        "width": 64,
        "batch_size": 64,
        "lr": 1e-4,
        "betas": (0.5, 0.9),
    },
    about="Sound by way of its spectrogram; phases are found again by Griffin and Lim's iteration.",
)
