from ganforge.recipes import Recipe
from ganforge.recipes._restoring import STAGES

recipe = Recipe(
    name="colorize",
    objective="rpgan",
    family="srresnet",
    citation="Isola, Zhu, Zhou, Efros 2016, Image-to-Image Translation with Conditional Adversarial "
    "Networks, arXiv 1611.07004, section 4.2",
    headline="A grey picture gets the colours that pictures like it have.",
    settings={
        "degrade": "grey",
        "channels": 3,
        "width": 32,
        "depth": 6,
        **STAGES,
    },
    about="Colours grey pictures. Where several colours are as likely, L1 alone gives their grey mean.",
)
