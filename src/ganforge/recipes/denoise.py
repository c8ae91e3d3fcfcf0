from ganforge.recipes import Recipe
from ganforge.recipes._restoring import STAGES

recipe = Recipe(
    name="denoise",
    objective="gan",
    family="srresnet",
    citation="Zhang, Zuo, Chen, Meng, Zhang 2016, Beyond a Gaussian Denoiser: Residual Learning of "
    "Deep CNN for Image Denoising, arXiv 1608.03981; the adversary after Ledig et al. 2016, "
    "arXiv 1609.04802",
    headline="A network that learns the noise beats filters by more than 1 dB.",
    settings={
        "degrade": "noise:25",
        "width": 32,
        "depth": 4,
        **STAGES,
    },
    about="Removes noise. Other damage: --set degrade=poisson:30, jpeg:20, blur:1.5, or several with +.",
)
