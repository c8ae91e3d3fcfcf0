from ganforge.recipes import Recipe
from ganforge.recipes._restoring import STAGES

recipe = Recipe(
    name="upscale",
    objective="rpgan",
    family="srresnet",
    citation="Ledig et al. 2016, Photo-Realistic Single Image Super-Resolution Using a Generative "
    "Adversarial Network, arXiv 1609.04802; relativistic as in Wang et al. 2018, arXiv 1809.00219",
    headline="Enlarged pictures get sharper than the mean of all that they could be: PSNR is lost, "
    "likeness won.",
    settings={
        "degrade": "down:2",
        "width": 32,
        "depth": 4,
        **STAGES,
    },
    about="Enlarges 2, 3 or 4 times: --set degrade=down:4. ESRGAN's network: --set block=rrdb.",
)
