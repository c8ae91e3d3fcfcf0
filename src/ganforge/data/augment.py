"""Differentiable augmentation of what D sees.

Zhao, Liu, Lin, Zhu, Han: Differentiable Augmentation for Data-Efficient GAN Training, 2020,
arXiv 2006.10738. Real and forged samples are changed alike before D sees them, and G's
gradient passes through the change, so the change does not leak into what G makes. Each
sample is changed with probability p, which `ganforge.objectives.adaptive` may move.

Random numbers come from `ganforge.draws`. All of it can be differentiated twice, so a
penalty on D's gradient may be taken with respect to the sample before the change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError

_SHIFT = 0.125  # of the side, at most
_CUT = 0.5  # of the side


class _Move(torch.autograd.Function):
    """(N, C, *space) moved by whole pixels (N, dims), zeros moving in. The transposed map
    moves the other way, so the gradient is a gather too, and so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(by)
        n, c, *space = x.shape
        place = torch.arange(n, device=x.device).reshape(n, *[1] * len(space))
        inside = torch.ones_like(place, dtype=torch.bool)
        for axis, side in enumerate(space):
            along = torch.arange(side, device=x.device) - by[:, axis, None]
            along = along.reshape(n, *[side if a == axis else 1 for a in range(len(space))])
            inside = inside & (along >= 0) & (along < side)
            place = place * side + along.clamp(0, side - 1)
        rows = x.movedim(1, -1).reshape(-1, c).index_select(0, place.flatten())
        return rows.reshape(n, *space, c).mul_(inside[..., None]).movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (by,) = ctx.saved_tensors
        return _Move.apply(gradient, -by), None  # type: ignore[return-value]


def _over(values: Tensor, x: Tensor) -> Tensor:
    """(N,) shaped to multiply (N, C, *space)."""
    return values.reshape(-1, *[1] * (x.dim() - 1))


def _color(x: Tensor, on: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0 to 2 (RGB alone), contrast x 0.5 to 1.5; pictures."""
    u = draws.uniform(len(x), 3, device=x.device)
    if x.dim() != 4:
        return x
    brightness = _over((u[:, 0] - 0.5) * on, x)
    saturation = _over(1 + (2 * u[:, 1] - 1) * on, x) if x.shape[1] == 3 else 1.0
    contrast = _over(1 + (u[:, 2] - 0.5) * on, x)
    # One after another they come to this: grey(x) is each pixel's mean over the channels.
    grey = x.mean(1, keepdim=True) if x.shape[1] == 3 else x
    level = brightness + (1 - contrast) * grey.mean((1, 2, 3), keepdim=True)
    y = torch.addcmul(level, x, contrast * saturation)
    return y if x.shape[1] != 3 else y + grey * (contrast * (1 - saturation))


def _translation(x: Tensor, on: Tensor) -> Tensor:
    """Moved by up to an eighth of each side, zeros moving in."""
    u = draws.uniform(len(x), max(1, x.dim() - 2), device=x.device)
    if x.dim() < 3:
        return x
    most = torch.tensor([int(side * _SHIFT + 0.5) for side in x.shape[2:]], device=x.device)
    by = (u * (2 * most + 1)).floor().long() - most
    return _Move.apply(x, by * on.long()[:, None])  # type: ignore[return-value]


def _cutout(x: Tensor, on: Tensor) -> Tensor:
    """A box of half of each side, anywhere, becomes zero."""
    u = draws.uniform(len(x), max(1, x.dim() - 2), device=x.device)
    if x.dim() < 3:
        return x
    cut = on.bool().reshape(-1, *[1] * (x.dim() - 2))
    for axis, side in enumerate(x.shape[2:]):
        box = int(side * _CUT + 0.5)
        start = (u[:, axis] * (side + 1 - box % 2)).floor() - box // 2
        place = torch.arange(side, device=x.device) - start[:, None]
        within = (place >= 0) & (place < box)
        cut = cut & within.reshape(len(x), *[side if a == axis else 1 for a in range(x.dim() - 2)])
    return x * ~cut[:, None]


def _flip(x: Tensor, on: Tensor) -> Tensor:
    """Left and right exchanged, for half of those that are on; pictures."""
    u = draws.uniform(len(x), 1, device=x.device)[:, 0]
    if x.dim() != 4:
        return x
    return torch.where(_over((u < 0.5) & on.bool(), x), x.flip(-1), x)


def _affine(x: Tensor, on: Tensor) -> Tensor:
    """Rotated by up to 30 degrees, each side stretched by up to e^0.25, sheared by up to 0.3 and
    moved by up to 0.075 of a side, the edge's values moving in; pictures. Bilinear."""
    u = (2 * draws.uniform(len(x), 6, device=x.device) - 1) * on[:, None]
    if x.dim() != 4:
        return x
    n, c, h, w = x.shape
    cos, sin = (u[:, 0] * math.pi / 6).cos(), (u[:, 0] * math.pi / 6).sin()
    wide, tall, shear = (0.25 * u[:, 1]).exp(), (0.25 * u[:, 2]).exp(), 0.3 * u[:, 3]
    # Where each pixel comes from, sides from -1 to 1; then in pixels.
    y = ((torch.arange(h, device=x.device) + 0.5) * (2 / h) - 1)[None, :, None]
    z = ((torch.arange(w, device=x.device) + 0.5) * (2 / w) - 1)[None, None, :]

    def source(by_z: Tensor, by_y: Tensor, shift: Tensor, side: int) -> tuple[Tensor, Tensor]:
        at = (_over(by_z, y) * z + _over(by_y, y) * y + _over(0.15 * shift, y) + 1) * (side / 2)
        at = (at - 0.5).clamp(0, side - 1)
        low = at.floor().clamp(max=max(0, side - 2))
        return low.long(), at - low

    left, over = source(cos * wide, shear - sin * tall, u[:, 4], w)
    top, down = source(sin * wide, cos * tall, u[:, 5], h)
    flat, found = x.flatten(2), x.new_zeros(())
    for i in range(min(2, h)):
        for j in range(min(2, w)):
            share = (down if i else 1 - down) * (over if j else 1 - over)
            place = ((top + i) * w + left + j).flatten(1)[:, None].expand(n, c, h * w)
            found = found + flat.gather(2, place) * share.flatten(1)[:, None].to(x.dtype)
    last = x.is_contiguous(memory_format=torch.channels_last)
    return found.view(x.shape).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )


def _noise(x: Tensor, on: Tensor) -> Tensor:
    """Gaussian noise of a quarter of the range (Sonderby et al. 2016, arXiv 1610.04490): no
    message between G and D, nor any difference, is too faint for it to hide."""
    noise = draws.normal(len(x), *x.shape[1:], device=x.device)
    return x if x.dim() < 3 else x + _over(0.5 * on, x) * noise.to(x.dtype)


_KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
    "flip": _flip,
    "affine": _affine,
    "noise": _noise,
}
KINDS = tuple(_KINDS)


class Augment(nn.Module):
    """A chain of random changes of (N, C, *space) samples, each kind on each sample with
    probability `p`. Vectors pass unchanged; sound is moved, cut and
    made noisy only.

    Args:
        kinds: of `KINDS`, joined by commas; applied in that order.
        p: probability in [0, 1]; a buffer, so that it can be moved and is saved.

    Raises:
        UserError: a kind is unknown, or p is no probability.
    """

    p: Tensor

    def __init__(self, kinds: str = "color,translation,cutout", p: float = 1.0) -> None:
        super().__init__()
        self.kinds = tuple(k.strip() for k in kinds.split(",") if k.strip())
        unknown = [k for k in self.kinds if k not in _KINDS]
        if unknown:
            raise UserError(f"augmentation {unknown[0]!r} is unknown; choose of {', '.join(KINDS)}")
        if not 0 <= p <= 1:
            raise UserError(f"augment_p={p} is no probability; give a number from 0 to 1")
        self.register_buffer("p", torch.tensor(float(p)))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and not self.p:  # elsewhere, to look at p is to wait for it
            return x
        on = draws.uniform(len(x), max(1, len(self.kinds)), device=x.device) < self.p
        for i, kind in enumerate(self.kinds):
            x = _KINDS[kind](x, on[:, i].to(x.dtype))
        return x

    def extra_repr(self) -> str:
        return f"{','.join(self.kinds)}, p={self.p.item():g}"


class Augmented(nn.Module):
    """D behind an augmentation: `forward`, `outputs` and `encode` as those of D, each on a
    freshly changed x. Everything else is D's own."""

    def __init__(self, critic: nn.Module, augment: Augment) -> None:
        super().__init__()
        self.critic, self.augment = critic, augment

    def forward(self, x: Tensor, *args: Any, **more: Any) -> Tensor:
        return self.critic(self.augment(x), *args, **more)

    def outputs(self, x: Tensor, *args: Any, **more: Any) -> dict[str, Tensor]:
        return self.critic.outputs(self.augment(x), *args, **more)  # type: ignore[operator]

    def encode(self, x: Tensor) -> Tensor:
        return self.critic.encode(self.augment(x))  # type: ignore[operator]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "critic":
                raise
            return getattr(self.critic, name)
