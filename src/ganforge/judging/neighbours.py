"""The training samples most like given ones: what a generator may have copied."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data import Dataset, open_source
from ganforge.errors import UserError
from ganforge.judging.features import Features, raw
from ganforge.judging.metrics import nearest
from ganforge.judging.protocol import Say
from ganforge.judging.samples import Rows
from ganforge.judging.store import in_chunks


def training_data(config: Mapping[str, Any]) -> Dataset:
    """What a run was trained on, opened again.

    Raises:
        UserError: it was an array, which nobody kept, or cannot be opened.
    """
    if str(config["data"]).startswith("array:"):
        raise UserError(
            "this run was trained on an array, which is not kept; in Python: "
            "ganforge.judging.neighbours.Neighbours(ganforge.data.Dataset(array))"
        )
    return open_source(config["data"], **config.get("data_options", {}))


class Neighbours:
    """A search among samples, by their features.

    Args:
        data: usually what a generator was trained on.
        features: what likeness is; the samples' own values if None.
        most: of a larger set, so many samples in the order that `seed` draws.

    Attributes:
        searched: how many samples are searched.
    """

    def __init__(
        self,
        data: Dataset,
        features: Features | None = None,
        most: int | None = None,
        seed: int = 0,
        say: Say | None = None,
    ) -> None:
        self.data = data
        self.features = features or raw(tuple(data.shape))
        rows = Rows(data, most, seed)
        self.searched = len(rows)
        self.numbers = rows.indices(0, len(rows))
        # The values themselves are as quick to read from the data as from a cache.
        kept = features is not None and rows.key is not None
        key = f"{self.features.hash}-{rows.key}" if kept else None
        said = None if say is None else partial(say, "training samples")
        self.known = in_chunks(lambda i, n: self.features(rows.at(i, n)), len(rows), key, said)

    def nearest(self, x: Tensor, k: int = 7) -> tuple[Tensor, np.ndarray]:
        """Of samples (N, *shape) in [-1, 1]: the distances to the k nearest, nearest first, as
        root mean squares over the features (N, k), and their numbers in the data (N, k)."""
        distance, index = nearest(self.features(x), self.known, min(k, self.searched))
        return distance / self.features.dim**0.5, self.numbers[index.numpy()]

    def table(self, distance: Tensor, numbers: np.ndarray) -> list[dict[str, Any]]:
        """One sample's neighbours (k,): their number, distance and class."""
        label, names = self.data.batch(numbers).label, self.data.classes
        return [
            {
                "number": int(numbers[i]),
                "distance": round(float(distance[i]), 5),
                "class": None if label is None or not names else names[int(label[i])],
            }
            for i in range(len(numbers))
        ]

    def beside(self, x: Tensor, numbers: np.ndarray) -> Tensor:
        """(N * (k + 1), *shape): each sample, then its neighbours."""
        parts = [
            torch.cat([one[None], self.data.batch(own).real])
            for one, own in zip(x, numbers, strict=True)
        ]
        return torch.cat(parts)
