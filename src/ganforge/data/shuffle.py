"""An endless shuffled stream of sample numbers, as a pure function of the position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ganforge import draws

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_CHUNK = 2048
_ROUNDS = [np.uint64(r * 0x9E3779B97F4A7C15 % 2**64) for r in range(8)]


class Order(Protocol):
    """Position to sample number, a pure function."""

    def at(self, start: int, count: int) -> np.ndarray: ...


class Shuffle:
    """Every sample once per epoch, in an order that is fresh each epoch.

    A format-preserving permutation: a Feistel network over the smallest power of two that
    holds n numbers, walked again while it lands outside (Black and Rogaway, "Ciphers with
    Arbitrary Finite Domains", 2002). There is nothing to store: the position is the state.

    Args:
        n: how many samples there are.
        seed: which order; equal seeds give equal orders.
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        if n < 1:
            raise ValueError(f"cannot shuffle {n} samples")
        self.n, self.seed = n, seed
        self._key = np.uint64(draws.key(seed, "shuffle") % 2**64)
        self._last: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def at(self, start: int, count: int) -> np.ndarray:
        """The sample numbers at positions start, ..., start + count - 1: (count,) int64."""
        first, end = start // _CHUNK, -(-(start + count) // _CHUNK)
        parts = [np.zeros(0, np.int64), *(self._chunk(k) for k in range(first, end))]
        return np.concatenate(parts)[start - first * _CHUNK :][:count]

    def _chunk(self, number: int) -> np.ndarray:
        """The samples of one stretch of positions. A few cost as much as many, and they are
        asked for in order, so the last stretch is kept."""
        if self._last[0] != number:
            self._last = (number, self._compute(number * _CHUNK))
        return self._last[1]

    def _compute(self, start: int) -> np.ndarray:
        position = np.arange(start, start + _CHUNK, dtype=np.uint64)
        epoch, x = np.divmod(position, np.uint64(self.n))
        key = _mix(epoch * _GOLDEN + self._key)
        return permuted(x, self.n, key).astype(np.int64)


class Windowed:
    """Every sample once per epoch, from a few shards at a time.

    The shards are laid end to end in an order that is fresh each epoch, and this line is cut
    into lanes of equal length. A batch takes as many samples from each lane, in a window of
    which they are shuffled; the lanes' places in the batch are fixed, so that each of several
    processes, which holds a part of every batch, reads only the shards of its own lanes.
    An epoch ends where every lane has ended, in the middle of a batch or not.
    Like `Shuffle` a pure function of the position: there is nothing to store. Where the lanes
    do not divide n, fewer samples than lanes are left out of an epoch, others in each.

    Args:
        counts: how many samples each shard has.
        seed: which order; equal seeds give equal orders.
        batch_size: of how many positions a batch has.
        lanes: how many at most; as many as divide the batch.
        span: length of the window, in shards of the largest size.
    """

    def __init__(
        self,
        counts: Sequence[int],
        seed: int = 0,
        batch_size: int = 1,
        lanes: int = 8,
        span: int = 2,
    ) -> None:
        self.counts = np.asarray(counts, np.int64)
        self.n, self.seed, self.batch_size = int(self.counts.sum()), seed, batch_size
        if self.n < 1:
            raise ValueError(f"cannot shuffle {self.n} samples")
        self.lanes = math.gcd(batch_size, lanes)
        while self.lanes > max(1, len(self.counts) // 2):
            self.lanes //= 2
        self.width = batch_size // self.lanes
        self.length = self.n // self.lanes
        self.window = min(self.length, span * int(self.counts.max()))
        self._starts = np.cumsum(self.counts) - self.counts
        self._key = np.uint64(draws.key(seed, "windowed") % 2**64)
        self._lines: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, start: int, count: int) -> np.ndarray:
        """The sample numbers at positions start, ..., start + count - 1: (count,) int64."""
        step, b = np.divmod(np.arange(start, start + count), self.batch_size)
        lane = b // self.width
        epoch, t = np.divmod(step * self.width + b % self.width, self.length)
        block, x = np.divmod(t, self.window)
        sizes = np.minimum(self.window, self.length - block * self.window)
        key = _mix(epoch.astype(np.uint64) * _GOLDEN + self._key)
        key = _mix(key + (block * self.lanes + lane + 1).astype(np.uint64) * _GOLDEN)
        for size in np.unique(sizes):
            these = sizes == size
            x[these] = permuted(x[these].astype(np.uint64), int(size), key[these])
        place, found = lane * self.length + block * self.window + x, np.empty(count, np.int64)
        for e in np.unique(epoch):
            order, ends = self._line(int(e))
            these = epoch == e
            nth = np.searchsorted(ends, place[these], "right")
            shard = order[nth]
            found[these] = self._starts[shard] + place[these] - ends[nth] + self.counts[shard]
        return found

    def later(self, position: int) -> int:
        """The position of the same lane a window later."""
        return position + -(-self.window // self.width) * self.batch_size

    def _line(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards in the epoch's order, and where each ends on the line."""
        if epoch not in self._lines:
            k = len(self.counts)
            key = _mix(np.full(k, epoch, np.uint64) * _GOLDEN + self._key + np.uint64(1))
            order = permuted(np.arange(k, dtype=np.uint64), k, key).astype(np.int64)
            self._lines = {e: v for e, v in self._lines.items() if e >= epoch - 2}
            self._lines[epoch] = order, np.cumsum(self.counts[order])
        return self._lines[epoch]


def permuted(x: np.ndarray, n: int, key: np.ndarray) -> np.ndarray:
    """A permutation of [0, n) for each key, at x (uint64): walked again while it lands
    outside."""
    bits = (n - 1).bit_length()
    low, high = np.uint64(bits // 2), np.uint64(bits - bits // 2)
    x = _feistel(x, key, low, high)
    outside = np.flatnonzero(x >= n)
    while len(outside):
        x[outside] = _feistel(x[outside], key[outside], low, high)
        outside = outside[x[outside] >= n]
    return x


def _feistel(
    x: np.ndarray, key: np.ndarray, low_bits: np.uint64, high_bits: np.uint64
) -> np.ndarray:
    """One bijection of [0, 2**(low_bits + high_bits)) for each key."""
    one = np.uint64(1)
    low_mask, high_mask = (one << low_bits) - one, (one << high_bits) - one
    low, high = x & low_mask, x >> low_bits
    for even, odd in zip(_ROUNDS[::2], _ROUNDS[1::2], strict=True):
        low ^= _mix(high + key + even) & low_mask
        high ^= _mix(low + key + odd) & high_mask
    return (high << low_bits) | low


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
