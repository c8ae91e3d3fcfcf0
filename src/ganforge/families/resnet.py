"""Residual networks of WGAN-GP (Gulrajani et al. 2017, arXiv 1704.00028) and SNGAN (Miyato
et al. 2018, arXiv 1802.05957; with projection, Miyato and Koyama 2018, arXiv 1802.05637)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.families.base import Conditioning, Critic, Family, Generator, joined_classes
from ganforge.families.blocks import (
    BatchNorm,
    conv,
    doubling,
    down,
    halvings,
    init_scaled,
    normal_layer,
    normalisation,
    spectralise,
    to_maps,
    up,
)


class UpBlock(nn.Module):
    """norm, ReLU, enlarge, 3x3, norm, ReLU, 3x3; plus the enlarged input. A 1x1 convolution
    and enlarging commute, so the shortcut's comes first, where maps are small.

    Args:
        size: of the maps that result.
        condition: width of the norms' condition, 0 for none.
    """

    def __init__(
        self, inputs: int, outputs: int, size: tuple[int, ...], condition: int = 0
    ) -> None:
        super().__init__()
        dims, self.size = len(size), size
        self.norm1 = BatchNorm(inputs, condition)
        self.conv1 = conv(dims, inputs, outputs, 3, bias=False)
        self.norm2 = BatchNorm(outputs, condition)
        self.conv2 = conv(dims, outputs, outputs, 3)
        self.skip = conv(dims, inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.conv1(up(F.relu_(self.norm1(x, condition)), self.size))
        y = self.conv2(F.relu_(self.norm2(y, condition)))
        return y + up(self.skip(x), self.size)


class DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3 and the mean of each 2x2; plus the reduced input.

    Args:
        shrink: whether the size halves.
        first: the block sees samples, which no ReLU may cut.
        norm: before each ReLU, see `normal_layer`.
    """

    def __init__(
        self, dims: int, inputs: int, outputs: int, shrink: bool = True, first: bool = False,
        norm: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shrink, self.first = shrink, first
        self.norm1 = normal_layer(None if first else norm, inputs)
        self.conv1 = conv(dims, inputs, outputs, 3)
        self.norm2 = normal_layer(norm, outputs)
        self.conv2 = conv(dims, outputs, outputs, 3)
        needed = inputs != outputs or shrink
        self.skip = conv(dims, inputs, outputs, 1) if needed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x if self.first else F.relu(self.norm1(x)))
        y = self.conv2(F.relu_(self.norm2(y)))
        return down(y) + self.skip(down(x)) if self.shrink else y + self.skip(x)


class Synthesis(nn.Module):
    """z (N, inputs) to samples (N, *shape)."""

    def __init__(
        self, inputs: int, shape: tuple[int, ...], width: int, cap: int, condition: int
    ) -> None:
        super().__init__()
        sizes = halvings(shape[1:])[::-1]
        widths = doubling(width, len(sizes) - 1, cap)[::-1]
        self.start, self.first = sizes[0], widths[0]
        self.project = nn.Linear(inputs, widths[0] * math.prod(sizes[0]))
        self.blocks = nn.ModuleList(
            UpBlock(a, b, size, condition)
            for a, b, size in zip([widths[0], *widths], widths, sizes[1:], strict=False)
        )
        self.norm = BatchNorm(widths[-1])
        self.out = conv(len(shape) - 1, widths[-1], shape[0], 3)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        x = to_maps(self.project(z), self.first, self.start)
        for block in self.blocks:
            x = block(x, condition)
        return self.out(F.relu_(self.norm(x))).tanh_()


class Analysis(nn.Module):
    """Samples (N, channels, *space) to features (N, F), the sum over places."""

    def __init__(
        self, channels: int, space: tuple[int, ...], width: int, cap: int, norm: str | None
    ) -> None:
        super().__init__()
        shrinks = len(halvings(space, 7)) - 1
        widths = doubling(width, max(shrinks, 1), cap)
        widths += [widths[-1]] * 2
        self.features, dims = widths[-1], len(space)
        self.blocks = nn.Sequential(
            *(
                DownBlock(dims, a, b, i < shrinks, i == 0, norm)
                for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False))
            )
        )
        self.norm = normal_layer(norm, self.features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.blocks(x))).flatten(2).sum(2)


class ResNet(Family):
    """Any sides of 8 or more, in 1, 2 or 3 dimensions.

    SNGAN at 32x32 is `width=256, d_width=128`, WGAN-GP `width=128, spectral=False`.

    Args:
        width: channels of G at the widest resolution; they double as the size halves.
        cap: up to so many times; 1 keeps them constant, as the papers do at 32x32.
        d_width: the same of D; G's where not given.
        spectral: spectral norm in D. It mixes no samples, so D keeps it under any penalty.
        conditioning: how the class enters; "projection" gives G class-conditional norms.
    """

    def __init__(
        self,
        width: int = 128,
        cap: int = 1,
        d_width: int | None = None,
        spectral: bool = True,
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width, self.cap, self.spectral = width, cap, spectral
        self.d_width = width if d_width is None else d_width
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self.space(shape, "generator", 8)
        joined = joined_classes(classes, self.conditioning)
        net = Synthesis(latent + joined, shape, self.width, self.cap, classes - joined)
        init_scaled(net, math.sqrt(2))
        init_scaled(net.out, 1)
        return Generator(net, classes, joined=joined > 0)

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        space = self.space(shape, "critic", 8)
        kind = normalisation(norm, None)
        channels = shape[0] + joined_classes(classes, self.conditioning)
        trunk = Analysis(channels, space, self.d_width, self.cap, kind)
        init_scaled(trunk, math.sqrt(2))
        net = Critic(trunk, trunk.features, classes, self.conditioning, heads)
        if self.spectral:
            spectralise(net)
        return net
