"""The residual translator of CycleGAN and CUT, after Johnson et al. 2016, arXiv 1603.08155:
down by strided convolutions, residual blocks at the small size, and up again; instance norm
(Ulyanov et al. 2016, arXiv 1607.08022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.families.base import Conditioning
from ganforge.families.blocks import conv, init_normal
from ganforge.families.patch import WithPatches, grow


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels, channels)


class Block(nn.Module):
    """x + (3x3, norm, ReLU, 3x3, norm)(x)."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(dims, width, width, 3), _norm(width), nn.ReLU(True),
            conv(dims, width, width, 3), _norm(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Translation(nn.Module):
    """(N, channels, *space) to (N, outputs, *space) of any size: maps are padded by
    repetition until they halve twice, and the result is cut."""

    def __init__(
        self, dims: int, channels: int, outputs: int, width: int, depth: int, resize: bool
    ) -> None:
        super().__init__()
        self.factor = 4
        self.down = nn.ModuleList()
        a = channels
        for b, kernel, stride in ((width, 7, 1), (2 * width, 3, 2), (4 * width, 3, 2)):
            layers = (conv(dims, a, b, kernel, stride), _norm(b), nn.ReLU(True))
            self.down.append(nn.Sequential(*layers))
            a = b
        self.blocks = nn.ModuleList(Block(dims, a) for _ in range(depth))
        self.up = nn.Sequential(
            grow(dims, a, a // 2, resize), _norm(a // 2), nn.ReLU(True),
            grow(dims, a // 2, width, resize), _norm(width), nn.ReLU(True),
            conv(dims, width, outputs, 7),
        )  # fmt: skip

    def maps(self, x: Tensor) -> list[Tensor]:
        """What becomes of the source up to the middle of the residual blocks."""
        found = [x]
        for layer in self.down:
            found.append(layer(found[-1]))
        x = found[-1]
        for block in self.blocks[: max(1, len(self.blocks) // 2)]:
            x = block(x)
        return [*found, x]

    def forward(self, source: Tensor) -> Tensor:
        space = source.shape[2:]
        pads = [p for s in reversed(space) for p in (0, -s % self.factor)]
        x = F.pad(source, pads, mode="replicate") if any(pads) else source
        for layer in [*self.down, *self.blocks]:
            x = layer(x)
        x = self.up(x)
        return torch.tanh(x[(..., *(slice(s) for s in space))])


class Johnson(WithPatches):
    """Translators between samples of equal sides, any of 8 or more, with PatchGAN's critic.

    Args:
        width: channels at the first size; four times as many in the residual blocks.
        depth: residual blocks (6 for 128 pixels in CycleGAN, 9 for 256).
        resize: enlarge by interpolation, so that no checkerboard is left; see `Grow`.
        critic_width: channels of the critic; `width` where not given.
        patch: strided convolutions of the critic.
        conditioning: how the class enters the critic.
    """

    def __init__(
        self,
        width: int = 64,
        depth: int = 6,
        resize: bool = False,
        critic_width: int | None = None,
        patch: int = 3,
        conditioning: Conditioning = "concat",
    ) -> None:
        self.conditioning: Conditioning = conditioning
        self.width, self.depth, self.resize = width, depth, resize
        self.critic_width, self.patch = critic_width, patch

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        space = self.space(shape, "translator", 8)
        self.keeps_size(source, shape)
        net = Translation(len(space), source[0], shape[0], self.width, self.depth, self.resize)
        init_normal(net)
        return net
