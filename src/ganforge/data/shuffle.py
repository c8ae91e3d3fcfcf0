"""An endless shuffled stream of sample numbers, as a pure function of the position."""

from __future__ import annotations

import numpy as np

from ganforge import draws

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_CHUNK = 2048
_ROUNDS = [np.uint64(r * 0x9E3779B97F4A7C15 % 2**64) for r in range(8)]


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
        bits = (n - 1).bit_length()
        self._low, self._high = np.uint64(bits // 2), np.uint64(bits - bits // 2)
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
        x = self._permute(x, key)
        outside = np.flatnonzero(x >= self.n)
        while len(outside):
            x[outside] = self._permute(x[outside], key[outside])
            outside = outside[x[outside] >= self.n]
        return x.astype(np.int64)

    def _permute(self, x: np.ndarray, key: np.ndarray) -> np.ndarray:
        """One bijection of [0, 2**bits) for each key."""
        one = np.uint64(1)
        low_mask, high_mask = (one << self._low) - one, (one << self._high) - one
        low, high = x & low_mask, x >> self._low
        for even, odd in zip(_ROUNDS[::2], _ROUNDS[1::2], strict=True):
            low ^= _mix(high + key + even) & low_mask
            high ^= _mix(low + key + odd) & high_mask
        return (high << self._low) | low


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
