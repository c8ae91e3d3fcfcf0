from ganforge.recipes import Recipe

recipe = Recipe(
    name="dcgan",
    objective="gan",
    family="dcgan",
    citation="Radford, Metz, Chintala 2015, Unsupervised Representation Learning with Deep "
    "Convolutional Generative Adversarial Networks, arXiv 1511.06434",
    headline="Convolutional GANs train stably under a few guidelines: strided convolutions, batch "
    "norm in both, no hidden fully-connected layers.",
    settings={
        "latent.size": 100,
        "latent.kind": "uniform",
        "width": 64,
        "batch_size": 64,
        "lr": 2e-4,
        "betas": (0.5, 0.999),
    },
    about="The network everyone starts from. Quick and sharp on simple data; it can lose modes.",
)
