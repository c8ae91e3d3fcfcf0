"""Penalties and regularisers against closed forms, finite differences, and each other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.families import family
from ganforge.objectives import make_objective, term
from ganforge.objectives.infogan import InfoGAN, features_of
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import TwoPlayer, slopes, squared_slopes
from ganforge.objectives.terms import off_diagonal, perturbed_slopes, pulling_away
from ganforge.spec import Batch, Spec

N = 6


class Linear(nn.Module):
    """D(x) = w.x, over any shape."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.double())

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": (x * self.w).flatten(1).sum(1), "features": x.flatten(1)}


class Square(nn.Module):
    """D(x) = |x|^2 / 2, whose gradient is x."""

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": x.flatten(1).square().sum(1) / 2}


class Fixed(nn.Module):
    """G makes the same whatever z is."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.x


def game_of(**options: object) -> TwoPlayer:
    game = make_objective("gan", latent=Latent(2), **options)
    assert isinstance(game, TwoPlayer)
    return game


def value(name: str, weight: float, nets: nn.ModuleDict, real: Tensor) -> Tensor:
    with draws.keyed(0, "penalty", torch.arange(len(real))):
        return term(name, weight)(game_of(), nets, Batch(real))


@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 3, 4), (2, 3, 2, 2)])
def test_a_linear_critic_has_the_slope_of_its_weights(shape: tuple[int, ...]) -> None:
    w = torch.randn(shape).double()
    norm = w.norm().item()
    real, fake = torch.randn(N, *shape).double(), torch.randn(N, *shape).double()
    nets = nn.ModuleDict({"G": Fixed(fake), "D": Linear(w)})
    for name, wanted in {
        "gp": (norm - 1) ** 2,
        "gp-data": (norm - 1) ** 2,
        "r1": norm**2 / 2,
        "r2": norm**2 / 2,
    }.items():
        for weight in (1.0, 0.3):
            got = value(name, weight, nets, real.clone()).item()
            assert got == pytest.approx(weight * wanted, rel=1e-6)


def test_the_gradient_penalty_looks_between_reals_and_forgeries() -> None:
    """Where D = |x|^2 / 2 the slope is |x|: at e * 0 + (1 - e) * 2 it is 2 (1 - e)."""
    real, fake = torch.zeros(N, 1).double(), torch.full((N, 1), 2.0).double()
    nets = nn.ModuleDict({"G": Fixed(fake), "D": Square()})
    with draws.keyed(0, "penalty", torch.arange(N)):
        Latent(2).draw(N)
        e = draws.uniform(N).double()
    wanted = (2 * (1 - e) - 1).square().mean().item()
    assert value("gp", 1.0, nets, real).item() == pytest.approx(wanted, rel=1e-6)


def test_the_data_penalty_looks_around_the_data() -> None:
    real = torch.randn(400, 2).double() * 3 + 1
    game, nets = game_of(), nn.ModuleDict({"D": Square()})
    with draws.keyed(0, "penalty", torch.arange(400)):
        found = perturbed_slopes(game, nets, Batch(real))
    with draws.keyed(0, "penalty", torch.arange(400)):
        u = draws.uniform(400, 2).double()
    x = real + 0.5 * real.std(correction=0) * u
    torch.testing.assert_close(found, x.norm(dim=1), rtol=1e-6, atol=1e-6)


def test_scores_of_patches_count_by_their_mean() -> None:
    w = torch.randn(4, 3).double()
    x = torch.randn(N, 3).double().requires_grad_()
    torch.testing.assert_close(slopes(x @ w.T, x), w.mean(0).norm().expand(N))
    torch.testing.assert_close(squared_slopes(x @ w.T, x), w.mean(0).square().sum().expand(N))


def test_a_slope_of_zero_has_a_finite_gradient() -> None:
    d = Linear(torch.zeros(3))
    nets = nn.ModuleDict({"G": Fixed(torch.randn(N, 3).double()), "D": d})
    value("gp", 1.0, nets, torch.randn(N, 3).double()).backward()
    assert d.w.grad is not None
    assert d.w.grad.isfinite().all()


@pytest.mark.parametrize("name", ["gp", "gp-data", "r1", "r2"])
def test_the_double_backward_agrees_with_finite_differences(name: str) -> None:
    d = family("mlp", width=7).critic((3,)).double()
    for m in d.modules():  # LeakyReLU's second derivative is 0 everywhere: use a curved one
        for key, child in list(m.named_children()):
            if isinstance(child, nn.LeakyReLU):
                setattr(m, key, nn.Tanh())
    nets = nn.ModuleDict({"G": Fixed(torch.randn(N, 3).double()), "D": d})
    real = torch.randn(N, 3).double()
    parameters = list(d.parameters())

    def penalty() -> Tensor:
        return value(name, 1.0, nets, real.clone())

    found = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    h = 1e-5
    for trial in range(3):
        torch.manual_seed(trial)
        way = [torch.randn_like(p) for p in parameters]
        ours = sum(float((g * w).sum()) for g, w in zip(found, way, strict=True) if g is not None)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for p, w in zip(parameters, way, strict=True):
                    p.add_(sign * h * w)
            ends.append(penalty().item())
            with torch.no_grad():
                for p, w in zip(parameters, way, strict=True):
                    p.sub_(sign * h * w)
        assert ours == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 64)])
def test_slopes_do_not_depend_on_the_batch(shape: tuple[int, ...]) -> None:
    """They would with a norm that mixes samples, which is why penalties take it out of D."""

    def apart(norm: str | None) -> float:
        torch.manual_seed(0)
        d = family("dcgan", width=4).critic(shape, norm=norm)
        with torch.no_grad():
            for p in d.parameters():
                p.mul_(20 if norm == "family" else 1)  # its N(0, .02^2) counts on the norm
        x = torch.randn(4, *shape).requires_grad_()
        together = slopes(d(x), x)
        alone = torch.cat([slopes(d(x[i : i + 1]), x)[i : i + 1] for i in range(4)])
        return ((together - alone).abs() / together).max().item()

    assert apart(None) < 1e-4
    assert apart("layer") < 1e-4
    assert apart("family") > 1e-2


def test_penalties_see_through_what_is_wrapped_around_d() -> None:
    """Augmentation is part of D: the slope is that with respect to the raw sample."""

    class Doubled(nn.Module):
        def __init__(self, d: nn.Module) -> None:
            super().__init__()
            self.d = d

        def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
            return self.d.outputs(2 * x, y)  # type: ignore[operator]

    w = torch.tensor([3.0, 4.0])
    real = torch.randn(N, 2).double()
    nets = nn.ModuleDict({"G": Fixed(real.clone()), "D": Doubled(Linear(w))})
    assert value("r1", 2.0, nets, real.clone()).item() == pytest.approx(100)


# -- the others -----------------------------------------------------------------------------
def test_pulling_away() -> None:
    assert pulling_away(torch.eye(4)).item() == pytest.approx(0)
    assert pulling_away(torch.ones(4, 3) * torch.arange(1, 5)[:, None]).item() == pytest.approx(1)
    s = torch.randn(5, 3)
    pairs = [
        (s[i] @ s[j] / (s[i].norm() * s[j].norm())) ** 2
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    assert pulling_away(s).item() == pytest.approx(sum(float(p) for p in pairs) / 20, rel=1e-5)


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_orthogonality(rows: int, columns: int, seed: int) -> None:
    """||W W^T * (1 - I)||^2, whichever of the two Gram matrices is the smaller."""
    net = nn.Linear(columns, rows).double()
    torch.manual_seed(seed)
    net.weight.data = w = torch.randn(rows, columns).double()
    gram = w @ w.T
    wanted = (gram * (1 - torch.eye(rows))).square().sum()
    assert off_diagonal(net).item() == pytest.approx(wanted.item(), rel=1e-9, abs=1e-12)


def test_orthogonality_counts_kernels_and_leaves_embeddings_alone() -> None:
    conv = nn.Conv2d(2, 3, 3)
    w = conv.weight.detach().flatten(1)
    wanted = ((w @ w.T) * (1 - torch.eye(3))).square().sum().item()
    both = nn.Sequential(conv, nn.Embedding(7, 5))
    assert off_diagonal(both).item() == pytest.approx(wanted, rel=1e-4)
    q = nn.Linear(6, 3, bias=False)
    nn.utils.parametrizations.spectral_norm(both[1])  # which moves its weight a module down
    assert off_diagonal(both).item() == pytest.approx(wanted, rel=1e-4)
    nn.init.orthogonal_(q.weight)
    assert off_diagonal(q).item() == pytest.approx(0, abs=1e-6)


def test_lecam_keeps_running_means() -> None:
    lecam, game = term("lecam", 2.0), game_of()
    batches = [([1.0, 3.0], [0.0, 0.0]), ([4.0, 4.0], [1.0, 3.0]), ([0.0, 0.0], [-5.0, 5.0])]
    means = (0.0, 0.0)
    for seen, (real, fake) in enumerate(batches, 1):
        now = (sum(real) / 2, sum(fake) / 2)
        means = tuple(m + (n - m) / seen for m, n in zip(means, now, strict=True))
        nets = nn.ModuleDict({"G": Fixed(torch.tensor(fake)[:, None]), "D": Linear(torch.ones(1))})
        got = lecam(game, nets, Batch(torch.tensor(real)[:, None])).item()
        wanted = sum(
            (r - means[1]) ** 2 + (f - means[0]) ** 2 for r, f in zip(real, fake, strict=True)
        )
        assert got == pytest.approx(2 * wanted / 2, rel=1e-5)


def test_l1_is_for_pairs() -> None:
    nets = nn.ModuleDict({"G": nn.Linear(2, 3), "D": Linear(torch.ones(3))})
    source, real = torch.randn(N, 2), torch.randn(N, 3)
    wanted = (nets["G"](source) - real).abs().mean()
    got = term("l1", 100.0)(game_of(), nets, Batch(real, source=source))
    assert got.item() == pytest.approx(100 * wanted.item(), rel=1e-5)
    with pytest.raises(UserError, match="starts from noise"):
        term("l1", 1.0)(game_of(), nets, Batch(real))


def test_the_source_term_keeps_what_is_made_near_its_source() -> None:
    nets = nn.ModuleDict({"G": nn.Linear(3, 3), "D": Linear(torch.ones(3))})
    source, real = torch.randn(N, 3), torch.randn(N, 3)
    wanted = (nets["G"](source) - source).abs().mean()
    got = term("source", 2.0)(game_of(), nets, Batch(real, source=source))
    assert got.item() == pytest.approx(2 * wanted.item(), rel=1e-5)
    for b in (Batch(real), Batch(real, source=torch.randn(N, 2))):
        with pytest.raises(UserError, match="same shape"):
            term("source", 1.0)(game_of(), nets, b)


def test_terms_share_what_the_loss_has_computed() -> None:
    """R1, R2, LeCam and the loss together run D once on reals and once on forgeries."""

    class Counts(Linear):
        calls = 0

        def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
            self.calls += 1
            return super().outputs(x, y)

    game = game_of()
    for name in ("r1", "r2", "lecam"):
        game.add(term(name, 1.0))
    d = Counts(torch.ones(2))
    nets = nn.ModuleDict({"G": Fixed(torch.randn(N, 2).double()), "D": d})
    game.movers()[0].loss(nets, Batch(torch.randn(N, 2).double()))
    assert d.calls == 2


def test_information_is_zero_for_a_blind_q_and_ln_k_for_a_sharp_one() -> None:
    latent = Latent(0, categorical=(10,))
    game = make_objective("infogan", latent=latent)

    z = torch.nn.functional.one_hot(torch.arange(40) % 10, 10).float()
    assert isinstance(game, InfoGAN)
    for sharpness, wanted in ((0.0, 0.0), (100.0, math.log(10))):
        log_q = game.log_q({"category0": sharpness * z}, z)["code0"]
        assert log_q.mean().item() + math.log(10) == pytest.approx(wanted, abs=1e-5)


def test_infogans_d_moves_for_v_alone_and_q_with_g() -> None:
    game = make_objective("infogan", latent=Latent(2, categorical=(3,)))
    nets = game.networks(family("mlp", width=8), Spec((2,)))
    d, g = game.movers()
    assert (d.nets, g.nets) == (("D",), ("G", "Q"))
    real = torch.randn(N, 2)
    with draws.keyed(0, "move", torch.arange(N)):
        assert set(d.loss(nets, Batch(real.clone()))) == {"real", "fake"}
        said = g.loss(nets, Batch(real.clone()))
    assert set(said) == {"adv", "code0"}
    said["code0"].backward()
    for name in ("G", "Q"):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in nets[name].parameters())


def test_q_needs_features() -> None:
    class Mute(nn.Module):
        def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
            return {"score": x[:, 0]}

    with pytest.raises(UserError, match="features"):
        features_of(Mute(), Spec((2,)))


def test_a_continuous_code_has_bounded_information() -> None:
    """However sure Q is, it is worth ln 2 + ln N(0; 0, 0.01) = 2.08 nats at most."""
    from ganforge.objectives.infogan import gaussian

    c = torch.zeros(1, 1)
    most = gaussian(c, c, torch.full((1, 1), -1e4)).item() + math.log(2)
    assert most == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi * 0.01), abs=1e-4)


def test_ebgan_at_equilibrium_is_worth_the_margin() -> None:
    """Where p = q and D's energy is one number in [0, m], D's loss is m."""
    for energy in (0.0, 1.3, 2.0):

        class Same(nn.Module):
            def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
                return {"score": 0 * x[:, 0] + energy}  # noqa: B023

        game = make_objective("ebgan", latent=Latent(1), margin=2.0)
        nets = nn.ModuleDict({"G": Fixed(torch.zeros(N, 1)), "D": Same()})
        terms = game.players()[0].loss(nets, Batch(torch.zeros(N, 1)))
        assert sum(t.item() for t in terms.values()) == pytest.approx(2.0)


def test_families_critics_carry_every_penalty() -> None:
    """A second derivative exists and is not zero through each layer of the small families."""
    for name, shape in (("mlp", (2,)), ("dcgan", (1, 16, 16))):
        game = game_of()
        nets = game.networks(family(name, width=4), Spec(shape))
        nets["D"] = family(name, width=4).critic(shape, norm=None)
        terms = {k: value(k, 1.0, nets, torch.randn(N, *shape)) for k in ("gp", "r1", "gp-data")}
        for key, penalty in terms.items():
            grads = torch.autograd.grad(penalty, list(nets["D"].parameters()), allow_unused=True)
            assert any(g is not None and g.abs().sum() > 0 for g in grads), (name, key)
