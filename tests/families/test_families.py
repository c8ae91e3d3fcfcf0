"""What each family's own paper says of it."""

import pytest
import torch
from torch import nn

from ganforge.families import family
from ganforge.families.blocks import BatchNorm, Maxout, SelfAttention
from ganforge.families.r3gan import Block
from ganforge.families.resnet import DownBlock


def kinds(net, *types):
    return [m for m in net.modules() if isinstance(m, types)]


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("side", [16, 28, 32, 45, 64, 100, 256])
def test_dcgan_keeps_its_paper_s_guidelines(side):
    made = family("dcgan", width=8)
    g, d = made.generator(10, (3, side, side)), made.critic((3, side, side))
    # Strided convolutions only; no fully connected layer but the two ends.
    assert all(c.kernel_size == (4, 4) and c.stride == (2, 2) for c in kinds(d, nn.Conv2d))
    ups = kinds(g, nn.ConvTranspose2d)
    assert all(c.kernel_size == (4, 4) and c.stride == (2, 2) for c in ups)
    assert len(kinds(g, nn.Linear)) == len(kinds(d, nn.Linear)) == 1
    # Batch norm everywhere but G's output and D's input.
    assert len(kinds(g, BatchNorm)) == len(ups)
    assert len(kinds(d, BatchNorm)) == len(kinds(d, nn.Conv2d)) - 1
    assert all(m.negative_slope == 0.2 for m in kinds(d, nn.LeakyReLU))
    for m in (*ups, *kinds(d, nn.Conv2d)):
        assert m.weight.std().item() == pytest.approx(0.02, rel=0.2)
    # Channels double as the size halves, up to 8 times.
    widths = [c.out_channels for c in kinds(d, nn.Conv2d)]
    assert widths == [8 * min(2**i, 8) for i in range(len(widths))]
    assert g(torch.randn(2, 10)).shape == (2, 3, side, side)


def test_pacgan_s_toy_networks_by_options():
    made = family("mlp", width=400, depth=2, g_norm="batch", d_width=200, d_depth=1,
                  d_activation="maxout", pieces=5, init="normal")  # fmt: skip
    g, d = made.generator(2, (2,)), made.critic((2,))
    assert [(m.in_features, m.out_features) for m in kinds(g, nn.Linear)] == [
        (2, 400), (400, 400), (400, 2)
    ]  # fmt: skip
    assert len(kinds(g, nn.ReLU)) == len(kinds(g, BatchNorm)) == 2
    assert [(m.in_features, m.out_features) for m in kinds(d, nn.Linear)] == [(2, 1000), (200, 1)]
    assert len(kinds(d, Maxout)) == 1
    assert kinds(d, nn.Linear)[0].weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_an_mlp_of_no_depth_is_a_linear_critic():
    d = family("mlp", depth=0).critic((3,))
    x = torch.randn(4, 3, requires_grad=True)
    (g,) = torch.autograd.grad(d(x).sum(), x)
    assert torch.allclose(g, d.score.weight.expand(4, -1))


def test_frogs_has_the_book_s_parameters():
    made = family("frogs")
    assert count(made.generator(32, (3, 32, 32))) == 6_264_579
    assert count(made.critic((3, 32, 32))) == 790_913


def test_r3gan_starts_as_its_skips_and_has_no_norm():
    made = family("r3gan", width=8, group=4)
    d = made.critic((3, 32, 32))
    blocks = kinds(d, Block)
    assert len(blocks) == 8
    assert not kinds(d, BatchNorm, nn.GroupNorm)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(blocks[0](x), x)
    assert blocks[0].middle.groups == 4
    # Fixup: L^(-1/(2m-2)) with L blocks of m layers.
    gain = (2 / 1.04) ** 0.5 * 8 ** (-1 / 4)
    wide = family("r3gan", width=64).critic((3, 32, 32))
    w = kinds(wide, Block)[-1].first.weight
    assert w.std().item() == pytest.approx(gain / w[0].numel() ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", ["resnet", "biggan"])
def test_spectral_norm_bounds_every_weight(name):
    d = family(name, width=8).critic((3, 32, 32), 4)
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 3])
    for _ in range(30):
        d(x, y)
    d.eval()
    for m in kinds(d, nn.Linear, nn.Embedding, nn.Conv2d):
        assert torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.1)


def test_resnet_is_sngan_s_and_wgan_gp_s_at_32():
    d = family("resnet", width=256, d_width=128).critic((3, 32, 32))
    blocks = kinds(d, DownBlock)
    assert [b.shrink for b in blocks] == [True, True, False, False]
    assert {b.conv2.out_channels for b in blocks} == {128}
    g = family("resnet", width=256, d_width=128).generator(128, (3, 32, 32))
    assert count(g) == pytest.approx(4.07e6, rel=0.1)  # SNGAN's G at 32x32
    assert not [k for k in family("resnet", spectral=False).critic((3, 32, 32)).state_dict()
                if "original" in k]  # fmt: skip


@pytest.mark.parametrize(("side", "at"), [(32, 16), (64, 32), (128, 64), (256, 64)])
def test_biggan_attends_at_one_size(side, at):
    made = family("biggan", width=2, cap=4, embedding=4)
    for net in (made.generator(16, (3, side, side), 4), made.critic((3, side, side), 4)):
        (attention,) = kinds(net, SelfAttention)
        seen = []
        attention.register_forward_hook(lambda m, a, o, seen=seen: seen.append(a[0].shape[2:]))
        y = torch.tensor([0, 3])
        net(*((torch.randn(2, 16), y) if net.__class__.__name__ == "Synthesis"
              else (torch.randn(2, 3, side, side), y)))  # fmt: skip
        assert seen == [(at, at)]


def test_biggan_s_embedding_is_shared_and_z_is_skipped_to_every_block():
    g = family("biggan", width=4, embedding=4).generator(12, (3, 32, 32), 5).eval()
    assert len(kinds(g, nn.Embedding)) == 1
    z, y = torch.randn(1, 12), torch.tensor([1])
    for i in range(12):
        moved = z.clone()
        moved[0, i] += 1
        assert not torch.equal(g(z, y), g(moved, y))


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 33, 17), (1, 100)])
def test_unet_takes_any_size(norm, shape, resize):
    made = family("unet", width=4, norm=norm, dropout=0.5, resize=resize)
    g = made.translator((4, *shape[1:]), shape).eval()
    for space in (shape[1:], tuple(s + 5 for s in shape[1:]), tuple(2 * s for s in shape[1:])):
        out = g(torch.rand(2, 4, *space) * 2 - 1)
        assert out.shape == (2, shape[0], *space)
        assert out.abs().max() <= 1


@pytest.mark.parametrize("name", ["johnson", "unet"])
def test_interpolation_leaves_no_checkerboard(name):
    """A flat picture stays flat, away from its borders, with any weights."""
    x = torch.full((1, 3, 128, 128), 0.3)
    spread = {}
    for resize in (False, True):
        torch.manual_seed(0)
        made = family(name, width=8, depth=2, resize=resize).translator(x.shape[1:], x.shape[1:])
        for p in made.parameters():
            nn.init.normal_(p, 0, 0.2)
        out = made.eval()(x)[..., 56:72, 56:72]
        spread[resize] = out.std((2, 3)).max().item()
    assert spread[True] < 1e-3 < spread[False]


@pytest.mark.parametrize("block", ["residual", "rrdb"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (4, 3)])
def test_srresnet_enlarges_and_starts_near_interpolation(block, factor, channels):
    a, b = channels
    made = family("srresnet", width=8, depth=2, block=block)
    g = made.translator((a, 7, 10), (b, 7 * factor, 10 * factor))
    x = torch.rand(2, a, 7, 10) * 1.8 - 0.9
    out = g(x)
    assert out.shape == (2, b, 7 * factor, 10 * factor)
    base = x[:, :b].expand(-1, b, -1, -1)
    base = nn.functional.interpolate(base, scale_factor=factor, mode="bilinear")
    assert (out - base).square().mean() < 0.1
    assert g(torch.rand(1, a, 9, 5)).shape == (1, b, 9 * factor, 5 * factor)
    assert g(torch.ones(1, a, 6, 6)).abs().max() <= 1


def test_srresnet_s_bound_lets_gradients_through():
    g = family("srresnet", width=4, depth=1).translator((1, 8, 8), (1, 8, 8))
    x = torch.ones(1, 1, 8, 8)
    g(x).sum().backward()
    assert g.out.weight.grad is not None
    assert g.out.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("side", "patches"), [(256, 900), (64, 36), (32, 4), (28, 25), (8, 4)])
def test_patch_scores_each_patch(side, patches):
    d = family("patch", width=2).critic((3, side, side))
    assert d(torch.randn(2, 3, side, side)).shape == (2, patches)


def test_patch_of_three_layers_sees_70_places():
    d = family("patch", width=2).critic((1, 256, 256), norm=None).eval()
    x = torch.randn(1, 1, 256, 256, requires_grad=True)
    (g,) = torch.autograd.grad(d(x).view(30, 30)[15, 15], x)
    rows = g[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize("samples", [4096, 16384, 65536, 5000, 100])
def test_wavegan_s_lengths(samples):
    made = family("wavegan", width=2)
    g, d = made.generator(8, (2, samples)), made.critic((2, samples))
    x = g(torch.randn(2, 8))
    assert x.shape == (2, 2, samples)
    assert d(x).shape == (2,)
    if samples == 16384:
        assert [c.out_channels for c in kinds(d, nn.Conv1d)] == [2, 4, 8, 16, 32]
        assert g.body.start == 16
    assert all(c.kernel_size == (25,) and c.stride == (4,) for c in kinds(d, nn.Conv1d))
