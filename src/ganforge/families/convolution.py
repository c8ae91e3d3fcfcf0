"""Convolutions over one and two dimensions that stay fast on CPUs, derivatives of any order
included.

A convolution is a trilinear form T(x, w, g) = <conv(x, w), g> of the maps, the weight and
what flows back. Its three partial derivatives (`convolve`, `transpose`, `weight`) are each
the derivative of the other two, so three functions close under differentiation. PyTorch's
own second derivative, which every gradient penalty needs, takes several times as long.

Each is computed by oneDNN, or as one matrix product over columns (im2col) where oneDNN is
slow: where the weight outgrows the cache while maps are small, and where very few channels
result. The choice depends on shapes alone, so that it never differs between two runs.
Other devices, and exporters, get PyTorch's own operators.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]

_HEAVY = 2**15  # weight elements per place of the small map; both found by measurement
_THIN = 4  # channels; oneDNN works on 16 at a time


# -- columns ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Geometry:
    """Maps of size `large` under a kernel, and the maps of size `small` that result.

    Attributes:
        taps: the kernel, enlarged until the stride divides it.
        extra: rows and columns of the large map that no kernel reaches.
    """

    large: Pair
    small: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    groups: int
    taps: Pair
    extra: Pair

    @property
    def pointwise(self) -> bool:
        """Whether every place is seen alone: columns are the maps themselves."""
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def heavy(self, channels: int, outputs: int) -> bool:
        """Whether a weight outgrows the cache while maps are small."""
        elements = channels * outputs * self.kernel[0] * self.kernel[1]
        return self.groups == 1 and elements >= _HEAVY * self.small[0] * self.small[1]


@lru_cache(maxsize=4096)
def _geometry(
    large: Pair | None, small: Pair | None, kernel: Pair, stride: Pair, padding: Pair,
    groups: int = 1, extra: Pair = (0, 0),
) -> Geometry:  # fmt: skip
    """From the size of either maps."""
    each = range(2)
    taps = tuple(kernel[i] + -kernel[i] % stride[i] for i in each)
    if small is None:
        assert large is not None
        small = tuple((large[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in each)  # type: ignore[assignment]
    reach = [(small[i] - 1) * stride[i] - 2 * padding[i] + kernel[i] for i in each]  # type: ignore[index]
    if large is None:
        large = reach[0] + extra[0], reach[1] + extra[1]
    extra = large[0] - reach[0], large[1] - reach[1]
    return Geometry(large, small, kernel, stride, padding, groups, taps, extra)  # type: ignore[arg-type]


def _columns(x: Tensor, geo: Geometry) -> Tensor:
    """(N, C, *large) to (N * places, taps * C): what the kernel sees at each place."""
    if geo.pointwise:
        return _rows(x)
    (kh, kw), (sh, sw), (ph, pw) = geo.taps, geo.stride, geo.padding
    below = (geo.small[0] - 1) * sh + kh - ph - geo.large[0]
    right = (geo.small[1] - 1) * sw + kw - pw - geo.large[1]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, pw, right, ph, below)).contiguous()
    n, c = len(x), x.shape[3]
    a, b, d, e = x.stride()
    seen = x.as_strided((n, *geo.small, kh, kw, c), (a, sh * b, sw * d, b, d, e))
    return seen.reshape(n * math.prod(geo.small), kh * kw * c)


def _spread(cols: Tensor, geo: Geometry) -> Tensor:
    """The adjoint: (N * places, taps * C) summed into (N, C, *large), part of larger memory."""
    if geo.pointwise:
        return _maps(cols, len(cols) // math.prod(geo.small), geo.large)
    (kh, kw), (sh, sw), (ph, pw), (h, w) = geo.taps, geo.stride, geo.padding, geo.small
    qh, qw = kh // sh, kw // sw
    cols = cols.view(-1, h, w, qh, sh, qw, sw, cols.shape[1] // (kh * kw))
    n, c = len(cols), cols.shape[-1]
    # In blocks of one stride, a kernel covers qh x qw whole blocks.
    rows = max(h + qh - 1, -(-(geo.large[0] + ph) // sh))
    width = max(w + qw - 1, -(-(geo.large[1] + pw) // sw))
    y = cols.new_zeros(n, rows, sh, width, sw, c)
    for i in range(qh):
        for j in range(qw):
            reached, part = y[:, i : i + h, :, j : j + w], cols[:, :, :, i, :, j]
            part = part.permute(0, 1, 3, 2, 4, 5)
            reached.add_(part) if i or j else reached.copy_(part)
    y = y.view(n, rows * sh, width * sw, c)[:, ph : ph + geo.large[0], pw : pw + geo.large[1]]
    return y.permute(0, 3, 1, 2)


def _matrix(w: Tensor, geo: Geometry) -> Tensor:
    """The weight (O, C, *kernel) as (O, taps * C), with zeros for taps beyond the kernel."""
    (kh, kw), (th, tw) = geo.kernel, geo.taps
    if (kh, kw) != (th, tw):
        w = F.pad(w, (0, tw - kw, 0, th - kh))
    return w.permute(0, 2, 3, 1).reshape(len(w), -1)


def _rows(x: Tensor) -> Tensor:
    """Maps (N, C, H, W) as rows (N * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _maps(rows: Tensor, n: int, space: Pair) -> Tensor:
    return rows.view(n, *space, rows.shape[1]).permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """In channels-last memory; PyTorch alone reads one channel as contiguous and would
    leave the fast path for the whole network."""
    if x.shape[1] == 1:
        return x.contiguous().view(len(x), *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


# -- the three values -------------------------------------------------------------------------
def _convolve(x: Tensor, w: Tensor, b: Tensor | None, geo: Geometry) -> Tensor:
    o, c = w.shape[:2]
    if geo.heavy(c, o):
        return _maps(F.linear(_columns(x, geo), _matrix(w, geo), b), len(x), geo.small)
    return F.conv2d(x, w, b, geo.stride, geo.padding, 1, geo.groups)


def _transpose(g: Tensor, w: Tensor, b: Tensor | None, geo: Geometry) -> Tensor:
    o, c = w.shape[:2]
    if geo.heavy(c, o) or (c <= _THIN and geo.groups == 1):
        y = _spread(_rows(g) @ _matrix(w, geo), geo)
        return y if b is None else y.add_(b[:, None, None])
    return F.conv_transpose2d(g, w, b, geo.stride, geo.padding, geo.extra, geo.groups)


def _weight(x: Tensor, g: Tensor, geo: Geometry) -> Tensor:
    o, c = g.shape[1], x.shape[1] // geo.groups
    if geo.heavy(c, o) or (geo.pointwise and geo.groups == 1):
        (kh, kw), taps = geo.kernel, geo.taps
        w = (_rows(g).t() @ _columns(x, geo)).view(o, *taps, c)
        return w[:, :kh, :kw].permute(0, 3, 1, 2)
    shape = x.new_empty(o, *geo.kernel, c).permute(0, 3, 1, 2)
    return torch.ops.aten.convolution_backward.default(
        g, x, shape, None, geo.stride, geo.padding, (1, 1), False, (0, 0), geo.groups,
        (False, True, False),
    )[1]  # fmt: skip


# -- and their derivatives --------------------------------------------------------------------
class _Node(torch.autograd.Function):
    """A value, and how a gradient reaches the arguments."""

    @staticmethod
    def forward(
        ctx: Any, value: Callable[[], Tensor], back: Callable[[Tensor], Any], *arguments: Tensor
    ) -> Tensor:
        ctx.back = back
        return value().data  # no view, so that an activation may work in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, None, *ctx.back(grads[0])


def _twice(g: Tensor) -> tuple[Tensor, Tensor]:
    return g, g


class _Form(ABC):
    """T with two of its arguments, a and b (a weight's bias belongs to it). The engine is to
    run the derivatives that were asked for and no others, which one node for all arguments
    does not offer. So each argument has a node of its own, of no memory, and a third has the
    value."""

    def __init__(self, a: Tensor, b: Tensor, bias: Tensor | None, geo: Geometry) -> None:
        self.a, self.b, self.bias, self.geo = a, b, bias, geo
        self.versions = a._version, b._version

    @abstractmethod
    def value(self) -> Tensor: ...

    @abstractmethod
    def to_a(self, g: Tensor) -> Tensor:
        """The derivative to a, in g and b."""

    @abstractmethod
    def to_b(self, g: Tensor) -> Tensor:
        """The derivative to b, in a and g."""

    def __call__(self) -> Tensor:
        bias = self.bias
        for_a = self.a.requires_grad
        for_b = self.b.requires_grad or (bias is not None and bias.requires_grad)
        if not (torch.is_grad_enabled() and (for_a or for_b)):
            return self.value()
        rest = (self.b,) if bias is None else (self.b, bias)
        if not for_b:
            return _Node.apply(self.value, self._back_a, self.a)  # type: ignore[return-value]
        if not for_a:
            return _Node.apply(self.value, self._back_b, *rest)  # type: ignore[return-value]
        with torch.no_grad():
            y = self.value().data
        empty = lambda: self.a.new_empty(()).expand(y.shape)  # noqa: E731
        a = _Node.apply(empty, self._back_a, self.a)
        b = _Node.apply(empty, self._back_b, *rest)
        return _Node.apply(lambda: y, _twice, a, b)  # type: ignore[return-value]

    def _back_a(self, g: Tensor) -> tuple[Tensor]:
        self._check()
        return (self.to_a(g),)

    def _back_b(self, g: Tensor) -> tuple[Tensor, ...]:
        self._check()
        w = self.to_b(g) if self.b.requires_grad else None
        return (w,) if self.bias is None else (w, g.sum((0, 2, 3)))  # type: ignore[return-value]

    def _check(self) -> None:
        if (self.a._version, self.b._version) != self.versions:
            raise RuntimeError("a convolution's input or weight was changed before its backward")


class _Convolution(_Form):
    """From maps and weight."""

    def value(self) -> Tensor:
        return _convolve(self.a, self.b, self.bias, self.geo)

    def to_a(self, g: Tensor) -> Tensor:
        return _Transposition(channels_last(g), self.b, None, self.geo)()

    def to_b(self, g: Tensor) -> Tensor:
        return _Weighting(self.a, channels_last(g), None, self.geo)()


class _Transposition(_Form):
    """From what flows back, and weight."""

    def value(self) -> Tensor:
        return _transpose(self.a, self.b, self.bias, self.geo)

    def to_a(self, g: Tensor) -> Tensor:
        return _Convolution(channels_last(g), self.b, None, self.geo)()

    def to_b(self, g: Tensor) -> Tensor:
        return _Weighting(channels_last(g), self.a, None, self.geo)()


class _DenseTransposition(_Transposition):
    """In memory of its own, as the layers after a layer want it; gradients go without."""

    def value(self) -> Tensor:
        return channels_last(super().value())


class _Weighting(_Form):
    """From maps and what flows back."""

    def value(self) -> Tensor:
        return _weight(self.a, self.b, self.geo)

    def to_a(self, g: Tensor) -> Tensor:
        return _Transposition(self.b, channels_last(g), None, self.geo)()

    def to_b(self, g: Tensor) -> Tensor:
        return _Convolution(self.a, channels_last(g), None, self.geo)()


def _ours(x: Tensor, w: Tensor) -> bool:
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    same = x.dtype == w.dtype and not torch.is_autocast_enabled(x.device.type)
    return x.device.type == "cpu" and same and not traced


def convolve(
    x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Pair, groups: int = 1
) -> Tensor:
    """(N, C, H, W) by (O, C / groups, *kernel) to (N, O, ...)."""
    if not _ours(x, w):
        return F.conv2d(x, w, b, stride, padding, 1, groups)
    large, kernel = (x.shape[2], x.shape[3]), (w.shape[2], w.shape[3])
    if len(w) <= _THIN and groups == 1 and stride == (1, 1) and kernel != (1, 1):
        # Few outputs: faster as the transpose of the flipped kernel.
        padding = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        return transpose(x, w.flip(2, 3).transpose(0, 1), b, stride, padding)
    geo = _geometry(large, None, kernel, stride, padding, groups)
    return _Convolution(channels_last(x), channels_last(w), b, geo)()


def transpose(
    x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Pair, extra: Pair = (0, 0)
) -> Tensor:
    """The adjoint: (N, O, h, w) by (O, C, *kernel) to (N, C, ...), with `extra` rows and
    columns at the end."""
    if not _ours(x, w):
        return F.conv_transpose2d(x, w, b, stride, padding, extra)
    small, kernel = (x.shape[2], x.shape[3]), (w.shape[2], w.shape[3])
    geo = _geometry(None, small, kernel, stride, padding, 1, extra)
    return _DenseTransposition(channels_last(x), channels_last(w), b, geo)()


# -- layers. A weight is looked at once: a spectral norm iterates at each look. ---------------
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
