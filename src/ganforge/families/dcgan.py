"""DCGAN: Radford, Metz and Chintala 2016 (arXiv 1511.06434), by its guidelines.

Strided and fractionally strided convolutions in place of pooling, batch norm in both
networks except G's output and D's input, no hidden fully connected layer, ReLU and Tanh in
G, LeakyReLU .2 in D, weights from N(0, .02^2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.families.base import (
    Autoencoder,
    Conditioning,
    Critic,
    Family,
    Generator,
    joined_classes,
)
from ganforge.families.blocks import (
    BatchNorm,
    conv,
    deconv,
    doubling,
    halvings,
    init_normal,
    init_scaled,
    normal_layer,
    normalisation,
    to_maps,
    to_vector,
)


class Up(nn.Module):
    """From vectors (N, inputs) to samples (N, *shape): a projection to small maps, then
    fractionally strided 4x4 convolutions.

    Args:
        inputs: width of the vectors.
        shape: of a sample.
        width: channels at the widest resolution but the last.
        norm: whether maps are batch-normalised.
        condition: width of the condition of these norms, 0 for none.
        hidden: units of a fully connected layer before the projection, 0 for none.
    """

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, ...],
        width: int,
        norm: bool = True,
        condition: int = 0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.hidden = connected(inputs, hidden, "batch" if norm else None, nn.ReLU(True))
        self.sizes = halvings(shape[1:])[::-1]
        channels = doubling(width, len(self.sizes) - 1)[::-1]
        self.first = channels[0]
        self.project = nn.Linear(
            hidden or inputs, self.first * math.prod(self.sizes[0]), bias=not norm
        )
        norms = [BatchNorm(c, condition) if norm else nn.Identity() for c in channels]
        self.norms = nn.ModuleList(norms)
        self.ups = nn.ModuleList(
            deconv(a, b, 4, 2, (small, large), bias=not norm or b == shape[0])
            for a, b, small, large in zip(
                channels, [*channels[1:], shape[0]], self.sizes[:-1], self.sizes[1:], strict=True
            )
        )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        x = to_maps(self.project(self.hidden(z)), self.first, self.sizes[0])
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = norm(x, condition) if isinstance(norm, BatchNorm) else x
            x = up(F.relu_(x))
        return x.tanh_()


class Down(nn.Module):
    """From samples (N, channels, *space) to features (N, F): strided 4x4 convolutions, and
    where `hidden` is not 0 a fully connected layer of so many units."""

    def __init__(
        self,
        channels: int,
        space: tuple[int, ...],
        width: int,
        norm: str | None = "batch",
        hidden: int = 0,
    ) -> None:
        super().__init__()
        sizes = halvings(space)
        widths = doubling(width, len(sizes) - 1)
        self.features = widths[-1] * math.prod(sizes[-1])
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
            kind = norm if i else None
            layers += [conv(len(space), a, b, 4, 2, 1, bias=kind is None)]
            layers += [normal_layer(kind, b)] if kind else []
            layers += [nn.LeakyReLU(0.2, True)]
        self.layers = nn.Sequential(*layers)
        self.hidden = connected(self.features, hidden, norm, nn.LeakyReLU(0.2, True))
        self.features = hidden or self.features

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(to_vector(self.layers(x)))


def connected(inputs: int, units: int, norm: str | None, act: nn.Module) -> nn.Sequential:
    """A fully connected layer from (N, inputs) to (N, units), its norm and its activation;
    nothing where there are no units."""
    if not units:
        return nn.Sequential()
    layers: list[nn.Module] = [nn.Linear(inputs, units, bias=norm is None)]
    return nn.Sequential(*layers, *([normal_layer(norm, units)] if norm else []), act)


class DCGAN(Family):
    """Any sides of 8 or more, in 1, 2 or 3 dimensions, odd ones too.

    Where nothing is normalised (a critic for a gradient penalty, the autoencoder) weights
    keep the variance of the signal instead of N(0, .02^2), which counts on batch norm.

    Args:
        width: channels at the widest resolution; they double as the size halves, up to
            8 times.
        conditioning: how the class enters; "projection" gives G class-conditional norms.
        hidden: units of a fully connected layer, G's first and D's last but one, as InfoGAN's
            networks for MNIST have it; the guidelines have none, and 0 is none.
    """

    def __init__(
        self, width: int = 64, conditioning: Conditioning = "concat", hidden: int = 0
    ) -> None:
        self.width, self.hidden = width, hidden
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self.space(shape, "generator", 8)
        joined = joined_classes(classes, self.conditioning)
        net = Up(latent + joined, shape, self.width, condition=classes - joined, hidden=self.hidden)
        init_normal(net)
        return Generator(net, classes, joined=joined > 0)

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        space = self.space(shape, "critic", 8)
        kind = normalisation(norm, "batch")
        channels = shape[0] + joined_classes(classes, self.conditioning)
        trunk = Down(channels, space, self.width, kind, self.hidden)
        net = Critic(trunk, trunk.features, classes, self.conditioning, heads)
        init_normal(net) if kind == "batch" else init_scaled(net)
        return net

    def autoencoder(self, shape: tuple[int, ...], code: int | None = None) -> nn.Module:
        space = self.space(shape, "autoencoder", 8)
        down = Down(shape[0], space, self.width, None)
        encoder = down if code is None else nn.Sequential(down, nn.Linear(down.features, code))
        net = Autoencoder(encoder, Up(code or down.features, shape, self.width, norm=False))
        init_scaled(net)
        return net
