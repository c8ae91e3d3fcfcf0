"""Residual translators: SRResNet (Ledig et al. 2017, arXiv 1609.04802) and ESRGAN's dense
blocks, RRDB (Wang et al. 2018, arXiv 1809.00219). They enlarge by pixel shuffle, or restore
at the same size, and learn the change of the source. First and last convolutions are 3x3, as
in ESRGAN; SRGAN had 9x9."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.families.base import Conditioning
from ganforge.families.blocks import (
    BatchNorm,
    bounded,
    conv,
    init_scaled,
    pixel_shuffle,
    up,
)
from ganforge.families.patch import WithPatches


class Residual(nn.Module):
    """x + (3x3, PReLU, 3x3)(x)."""

    def __init__(self, dims: int, width: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = conv(dims, width, width, 3, bias=not norm)
        self.conv2 = conv(dims, width, width, 3, bias=not norm)
        self.act = nn.PReLU(width, 0.2)
        self.norm1 = BatchNorm(width) if norm else nn.Identity()
        self.norm2 = BatchNorm(width) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))


class Dense(nn.Module):
    """x + 0.2 f(x), where each of five 3x3 convolutions sees all maps before it."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        growth = max(1, width // 2)
        widths = [growth] * 4 + [width]
        self.convs = nn.ModuleList(
            conv(dims, width + growth * i, b, 3) for i, b in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.convs[:-1]:
            seen = torch.cat([seen, F.leaky_relu_(layer(seen), 0.2)], 1)
        return torch.add(x, self.convs[-1](seen), alpha=0.2)


class RRDB(nn.Module):
    """x + 0.2 f(x), where f is three dense blocks."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Dense(dims, width) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.blocks(x), alpha=0.2)


class Enlarge(nn.Module):
    """A 3x3 convolution to factor^d times the channels, shuffled into space; PReLU."""

    def __init__(self, dims: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = conv(dims, width, width * factor**dims, 3)
        self.act = nn.PReLU(width, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(pixel_shuffle(self.conv(x), self.factor))


class Translation(nn.Module):
    """(N, channels, *space) of any size to (N, outputs, *space * factor): the change of the
    source as interpolation enlarges it."""

    def __init__(
        self, dims: int, channels: int, outputs: int, width: int, steps: list[int],
        blocks: list[nn.Module],
    ) -> None:  # fmt: skip
        super().__init__()
        self.outputs, self.factor = outputs, 1
        for step in steps:
            self.factor *= step
        self.enter = conv(dims, channels, width, 3)
        self.blocks = nn.Sequential(*blocks, conv(dims, width, width, 3))
        self.enlarge = nn.Sequential(*(Enlarge(dims, width, step) for step in steps))
        self.out = conv(dims, width, outputs, 3)

    def forward(self, source: Tensor) -> Tensor:
        x = F.leaky_relu_(self.enter(source), 0.2)
        x = self.out(self.enlarge(x + self.blocks(x)))
        base = source[:, : self.outputs]
        if base.shape[1] != self.outputs:  # grey into colour: start from its grey
            base = source.mean(1, keepdim=True)
        if self.factor > 1:
            base = up(base, x.shape[2:], "linear")
        return bounded(base + x)


class SRResNet(WithPatches):
    """Translators that enlarge 1 to 16 times (products of 2 and 3), with PatchGAN's critic.

    Args:
        width: channels.
        depth: residual blocks (16 in SRGAN), or RRDBs (23 in ESRGAN).
        block: "residual" or "rrdb".
        norm: batch norm in residual blocks, as SRGAN had; later work drops it.
        critic_width: channels of the critic; `width` where not given.
        patch: strided convolutions of the critic.
        conditioning: how the class enters the critic.
    """

    def __init__(
        self,
        width: int = 64,
        depth: int = 8,
        block: Literal["residual", "rrdb"] = "residual",
        norm: Literal["none", "batch"] = "none",
        critic_width: int | None = None,
        patch: int = 3,
        conditioning: Conditioning = "concat",
    ) -> None:
        self.conditioning: Conditioning = conditioning
        self.critic_width, self.patch = critic_width, patch
        self.width, self.depth, self.block, self.norm = width, depth, block, norm

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        space = self.space(shape, "translator", 2)
        steps = _steps(source, shape)
        dims = len(space)
        blocks: list[nn.Module] = [
            RRDB(dims, self.width)
            if self.block == "rrdb"
            else Residual(dims, self.width, self.norm == "batch")
            for _ in range(self.depth)
        ]
        net = Translation(dims, source[0], shape[0], self.width, steps, blocks)
        init_scaled(net)
        for block in net.blocks:  # a sum of many parts starts near its first
            if isinstance(block, Residual):
                init_scaled(block.conv2, 0.1)
        init_scaled(net.out, 0.1)
        return net


def _steps(source: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """The enlargements of 2 and 3 from one shape to the other."""
    ratios = {b / a for a, b in zip(source[1:], shape[1:], strict=True)}
    factor = ratios.pop()
    steps, rest = [], int(factor)
    for step in (2, 3):
        while rest % step == 0 and rest > 1:
            steps.append(step)
            rest //= step
    if ratios or factor != int(factor) or rest != 1 or factor > 16:
        raise UserError(
            f"family 'srresnet' enlarges every side by the same 1, 2, 3, 4, 6, 8, 9, 12 or 16, but "
            f"is asked to turn {source} into {shape}; use --set degrade=down:2"
        )
    return steps
