"""Every family over every kind of data: what all networks promise."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.families import FAMILIES, family, family_class
from ganforge.families.patch import Patch, WithPatches

SHAPES = [(2,), (1, 28, 28), (3, 32, 32), (3, 24, 40), (1, 17, 23), (1, 4096), (1, 8, 8, 8)]
SMALL = {"frogs": {"width": 8}, "biggan": {"width": 4, "embedding": 4}}
N, LATENT, CLASSES = 3, 13, 4
CRITICS = [n for n in FAMILIES if family(n).has("critic")]
GENERATORS = [n for n in FAMILIES if family(n).has("generator")]
AUTOENCODERS = [n for n in FAMILIES if family(n).has("autoencoder")]


def fits(name, shape):
    if len(shape) - 1 not in family(name).dims:
        return False
    return name != "frogs" or not any(s % 2 for s in shape[1:])


def cases(names):
    return [(n, s) for n in names for s in SHAPES if fits(n, s)]


def small(name, **options):
    return family(name, **({"width": 4} | SMALL.get(name, {}) | options))


def noise(shape, seed=0, dtype=torch.float32):
    x = torch.randn(N, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 3 else x


def labels():
    return torch.arange(N) % CLASSES


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("conditioning", [None, "concat", "projection"])
@pytest.mark.parametrize(("name", "shape"), cases(GENERATORS))
def test_generators(name, shape, conditioning):
    options = {"conditioning": conditioning} if conditioning else {}
    classes = CLASSES if conditioning else 0
    g = small(name, **options).generator(LATENT, shape, classes)
    z = noise((LATENT,))
    x = g(z, labels() if classes else None)
    assert x.shape == (N, *shape)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert x.std() > 0
    if len(shape) > 1:
        assert x.abs().max() <= 1
        assert g(100 * z, labels()).abs().max() <= 1
    else:
        assert g(1e4 * z, labels()).abs().max() > 1
    if classes:
        g.eval()
        assert not torch.equal(g(z, labels()), g(z, labels().flip(0)))
        with pytest.raises(UserError, match="labels"):
            g(z)
    else:
        g.eval()
        assert torch.equal(g(z), g(z, labels()))  # a label without meaning is ignored


@pytest.mark.parametrize("conditioning", [None, "concat", "projection"])
@pytest.mark.parametrize(("name", "shape"), cases(CRITICS))
def test_critics(name, shape, conditioning):
    options = {"conditioning": conditioning} if conditioning else {}
    classes = CLASSES if conditioning else 0
    x, y = noise(shape), labels()
    for norm in ("family", "layer", None):
        d = small(name, **options).critic(shape, classes, {"code": 5, "label": 2}, norm)
        d.eval()
        out = d.outputs(x, y)
        assert list(out) == ["score", "features", "code", "label"]
        patches = out["score"].shape[1:]
        assert out["score"].shape == (N, *patches)
        assert len(patches) == issubclass(family_class(name), Patch | WithPatches)
        assert out["features"].dim() == 2
        assert out["code"].shape == (N, 5)
        assert out["label"].shape == (N, 2)
        assert all(torch.isfinite(v).all() for v in out.values())
        assert torch.allclose(d(x, y), out["score"])
        if classes:
            assert not torch.equal(d(x, y), d(x, y.flip(0)))
            with pytest.raises(UserError, match="labels"):
                d(x)


@pytest.mark.parametrize(("name", "shape"), cases(AUTOENCODERS))
@pytest.mark.parametrize("code", [None, 5])
def test_autoencoders(name, shape, code):
    d = small(name).autoencoder(shape, code)
    x = noise(shape)
    assert d(x).shape == x.shape
    assert d.encode(x).dim() == 2
    assert code is None or d.encode(x).shape == (N, code)


@pytest.mark.parametrize(("name", "shape"), cases(CRITICS))
def test_critics_without_norm_judge_each_sample_by_itself(name, shape):
    """In training too: the draws of dropout and phase shuffle belong to the sample."""
    d = small(name).critic(shape, norm=None).double()
    other = copy.deepcopy(d)  # a spectral norm moves on at each pass
    x = noise(shape, dtype=torch.float64)
    index = torch.tensor([5, 0, 9])
    with draws.keyed(0, "x", index):
        together = d(x)
    with draws.keyed(0, "x", index[1:2]):
        alone = other(x[1:2])
    assert torch.allclose(together[1:2], alone)


@pytest.mark.parametrize(("name", "shape"), [c for c in cases(CRITICS) if len(c[1]) < 4])
def test_critics_without_norm_differentiate_twice(name, shape):
    """The gradient penalty's own gradient, against a finite difference."""
    d = small(name).critic(shape, norm=None).double().eval()
    x = noise(shape, dtype=torch.float64).requires_grad_()
    parameters = [p for p in d.parameters() if p.requires_grad]
    direction = [torch.randn_like(p) for p in parameters]

    def penalty():
        (g,) = torch.autograd.grad(d(x).square().sum(), x, create_graph=True)
        return g.square().sum()

    found = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    exact = sum((g * v).sum() for g, v in zip(found, direction, strict=True) if g is not None)
    step, values = 1e-9, []  # so small that it hardly ever crosses a kink of relu
    for sign in (1, -2):
        with torch.no_grad():
            for p, v in zip(parameters, direction, strict=True):
                p.add_(v, alpha=sign * step)
        values.append(penalty().item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(exact), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("name", "shape"), [c for c in cases(GENERATORS) if len(c[1]) < 4])
def test_generators_differentiate(name, shape):
    g = small(name).generator(LATENT, shape).double()
    g(noise((LATENT,), dtype=torch.float64))
    g.eval()
    z = noise((LATENT,), 1, torch.float64).requires_grad_()
    (found,) = torch.autograd.grad(g(z).sum(), z)
    v = torch.randn_like(z)
    with torch.no_grad():
        numeric = (g(z + 1e-6 * v).sum() - g(z - 1e-6 * v).sum()) / 2e-6
    assert numeric.item() == pytest.approx((found * v).sum().item(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 24, 40)])
def test_pictures_stay_in_channels_last_memory(name, shape):
    if not fits(name, shape):
        return
    made = small(name)
    nets = [made.critic(shape, CLASSES)]
    if made.has("generator"):
        nets.append(made.generator(LATENT, shape, CLASSES))
    strayed = []

    def look(module, args, out, where):
        if out.dim() == 4 and not out.permute(0, 2, 3, 1).is_contiguous():
            strayed.append((where, tuple(out.shape), out.stride()))

    for net in nets:
        net.to(memory_format=torch.channels_last)
        for where, module in net.named_modules():
            if not list(module.children()):
                module.register_forward_hook(partial(look, where=where))
    x = noise(shape).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    nets[0](x, labels())
    for g in nets[1:]:
        assert g(noise((LATENT,)), labels()).permute(0, 2, 3, 1).is_contiguous()
    assert strayed == []


@pytest.mark.parametrize("name", CRITICS)
def test_forward_leaves_torch_s_own_generator_alone(name):
    shape = (1, 256) if name == "wavegan" else (3, 16, 16)
    made = small(name)
    nets = [(made.critic(shape), noise(shape))]
    if made.has("generator"):
        nets.append((made.generator(LATENT, shape), noise((LATENT,))))
    before = torch.get_rng_state()
    with draws.keyed(0, "x", torch.arange(N)):
        for net, x in nets:
            net(x)
    assert torch.equal(before, torch.get_rng_state())


def trained(net, *args):
    """The network after two plain steps."""
    parameters = list(net.parameters())
    for _ in range(2):
        with draws.keyed(0, "x", torch.arange(N)):
            loss = net(*args).square().mean()
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for p, g in zip(parameters, grads, strict=True):
                if g is not None:
                    p.sub_(g, alpha=1e-2)
    return net


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("kind", ["critic", "generator"])
def test_the_state_is_all_in_the_state_dict(name, kind):
    """A restored network goes on exactly as the one that was saved."""
    made = small(name)
    if not made.has(kind):
        return
    shape = (1, 256) if name == "wavegan" else (3, 16, 16)

    def build():
        return made.critic(shape) if kind == "critic" else made.generator(LATENT, shape)

    args = (noise(shape if kind == "critic" else (LATENT,)),)
    one = trained(build(), *args)
    two = build()
    two.load_state_dict({k: v.clone() for k, v in one.state_dict().items()})
    average = copy.deepcopy(one).eval()
    assert torch.equal(average(*args), copy.deepcopy(one).eval()(*args))
    before = {k: v.clone() for k, v in average.state_dict().items()}
    average(*args)
    assert all(torch.equal(before[k], v) for k, v in average.state_dict().items())
    one, two = trained(one, *args), trained(two, *args)
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


@pytest.mark.parametrize("name", CRITICS)
def test_no_parameter_idles(name):
    made = small(name, conditioning="projection")
    shape = (1, 256) if name == "wavegan" else (3, 32, 32)
    nets: list[tuple[nn.Module, torch.Tensor]] = [
        (made.critic(shape, CLASSES, norm=n), noise(shape)) for n in ("family", None)
    ]
    if made.has("generator"):
        nets.append((made.generator(LATENT, shape, CLASSES), noise((LATENT,))))
    for net, x in nets:
        net(x, labels()).square().sum().backward()
        assert [k for k, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("norm", ["family", None])
def test_connected_layers_of_dcgan(norm: str | None) -> None:
    made = {h: family("dcgan", width=8, hidden=h) for h in (0, 6)}
    x, z = torch.randn(4, 1, 16, 16), torch.randn(4, 5)
    d = made[6].critic((1, 16, 16), norm=norm)
    assert d.outputs(x)["features"].shape == (4, 6)
    assert made[6].generator(5, (1, 16, 16))(z).shape == x.shape
    for kind in ("generator", "critic"):  # checkpoints from before there were any still fit
        given = (5, (1, 16, 16)) if kind == "generator" else ((1, 16, 16),)
        bare = getattr(made[0], kind)(*given).state_dict()
        assert not any("hidden" in k for k in bare)
