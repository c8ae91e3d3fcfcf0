"""Losses and gradients equal those of single-file scripts that import nothing of ganforge,
to 1e-6, and the papers' formulas at hand-set scores."""

from __future__ import annotations

import ast
import math
from functools import partial
from typing import Any

import pytest
import torch
from oracles import EXAMPLES, Judge, Made, gradients, oracle
from torch import Tensor, nn

from ganforge import draws
from ganforge.objectives import OBJECTIVES, make_objective, term
from ganforge.objectives.began import mean_error
from ganforge.objectives.cut import Projections
from ganforge.objectives.ebgan import norm_of_error
from ganforge.objectives.energy import Energy
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Objective, TwoPlayer
from ganforge.objectives.terms import AUXILIARY
from ganforge.spec import Ask, Batch

N = 16
INDEX = torch.arange(100, 100 + N)


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(3)
    a, b = oracle(name).networks()
    return a.double(), b.double()


def play(game: Objective, nets: nn.ModuleDict, player: str, batch: Batch) -> Tensor:
    """A player's whole loss, with only its networks thawed, as the trainer has it."""
    mover = next(p for p in game.movers() if p.name == player)
    nets.requires_grad_(False)
    for name in mover.nets:
        nets[name].requires_grad_(True)
    with draws.keyed(0, "oracle", INDEX):
        return torch.stack(list(mover.loss(nets, batch).values())).sum()


def drawn(latent: Latent, *then: int) -> tuple[Tensor, Tensor]:
    """The same numbers once more: latents, then a uniform draw of shape (N, *then)."""
    with draws.keyed(0, "oracle", INDEX):
        return latent.draw(N).double(), draws.uniform(N, *then).double()


def equal(ours: Tensor, theirs: Tensor, net: nn.Module) -> None:
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-9)
    net.requires_grad_(True)
    mine, other = gradients(ours, net), gradients(theirs, net)
    assert sum(float(g.abs().sum()) for g in other) > 1e-3
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def real(features: int) -> Tensor:
    return (torch.randn(N, features, generator=torch.Generator().manual_seed(5)) * 2 + 1).double()


SIMPLE: list[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # game, script, the game's options, the script's for d_loss and for g_loss
    ("gan", "gan", {}, {}, {}),
    ("gan", "gan", {"saturating": True}, {}, {"saturating": True}),
    ("lsgan", "lsgan", {}, {}, {}),
    ("lsgan", "lsgan", {"a": -1.0, "b": 1.0, "c": 0.0}, {"a": -1.0, "b": 1.0}, {"c": 0.0}),
    ("wgan", "wgan", {}, {}, {}),
    ("wgan-gp", "wgan_gp", {}, {}, {}),
    ("wgan-gp", "wgan_gp", {"gp": 0.3}, {"weight": 0.3}, {}),
    ("dragan", "dragan", {}, {}, {}),
    ("dragan", "dragan", {"gp": 3.0, "k": 2.0}, {"weight": 3.0, "k": 2.0}, {}),
    ("hinge", "hinge", {}, {}, {}),
    ("rpgan", "rpgan", {}, {}, {}),
    ("rpgan", "rpgan", {"gamma": 0.2}, {"gamma": 0.2}, {}),
]


@pytest.mark.parametrize(("name", "script", "options", "for_d", "for_g"), SIMPLE)
def test_unconditional_games(name: str, script: str, options: Any, for_d: Any, for_g: Any) -> None:
    o, latent = oracle(script), Latent(2)
    g, d = networks(script)
    game = make_objective(name, latent=latent, **options)
    nets = nn.ModuleDict({"G": Made(g), "D": Judge(d)})
    x = real(o.data(1).shape[1])
    z, extra = drawn(latent, *{"dragan": (2,)}.get(name, ()))
    theirs = (extra,) if name in ("wgan-gp", "dragan") else ()
    equal(play(game, nets, "D", Batch(x.clone())), o.d_loss(d, g, x, z, *theirs, **for_d), d)
    pairs = (x,) if name == "rpgan" else ()
    equal(play(game, nets, "G", Batch(x.clone())), o.g_loss(d, g, *pairs, z, **for_g), g)


def test_wgan_clips_as_its_script_does() -> None:
    o = oracle("wgan")
    d = networks("wgan")[1]
    mine, theirs = Judge(d), networks("wgan")[1]
    make_objective("wgan", clip=0.05).players()[0].after(nn.ModuleDict({"D": mine}), {})  # type: ignore[misc]
    o.clip(theirs, 0.05)
    for a, b in zip(d.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert max(float(p.detach().abs().max()) for p in d.parameters()) == pytest.approx(0.05)


def test_cgan() -> None:
    o, latent, y = oracle("cgan"), Latent(2), torch.arange(N) % 3
    g, d = networks("cgan")
    game = make_objective("gan", latent=latent)
    nets = nn.ModuleDict({"G": Made(g, classes=True), "D": Judge(d, classes=True)})
    (z, _), x = drawn(latent), real(2)
    equal(play(game, nets, "D", Batch(x.clone(), y)), o.d_loss(d, g, x, y, z), d)
    equal(play(game, nets, "G", Batch(x.clone(), y)), o.g_loss(d, g, y, z), g)


@pytest.mark.parametrize("saturating", [False, True])
def test_acgan(saturating: bool) -> None:
    o, latent, y = oracle("acgan"), Latent(2), torch.arange(N) % 3
    g, d = networks("acgan")
    game = make_objective("gan", latent=latent, saturating=saturating)
    for name in AUXILIARY:
        game.add(term(name))
    judge = Judge(d, lambda said: {"score": said[0], "class": said[1]})
    nets = nn.ModuleDict({"G": Made(g, classes=True), "D": judge})
    (z, _), x = drawn(latent), real(2)
    equal(play(game, nets, "D", Batch(x.clone(), y)), o.d_loss(d, g, x, y, z), d)
    ours = play(game, nets, "G", Batch(x.clone(), y))
    equal(ours, o.g_loss(d, g, y, z, saturating=saturating), g)


def test_infogan() -> None:
    o, latent = oracle("infogan"), Latent(2, categorical=(4,), continuous=1)
    torch.manual_seed(3)
    g, d, q = (net.double() for net in o.networks())

    class Told(nn.Module):
        """Q as the game knows it."""

        def __init__(self) -> None:
            super().__init__()
            self.q = q

        def forward(self, features: Tensor) -> dict[str, Tensor]:
            kind, mean, raw = self.q(features)
            return {"category0": kind, "continuous": torch.stack([mean, raw], 1)}

    judge = Judge(d, lambda said: {"score": said[0], "features": said[1]})
    game = make_objective("infogan", latent=latent)
    nets = nn.ModuleDict({"G": Made(g), "D": judge, "Q": Told()})
    (z, _), x = drawn(latent), real(2)
    equal(play(game, nets, "D", Batch(x.clone())), o.d_loss(d, g, x, z), d)
    both = nn.ModuleList([g, q])
    equal(play(game, nets, "G", Batch(x.clone())), o.g_loss(d, g, q, z), both)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_ebgan(weight: float) -> None:
    o, latent = oracle("ebgan"), Latent(2)
    g, d = networks("ebgan")
    game = make_objective("ebgan", latent=latent, margin=1.5, pulling_away=weight)
    nets = nn.ModuleDict({"G": Made(g), "D": Energy(d, norm_of_error)})
    (z, _), x = drawn(latent), real(2)
    theirs = o.d_loss(d, g, x, z, margin=1.5)
    equal(play(game, nets, "D", Batch(x.clone())), theirs, d)
    equal(play(game, nets, "G", Batch(x.clone())), o.g_loss(d, g, z, weight=weight), g)


class Through(nn.Module):
    """A script's autoencoder that does not tell its code."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, code: Tensor) -> Tensor:
        return self.net(code)


def test_began() -> None:
    o, latent = oracle("began"), Latent(2)
    g, d = networks("began")
    game = make_objective("began", latent=latent, gamma=0.7, lambda_k=0.05)
    game.k.fill_(0.25)  # type: ignore[operator, union-attr]
    nets = nn.ModuleDict({"G": Made(g), "D": Energy(Through(d), partial(mean_error))})
    (z, _), x = drawn(latent), real(8)
    equal(play(game, nets, "D", Batch(x.clone())), o.d_loss(d, g, x, z, 0.25), d)
    equal(play(game, nets, "G", Batch(x.clone())), o.g_loss(d, g, z), g)


def test_began_balances_as_its_script_does() -> None:
    o = oracle("began")
    game = make_objective("began", gamma=0.7, lambda_k=0.3)
    d, g = game.players()
    assert d.after is not None
    assert g.after is not None
    k, empty = 0.0, nn.ModuleDict()
    for real_error, fake_error in ((1.0, 0.1), (0.9, 0.2), (3.0, 0.0), (3.0, 0.0), (0.5, 4.0)):
        d.after(empty, {"real": torch.tensor(real_error), "fake": torch.tensor(0.0)})
        g.after(empty, {"adv": torch.tensor(fake_error)})
        k = o.next_k(k, real_error, fake_error, 0.7, 0.3)
        state = game.state_dict()
        assert state["k"].item() == pytest.approx(k, abs=1e-6)
        wanted = o.measure(real_error, fake_error, 0.7)
        assert state["measure"].item() == pytest.approx(wanted, abs=1e-6)
    assert k == 0.0  # it was 1 before: both clips were met


def test_ae() -> None:
    o, latent = oracle("ae"), Latent(2)
    e, g = networks("ae")
    game = make_objective("ae", latent=latent, momentum=1.0)
    both = nn.ModuleDict({"E": Judge(e, lambda code: {"code": code}), "G": Made(g)})
    x = real(2)
    equal(play(game, both, "G", Batch(x)), o.loss_of(e, g, x), both)
    z = torch.randn(N, 2)
    mine = game.sample(both, Ask(z))
    torch.testing.assert_close(mine, o.sample(g, e(x), z.double()), rtol=1e-3, atol=1e-3)


def test_vae() -> None:
    o, latent = oracle("vae"), Latent(2)
    e, g = networks("vae")
    game = make_objective("vae", latent=latent, variance=0.3)
    split = Judge(e, lambda both: dict(zip(("mean", "spread"), both.chunk(2, 1), strict=True)))
    nets = nn.ModuleDict({"E": split, "G": Made(g)})
    x = real(2)
    with draws.keyed(0, "oracle", INDEX):
        noise = draws.normal(N, 2).double()
    bound, error = o.loss_of(e, g, x, noise, 0.3)
    ours = play(game, nets, "G", Batch(x))
    assert ours.item() == pytest.approx(bound.item(), rel=1e-6)
    equal(ours, bound, nets)
    follows = make_objective("vae", latent=latent, momentum=0.25)
    play(follows, nets, "G", Batch(x))
    variance = follows.state_dict()["variance"].item()
    assert variance == pytest.approx(0.01 + 0.25 * (error.item() - 0.01), rel=1e-5)


# -- games over sources ---------------------------------------------------------------------
def pairs() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(6, 2, generator=g), torch.randn(6, 2, generator=g)


def test_regression() -> None:
    script = oracle("regression")
    net = script.network()
    x, s = pairs()
    game = make_objective("regression")
    game.add(term("l1", 3.0))
    ours = play(game, nn.ModuleDict({"G": net}), "G", Batch(x.clone(), None, s.clone()))
    equal(ours, script.g_loss(net, x, s, l1=3.0), net)


class Scores(nn.Module):
    """A script's D as ganforge asks it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": self.net(x)}


@pytest.mark.parametrize(("cycle", "identity"), [(10.0, 0.5), (3.0, 0.0)])
def test_cyclegan(cycle: float, identity: float) -> None:
    script = oracle("cyclegan")
    torch.manual_seed(0)
    G, F, D, E = made = script.networks()
    nets = nn.ModuleDict({"G": G, "F": F, "D": Scores(D), "E": Scores(E)})
    x, s = pairs()
    game = make_objective("cyclegan", cycle=cycle, identity=identity, pool=0)
    ours = play(game, nets, "D", Batch(x.clone(), None, s.clone()))
    equal(ours, script.d_loss(made, x, s), nn.ModuleList([D, E]))
    ours = play(game, nets, "G", Batch(x.clone(), None, s.clone()))
    theirs = script.g_loss(made, x, s, cycle=cycle, identity=identity)
    equal(ours, theirs, nn.ModuleList([G, F]))


def test_cut() -> None:
    script = oracle("cut")
    torch.manual_seed(0)
    G = script.Translator()
    D = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4), nn.Flatten(0)
    )
    H = Projections([1, 16], 32)
    # In double precision: the places are compared in another order.
    nets = nn.ModuleDict({"G": G, "D": Scores(D), "H": H}).double()
    x, s = (t.double() for t in script.data(16))
    game = make_objective("cut", nce=2.0, tau=0.1, patches=64)  # all 64 places
    ours = play(game, nets, "D", Batch(x.clone(), None, s.clone()))
    equal(ours, script.d_loss(D, G, x, s), D)
    ours = play(game, nets, "G", Batch(x.clone(), None, s.clone()))
    theirs = script.g_loss(D, G, G.maps, H.layers, x, s, nce=2.0, tau=0.1)
    equal(ours, theirs, nn.ModuleList([G, H]))


def test_every_game_has_a_script_that_stands_alone() -> None:
    scripts = {p.stem.removeprefix("oracle_") for p in EXAMPLES.glob("oracle_*.py")}
    assert {name.replace("-", "_") for name in OBJECTIVES} <= scripts
    for name in scripts:
        text = (EXAMPLES / f"oracle_{name}.py").read_text()
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert {i.split(".")[0] for i in imported} <= {"torch", "math", "itertools"}
        assert len(text.splitlines()) <= 110


@pytest.mark.parametrize(
    "name", ["gan", "wgan_gp", "infogan", "began", "ae", "regression", "cyclegan", "cut"]
)
def test_scripts_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    oracle(name).main(turns=5, batch=8)
    assert "turn     5" in capsys.readouterr().out


# -- formulas at hand-set scores ------------------------------------------------------------
class Say(nn.Module):
    """D's score is the sample itself."""

    def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        return {"score": x[:, 0]}


class Forge(nn.Module):
    """G makes what it is told."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x.view(-1, 1).double())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.x


def at(name: str, on_real: list[float], on_fake: list[float], **options: Any) -> tuple[dict, dict]:
    """The terms of both players where D says these scores."""
    game = make_objective(name, **options)
    assert isinstance(game, TwoPlayer)
    nets = nn.ModuleDict({"G": Forge(torch.tensor(on_fake)), "D": Say()})
    x = torch.tensor(on_real, dtype=torch.float64).view(-1, 1)
    d = {k: v.item() for k, v in game.d_loss(nets, Batch(x.clone())).items()}
    g = {k: v.item() for k, v in game.g_loss(nets, Batch(x.clone())).items()}
    return d, g


def slope(name: str, score: float, **options: Any) -> float:
    """|d loss_G / d score| of one forgery."""
    game = make_objective(name, **options)
    assert isinstance(game, TwoPlayer)
    forge = Forge(torch.tensor([score]))
    batch = Batch(torch.zeros(1, 1, dtype=torch.float64))
    loss = sum(game.g_loss(nn.ModuleDict({"G": forge, "D": Say()}), batch).values())
    (g,) = torch.autograd.grad(loss, forge.x)  # type: ignore[arg-type]
    return abs(g.item())


def sp(s: float) -> float:
    return math.log1p(math.exp(s))


def test_formulas() -> None:
    d, g = at("gan", [2.0, -1.0], [0.5, 3.0])
    assert d == pytest.approx({"real": (sp(-2) + sp(1)) / 2, "fake": (sp(0.5) + sp(3)) / 2})
    assert g["adv"] == pytest.approx((sp(-0.5) + sp(-3)) / 2)
    d, g = at("gan", [0.0], [0.0], saturating=True)
    assert d["real"] + d["fake"] == pytest.approx(2 * math.log(2))
    assert g["adv"] == pytest.approx(-math.log(2))
    d, g = at("lsgan", [2.0, 0.0], [0.5, -1.0])
    assert d == pytest.approx({"real": 0.5, "fake": (0.25 + 1) / 4})
    assert g["adv"] == pytest.approx((0.25 + 4) / 4)
    d, g = at("hinge", [2.0, 0.5], [-3.0, 0.5])
    assert d == pytest.approx({"real": 0.25, "fake": 0.75})
    assert g["adv"] == pytest.approx(1.25)
    d, g = at("wgan", [2.0, 0.5], [-3.0, 0.5])
    assert d == pytest.approx({"real": -1.25, "fake": -1.25})
    # D(x) = x has slope 1 everywhere: WGAN-GP asks no more, R1 and R2 half of gamma each.
    assert at("wgan-gp", [2.0, 0.5], [-3.0, 0.5])[0]["gp"] == pytest.approx(0, abs=1e-9)
    assert at("dragan", [2.0, 0.5], [-3.0, 0.5], k=3.0)[0]["gp"] == pytest.approx(40)
    d, g = at("rpgan", [2.0, 0.5], [-3.0, 0.5], gamma=0.6)
    assert d == pytest.approx({"adv": (sp(-5) + sp(0)) / 2, "r1": 0.3, "r2": 0.3})
    assert g["adv"] == pytest.approx((sp(5) + sp(0)) / 2)


def test_minimax_vanishes_where_non_saturating_does_not() -> None:
    """At D(G(z)) = p the minimax slope is p, the non-saturating one 1 - p."""
    for score in (-20.0, -5.0, 0.0, 5.0):
        p = 1 / (1 + math.exp(-score))
        assert slope("gan", score, saturating=True) == pytest.approx(p, rel=1e-6)
        assert slope("gan", score) == pytest.approx(1 - p, rel=1e-6)
    assert slope("gan", -20.0, saturating=True) < 1e-8 < 0.999 < slope("gan", -20.0)


def test_least_squares_pull_stays_linear() -> None:
    for score in (-100.0, -3.0, 0.5, 7.0):
        assert slope("lsgan", score) == pytest.approx(abs(score - 1))


def test_relativistic_and_hinge_pull() -> None:
    for score in (-30.0, 30.0):
        assert slope("hinge", score) == pytest.approx(1)
        assert slope("wgan", score) == pytest.approx(1)
    assert slope("rpgan", -30.0) == pytest.approx(1)  # D is sure: G learns all the same
    assert slope("rpgan", 30.0) == pytest.approx(0, abs=1e-9)


def test_rpgan_does_not_notice_a_constant() -> None:
    a = at("rpgan", [2.0, 0.5], [-3.0, 0.5])
    b = at("rpgan", [12.0, 10.5], [7.0, 10.5])
    assert a[0] == pytest.approx(b[0])
    assert a[1] == pytest.approx(b[1])


def test_gamma_follows_progress_by_a_cosine() -> None:
    game = make_objective("rpgan", gamma=2.0, gamma_end=0.2)
    for progress, gamma in ((0.0, 2.0), (0.5, 1.1), (1.0, 0.2)):
        game.progress = progress
        assert game.weight == pytest.approx(gamma)
    constant = make_objective("rpgan", gamma=2.0)
    constant.progress = 0.7
    assert constant.weight == pytest.approx(2.0)


def test_label_noise_moves_the_targets_inward() -> None:
    """Cross-entropy with targets 1 - u for reals and u for forgeries, u ~ U(0, s)."""
    game = make_objective("gan", latent=Latent(1), label_noise=0.3)
    assert isinstance(game, TwoPlayer)
    nets = nn.ModuleDict({"G": Forge(torch.tensor([0.5, -1.0])), "D": Say()})
    x = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    with draws.keyed(0, "noise", torch.arange(2)):
        terms = game.d_loss(nets, Batch(x.clone()))
    with draws.keyed(0, "noise", torch.arange(2)):
        draws.normal(2, 1)
        u_real, u_fake = (draws.uniform(2).double() * 0.3 for _ in range(2))
    bce = nn.functional.binary_cross_entropy_with_logits
    fake = torch.tensor([0.5, -1.0]).double()
    assert terms["real"].item() == pytest.approx(bce(x[:, 0], 1 - u_real).item(), rel=1e-6)
    assert terms["fake"].item() == pytest.approx(bce(fake, u_fake).item(), rel=1e-6)


def test_ebgan_margin_follows_the_size() -> None:
    """The paper's 10 on 28 x 28; on 64 x 64 RGB between its 20 and its 80."""

    def pushed(pixels: int) -> float:
        class Zero(nn.Module):
            def outputs(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
                return {"score": 0 * x.sum(1), "features": x}

        nets = nn.ModuleDict({"G": Made(nn.Linear(4, pixels)), "D": Zero()})
        game = make_objective("ebgan", latent=Latent(4))
        assert isinstance(game, TwoPlayer)
        return game.d_loss(nets, Batch(torch.zeros(2, pixels)))["fake"].item()

    assert pushed(784) == pytest.approx(10)
    assert 20 < pushed(64 * 64 * 3) < 80


def test_squash_reads_scores_as_the_paper_does() -> None:
    game = make_objective("gan", latent=Latent(1))
    assert isinstance(game, TwoPlayer)
    nets = nn.ModuleDict({"G": Forge(torch.tensor([0.0])), "D": Say()})
    batch = Batch(torch.zeros(1, 1, dtype=torch.float64))
    game.d_loss(nets, batch)
    readings = {k: v.tolist() for k, v in game.readings(batch).items()}
    assert readings == {"D(x)": [0.5], "D(G(z))": [0.5]}
