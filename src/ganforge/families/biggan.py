"""BigGAN: Brock, Donahue and Simonyan 2019 (arXiv 1809.11096).

Class-conditional batch norm from one shared embedding, a part of z for each block
(skip-z), self-attention at one size (Zhang et al. 2019, arXiv 1805.08318), spectral norm in
both networks, projection in D, orthogonal initial weights; sizes by rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.families.base import Conditioning, Critic, Family, check_labels, joined_classes
from ganforge.families.blocks import (
    BatchNorm,
    SelfAttention,
    conv,
    doubling,
    halvings,
    normal_layer,
    normalisation,
    spectralise,
    to_maps,
    weights,
)
from ganforge.families.resnet import DownBlock, UpBlock


def attends(size: tuple[int, ...], sizes: list[tuple[int, ...]]) -> bool:
    """Whether maps of this size get self-attention: the largest that are smaller than the
    sample and at most 64 wide."""
    fit = [s for s in sizes if s != max(sizes) and max(s) <= 64]
    return bool(fit) and size == max(fit)


class Synthesis(nn.Module):
    """G(z, y): z is cut into as many parts as there are blocks, and one for the start."""

    def __init__(
        self, latent: int, shape: tuple[int, ...], classes: int, width: int, cap: int,
        embedding: int, attention: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = halvings(shape[1:])[::-1]
        widths = doubling(width, len(sizes) - 1, cap)[::-1]
        self.classes, self.start, self.first = classes, sizes[0], widths[0]
        parts = len(sizes)
        if latent < parts:
            raise UserError(
                f"family 'biggan' gives each of its {parts} stages a part of the latent, which "
                f"is only {latent} wide; use --set latent.size={parts} or more"
            )
        self.parts = [latent * (i + 1) // parts - latent * i // parts for i in range(parts)]
        self.embed = nn.Embedding(classes, embedding) if classes else None
        condition = embedding if classes else 0
        self.project = nn.Linear(self.parts[0], widths[0] * math.prod(sizes[0]))
        self.blocks = nn.ModuleList(
            UpBlock(a, b, size, condition + part)
            for a, b, size, part in zip(
                [widths[0], *widths], widths, sizes[1:], self.parts[1:], strict=False
            )
        )
        self.attention = nn.ModuleList(
            SelfAttention(len(size), w) if attention and attends(size, sizes) else nn.Identity()
            for w, size in zip(widths, sizes[1:], strict=True)
        )
        self.norm = BatchNorm(widths[-1])
        self.out = conv(len(shape) - 1, widths[-1], shape[0], 3)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        first, *rest = z.split(self.parts, 1)
        if self.embed is not None:
            label = self.embed(check_labels(y, self.classes))
            rest = [torch.cat([label, part], 1) for part in rest]
        x = to_maps(self.project(first), self.first, self.start)
        for block, attention, condition in zip(self.blocks, self.attention, rest, strict=True):
            x = attention(block(x, condition))
        return self.out(F.relu_(self.norm(x))).tanh_()


class Analysis(nn.Module):
    """Samples (N, channels, *space) to features (N, F), the sum over places."""

    def __init__(
        self, channels: int, space: tuple[int, ...], width: int, cap: int, attention: bool,
        norm: str | None,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes, dims = halvings(space), len(space)
        widths = doubling(width, len(sizes) - 1, cap)
        self.features = widths[-1]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False)):
            layers.append(DownBlock(dims, a, b, first=i == 0, norm=norm))
            if attention and attends(sizes[i + 1], sizes):
                layers.append(SelfAttention(dims, b))
        layers.append(DownBlock(dims, self.features, self.features, shrink=False, norm=norm))
        self.layers = nn.Sequential(*layers, normal_layer(norm, self.features))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x)).flatten(2).sum(2)


class BigGAN(Family):
    """Any sides of 8 or more, in 1, 2 or 3 dimensions; made for 32 to 256.

    Args:
        width: channels at the widest resolution; they double as the size halves.
        cap: up to so many times.
        d_width: the same of D; G's where not given.
        embedding: numbers of the class embedding that G's norms share.
        attention: self-attention at the largest size below the sample's, 64 at most.
        conditioning: how the class enters D.
    """

    def __init__(
        self,
        width: int = 64,
        cap: int = 16,
        d_width: int | None = None,
        embedding: int = 128,
        attention: bool = True,
        conditioning: Conditioning = "projection",
    ) -> None:
        self.width, self.cap, self.embedding, self.attention = width, cap, embedding, attention
        self.d_width = width if d_width is None else d_width
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self.space(shape, "generator", 8)
        net = Synthesis(
            latent, shape, classes, self.width, self.cap, self.embedding, self.attention
        )
        return _orthogonal(net)

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
        trunk = Analysis(channels, space, self.d_width, self.cap, self.attention, kind)
        net = Critic(trunk, trunk.features, classes, self.conditioning, heads)
        return _orthogonal(net)


def _orthogonal(net: nn.Module) -> nn.Module:
    for m in weights(net):
        nn.init.orthogonal_(cast(Tensor, m.weight))
    spectralise(net)
    return net
