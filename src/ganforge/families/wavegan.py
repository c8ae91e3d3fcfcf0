"""WaveGAN: Donahue, McAuley and Puckette 2019 (arXiv 1802.04208). One-dimensional DCGAN
for sound: kernels of 25, strides of 4, no batch norm, and phase shuffle in D."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge import draws
from ganforge.families.base import Conditioning, Critic, Family, Generator, joined_classes
from ganforge.families.blocks import (
    conv,
    deconv,
    doubling,
    init_scaled,
    normal_layer,
    normalisation,
    to_maps,
    to_vector,
)

_KERNEL, _STRIDE = 25, 4


def quarterings(samples: int) -> int:
    """How often a length quarters until less than 64 remains: 5 for 16384, down to 16."""
    times = 0
    while samples >= 64:
        samples, times = -(-samples // _STRIDE), times + 1
    return times


class PhaseShuffle(nn.Module):
    """Shift each sample of (N, C, T) by -n to n places, reflected at the ends, so that D
    cannot judge by the phase of what fractional strides leave behind. In training only."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.n == 0:
            return x
        shift = draws.integers(len(x), 2 * self.n + 1, device=x.device)
        place = torch.arange(x.shape[2], device=x.device) + shift[:, None] - self.n
        last = x.shape[2] - 1
        place = last - (last - place.abs()).abs()
        return x.gather(2, place[:, None].expand_as(x))


class Synthesis(nn.Module):
    """z (N, inputs) to sound (N, *shape): a length that quarters, made and cut."""

    def __init__(self, inputs: int, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels, self.samples = shape
        times = quarterings(self.samples)
        self.start = -(-self.samples // _STRIDE**times)
        widths = doubling(width, times, 16)[::-1]
        self.first = widths[0]
        self.project = nn.Linear(inputs, widths[0] * self.start)
        self.layers = nn.ModuleList(
            deconv(a, b, _KERNEL, _STRIDE, ([1], [_STRIDE]))
            for a, b in pairwise([*widths, channels])
        )

    def forward(self, z: Tensor) -> Tensor:
        x = to_maps(self.project(z), self.first, (self.start,))
        for layer in self.layers:
            x = layer(F.relu_(x))
        return x[..., : self.samples].tanh()


class Analysis(nn.Module):
    """Sound (N, channels, T) to features (N, F)."""

    def __init__(
        self, channels: int, samples: int, width: int, shuffle: int, norm: str | None
    ) -> None:
        super().__init__()
        times = quarterings(samples)
        widths = doubling(width, times, 16)
        self.features = widths[-1] * -(-samples // _STRIDE**times)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise([channels, *widths])):
            layers += [conv(1, a, b, _KERNEL, _STRIDE, _KERNEL // 2)]
            layers += [normal_layer(norm if i else None, b), nn.LeakyReLU(0.2, True)]
            layers += [PhaseShuffle(shuffle)] if i < times - 1 else []
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return to_vector(self.layers(x))


class WaveGAN(Family):
    """Sound of 64 samples or more, made for 4,096 to 65,536.

    Args:
        width: channels at the longest hidden length; they double as the length quarters,
            up to 16 times.
        shuffle: places by which phase shuffle moves D's maps at most.
        conditioning: how the class enters D; G gets it beside z.
    """

    dims = (1,)

    def __init__(
        self, width: int = 64, shuffle: int = 2, conditioning: Conditioning = "concat"
    ) -> None:
        self.width, self.shuffle = width, shuffle
        self.conditioning: Conditioning = conditioning

    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        self.space(shape, "generator", 64)
        net = Generator(Synthesis(latent + classes, shape, self.width), classes)
        init_scaled(net)
        return net

    def critic(
        self,
        shape: tuple[int, ...],
        classes: int = 0,
        heads: Mapping[str, int] | None = None,
        norm: str | None = "family",
    ) -> nn.Module:
        (samples,) = self.space(shape, "critic", 64)
        kind = normalisation(norm, None)
        channels = shape[0] + joined_classes(classes, self.conditioning)
        trunk = Analysis(channels, samples, self.width, self.shuffle, kind)
        net = Critic(trunk, trunk.features, classes, self.conditioning, heads)
        init_scaled(net)
        return net
