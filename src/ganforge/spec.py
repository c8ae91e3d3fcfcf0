"""What the data look like, and what passes between data, networks and games."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Spec:
    """The shape of one sample. Networks are built from this and nothing else.

    Attributes:
        shape: (C, *space): (C,) vectors, (C, T) sound, (C, H, W) pictures.
        classes: how many classes condition the game; 0 means that it is unconditional.
        source: shape of the input sample where the generator transforms one
            (a damaged, small or other-domain picture); None where it starts from noise.
    """

    shape: tuple[int, ...]
    classes: int = 0
    source: tuple[int, ...] | None = None


@dataclass
class Batch:
    """One mover's fresh samples.

    Attributes:
        real: (N, *shape), float32 in [-1, 1]; on the device, channels-last for pictures.
        label: (N,) int64, or None.
        source: (N, *source), float32 in [-1, 1], or None.
        memo: what this move has computed already (the forgery, the scores), so that
            the terms of one loss share it. It lives exactly as long as the batch.
    """

    real: Tensor
    label: Tensor | None = None
    source: Tensor | None = None
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value under `key`, computed by `make` the first time it is asked for."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def __len__(self) -> int:
        return len(self.real)


class Ask(NamedTuple):
    """What a trained generator is asked for.

    Attributes:
        latent: (N, latent width) where the generator starts from noise.
        label: (N,) int64 where the game is conditional.
        source: (N, *source) where the generator transforms its input.
    """

    latent: Tensor | None = None
    label: Tensor | None = None
    source: Tensor | None = None
