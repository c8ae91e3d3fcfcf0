from ganforge.recipes import Recipe
from ganforge.recipes._restoring import STAGES

recipe = Recipe(
    name="inpaint",
    objective="rpgan",
    family="unet",
    citation="Pathak, Krahenbuhl, Donahue, Darrell, Efros 2016, Context Encoders: Feature Learning by "
    "Inpainting, arXiv 1604.07379",
    headline="A network that has seen many pictures fills a hole better than its edges can say.",
    settings={
        "degrade": "mask:center",
        "width": 32,
        **STAGES,
    },
    about="Fills holes: --set degrade=mask:boxes, mask:strokes or mask:FILE. Around them nothing changes.",
)
