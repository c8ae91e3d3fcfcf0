"""What is judged, as numbered samples: sample i is the same whenever it is asked for, so a
long extraction can be interrupted and features be kept."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganforge.data import Dataset
from ganforge.errors import UserError
from ganforge.spec import Ask, Batch


class Samples(Protocol):
    """Numbered samples.

    Attributes:
        shape: of a sample, (C, *space).
        key: stands for the content, or None where nothing may be kept.
    """

    shape: tuple[int, ...]
    key: str | None

    def __len__(self) -> int: ...

    def at(self, start: int, count: int) -> Tensor:
        """(count, *shape) float in [-1, 1] (vectors as they are), or uint8."""
        ...

    def describe(self) -> dict[str, Any]: ...


class Rows:
    """The first `n` samples of a dataset in an order drawn by `seed`, all if None."""

    def __init__(self, dataset: Dataset, n: int | None = None, seed: int = 0) -> None:
        self.dataset, self.shape = dataset, tuple(dataset.shape)
        self.n = len(dataset) if n is None else min(n, len(dataset))
        self.shuffle = dataset.shuffle(seed, end=self.n)
        self.key = f"{dataset.fingerprint}-{seed}" if dataset.fingerprint else None

    def __len__(self) -> int:
        return self.n

    def at(self, start: int, count: int) -> Tensor:
        return self.dataset.real(self.indices(start, count))

    def batch(self, start: int, count: int) -> Batch:
        """Samples with their labels and sources."""
        return self.dataset.batch(self.indices(start, count))

    def indices(self, start: int, count: int) -> np.ndarray:
        """Which samples of the dataset these are."""
        return self.shuffle.at(start, count)

    def describe(self) -> dict[str, Any]:
        return self.dataset.describe()


class Given:
    """The first `n` samples of an array in an order drawn by `seed` (as they are given they may
    be sorted by class): (N, *shape) float in [-1, 1], or uint8.

    Raises:
        UserError: nothing was given.
    """

    def __init__(
        self, x: Tensor | np.ndarray, n: int | None = None, seed: int = 0, name: str = "array"
    ) -> None:
        x = torch.as_tensor(x)
        if x.dim() < 2 or not len(x):
            raise UserError(f"samples are (N, C, ...), at least one; {tuple(x.shape)} was given")
        order = np.random.default_rng(seed).permutation(len(x))[:n]
        self.x, self.shape, self.name = x[torch.as_tensor(order)], tuple(x.shape[1:]), name
        self.key: str | None = None

    def __len__(self) -> int:
        return len(self.x)

    def at(self, start: int, count: int) -> Tensor:
        return self.x[start : start + count]

    def describe(self) -> dict[str, Any]:
        return {"kind": "array", "name": self.name, "count": len(self)}


class Maker(Protocol):
    """A trained generator: see ganforge.generator."""

    spec: Any
    latent: Any
    config: dict[str, Any]
    state: dict[str, Any]

    def ask(self, n: int, seed: int = 0, label: Any = None, code: Any = None,
            truncation: float = 1.0, start: int = 0) -> Ask: ...  # fmt: skip

    def make(self, ask: Ask) -> Tensor: ...


class Made:
    """What a generator makes. A conditional one is given the reference's labels, one that
    transforms its input the reference's sources.

    Args:
        generator: a loaded generator.
        n: how many.
        like: real samples whose labels and sources it is given.
        ema: whether its weights are the averaged ones, for the description.
    """

    def __init__(
        self,
        generator: Maker,
        n: int,
        seed: int = 0,
        *,
        truncation: float = 1.0,
        label: str | int | None = None,
        like: Rows | None = None,
        ema: bool = True,
    ) -> None:
        self.generator, self.n, self.seed, self.truncation = generator, n, seed, truncation
        self.label, self.like, self.ema = label, like, ema
        self.shape = tuple(generator.spec.shape)
        if generator.latent is None:
            if like is None or like.dataset.source_shape is None:
                raise UserError(
                    "this generator transforms its input; give a reference that has inputs, opened "
                    "as the training data were"
                )
            self.n = min(n, len(like))
        state = generator.state
        sums = state.get("sha256")
        parts = [sums, ema, seed, truncation, str(label), like.key if like else None]
        text = json.dumps(parts, sort_keys=True)
        self.key = None if sums is None else hashlib.sha256(text.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return self.n

    def at(self, start: int, count: int) -> Tensor:
        parts = []
        for first in range(start, start + count, 250):
            parts.append(self._some(first, min(250, start + count - first)))
        return torch.cat(parts)

    def _some(self, start: int, count: int) -> Tensor:
        if self.generator.latent is None:
            return self.generator.make(Ask(source=self._like(start, count).source))
        ask = self.generator.ask(count, self.seed, self.label, None, self.truncation, start)
        if self.like is not None and self._by_label():
            ask = ask._replace(label=self._like(start, count).label)
        return self.generator.make(ask)

    def _like(self, start: int, count: int) -> Batch:
        """The real samples of these numbers, going round."""
        assert self.like is not None
        return self.like.dataset.batch(
            self._order[np.arange(start, start + count) % len(self.like)]
        )

    @cached_property
    def _order(self) -> np.ndarray:
        assert self.like is not None
        return self.like.indices(0, len(self.like))

    def _by_label(self) -> bool:
        """Whether the reference's labels decide the classes."""
        assert self.like is not None
        names = self.like.dataset.classes
        return 0 < len(names) == self.generator.spec.classes and self.label is None

    def describe(self) -> dict[str, Any]:
        config = self.generator.config
        return {
            "kind": "run",
            "name": config.get("recipe"),
            "data": config.get("data"),
            "step": self.generator.state.get("step"),
            "images": self.generator.state.get("images"),
            "count": self.n,
            "label": self.label,
        }
