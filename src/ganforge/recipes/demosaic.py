from ganforge.recipes import Recipe
from ganforge.recipes._restoring import STAGES

recipe = Recipe(
    name="demosaic",
    objective="rpgan",
    family="srresnet",
    citation="Ledig et al. 2016, Photo-Realistic Single Image Super-Resolution Using a Generative "
    "Adversarial Network, arXiv 1609.04802, with blocks in place of a small picture; "
    "relativistic as in Wang et al. 2018, arXiv 1809.00219",
    headline="What blocks of 4 x 4 hid is guessed better than by smoothing them.",
    settings={
        "degrade": "pixelate:4",
        "width": 32,
        "depth": 4,
        **STAGES,
    },
    about="Sees through pixelation: --set degrade=pixelate:8. What it shows is a guess.",
)
