"""Counting modes where the truth is known, exactly as PacGAN does (Lin et al. 2017, arXiv
1712.04086): a sample is of high quality within three standard deviations of its nearest
mode, a mode is found if one such sample is nearest to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixture:
    """Equal Gaussians in the plane.

    Attributes:
        centres: (K, 2).
        sigma: their standard deviation.
    """

    centres: np.ndarray
    sigma: float

    def draw(self, n: int, seed: int) -> np.ndarray:
        """(n, 2) float32."""
        rng = np.random.default_rng(seed)
        which = rng.integers(0, len(self.centres), n)
        noise = self.sigma * rng.standard_normal((n, 2))
        return (self.centres[which] + noise).astype(np.float32)


def ring() -> Mixture:
    """8 Gaussians on the unit circle, sigma 0.01."""
    angle = 2 * np.pi * np.arange(8) / 8
    return Mixture(np.stack([np.cos(angle), np.sin(angle)], 1), 0.01)


def grid() -> Mixture:
    """25 Gaussians at {-4, -2, 0, 2, 4}^2, sigma 0.05."""
    side = np.arange(-4, 5, 2.0)
    return Mixture(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2), 0.05)


def count_modes(x: np.ndarray, truth: Mixture) -> dict[str, float]:
    """Modes, high-quality share and reverse KL of samples (n, 2).

    The reverse KL is KL(q || uniform) in nats, q being the share of high-quality samples
    nearest to each mode; a perfect sampler's is about (K - 1) / 2n, its floor. Where no
    sample is of high quality it is undefined (NaN).
    """
    distance = np.linalg.norm(x[:, None, :] - truth.centres[None], axis=2)
    good = distance.min(1) <= 3 * truth.sigma
    counts = np.bincount(distance.argmin(1)[good], minlength=len(truth.centres))
    return {
        "modes": int((counts > 0).sum()),
        "total": len(truth.centres),
        "high_quality": float(good.mean()),
        "kl": kl_from_uniform(counts),
        "kl_floor": kl_floor(len(truth.centres), len(x)),
    }


def count_labels(labels: np.ndarray, total: int) -> dict[str, float]:
    """The same from one mode number for each sample (Stacked MNIST: 1,000 of them)."""
    counts = np.bincount(labels, minlength=total)
    return {
        "modes": int((counts > 0).sum()),
        "total": total,
        "high_quality": 1.0,
        "kl": kl_from_uniform(counts),
        "kl_floor": kl_floor(total, len(labels)),
    }


def kl_from_uniform(counts: np.ndarray) -> float:
    """KL(counts normalised || uniform), in nats."""
    if counts.sum() == 0:
        return math.nan
    q = counts[counts > 0] / counts.sum()
    return float((q * np.log(q * len(counts))).sum())


def kl_floor(modes: int, n: int) -> float:
    """What n samples of a perfect sampler score on the average."""
    return (modes - 1) / (2 * n)
