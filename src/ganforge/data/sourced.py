"""Data whose samples come with a source: what a translator or a restorer starts from.

degrade=noise:25            the sample itself, damaged
inputs=left                 the other half of side-by-side pictures
inputs=FOLDER               the sample of the same name (or number) of another source
inputs=FOLDER, paired=no    any sample of another source, drawn anew each time
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge import draws
from ganforge.data.dataset import Dataset
from ganforge.data.degrade import Degradation
from ganforge.data.shuffle import Order
from ganforge.errors import UserError
from ganforge.spec import Batch

HALVES = ("left", "right")


class Sourced(Dataset, ABC):
    """A view of a dataset whose batches have a source.

    Args:
        target: the samples.
        about: what the sources are, for the description and the fingerprint.

    Attributes:
        paired: a sample's source belongs to it, so that what is made of the source can be
            compared with the sample.
        target: the samples alone.
    """

    paired = True

    def __init__(self, target: Dataset, about: Mapping[str, Any]) -> None:
        vars(self).update(vars(target))
        self.target, self.about = target, dict(about)
        what = json.dumps([target.fingerprint, self.about])
        self.fingerprint = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()

    def batch(self, indices: np.ndarray) -> Batch:
        """The samples of these numbers, with their sources (N, *source_shape)."""
        real = self.real(indices)
        if draws.is_keyed():  # a training's: keyed by the place in its stream
            source = self.sources(indices, real)
        else:  # a sample's own, the same whenever it is looked at
            with draws.keyed(0, "source", torch.as_tensor(indices)):
                source = self.sources(indices, real)
        return Batch(real, self.label(indices), source)

    def shuffle(self, seed: int = 0, batch_size: int = 1, end: int | None = None) -> Order:
        return self.target.shuffle(seed, batch_size, end)

    def rest(self) -> None:
        self.target.rest()

    @abstractmethod
    def sources(self, indices: np.ndarray, real: Tensor) -> Tensor:
        """The sources of samples `real` (N, *shape) of these numbers."""

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"source": self.about}


class Degraded(Sourced):
    """Each sample, damaged."""

    def __init__(self, target: Dataset, degradation: Degradation) -> None:
        super().__init__(target, {"degrade": degradation.text, **degradation.content()})
        self.degradation = degradation
        self.source_shape = degradation.shape(tuple(target.shape))

    def sources(self, indices: np.ndarray, real: Tensor) -> Tensor:
        return self.degradation(real)


class Halves(Sourced):
    """Side-by-side pictures: one half is the source of the other.

    Raises:
        UserError: they cannot be halved.
    """

    def __init__(self, target: Dataset, source: str) -> None:
        super().__init__(target, {"inputs": source})
        if len(target.shape) != 3 or target.shape[2] % 2:
            raise UserError(
                f"inputs={source} takes pictures of two halves side by side, of an even width; "
                f"these are {tuple(target.shape)}"
            )
        c, h, w = target.shape
        self.shape = self.source_shape = (c, h, w // 2)
        first, second = slice(None, w // 2), slice(w // 2, None)
        self.halves = (first, second) if source == "left" else (second, first)

    def raw(self, indices: np.ndarray) -> np.ndarray:
        return self.target.raw(indices)[:, :, self.halves[1]]

    def sources(self, indices: np.ndarray, real: Tensor) -> Tensor:
        from ganforge.data.dataset import scale

        return scale(self.target.raw(indices)[:, :, self.halves[0]])


class Paired(Sourced):
    """Each sample with the one of another dataset that belongs to it.

    Args:
        places: for each sample the number of its partner.
    """

    def __init__(self, target: Dataset, other: Dataset, places: np.ndarray) -> None:
        super().__init__(target, {"inputs": other.name, "content": other.fingerprint})
        self.other, self.places = other, places
        self.source_shape = tuple(other.shape)

    def sources(self, indices: np.ndarray, real: Tensor) -> Tensor:
        return self.other.real(self.places[indices])


class Unpaired(Sourced):
    """Each sample beside any of another dataset, drawn anew each time."""

    paired = False

    def __init__(self, target: Dataset, other: Dataset) -> None:
        about = {"inputs": other.name, "content": other.fingerprint, "paired": False}
        super().__init__(target, about)
        self.other = other
        self.source_shape = tuple(other.shape)

    def sources(self, indices: np.ndarray, real: Tensor) -> Tensor:
        which = draws.integers(len(real), len(self.other))
        return self.other.real(which.cpu().numpy())


def partners(
    target: Dataset,
    names: Sequence[str] | None,
    other: Dataset,
    other_names: Sequence[str] | None,
) -> Paired:
    """Pair two datasets by their files' names without extensions, or where they have none by
    number. Samples without a partner are left out.

    Args:
        names, other_names: of all samples of each store, in its order; None for arrays.

    Raises:
        UserError: nothing matches.
    """
    rows = np.asarray(range(len(target)) if target.rows is None else target.rows)
    # Of each sample in the other's store its number among those that were asked for, or -1.
    chosen = np.full(len(other.images), -1)
    chosen[slice(None) if other.rows is None else other.rows] = np.arange(len(other))
    if names is None or other_names is None:
        if len(target.images) != len(other.images):
            raise UserError(
                f"{target.name} has {len(target.images)} samples and {other.name} has "
                f"{len(other.images)}; without file names they are paired by number: give as many"
            )
        place = chosen[rows]
    else:
        known = {stem(str(n)): chosen[i] for i, n in enumerate(other_names)}
        place = np.array([known.get(stem(str(names[r])), -1) for r in rows], np.int64)
    have = place >= 0
    if not have.any():
        hint = f" ({names[0]} against {other_names[0]})" if names and other_names else ""
        raise UserError(
            f"no picture of {target.name} has the name of one of {other.name}{hint}; give folders "
            "with matching names, or --set paired=no for unpaired recipes"
        )
    found = Dataset.__new__(Dataset)
    vars(found).update(vars(target))
    found.rows = rows[have]
    if not have.all():
        found.notes = [*target.notes, f"{(~have).sum()} of {len(have)} have no partner: left out"]
        content = hashlib.blake2b(found.rows.tobytes(), digest_size=16).hexdigest()
        found.fingerprint = f"{target.fingerprint[:16]}{content[:16]}"
    return Paired(found, other, place[have])


def stem(name: str) -> str:
    """A file's name in its folder, without the extension."""
    path = PurePosixPath(name)
    return str(path.with_suffix(""))
