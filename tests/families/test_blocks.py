"""The building blocks against PyTorch's own, by themselves and over several processes."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ganforge import draws
from ganforge.families import convolution
from ganforge.families.blocks import (
    BatchNorm,
    Dropout,
    SelfAttention,
    bounded,
    deconv,
    doubling,
    down,
    halvings,
    pixel_shuffle,
    to_maps,
    to_vector,
    up,
)
from ganforge.families.wavegan import PhaseShuffle


# -- convolutions -----------------------------------------------------------------------------
def _second(y, x, layer):
    (gx,) = torch.autograd.grad(y.tanh().sum(), x, create_graph=True)
    wanted = [x, layer.weight, layer.bias]
    return torch.autograd.grad(gx.square().sum(), wanted, retain_graph=True)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolutions_equal_pytorch_s_however_they_are_computed(data):
    """Values, first and second derivatives, by columns and by oneDNN."""
    integer = lambda a, b: data.draw(st.integers(a, b))  # noqa: E731
    dims, kernel, stride = integer(1, 2), integer(1, 6), integer(1, 4)
    padding, c, o = integer(0, (kernel - 1) // 2), integer(1, 6), integer(1, 6)
    space = [integer(kernel, 9) for _ in range(dims)]
    heavy = data.draw(st.sampled_from([1, 2**15]))
    ours = {1: convolution.Conv1d, 2: convolution.Conv2d}[dims]
    theirs = {1: nn.Conv1d, 2: nn.Conv2d}[dims]
    ours_t = {1: convolution.ConvTranspose1d, 2: convolution.ConvTranspose2d}[dims]
    theirs_t = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}[dims]
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_HEAVY", heavy)
        a, b = (k(c, o, kernel, stride, padding).double() for k in (ours, theirs))
        b.load_state_dict(a.state_dict())
        x = torch.randn(2, c, *space, dtype=torch.float64, requires_grad=True)
        y, z = a(x), b(x)
        assert torch.allclose(y, z)
        for p, q in zip(_second(y, x, a), _second(z, x, b), strict=True):
            assert torch.allclose(p, q)
        extra = [s - ((n - 1) * stride - 2 * padding + kernel)
                 for s, n in zip(space, y.shape[2:], strict=True)]  # fmt: skip
        a, b = (k(o, c, kernel, stride, padding, extra).double() for k in (ours_t, theirs_t))
        b.load_state_dict(a.state_dict())
        g = y.detach().requires_grad_()
        assert torch.allclose(a(g), b(g))
        for p, q in zip(_second(a(g), g, a), _second(b(g), g, b), strict=True):
            assert torch.allclose(p, q)


@pytest.mark.parametrize(
    ("layer", "space"),
    [
        (convolution.Conv2d(8, 1, 3, 1, 1), (8, 8)),  # few channels
        (convolution.ConvTranspose2d(8, 3, 4, 2, 1), (4, 4)),
        (convolution.Conv2d(128, 256, 4, 2, 1), (8, 8)),  # a large weight on small maps
        (convolution.ConvTranspose2d(256, 128, 4, 2, 1), (4, 4)),
    ],
)
def test_columns_are_used_where_they_pay(layer, space, monkeypatch):
    calls = []
    for name in ("_columns", "_spread"):
        kind = getattr(convolution, name)
        monkeypatch.setattr(convolution, name, lambda *a, f=kind: calls.append(1) or f(*a))
    layer(torch.randn(2, layer.in_channels, *space))
    assert calls


def test_deconv_reaches_the_size_it_is_asked_for():
    for small, large in (([7], [14]), ([7, 5], [15, 10]), ([2, 3, 4], [4, 7, 8])):
        layer = deconv(2, 3, 4, 2, (small, large))
        assert layer(torch.randn(1, 2, *small)).shape == (1, 3, *large)


# -- shapes -----------------------------------------------------------------------------------
def test_pyramids():
    assert halvings((28, 28)) == [(28, 28), (14, 14), (7, 7)]
    assert halvings((24, 40)) == [(24, 40), (12, 20), (6, 10)]
    assert halvings((45,))[-1] == (5,)
    assert doubling(3, 6) == [3, 6, 12, 24, 24, 24]


def test_vectors_and_maps_are_views_of_channels_last_memory():
    v = torch.randn(2, 3 * 4 * 5)
    maps = to_maps(v, 5, (3, 4))
    assert maps.shape == (2, 5, 3, 4)
    assert maps.data_ptr() == v.data_ptr()
    back = to_vector(maps)
    assert torch.equal(back, v)
    assert back.data_ptr() == v.data_ptr()


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle(dims, factor):
    x = torch.randn(2, 2 * factor**dims, *range(3, 3 + dims))
    y = pixel_shuffle(x, factor)
    assert y.shape == (2, 2, *(factor * s for s in x.shape[2:]))
    # Adding dimensions of size 1 does not change what a lower dimension does.
    for channel in range(2):
        for offset in range(factor**dims):
            taken, rest = [], offset
            for _ in range(dims):
                taken.append(rest % factor)
                rest //= factor
            picked = y[(slice(None), channel, *(slice(t, None, factor) for t in taken[::-1]))]
            assert torch.equal(picked, x[:, channel * factor**dims + offset])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_resampling_keeps_constants_and_slopes(dims):
    space = (4, 5, 6)[:dims]
    x = torch.full((1, 2, *space), 3.0)
    large = tuple(2 * s for s in space)
    for mode in ("nearest", "linear"):
        assert torch.allclose(up(x, large, mode), torch.tensor(3.0))
        assert up(x, large, mode).shape == (1, 2, *large)
    ramp = torch.arange(8.0).expand(1, 1, *[2] * (dims - 1), 8)
    assert torch.allclose(down(ramp)[..., :], torch.tensor([0.5, 2.5, 4.5, 6.5]))
    assert torch.allclose(
        up(ramp, (*[4] * (dims - 1), 16), "linear")[..., 1:-1].diff(), torch.tensor(0.5)
    )


# -- layers -----------------------------------------------------------------------------------
@pytest.mark.parametrize("space", [(), (7,), (4, 5), (2, 3, 4)])
def test_batch_norm_is_pytorch_s(space):
    torch.manual_seed(0)
    ours = BatchNorm(3)
    theirs = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[
        len(space)
    ](3)
    for _ in range(3):
        x = torch.randn(5, 3, *space) * 2 + 1
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_conditional_batch_norm_has_gain_and_bias_by_condition():
    torch.manual_seed(0)
    norm = BatchNorm(3, condition=2)
    x, c = torch.randn(6, 3, 4, 4), F.one_hot(torch.tensor([0, 1, 0, 1, 1, 0]), 2).float()
    plain = BatchNorm(3)(x)
    gain, bias = norm.affine.weight.t()[:, :3], norm.affine.weight.t()[:, 3:]
    wanted = plain * (1 + c @ gain)[..., None, None] + (c @ bias)[..., None, None]
    assert torch.allclose(norm(x, c), wanted, atol=1e-5)


def test_dropout_is_keyed_by_sample():
    drop, x = Dropout(0.4), torch.ones(6, 500)
    index = torch.arange(6)
    with draws.keyed(0, "x", index):
        whole = drop(x)
    with draws.keyed(0, "x", index[4:]):
        part = drop(x[4:])
    assert torch.equal(whole[4:], part)
    assert torch.allclose(whole.unique(), torch.tensor([0, 1 / 0.6]))
    assert (whole == 0).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("dims", [1, 2])
def test_self_attention_starts_as_the_identity(dims):
    layer, x = SelfAttention(dims, 16), torch.randn(2, 16, *[6] * dims)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(1)
    moved = x.clone()
    moved[0, :, 0] += 1
    assert (layer(moved) - layer(x))[0, :, -1].abs().max() > 0  # every place sees every other
    assert torch.allclose(layer(moved)[1], layer(x)[1], atol=1e-6)


def test_phase_shuffle_moves_and_reflects():
    layer, x = PhaseShuffle(2), torch.arange(8.0).expand(64, 3, 8)
    padded = F.pad(x, (2, 2), mode="reflect")
    shifted = torch.stack([padded[..., i : i + 8] for i in range(5)])
    with draws.keyed(0, "x", torch.arange(64)):
        y = layer(x)
    match = (shifted == y).flatten(2).all(2)
    assert match.any(0).all()
    assert match.sum(1).min() > 3  # every shift occurs
    assert torch.equal(layer.eval()(x), x)


def test_bounded_lets_back_what_has_left_and_nothing_further_out():
    x = torch.tensor([-3.0, -3.0, 0.5, 0.5, 2.0, 2.0], requires_grad=True)
    y = bounded(x)
    assert y.tolist() == [-1.0, -1.0, 0.5, 0.5, 1.0, 1.0]
    (y * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])).sum().backward()
    assert x.grad is not None
    # Down its gradient -3 falls (it has to rise), 2 falls (good), 2 rises (no further).
    assert x.grad.tolist() == [0.0, -1.0, 1.0, -1.0, 1.0, 0.0]


# -- several processes ------------------------------------------------------------------------
def _case():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, 4, 5, generator=g, dtype=torch.float64) * 3 + 50
    weight = torch.randn(7, 3, 4, 5, generator=g, dtype=torch.float64)
    return x, F.one_hot(torch.arange(7) % 2, 2).double(), weight


def _norms():
    torch.manual_seed(0)
    return [BatchNorm(3).double(), BatchNorm(3, condition=2).double()]


def _play(part):
    """Two passes of each norm over a part of the batch: values, input gradients, second
    derivatives, parameter gradients, running statistics."""
    x, c, weight = (t[part] for t in _case())
    found = []
    for norm in _norms():
        for _ in range(2):
            leaf = x.clone().requires_grad_()
            y = norm(leaf, c)
            loss = (y * weight).sum() + (y**3).sum()
            (gx,) = torch.autograd.grad(loss, leaf, create_graph=True)
            (ggx,) = torch.autograd.grad((gx**2).sum(), leaf, retain_graph=True)
            loss.backward(inputs=list(norm.parameters()))
            found.append(([y.detach(), gx.detach(), ggx], [p.grad for p in norm.parameters()],
                          [norm.running_mean.clone(), norm.running_var.clone()]))  # fmt: skip
    return found


def _rank(rank, world, file):
    torch.set_num_threads(1)
    one = _play(slice(None))
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    part = slice(rank * 7 // world, (rank + 1) * 7 // world)
    for alone, ours in zip(one, _play(part), strict=True):
        for a, b in zip(alone[0], ours[0], strict=True):
            torch.testing.assert_close(a[part], b, rtol=1e-7, atol=1e-8)
        for a, b in zip(alone[1], ours[1], strict=True):
            total = b.clone()
            dist.all_reduce(total)
            torch.testing.assert_close(a, total, rtol=1e-7, atol=1e-8)
        for a, b in zip(alone[2], ours[2], strict=True):
            torch.testing.assert_close(a, b)
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [3])
def test_batch_norm_over_processes_is_that_of_one(world, tmp_path):
    """Uneven shares, means far from 0, and the second derivative too."""
    mp.spawn(_rank, (world, str(tmp_path / "meet")), nprocs=world)
