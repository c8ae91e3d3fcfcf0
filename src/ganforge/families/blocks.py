"""What networks are made of, over 1, 2 or 3 dimensions.

Memory-bound work is kept low: activations work in place where the layer before does not
save its output, and maps become vectors (and back) in the order in which channels-last
memory holds them, without a copy. All of it can be differentiated twice.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganforge import draws
from ganforge.errors import UserError
from ganforge.families.convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d

NORMS = ("family", "layer", None)

_CONV = {1: Conv1d, 2: Conv2d, 3: nn.Conv3d}
_DECONV = {1: ConvTranspose1d, 2: ConvTranspose2d, 3: nn.ConvTranspose3d}


# -- convolutions and linear maps -----------------------------------------------------------
def conv(
    dims: int,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    bias: bool = True,
) -> nn.Module:
    """A convolution over `dims` dimensions. Without `padding`, one of odd kernel and
    stride 1 keeps the size."""
    padding = (kernel - 1) // 2 if padding is None else padding
    return _CONV[dims](inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)


def deconv(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    sizes: tuple[Sequence[int], Sequence[int]],
    bias: bool = True,
) -> nn.Module:
    """A fractionally strided convolution from maps of `sizes[0]` to maps of `sizes[1]`."""
    small, large = sizes
    padding = (kernel - stride + 1) // 2
    spans = [(a - 1) * stride - 2 * padding + kernel for a in small]
    extra = tuple(b - a for a, b in zip(spans, large, strict=True))
    assert all(0 <= e < stride for e in extra), sizes
    layer = _DECONV[len(small)]
    return layer(inputs, outputs, kernel, stride, padding, output_padding=extra, bias=bias)  # type: ignore[arg-type]


def to_vector(x: Tensor) -> Tensor:
    """Maps (N, C, *space) to vectors (N, space * C): a view where memory is channels-last."""
    return x.movedim(1, -1).flatten(1)


def to_maps(x: Tensor, channels: int, space: Sequence[int]) -> Tensor:
    """Vectors (N, space * C) to channels-last maps (N, C, *space), a view."""
    return x.view(x.shape[0], *space, channels).movedim(-1, 1)


def halvings(space: Sequence[int], smallest: int = 4) -> list[tuple[int, ...]]:
    """The sizes of a pyramid, widest first: halved (rounding down) as long as each side
    keeps `smallest` or more. (28, 28), (14, 14), (7, 7)."""
    sizes = [tuple(space)]
    while min(sizes[-1]) // 2 >= smallest:
        sizes.append(tuple(s // 2 for s in sizes[-1]))
    return sizes


def doubling(width: int, stages: int, cap: int = 8) -> list[int]:
    """Channels by stage, widest resolution first: doubled at each, up to `cap` times."""
    return [width * min(2**i, cap) for i in range(stages)]


# -- resampling -----------------------------------------------------------------------------
def as_picture(x: Tensor) -> Tensor:
    """Sound (N, C, T) as pictures of one row, for which PyTorch has channels-last layers."""
    return x.unsqueeze(2) if x.dim() == 3 else x


def down(x: Tensor) -> Tensor:
    """Half the size, by the mean of each pair of neighbours in every dimension (which is
    what linear interpolation does); an odd last row is dropped."""
    if x.dim() == 3:
        return F.avg_pool2d(as_picture(x), (1, 2)).squeeze(2)
    return F.avg_pool2d(x, 2) if x.dim() == 4 else F.avg_pool3d(x, 2)


def up(x: Tensor, space: Sequence[int], mode: str = "nearest") -> Tensor:
    """Larger maps of size `space`, by "nearest" or (bi-, tri-) "linear" interpolation."""
    size = (1, *space) if len(space) == 1 else tuple(space)
    align = None
    if mode == "linear":
        mode, align = ("trilinear" if x.dim() == 5 else "bilinear"), False
    y = F.interpolate(as_picture(x), size=size, mode=mode, align_corners=align)
    return y.squeeze(2) if x.dim() == 3 else y


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """(N, C * factor^d, *space) to (N, C, *space * factor), over d dimensions (Shi et al.
    2016, arXiv 1609.05158)."""
    space = x.shape[2:]
    if len(space) == 2:
        return F.pixel_shuffle(x, factor)
    d = len(space)
    x = x.reshape(x.shape[0], -1, *[factor] * d, *space)
    order = [0, 1] + [axis for i in range(d) for axis in (2 + d + i, 2 + i)]
    return x.permute(order).reshape(x.shape[0], -1, *(s * factor for s in space))


# -- batch norm -----------------------------------------------------------------------------
class _AllReduce(torch.autograd.Function):
    """The sum over processes, differentiable as often as one likes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _AllReduce.apply(grads[0].contiguous())  # type: ignore[return-value]


_by_itself = False


@contextlib.contextmanager
def by_itself() -> Iterator[None]:
    """What one process does while the others go on: nothing is averaged over all."""
    global _by_itself
    before, _by_itself = _by_itself, True
    try:
        yield
    finally:
        _by_itself = before


def _several_processes() -> bool:
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return several and not _by_itself


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) of (N, C, *space).

    Statistics are those of the global batch: with several processes the sums pass through
    a differentiable all-reduce (gloo's or nccl's), so any number of processes computes
    what one would. With `condition` > 0 gain and bias are linear in a condition vector
    (N, condition), such as a one-hot label (Dumoulin et al. 2017, arXiv 1610.07629).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        condition: int = 0,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.weight = self.bias = self.affine = None
        if condition:
            self.affine = nn.Linear(condition, 2 * channels, bias=False)
        else:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        if x.dim() == 3:
            return self(as_picture(x), condition).squeeze(2)
        if self.training and _several_processes():
            x = self._synchronised(x)
        else:
            x = F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
        if self.affine is None:
            return x
        assert condition is not None
        gain, bias = self.affine(condition).view(x.shape[0], -1, *[1] * (x.dim() - 2)).chunk(2, 1)
        return torch.addcmul(bias, x, 1 + gain)

    def _synchronised(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        kind = self.running_mean.dtype
        var, mean = torch.var_mean(x.to(kind), axes, correction=0)
        # Moments about the running mean, which all processes share: no cancellation.
        mean = mean - self.running_mean
        count = mean.new_full((1,), x.numel() // x.shape[1])
        sums = torch.cat([count, mean * count, (var + mean.square()) * count])
        total = _AllReduce.apply(sums)
        n = total[0].detach()  # type: ignore[index]
        mean, square = (total[1:] / n).chunk(2)  # type: ignore[index]
        var = (square - mean.square()).clamp(min=0)
        mean = mean + self.running_mean
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (n / (n - 1)), self.momentum)
        scale = (var + self.eps).rsqrt()
        if self.weight is not None and self.bias is not None:
            scale = scale * self.weight
            shift = self.bias - mean * scale
        else:
            shift = -mean * scale
        return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(x.dtype)


def normalisation(norm: str | None, family: str | None) -> str | None:
    """Which norm a critic gets: "batch", "layer" or None. `norm` is what was asked for
    ("family", "layer", None), `family` what the family's paper has."""
    if norm not in NORMS:
        raise UserError(f"critic norm {norm!r} is unknown; choose 'family', 'layer' or none")
    return family if norm == "family" else norm


def normal_layer(kind: str | None, channels: int) -> nn.Module:
    """The layer of a norm as `normalisation` names it. Layer norm is over all of a sample
    with a gain and bias by channel, as Gulrajani et al. 2017 use it (arXiv 1704.00028)."""
    if kind is None:
        return nn.Identity()
    return BatchNorm(channels) if kind == "batch" else nn.GroupNorm(1, channels)


# -- other layers ---------------------------------------------------------------------------
class Maxout(nn.Module):
    """The largest of `pieces` linear maps (Goodfellow et al. 2013, arXiv 1302.4389)."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 5) -> None:
        super().__init__()
        self.pieces, self.linear = pieces, nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).max(2).values


class Dropout(nn.Module):
    """Dropout whose mask is keyed by the sample (see ganforge.draws), so that a resumed or
    distributed training drops the same units."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"dropout {p:g} does not fit; use a share from 0 to below 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        drawn = draws.uniform(len(x), *x.shape[1:], device=x.device)
        return x * (drawn >= self.p).to(x.dtype).mul_(1 / (1 - self.p))


class SelfAttention(nn.Module):
    """Attention between all places of maps (N, C, *space), added with a learned weight that
    starts at 0 (Zhang et al. 2019, arXiv 1805.08318); keys and values at half the size."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        inner, values = max(channels // 8, 1), max(channels // 2, 1)
        self.query = conv(dims, channels, inner, 1, bias=False)
        self.key = conv(dims, channels, inner, 1, bias=False)
        self.value = conv(dims, channels, values, 1, bias=False)
        self.out = conv(dims, values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.dim() - 3]
        query = self.query(x).flatten(2)
        key = pool(self.key(x), 2).flatten(2)
        value = pool(self.value(x), 2).flatten(2)
        weights = (query.transpose(1, 2) @ key).softmax(2)  # (N, places, places / 2^dims)
        mixed = (value @ weights.transpose(1, 2)).view(x.shape[0], -1, *x.shape[2:])
        return torch.addcmul(x, self.out(mixed), self.gamma)


class _Bounded(torch.autograd.Function):
    """Clamped to [-1, 1]. Outside, only a gradient that leads back passes: one that led
    further out would meet nothing that ever stops it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        outward = ((x > 1) & (gradient < 0)) | ((x < -1) & (gradient > 0))
        return gradient.masked_fill(outward, 0.0)


def bounded(x: Tensor) -> Tensor:
    """x clamped to [-1, 1]; what left the range can return."""
    return _Bounded.apply(x)  # type: ignore[return-value]


class Filling(nn.Module):
    """A translator that changes its source in the holes alone: the source's last channel is
    a mask, above 0 in holes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, source: Tensor) -> Tensor:
        return torch.where(source[:, -1:] > 0, self.net(source), source[:, :-1])


# -- spectral norm --------------------------------------------------------------------------
def spectralise(net: nn.Module) -> None:
    """Give every weight of a network spectral norm 1 (Miyato et al. 2018, arXiv
    1802.05957). The vectors of the power iteration, one at each training pass, are buffers:
    a checkpoint holds them and an averaged copy copies them; in evaluation they rest. To
    be called after the weights are initialised."""
    for m in list(net.modules()):
        if isinstance(m, nn.Linear | nn.Embedding | nn.modules.conv._ConvNd):
            spectral_norm(m)


# -- initial weights ------------------------------------------------------------------------
def weights(net: nn.Module) -> Iterable[nn.Module]:
    """The layers of a network that have a weight matrix."""
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    return (m for m in net.modules() if isinstance(m, kinds))


@torch.no_grad()
def init_normal(net: nn.Module, std: float = 0.02) -> None:
    """Weights from N(0, std^2), biases 0 (Radford et al. 2016)."""
    for m in weights(net):
        m.weight.normal_(0, std)  # type: ignore[operator, union-attr]
        if isinstance(m.bias, Tensor):
            m.bias.zero_()


@torch.no_grad()
def init_scaled(net: nn.Module, gain: float = math.sqrt(2 / 1.04)) -> None:
    """Weights from N(0, gain^2 / inputs of one output), biases 0, so that the variance of
    the signal is kept (He et al. 2015, arXiv 1502.01852). The gain is LeakyReLU .2's."""
    for m in weights(net):
        w = m.weight
        assert isinstance(w, Tensor)
        inputs = w[0].numel()
        if isinstance(m, nn.modules.conv._ConvTransposeNd):
            inputs = w.shape[0] // m.groups * w[0, 0].numel() // math.prod(m.stride)
        w.normal_(0, gain / math.sqrt(inputs))
        if isinstance(m.bias, Tensor):
            m.bias.zero_()
