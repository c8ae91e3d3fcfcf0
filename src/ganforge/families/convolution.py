"""Two-dimensional convolutions that stay fast on CPUs where oneDNN does not.

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
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, pw, pw, ph, ph)).contiguous()
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
        return x.contiguous().view(len(x), *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _ours(x: Tensor, layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether a layer may go by columns at all."""
    tiles = all(k % s == 0 for k, s in zip(layer.kernel_size, layer.stride, strict=True))
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return x.device.type == "cpu" and tiles and layer.groups == 1 and not traced


def _by_place(x: Tensor) -> Tensor:
    """Maps (N, C, H, W) as rows (N * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d, with zero padding and without dilation."""

    def forward(self, input: Tensor) -> Tensor:
        w, x = self.weight, channels_last(input)  # once: a spectral norm iterates at each look
        o, c, *_ = w.shape
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        assert isinstance(padding, tuple)
        large = (x.shape[2], x.shape[3])
        parts = zip(large, kernel, stride, padding, strict=True)
        small = tuple((a + 2 * p - k) // s + 1 for a, k, s, p in parts)
        geo = Geometry(large, small, kernel, stride, padding)  # type: ignore[arg-type]
        plane, strided = math.prod(kernel) == 1, math.prod(stride) > 1
        if not _ours(x, self) or plane:
            return self._conv_forward(x, w, self.bias)
        if w.numel() >= _HEAVY * geo.places or (c <= _THIN and strided):
            rows = F.linear(Columns.apply(x, geo), w.permute(0, 2, 3, 1).reshape(o, -1), self.bias)  # type: ignore[arg-type]
            return rows.view(len(x), *geo.small, o).permute(0, 3, 1, 2)
        if o <= _THIN and not strided:  # as the transpose of the flipped kernel
            back = tuple(k - 1 - p for k, p in zip(kernel, padding, strict=True))
            geo = Geometry(geo.small, large, kernel, stride, back)  # type: ignore[arg-type]
            flipped = w.flip(2, 3).permute(1, 2, 3, 0).reshape(c, -1)
            y = Spread.apply(_by_place(x) @ flipped, geo)
            return y if self.bias is None else y + self.bias[:, None, None]  # type: ignore[operator,return-value]
        return self._conv_forward(x, w, self.bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d, with zero padding and without dilation."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        w, x = self.weight, channels_last(input)
        kernel, stride, extra = self.kernel_size, self.stride, self.output_padding
        padding = self.padding
        assert isinstance(padding, tuple)
        assert output_size is None
        small = (x.shape[2], x.shape[3])
        parts = zip(small, kernel, stride, padding, extra, strict=True)
        large = tuple((z - 1) * s - 2 * p + k + e for z, k, s, p, e in parts)
        geo = Geometry(large, small, kernel, stride, padding)  # type: ignore[arg-type]
        heavy = w.numel() >= _HEAVY * geo.places
        if _ours(x, self) and (heavy or w.shape[1] <= _THIN):
            cols = _by_place(x) @ w.permute(0, 2, 3, 1).reshape(len(w), -1)
            y = Spread.apply(cols, geo)
            return y if self.bias is None else y + self.bias[:, None, None]  # type: ignore[operator,return-value]
        return F.conv_transpose2d(x, w, self.bias, stride, padding, extra)
