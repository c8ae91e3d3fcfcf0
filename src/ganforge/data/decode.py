"""One encoded picture to an array."""

from __future__ import annotations

import numpy as np

from ganforge.errors import UserError


def convert_channels(x: np.ndarray, channels: int, name: str) -> np.ndarray:
    """(..., C) to (..., channels): grey is repeated, colour becomes luminance (ITU-R 601-2),
    alpha is dropped or made opaque.

    Raises:
        UserError: there is no such conversion.
    """
    have = x.shape[-1]
    if have == channels:
        return x
    if channels == 1 and have in (3, 4):
        weights = np.array([0.299, 0.587, 0.114])
        return np.rint(x[..., :3] @ weights).astype(x.dtype)[..., None]
    if have == 1 and channels == 3:
        return np.repeat(x, 3, -1)
    if have == 4 and channels == 3:
        return x[..., :3]
    if have == 3 and channels == 4:
        opaque = np.full_like(x[..., :1], np.iinfo(x.dtype).max)
        return np.concatenate([x, opaque], -1)
    raise UserError(
        f"{name} has {have} channels and cannot be brought to {channels}; drop --channels, or make "
        "the array with the channels wanted"
    )


def resize(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    raise NotImplementedError
