"""A generator that begins with what statistics know: means and principal components.

A freshly drawn generator makes grey, and spends its first minute on learning where things are
and which way they vary. The mean of the samples of each class and their leading principal
components say as much after a fraction of a second: drawn from a normal distribution along
these they are blurred, but the right things in the right places (for faces: Turk and Pentland
1991, Eigenfaces for Recognition). What is left to learn is what makes them sharp.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.families.base import one_hot

FLOATS = 1 << 24  # of samples looked at: 64 MiB
FEWEST = 4  # samples of a class for each component of it


class FromComponents(nn.Module):
    """x = clamp(m_y + sum_i g_yi z_i b_yi + 2 G(z, y)): means and components (scaled by their
    deviations) are fixed; the gains g, 1 at first, are learned, as what they bring is not worth
    the same everywhere. So is all the rest: the factor lets G take back all of the guess.

    Args:
        body: G, from z (N, latent) and labels (N,) or None to samples (N, *shape) in [-1, 1].
        shape: of a sample.
        classes: 0 for none; each has components of its own.
        components: how many of z's first numbers, from N(0, 1), they take.
    """

    means: Tensor
    basis: Tensor

    def __init__(
        self, body: nn.Module, shape: tuple[int, ...], classes: int, components: int
    ) -> None:
        super().__init__()
        self.body, self.shape, self.classes, self.components = body, shape, classes, components
        pixels, groups = math.prod(shape), max(1, classes)
        self.register_buffer("means", torch.zeros(groups, pixels))
        self.register_buffer("basis", torch.zeros(groups * components, pixels))
        self.gains = nn.Parameter(torch.ones(groups, components))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        learned = self.body(z, y)
        x = 2 * learned + self.guess(z, y).to(learned.dtype)  # in G's memory layout
        return x.clamp(-1, 1) if len(self.shape) > 1 else x  # vectors live anywhere

    def guess(self, z: Tensor, y: Tensor | None) -> Tensor:
        """m_y + sum_i g_yi z_i b_yi, (N, *shape)."""
        along = z[:, None, : self.components] * self.gains  # (N, classes, components)
        means = self.means
        if self.classes:
            label = one_hot(y, self.classes, z)
            along, means = label[:, :, None] * along, label @ means
        return (means + along.flatten(1) @ self.basis).reshape(-1, *self.shape)

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor | None, seed: int) -> None:
        """Take means and components from samples (n, *shape), labelled (n,) where there are
        classes. A class of few samples gets fewer components."""
        pixels = x.flatten(1).float()
        basis = self.basis.view(max(1, self.classes), self.components, -1).zero_()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draws.key(seed, "components"))
            for c in range(len(basis)):
                own = pixels if not self.classes or y is None else pixels[y == c]
                k = min(self.components, len(own) // FEWEST)
                self.means[c] = own.mean(0) if len(own) else pixels.mean(0)
                if k:
                    _, s, v = torch.pca_lowrank(own - own.mean(0), k, center=False)
                    basis[c, :k] = (v * s / len(own) ** 0.5).T


def looked_at(shape: tuple[int, ...], count: int) -> int:
    """How many of `count` samples `fit` is given."""
    return min(count, 10_000, max(1, FLOATS // math.prod(shape)))
