"""The moving average of the networks that sample: what is shown, scored and exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of some networks' parameters, its half-life in images.

    Buffers (batch norm's running statistics, spectral norm's vectors) are copied.

    Args:
        nets: the networks to follow.
        half_life: images after which an old value weighs half; 0 follows exactly.
        ramp: the half-life is at most this share of the images seen, so that the first
            picture is not an average of noise (Karras et al. 2020, arXiv 2006.06676).
    """

    def __init__(self, nets: nn.ModuleDict, half_life: float, ramp: float = 0.05) -> None:
        self.nets = copy.deepcopy(nets).requires_grad_(False).eval()
        self.half_life, self.ramp = half_life, ramp
        self._mine: list[Tensor] = list(self.nets.parameters())
        self._theirs: list[Tensor] = list(nets.parameters())
        self._buffers = list(zip(self.nets.buffers(), nets.buffers(), strict=True))

    @torch.no_grad()
    def update(self, images: int, seen: int) -> None:
        """Follow after a turn of `images` images, `seen` in all."""
        life = min(self.half_life, self.ramp * seen) if self.ramp else self.half_life
        weight = 1 - 0.5 ** (images / life) if life > 0 else 1.0
        torch._foreach_lerp_(self._mine, self._theirs, weight)
        for mine, theirs in self._buffers:
            mine.copy_(theirs)
