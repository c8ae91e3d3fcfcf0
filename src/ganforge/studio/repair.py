"""A picture from the page, and what a restorer or translator makes of it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError
from ganforge.studio.problems import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.generator import Generator

MOST_PIXELS = 1 << 21
"""Of a result: about a minute of a small network on one core."""


def repaired(generator: Generator, data: bytes, damage: bool) -> dict[str, Any]:
    """Both pictures as data URLs, of one size: {"before", "after", "size": [H, W]}.

    Args:
        data: a picture file's content.
        damage: it is whole, and is to be damaged first as the training's were.

    Raises:
        Problem: it is no picture, or too large.
        UserError: it does not fit the network.
    """
    from ganforge.data.decode import Broken, look
    from ganforge.export.applying import Applier, image, side_by_side, transformed

    applier = Applier(generator, damage=damage)
    known = applier.degradation
    grows = 1 if known is None or damage else known.factor
    try:
        height, width = (s * grows for s in look(data, "picture").size)
        if height * width > MOST_PIXELS:
            raise Problem(
                413, "Picture too large", f"it would become {width} x {height} pixels; the page "
                f"makes up to {MOST_PIXELS:,}, ganforge apply any size"
            )  # fmt: skip
        saw, made = transformed(applier, data, "picture")
    except Broken as e:
        raise Problem(415, "Not a picture", f"{e}; drop a PNG, JPEG, WebP or the like") from None
    except UserError as e:
        raise UserError(str(e).replace("--mask FILE", "ganforge apply --mask FILE")) from None
    before, after = side_by_side(saw, made, None)

    def url(x: Tensor) -> str:
        to = io.BytesIO()
        image(x if x.dim() == 4 else x[None]).save(to, "PNG")
        return "data:image/png;base64," + base64.b64encode(to.getvalue()).decode()

    return {"before": url(before), "after": url(after), "size": list(made.shape[2:])}
