"""Samples as pictures to look at."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError

_COMFORTABLE = 64  # pixels; smaller samples are enlarged by a whole factor
_CHECKERS = 8


def to_bytes(x: Tensor) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] to (N, H, W, C) uint8; what lies outside is cut off."""
    x = x.detach().float().cpu().movedim(1, -1)
    return x.add(1).mul(127.5).nan_to_num(0).round().clamp(0, 255).byte().numpy()


def picture(x: np.ndarray) -> Image.Image:
    """One sample (H, W, C) uint8 as a picture: grey, RGB, RGBA over a checkerboard; with any
    other number of channels, each channel in grey, side by side."""
    channels = x.shape[-1]
    if channels == 1:
        return Image.fromarray(np.ascontiguousarray(x[..., 0]))
    if channels == 3:
        return Image.fromarray(np.ascontiguousarray(x))
    if channels == 4:
        rows, columns = np.indices(x.shape[:2]) // _CHECKERS
        under = np.where((rows + columns) % 2, 190, 240)[..., None]
        share = x[..., 3:] / 255
        flat = np.rint(x[..., :3] * share + under * (1 - share)).astype(np.uint8)
        return Image.fromarray(flat)
    return Image.fromarray(np.concatenate(list(np.moveaxis(x, -1, 0)), 1))


def grid(
    x: Tensor, columns: int | None = None, *, scale: int | None = None, gap: int = 2
) -> Image.Image:
    """Samples side by side, row after row.

    Args:
        x: (N, C, H, W) in [-1, 1].
        columns: samples in a row; about a square where None.
        scale: whole factor by which pixels are enlarged; where None, small samples become
            about 64 pixels high.
        gap: pixels between samples.

    Raises:
        UserError: there are no samples, or they are no pictures.
    """
    if x.dim() != 4 or not len(x):
        raise UserError(f"a grid shows pictures (N, C, H, W), N > 0; {tuple(x.shape)} was given")
    cells = [picture(sample) for sample in to_bytes(x)]
    factor = scale or max(1, round(_COMFORTABLE / x.shape[2]))
    width, height = cells[0].width * factor, cells[0].height * factor
    columns = min(len(cells), columns or math.ceil(math.sqrt(len(cells))))
    rows = math.ceil(len(cells) / columns)
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
    sheet = Image.new(cells[0].mode, size, "white")
    for i, cell in enumerate(cells):
        place = (gap + i % columns * (width + gap), gap + i // columns * (height + gap))
        sheet.paste(cell.resize((width, height), Image.Resampling.NEAREST), place)
    return sheet


def save_grid(x: Tensor, path: str | Path, columns: int | None = None) -> None:
    """Write `grid(x, columns)` to a file, its kind by the path's ending."""
    grid(x, columns).save(path)
