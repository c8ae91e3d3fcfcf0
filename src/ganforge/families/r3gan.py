"""R3GAN's networks: Huang et al. 2024, "The GAN is dead; long live the GAN! A modern GAN
baseline" (arXiv 2501.05441).

A residual network without any norm. A block is an inverted bottleneck (1x1 to twice the
channels, grouped 3x3, 1x1 back) whose last layer starts at zero and whose other layers are
scaled by the number of blocks, as in Fixup (Zhang et al. 2019, arXiv 1901.09321); sizes
change by linear interpolation, apart from the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.families.base import Conditioning, Critic, Family, Generator, joined_classes
from ganforge.families.blocks import (
    conv,
    doubling,
    down,
    halvings,
    init_scaled,
    normal_layer,
    normalisation,
    up,
)

_SLOPE = 0.2
_GAIN = (2 / (1 + _SLOPE**2)) ** 0.5
_LAYERS = 3  # of a block


def layer(dims: int, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Module:
    """A linear map at each place of maps, or of vectors (dims 0)."""
    if dims == 0:
        return nn.Linear(inputs, outputs)
    return conv(dims, inputs, outputs, kernel, groups=groups)


class Block(nn.Module):
    """x + f(x).

    Args:
        dims: dimensions of the maps; 0 for vectors.
        channels: of x.
        inner: channels within.
        group: channels of a group of the middle layer.
        blocks: of the whole network.
        norm: "layer" to normalise f's input.
    """

    def __init__(
        self, dims: int, channels: int, inner: int, group: int, blocks: int, norm: str | None = None
    ) -> None:
        super().__init__()
        groups = max(1, inner // group) if dims else 1
        while inner % groups:  # a convolution's groups are of one size
            groups -= 1
        self.norm = normal_layer(norm, channels)
        self.first = layer(dims, channels, inner)
        self.middle = layer(dims, inner, inner, 3, groups)
        self.last = layer(dims, inner, channels)
        for part in (self.first, self.middle):
            init_scaled(part, _GAIN * blocks ** (-1 / (2 * _LAYERS - 2)))
        init_scaled(self.last, 0)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu_(self.first(self.norm(x)), _SLOPE)
        y = F.leaky_relu_(self.middle(y), _SLOPE)
        return x + self.last(y)


class Synthesis(nn.Module):
    """z (N, latent) to samples (N, *shape): learned 4x4 patterns, each weighted by a linear
    map of z, then stages of blocks, each at a larger size."""

    def __init__(
        self, latent: int, channels: int, sizes: Sequence[tuple[int, ...]], widths: Sequence[int],
        blocks: int, expansion: int, group: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sizes, dims = list(sizes), len(sizes[0])
        total = blocks * len(widths)
        self.project = nn.Linear(latent, widths[0], bias=False)
        self.basis = nn.Parameter(torch.randn(*sizes[0], widths[0]))
        self.widen = nn.ModuleList(
            layer(dims, a, b) if a != b else nn.Identity() for a, b in pairwise(widths)
        )
        self.out = layer(dims, widths[-1], channels)
        init_scaled(self, 1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dims, w, w * expansion, group, total) for _ in range(blocks)))
            for w in widths
        )

    def forward(self, z: Tensor) -> Tensor:
        weight = self.project(z).view(z.shape[0], *[1] * (self.basis.dim() - 1), -1)
        x = self.stages[0]((weight * self.basis).movedim(-1, 1))
        for widen, stage, size in zip(self.widen, self.stages[1:], self.sizes[1:], strict=True):
            x = stage(up(widen(x), size, "linear"))
        return self.out(x).tanh_()


class Analysis(nn.Module):
    """Samples (N, channels, *space) to features (N, F): stages of blocks, each at a smaller
    size, and at the end one weighted sum over places for each channel."""

    def __init__(
        self, channels: int, sizes: Sequence[tuple[int, ...]], widths: Sequence[int],
        blocks: int, expansion: int, group: int, norm: str | None,
    ) -> None:  # fmt: skip
        super().__init__()
        dims, total = len(sizes[0]), blocks * len(widths)
        self.features = widths[-1]
        self.enter = layer(dims, channels, widths[0])
        self.widen = nn.ModuleList(
            layer(dims, a, b) if a != b else nn.Identity() for a, b in pairwise(widths)
        )
        init_scaled(self, 1)
        basis = torch.randn(*sizes[-1], widths[-1])
        self.basis = nn.Parameter(basis / basis[..., 0].numel() ** 0.5)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(dims, w, w * expansion, group, total, norm) for _ in range(blocks))
            )
            for w in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages[0](self.enter(x))
        for widen, stage in zip(self.widen, self.stages[1:], strict=True):
            x = stage(widen(down(x)))
        return (x.movedim(1, -1) * self.basis).flatten(1, -2).sum(1)


class Vectors(nn.Sequential):
    """The same blocks on vectors: (N, inputs) to (N, outputs)."""

    def __init__(
        self, inputs: int, width: int, outputs: int | None, blocks: int, expansion: int,
        norm: str | None = None,
    ) -> None:  # fmt: skip
        enter = nn.Linear(inputs, width)
        init_scaled(enter, 1)
        parts: list[nn.Module] = [enter]
        parts += [Block(0, width, width * expansion, 1, blocks, norm) for _ in range(blocks)]
        if outputs is not None:
            parts.append(nn.Linear(width, outputs))
            init_scaled(parts[-1], 1)
        super().__init__(*parts)


class R3GAN(Family):
    """Vectors and maps over 1, 2 or 3 dimensions, of any sides of 4 or more.

    Args:
        width: channels at the widest resolution; they double as the size halves.
        cap: up to so many times.
        blocks: of each resolution; vectors get twice as many in all.
        expansion: channels within a block, as a multiple.
        group: channels of a group of the 3x3 convolution.
        conditioning: how the class enters D; G, which has no norm, gets it beside z.
    """

    dims = (0, 1, 2, 3)

    def __init__(
        self,
        width: int = 64,
        cap: int = 8,
        blocks: int = 2,
        expansion: int = 2,
        group: int = 32,
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width, self.cap, self.blocks = width, cap, blocks
        self.expansion, self.group = expansion, group
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        space = self.space(shape, "generator", 4)
        if not space:
            body = Vectors(latent + classes, self.width, shape[0], 2 * self.blocks, self.expansion)
            return Generator(body, classes)
        sizes = halvings(space)[::-1]
        widths = doubling(self.width, len(sizes), self.cap)[::-1]
        body = Synthesis(
            latent + classes, shape[0], sizes, widths, self.blocks, self.expansion, self.group
        )
        return Generator(body, classes)

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        space = self.space(shape, "critic", 4)
        kind = normalisation(norm, None)
        channels = shape[0] + joined_classes(classes, self.conditioning)
        if not space:
            trunk = Vectors(channels, self.width, None, 2 * self.blocks, self.expansion, kind)
            features = self.width
        else:
            sizes = halvings(space)
            widths = doubling(self.width, len(sizes), self.cap)
            trunk = Analysis(channels, sizes, widths, self.blocks, self.expansion, self.group, kind)
            features = trunk.features
        return Critic(trunk, features, classes, self.conditioning, heads)
