"""An opened source: batches by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data.shuffle import Order, Shuffle
from ganforge.spec import Batch


class Dataset:
    """Samples of one shape, gathered by index from an array that may be mapped from a file.

    Anything with these attributes and methods can be trained on; a wrapper that makes a
    source for each sample sets `source_shape` and fills `Batch.source`.

    Args:
        images: (N, *space, C) channels last: uint8, uint16 or int16, brought to [-1, 1] by
            their type's range; or float32, given as they are.
        labels: (N,) integers, or None.
        rows: which of `images` are in: a range of them, an int64 array (a view), or None.
        classes: names of the labels.
        relabel: (K,) the view's label for each of the array's labels.
        name: of the source.
        split: "train", "test" or "all".
        fingerprint: digest of the content and of the view.
        notes: what the user should know: files skipped, channels dropped, one sentence each.

    Attributes:
        shape: (C, *space).
        source_shape: shape of `Batch.source`, or None.
        rate: of sounds (Hz), where it is known.
    """

    source_shape: tuple[int, ...] | None = None
    rate: int | None = None

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        rows: range | np.ndarray | None = None,
        classes: Sequence[str] = (),
        relabel: np.ndarray | None = None,
        name: str = "array",
        split: str = "train",
        fingerprint: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.images, self.labels, self.rows, self.relabel = images, labels, rows, relabel
        self.classes, self.name, self.split = list(classes), name, split
        self.fingerprint, self.notes = fingerprint, list(notes)
        self.shape = (images.shape[-1], *images.shape[1:-1])

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def batch(self, indices: np.ndarray) -> Batch:
        """The samples of these numbers: real (N, C, *space) float32 in [-1, 1] (vectors as
        they are), pictures in channels-last memory; label (N,) int64 or None."""
        return Batch(self.real(indices), self.label(indices))

    def shuffle(self, seed: int = 0, batch_size: int = 1, end: int | None = None) -> Order:
        """The endless order in which batches of this size see the samples; `end` is the
        position, if it is known, at which nobody goes on."""
        return Shuffle(len(self), seed)

    def rest(self) -> None:
        """Nothing is wanted for now: what is fetched ahead of its use is given up."""

    def real(self, indices: np.ndarray) -> Tensor:
        """`batch(indices).real` alone."""
        return scale(self.raw(indices))

    def raw(self, indices: np.ndarray) -> np.ndarray:
        """The stored samples of these numbers, (N, *space, C)."""
        return self.images.take(self._places(indices), axis=0)

    def label(self, indices: np.ndarray) -> Tensor | None:
        """(N,) int64, or None where the data have no labels."""
        if self.labels is None:
            return None
        label = self.labels.take(self._places(indices)).astype(np.int64)
        return torch.from_numpy(label if self.relabel is None else self.relabel[label])

    def _places(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64)
        if isinstance(self.rows, range):
            if len(indices) and not 0 <= indices.min() <= indices.max() < len(self.rows):
                raise IndexError(f"index outside 0..{len(self.rows) - 1}")
            return indices * self.rows.step + self.rows.start
        return indices if self.rows is None else self.rows.take(indices)

    def describe(self) -> dict[str, Any]:
        """What the data are, for a report or a score's protocol."""
        return {
            "name": self.name,
            "split": self.split,
            "count": len(self),
            "shape": list(self.shape),
            "classes": self.classes,
            "fingerprint": self.fingerprint,
        }

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.split}, {len(self)} x {self.shape})"


def scale(stored: np.ndarray) -> Tensor:
    """(N, *space, C) stored values to (N, C, *space) float32: x / 127.5 - 1 for uint8,
    x / 32767.5 - 1 for uint16, x / 32768 for int16; float32 stays as it is."""
    # In numpy: a batch is too small to be worth waking torch's threads for.
    x = stored.astype(np.float32, copy=False)
    if stored.dtype == np.int16:
        x /= 32768
    elif stored.dtype != np.float32:
        x /= np.iinfo(stored.dtype).max / 2
        x -= 1
    return torch.from_numpy(x).movedim(-1, 1)
