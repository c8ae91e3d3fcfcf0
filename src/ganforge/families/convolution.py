"""Convolutions over one and two dimensions that stay fast on CPUs where oneDNN does not.

oneDNN is slow where the weight outgrows the cache while maps are small, and where maps
have very few channels. There the same sums are one matrix product over columns (im2col),
at the processor's full speed. The choice depends on shapes alone, so that it never differs
between two runs; other devices, and exporters, get PyTorch's own layers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]

_HEAVY = 2**15  # weight elements per place of the small map; both found by measurement
_THIN = 4  # channels; oneDNN works on 16 at a time


class Geometry(NamedTuple):
    """Maps of size `large` under a kernel whose stride divides it, and the maps of size
    `small` that result."""

    large: Pair
    small: Pair
    kernel: Pair
    stride: Pair
    padding: Pair

    @property
    def places(self) -> int:
        return math.prod(self.small)


def _columns(x: Tensor, geo: Geometry) -> Tensor:
    """(N, C, *large) to (N * places, kernel * C): what the kernel sees at each place."""
    (kh, kw), (sh, sw), (ph, pw) = geo.kernel, geo.stride, geo.padding
    below = (geo.small[0] - 1) * sh + kh - ph - geo.large[0]
    right = (geo.small[1] - 1) * sw + kw - pw - geo.large[1]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, pw, right, ph, below)).contiguous()
    n, c = len(x), x.shape[3]
    a, b, d, e = x.stride()
    seen = x.as_strided((n, *geo.small, kh, kw, c), (a, sh * b, sw * d, b, d, e))
    return seen.reshape(n * geo.places, kh * kw * c)


def _spread(cols: Tensor, geo: Geometry) -> Tensor:
    """The adjoint: (N * places, kernel * C) summed into (N, C, *large)."""
    (kh, kw), (sh, sw), (ph, pw), (h, w) = geo.kernel, geo.stride, geo.padding, geo.small
    qh, qw = kh // sh, kw // sw
    cols = cols.reshape(-1, h, w, qh, sh, qw, sw, cols.shape[1] // (kh * kw))
    n, c = len(cols), cols.shape[-1]
    # In blocks of one stride, a kernel covers qh x qw whole blocks.
    rows = max(h + qh - 1, -(-(geo.large[0] + ph) // sh))
    width = max(w + qw - 1, -(-(geo.large[1] + pw) // sw))
    y = cols.new_zeros(n, rows, sh, width, sw, c)
    for i in range(qh):
        for j in range(qw):
            y[:, i : i + h, :, j : j + w] += cols[:, :, :, i, :, j].permute(0, 1, 3, 2, 4, 5)
    y = y.view(n, rows * sh, width * sw, c)[:, ph : ph + geo.large[0], pw : pw + geo.large[1]]
    return y.contiguous().permute(0, 3, 1, 2)


class Columns(torch.autograd.Function):
    """`_columns`, whose derivative is `Spread`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, geo: Geometry) -> Tensor:
        ctx.geo = geo
        return _columns(x, geo)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Spread.apply(grads[0], ctx.geo), None


class Spread(torch.autograd.Function):
    """`_spread`, whose derivative is `Columns`."""

    @staticmethod
    def forward(ctx: Any, cols: Tensor, geo: Geometry) -> Tensor:
        ctx.geo = geo
        return _spread(cols, geo)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Columns.apply(grads[0], ctx.geo), None


def channels_last(x: Tensor) -> Tensor:
    """In channels-last memory; PyTorch alone reads one channel as contiguous and would
    leave the fast path for the whole network."""
    if x.shape[1] == 1:
        return x.contiguous().view(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _by_place(x: Tensor) -> Tensor:
    """Maps (N, C, H, W) as rows (N * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _ours(x: Tensor, groups: int) -> bool:
    """Whether a convolution may go by columns at all."""
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return x.device.type == "cpu" and groups == 1 and not traced


def _tiled(
    w: Tensor, large: Pair, small: Pair, stride: Pair, padding: Pair
) -> tuple[Tensor, Geometry]:
    """The weight, with taps of zero until strides divide the kernel, and its geometry."""
    (kh, kw), (sh, sw) = w.shape[2:], stride
    if kh % sh or kw % sw:
        w = F.pad(w, (0, -kw % sw, 0, -kh % sh))
    return w, Geometry(large, small, (w.shape[2], w.shape[3]), stride, padding)


def convolve(
    x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Pair, groups: int = 1
) -> Tensor:
    """(N, C, H, W) by (O, C / groups, *kernel) to (N, O, ...)."""
    x = channels_last(x)
    (o, c), (h, wide), (kh, kw) = w.shape[:2], x.shape[2:], w.shape[2:]
    small = (
        (h + 2 * padding[0] - kh) // stride[0] + 1,
        (wide + 2 * padding[1] - kw) // stride[1] + 1,
    )
    pointwise, strided = kh * kw == 1, stride != (1, 1)
    if _ours(x, groups) and not pointwise:
        if w.numel() >= _HEAVY * math.prod(small) or (c <= _THIN and strided):
            w, geo = _tiled(w, (h, wide), small, stride, padding)
            weight = w.permute(0, 2, 3, 1).reshape(o, -1)
            rows = F.linear(Columns.apply(x, geo), weight, b)  # type: ignore[arg-type]
            return rows.view(x.shape[0], *small, o).permute(0, 3, 1, 2)
        if o <= _THIN and not strided:  # as the transpose of the flipped kernel
            flipped, padding = (
                w.flip(2, 3).transpose(0, 1),
                (kh - 1 - padding[0], kw - 1 - padding[1]),
            )
            return transpose(x, flipped, b, stride, padding)
    return F.conv2d(x, w, b, stride, padding, 1, groups)


def transpose(
    x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Pair, extra: Pair = (0, 0)
) -> Tensor:
    """The adjoint: (N, O, h, w) by (O, C, *kernel) to (N, C, ...), with `extra` rows and
    columns at the end."""
    x = channels_last(x)
    small, kernel = (x.shape[2], x.shape[3]), (w.shape[2], w.shape[3])
    heavy = w.numel() >= _HEAVY * math.prod(small)
    if not _ours(x, 1) or not (heavy or w.shape[1] <= _THIN):
        return F.conv_transpose2d(x, w, b, stride, padding, extra)
    parts = zip(small, kernel, stride, padding, extra, strict=True)
    high, wide = [(a - 1) * s - 2 * p + k + e for a, k, s, p, e in parts]
    w, geo = _tiled(w, (high, wide), small, stride, padding)
    y = Spread.apply(_by_place(x) @ w.permute(0, 2, 3, 1).reshape(len(w), -1), geo)
    return y if b is None else y + b[:, None, None]  # type: ignore[operator,return-value]


# -- layers. A weight is looked at once: a spectral norm iterates at each look. --------------
class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d, with zero padding and without dilation."""

    def forward(self, input: Tensor) -> Tensor:
        return convolve(input, self.weight, self.bias, self.stride, self.padding, self.groups)  # type: ignore[arg-type]


class Conv1d(nn.Conv1d):
    """torch.nn.Conv1d, with zero padding and without dilation, as a picture of one row."""

    def forward(self, input: Tensor) -> Tensor:
        x, w = input.unsqueeze(2), self.weight.unsqueeze(2)
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return convolve(x, w, self.bias, stride, padding, self.groups).squeeze(2)


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d, with zero padding, without dilation and groups."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None
        w, stride, padding, extra = self.weight, self.stride, self.padding, self.output_padding
        return transpose(input, w, self.bias, stride, padding, extra)  # type: ignore[arg-type]


class ConvTranspose1d(nn.ConvTranspose1d):
    """torch.nn.ConvTranspose1d, likewise."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None
        x, w = input.unsqueeze(2), self.weight.unsqueeze(2)
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return transpose(x, w, self.bias, stride, padding, (0, self.output_padding[0])).squeeze(2)
