"""Random numbers keyed by (seed, purpose, global sample index).

Every random number of a training is a pure function of that key, computed by a
counter-based hash (splitmix64; Steele, Lea and Flood 2014). There is no generator whose
state would have to be saved, and row i of a batch gets the same numbers whichever
process holds it: resume is exact, and two processes draw what one would.

    with keyed(seed, "move/D", indices):     # indices: (N,) global sample numbers
        z = normal(len(batch), 64)           # the same for the same samples, anywhere

The first axis counts samples. Consecutive draws in one block differ. Outside a block the
draws come from torch's global generator, as any module's would.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """A logical right shift (torch shifts signed integers arithmetically)."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser, in place on int64; multiplication wraps."""
    x.bitwise_xor_(_shift(x, 30)).mul_(_MIX_1)
    x.bitwise_xor_(_shift(x, 27)).mul_(_MIX_2)
    return x.bitwise_xor_(_shift(x, 31))


@lru_cache(maxsize=4096)
def key(*parts: int | str) -> int:
    """A signed 64-bit key from a tuple of numbers and names; stable between versions."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


class Draws:
    """The draws of one block: (seed, purpose) and the samples' global indices (N,) int64."""

    def __init__(self, seed: int, purpose: str, index: Tensor) -> None:
        self.seed, self.purpose, self.index = seed, purpose, index.to(torch.int64)
        self.calls = 0

    def bits(self, n: int, per_sample: int) -> Tensor:
        """(n, per_sample) int64 of independent bits; n is a multiple of the batch."""
        if n % len(self.index):
            raise ValueError(f"{n} rows drawn for {len(self.index)} samples; draw a multiple")
        self.calls += 1
        rows = []
        for copy in range(n // len(self.index)):
            salt = key(self.seed, self.purpose, self.calls, copy)
            rows.append(_mix(_mix(self.index * _GOLDEN + salt) + salt))
        row = rows[0] if len(rows) == 1 else torch.cat(rows)
        column = torch.arange(1, per_sample + 1, device=row.device) * _GOLDEN
        return _mix(row[:, None] + column)


_open: list[Draws] = []


@contextmanager
def keyed(seed: int, purpose: str, index: Tensor) -> Iterator[Draws]:
    """Key every draw inside the block by (seed, purpose, index)."""
    _open.append(Draws(seed, purpose, index))
    try:
        yield _open[-1]
    finally:
        _open.pop()


def is_keyed() -> bool:
    """Whether a block is open."""
    return bool(_open)


def uniform(n: int, *shape: int, device: torch.device | str | None = None) -> Tensor:
    """(n, *shape) float32 from U[0, 1)."""
    if not _open:
        return torch.rand(n, *shape, device=device)
    size = math.prod(shape)
    half = _open[-1].bits(n, (size + 1) // 2)
    return _unit(half)[:, :size].reshape(n, *shape).to(device)


def normal(n: int, *shape: int, device: torch.device | str | None = None) -> Tensor:
    """(n, *shape) float32 from N(0, 1), by Box and Muller's transform."""
    if not _open:
        return torch.randn(n, *shape, device=device)
    size = math.prod(shape)
    u = _unit(_open[-1].bits(n, (size + 1) // 2))
    half = u.shape[1] // 2
    radius = u[:, :half].neg().log1p_().mul_(-2).sqrt_()
    angle = u[:, half:].mul(2 * math.pi)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    return both[:, :size].reshape(n, *shape).to(device)


def integers(n: int, high: int, device: torch.device | str | None = None) -> Tensor:
    """(n,) int64 from {0, ..., high - 1}."""
    if not _open:
        return torch.randint(high, (n,), device=device)
    return (_shift(_open[-1].bits(n, 1)[:, 0], 1) % high).to(device)


def _unit(bits: Tensor) -> Tensor:
    """Each 64 bits become two float32 in [0, 1) of 24 bits each: (n, k) to (n, 2k)."""
    both = torch.cat([_shift(bits, 40), (bits >> 8).bitwise_and_((1 << 24) - 1)], 1)
    return both.to(torch.float32).mul_(2.0**-24)
