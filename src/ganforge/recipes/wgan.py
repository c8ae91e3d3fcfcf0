from ganforge.recipes import Recipe

recipe = Recipe(
    name="wgan",
    objective="wgan",
    family="dcgan",
    citation="Arjovsky, Chintala, Bottou 2017, Wasserstein GAN, arXiv 1701.07875",
    headline="The critic's gap estimates the Wasserstein distance and falls as samples improve.",
    settings={
        "latent.size": 100,
        "width": 64,
        "batch_size": 64,
        "d_steps": 5,
        "optimiser": "rmsprop",
        "lr": 5e-05,
        "betas": (0.0, 0.99),
    },
    about="A loss that means something. Weight clipping makes it slow: wgan-gp is its repair.",
)
