from ganforge.recipes import Recipe

recipe = Recipe(
    name="infogan",
    objective="infogan",
    family="dcgan",
    citation="Chen et al. 2016, InfoGAN, arXiv 1606.03657",
    headline="The categorical code classifies real MNIST digits with 5 % error, without a label.",
    settings={
        "latent.size": 62,
        "latent.categorical": (10,),
        "latent.continuous": 2,
        "width": 64,
        "hidden": 1024,
        "batch_size": 64,
        "lr": 0.0002,
        "lr.G": 0.001,
        "betas": (0.5, 0.999),
    },
    about="Finds classes and styles by itself: code 0 is a category, codes 1 and 2 are continuous.",
)
