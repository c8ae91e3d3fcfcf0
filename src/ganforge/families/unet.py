"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) as pix2pix has it (Isola et al. 2017,
arXiv 1611.07004): strided 4x4 convolutions down and back, with skips at each size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.errors import UserError
from ganforge.families.base import Conditioning
from ganforge.families.blocks import (
    BatchNorm,
    Dropout,
    bounded,
    conv,
    doubling,
    halvings,
    init_normal,
    init_scaled,
)
from ganforge.families.patch import WithPatches, grow

Norm = Literal["batch", "instance", "none"]


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    return BatchNorm(channels) if kind == "batch" else nn.GroupNorm(channels, channels)


class Translation(nn.Module):
    """(N, channels, *space) to (N, outputs, *space) of any size: maps are padded by
    repetition until they halve often enough, and the result is cut."""

    def __init__(
        self, dims: int, channels: int, outputs: int, widths: Sequence[int], norm: Norm,
        dropout: float, residual: bool, resize: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.factor, self.residual, self.outputs = 2 ** len(widths), residual, outputs
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        last = len(widths) - 1
        for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False)):
            # The first sees samples, and the last may be a single place: neither is normed.
            kind: Norm = "none" if i in (0, last) else norm
            self.down.append(nn.Sequential(conv(dims, a, b, 4, 2, 1), _norm(kind, b)))
        for i in range(last, -1, -1):
            a = widths[i] * (1 if i == last else 2)
            b = widths[i - 1] if i else outputs
            larger = grow(dims, a, b, resize)
            parts = [larger] if i == 0 else [larger, _norm(norm, b)]
            if i >= max(1, last - 2):
                parts.append(Dropout(dropout))
            self.up.append(nn.Sequential(*parts))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What becomes of the source on the way down, size by size."""
        found: list[Tensor] = []
        for i, layer in enumerate(self.down):
            x = layer(F.leaky_relu(x, 0.2) if i else x)
            found.append(x)
        return found

    def forward(self, source: Tensor) -> Tensor:
        space = source.shape[2:]
        pads = [p for s in reversed(space) for p in (0, -s % self.factor)]
        x = F.pad(source, pads, mode="replicate") if any(pads) else source
        skips = self.maps(x)
        x = skips.pop()
        for i, layer in enumerate(self.up):
            x = layer(F.relu_(x if i == 0 else torch.cat([x, skips.pop()], 1)))
        x = x[(..., *(slice(s) for s in space))]
        if self.residual:
            return bounded(source[:, : self.outputs] + x)
        return x.tanh()


class UNet(WithPatches):
    """Translators between samples of equal sides, any of 4 or more, with PatchGAN's critic.

    Args:
        width: channels at the first size; they double, up to 8 times.
        depth: how often the size halves; as often as it can where not given.
        norm: "batch", "instance" (Ulyanov et al. 2016, arXiv 1607.08022) or "none".
        dropout: share dropped in the three innermost layers of the way back (pix2pix: 0.5).
        residual: the network gives the change of the source's first channels.
        resize: enlarge by interpolation, so that no checkerboard is left; see `Grow`.
        critic_width: channels of the critic; `width` where not given.
        patch: strided convolutions of the critic.
        conditioning: how the class enters the critic.
    """

    def __init__(
        self,
        width: int = 64,
        depth: int | None = None,
        norm: Norm = "batch",
        dropout: float = 0.0,
        residual: bool = False,
        resize: bool = False,
        critic_width: int | None = None,
        patch: int = 3,
        conditioning: Conditioning = "concat",
    ) -> None:
        self.conditioning: Conditioning = conditioning
        self.critic_width, self.patch = critic_width, patch
        self.width, self.depth, self.dropout, self.residual = width, depth, dropout, residual
        self.norm: Norm = norm
        self.resize = resize

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        space = self.space(shape, "translator", 4)
        self.keeps_size(source, shape)
        if self.residual and shape[0] > source[0]:
            raise UserError(
                f"family 'unet' cannot add {shape[0]} channels to a source of {source[0]}; "
                "use --set family.residual=false"
            )
        most = len(halvings(space, 2)) - 1
        depth = most if self.depth is None else max(1, min(self.depth, most))
        net = Translation(
            len(space), source[0], shape[0], doubling(self.width, depth), self.norm,
            self.dropout, self.residual, self.resize,
        )  # fmt: skip
        init_scaled(net) if self.norm == "none" else init_normal(net)
        return net
