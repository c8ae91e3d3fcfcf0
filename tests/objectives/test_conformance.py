"""Every game, on every kind of data, with and without classes, is a game."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganforge import draws
from ganforge.errors import UserError
from ganforge.families import FAMILIES, family
from ganforge.families.mlp import MLP
from ganforge.objectives import OBJECTIVES, make_objective, term
from ganforge.objectives.check import check_objective, random_batch
from ganforge.objectives.latent import Latent
from ganforge.objectives.objective import Objective, Player, Terms, TwoPlayer
from ganforge.objectives.terms import AUXILIARY, TERMS, Fidelity, NearSource
from ganforge.spec import Ask, Batch, Spec

SHAPES = {"vector": (2,), "sound": (1, 64), "grey": (1, 8, 8), "colour": (3, 9, 12)}
FROM_SOURCES = ("regression", "cyclegan", "cut")
FROM_NOISE = [n for n in OBJECTIVES if n not in FROM_SOURCES]


def latent_for(name: str) -> Latent:
    codes = Latent(6, categorical=(4, 3), continuous=2)
    return codes if name == "infogan" else Latent(6)


def networks_for(shape: tuple[int, ...]) -> Any:
    return family("mlp", width=8) if len(shape) == 1 else family("dcgan", width=4)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("data", SHAPES)
@pytest.mark.parametrize("name", FROM_NOISE)
def test_every_game_on_every_shape(name: str, data: str, classes: int) -> None:
    spec = Spec(SHAPES[data], classes)
    game = make_objective(name, latent=latent_for(name))
    check_objective(game, networks_for(spec.shape), spec, batch_size=4)


def translating(name: str) -> Objective:
    game = make_objective(name)
    if name == "regression":
        game.add(term("l1", 1.0))
    return game


@pytest.mark.parametrize("net", ["unet", "johnson"])
@pytest.mark.parametrize("shape", [(1, 64), (1, 16, 16), (3, 13, 18)])
@pytest.mark.parametrize("name", FROM_SOURCES)
def test_every_translation_on_every_shape(name: str, shape: tuple[int, ...], net: str) -> None:
    made = family(net, width=4) if net == "unet" else family(net, width=4, depth=2)
    check_objective(translating(name), made, Spec(shape, source=shape), batch_size=4)


@pytest.mark.parametrize("name", FROM_SOURCES)
def test_a_translation_refuses_data_without_sources_and_families_without_translators(
    name: str,
) -> None:
    with pytest.raises(UserError, match=r"--set (degrade|inputs)="):
        translating(name).networks(family("unet", width=4), Spec((1, 16, 16)))
    spec = Spec((1, 16, 16), source=(1, 16, 16))
    with pytest.raises(UserError, match="has no translator"):
        translating(name).networks(family("dcgan", width=4), spec)


# One for each way of asking a family for networks: a critic, one without the norm that mixes,
# one with heads, one with heads that is not told the class, an autoencoder, an encoder.
ASKING = ["gan", "rpgan", "infogan", "auxiliary", "ebgan", "vae"]


def asking(name: str) -> Objective:
    extra = AUXILIARY if name == "auxiliary" else ()
    game = make_objective("gan" if extra else name, latent=latent_for(name))
    for each in extra:
        game.add(term(each))
    return game


@pytest.mark.parametrize("net", FAMILIES)
@pytest.mark.parametrize("name", ASKING)
def test_every_request_to_every_family(name: str, net: str) -> None:
    """What cannot be combined is refused before training, with the reason and a remedy."""
    made = family(net, width=8)
    spec = Spec((1, 16, 16) if 2 in made.dims else (1, 256), 3)
    needs = ("generator", "autoencoder" if name in ("ebgan", "began") else "critic")
    if not all(made.has(method) for method in needs):
        with pytest.raises(UserError, match=f"{net}.*use --set family="):
            asking(name).networks(made, spec)
        return
    game = asking(name)
    if isinstance(game, TwoPlayer):
        game.d_steps = 1
    check_objective(game, made, spec, batch_size=4)


@pytest.mark.parametrize("extra", TERMS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_term_joins_every_game_or_says_why_not(
    name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = make_objective(name, latent=latent_for(name))
    if not isinstance(game, TwoPlayer) and TERMS[extra].two_player:
        with pytest.raises(UserError, match="drop the term"):
            game.add(term(extra, 0.1))
        return
    if extra == "lpips":
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        game.add(term(extra, 0.1))
        if name in FROM_SOURCES:  # its weights are nobody's by default
            net = family("johnson", width=4, depth=2)
            with pytest.raises(UserError, match="VGG16"):
                check_objective(game, net, Spec((1, 16, 16), source=(1, 16, 16)), batch_size=4)
        return
    game.add(term(extra, 0.1))
    if extra in AUXILIARY and name in ("ebgan", "began", "cut"):  # the first two ignore classes
        spec = Spec((1, 16, 16), source=(1, 16, 16)) if name == "cut" else Spec((2,), 3)
        net = family("johnson", width=4, depth=2) if name == "cut" else family("mlp", width=8)
        with pytest.raises(UserError, match=r"class.*(labelled data|data with classes)"):
            check_objective(game, net, spec, batch_size=4)
        return
    fidelity = issubclass(TERMS[extra], Fidelity | NearSource)
    if name in FROM_SOURCES:
        game.add(term("l1", 0.1)) if extra != "l1" else None
        net = family("johnson", width=4, depth=2)
        check_objective(game, net, Spec((1, 16, 16), source=(1, 16, 16)), batch_size=4)
    elif not fidelity:
        check_objective(game, family("mlp", width=8), Spec((2,), 3))
    elif extra == "perceptual" or name in ("infogan", "began", "ae", "vae"):
        return  # it looks at pictures; these play on their latent's codes
    else:
        check_objective(game, Translators(width=8), Spec((2,), 3, source=(2,)))


class Translators(MLP):
    """A family whose generator transforms its input, as pix2pix's does."""

    def translator(self, source: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Linear(source[0], 8), nn.Tanh(), nn.Linear(8, shape[0]))


class Pair(TwoPlayer):
    """pix2pix: D judges (source, x) together, G gets an L1 term. Shows that the seam holds."""

    def make_d(self, family: Any, spec: Spec) -> nn.Module:
        assert spec.source is not None
        return family.critic((spec.shape[0] + spec.source[0],), norm=self.critic_norm)

    def judge(self, nets: nn.ModuleDict, x: Tensor, b: Batch) -> dict[str, Tensor]:
        assert b.source is not None
        return nets["D"].outputs(torch.cat([x, b.source], 1))  # type: ignore[operator]

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        hinge = nn.functional.relu
        return {
            "real": hinge(1 - self.on_real(nets, b)).mean(),
            "fake": hinge(1 + self.on_fake(nets, b)).mean(),
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b).mean()}


class Cycle(Objective):
    """CycleGAN's shape: four networks, two players that move two each, and its own sample."""

    sampled = ("AB",)

    def networks(self, family: Any, spec: Spec) -> nn.ModuleDict:
        assert spec.source is not None
        return nn.ModuleDict(
            {
                "AB": family.translator(spec.source, spec.shape),
                "BA": family.translator(spec.shape, spec.source),
                "DA": family.critic(spec.source),
                "DB": family.critic(spec.shape),
            }
        )

    def players(self) -> list[Player]:
        return [Player("D", ("DA", "DB"), self.d_loss), Player("G", ("AB", "BA"), self.g_loss)]

    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        assert b.source is not None
        sides = (("DA", b.source, nets["BA"](b.real)), ("DB", b.real, nets["AB"](b.source)))
        return {
            d: (nets[d](x) - 1).square().mean() + nets[d](fake).square().mean()
            for d, x, fake in sides
        }

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        assert b.source is not None
        ab, ba = nets["AB"](b.source), nets["BA"](b.real)
        return {
            "adv": (nets["DB"](ab) - 1).square().mean() + (nets["DA"](ba) - 1).square().mean(),
            "cycle": 10 * (nets["BA"](ab) - b.source).abs().mean()
            + 10 * (nets["AB"](ba) - b.real).abs().mean(),
        }

    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        return nets["AB"](ask.source)


def test_the_seam_carries_paired_and_unpaired_translation() -> None:
    spec = Spec((2,), source=(3,))
    paired = Pair()
    paired.add(term("l1", 100))
    paired.add(term("r1", 1))
    check_objective(paired, Translators(8), spec)
    check_objective(Cycle(), Translators(8), spec)


# -- the checks find what they are there for ------------------------------------------------
class Good(TwoPlayer):
    def d_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"real": -self.on_real(nets, b).mean(), "fake": self.on_fake(nets, b).mean()}

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b).mean()}


class TorchNoise(Good):
    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -(self.on_fake(nets, b) * torch.rand(len(b))).mean()}


class HiddenState(Good):
    weight = 1.0

    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        self.weight *= 0.5
        return {"adv": -self.weight * self.on_fake(nets, b).mean()}


class NotFinite(Good):
    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": self.on_fake(nets, b).mean() * float("inf")}


class NotScalar(Good):
    def g_loss(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"adv": -self.on_fake(nets, b)}


class MovesTheOther(Good):
    def players(self) -> list[Player]:
        def after(nets: nn.ModuleDict, terms: Terms) -> None:
            with torch.no_grad():
                for p in nets["D"].parameters():
                    p.mul_(0.5)

        d, g = super().players()
        return [d, Player("G", g.nets, g.loss, after=after)]


class MovesNothing(Good):
    def players(self) -> list[Player]:
        return [Player("D", ("D", "G"), self.only_real), super().players()[1]]

    def only_real(self, nets: nn.ModuleDict, b: Batch) -> Terms:
        return {"real": -self.on_real(nets, b).mean()}


class WrongShape(Good):
    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        x = super().sample(nets, ask)
        return x if "D" in nets else x.flatten(0)


class Mixes(Good):
    def sample(self, nets: nn.ModuleDict, ask: Ask) -> Tensor:
        x = super().sample(nets, ask)
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (TorchNoise, "ganforge.draws"),
        (HiddenState, "buffers"),
        (NotFinite, "finite"),
        (NotScalar, "scalar"),
        (MovesTheOther, "moved D"),
        (MovesNothing, "does not move it"),
        (WrongShape, "sample.. gives"),
        (Mixes, "mix"),
    ],
)
def test_the_checks_find(wrong: type[Objective], said: str) -> None:
    check_objective(Good(), family("mlp", width=8), Spec((2,)))
    with pytest.raises(UserError, match=said):
        check_objective(wrong(), family("mlp", width=8), Spec((2,)))


# -- the seam -------------------------------------------------------------------------------
def test_a_penalty_takes_the_norm_that_mixes_out_of_d() -> None:
    def norms(game: Objective) -> int:
        nets = game.networks(family("dcgan", width=4), Spec((1, 16, 16)))
        return sum("Norm" in type(m).__name__ for m in nets["D"].modules())

    assert norms(make_objective("gan")) > 0
    assert norms(make_objective("rpgan")) == 0
    game = make_objective("gan")
    game.add(term("r1", 1.0))
    assert norms(game) == 0
    layered = make_objective("wgan-gp", d_norm="layer")
    assert norms(layered) > 0  # layer norm keeps samples apart


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_stay_precise_where_networks_compute_in_bfloat16(name: str) -> None:
    game, spec, net = (
        make_objective(name, latent=latent_for(name)),
        Spec((2,), 3),
        family("mlp", width=16),
    )
    if name in FROM_SOURCES:
        game, spec = translating(name), Spec((1, 16, 16), source=(1, 16, 16))
        net = family("johnson", width=4, depth=2)
    nets = game.networks(net, spec)
    start = copy.deepcopy((game, nets))
    found: list[dict[str, Tensor]] = []
    for half, (g, n) in ((False, (game, nets)), (True, start)):
        terms: dict[str, Tensor] = {}
        for player in g.movers():
            index = torch.arange(32)
            context = torch.autocast("cpu", torch.bfloat16, enabled=half)
            with draws.keyed(0, player.name, index), context:
                terms |= player.loss(n, random_batch(spec, index))
        found.append(terms)
    for key, value in found[1].items():
        assert value.dtype == torch.float32, key
        assert value.item() == pytest.approx(found[0][key].item(), rel=0.05, abs=0.02), key


def test_a_term_that_the_game_has_already_is_more_of_it() -> None:
    game = make_objective("rpgan", latent=Latent(2), gamma=2.0)
    game.add(term("r1", 3.0))
    nets = game.networks(family("mlp", width=4), Spec((2,)))
    with draws.keyed(0, "t", torch.arange(4)):
        terms = game.movers()[0].loss(nets, Batch(torch.randn(4, 2)))
    assert terms["+r1"].item() == pytest.approx(1.5 * terms["r1"].item(), rel=1e-5)


def test_terms_state_is_the_games() -> None:
    game = make_objective("gan")
    game.add(term("lecam", 0.1))
    assert "term_lecam.means" in game.state_dict()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: make_objective("lsgna"), "did you mean 'lsgan'"),
        (lambda: make_objective("gan", margin=1), "has no option 'margin'"),
        (lambda: make_objective("wgan", clip=0.0), "clip=0.0"),
        (lambda: make_objective("wgan-gp", gp=-1.0), "gp=-1.0"),
        (lambda: make_objective("rpgan", gamma=-1.0), "gamma=-1.0"),
        (lambda: make_objective("began", gamma=2.0), "gamma=2.0"),
        (lambda: make_objective("ebgan", margin=-1.0), "margin=-1.0"),
        (lambda: make_objective("gan", d_steps=0), "d_steps=0"),
        (lambda: make_objective("gan", label_noise=2.0), "label_noise=2.0"),
        (lambda: make_objective("infogan", latent=Latent(4)), "needs codes"),
        (lambda: make_objective("vae", latent=Latent(4, "uniform")), "latent.kind=normal"),
        (lambda: make_objective("ae", latent=Latent(4, continuous=1)), "no other codes"),
        (lambda: make_objective("vae", variance=0.0), "variance=0.0"),
        (lambda: term("r3", 1.0), "unknown"),
        (lambda: term("r1", -1.0), "weight of 0 or more"),
        (lambda: term("r1", float("nan")), "weight of 0 or more"),
        (lambda: _twice("r1"), "already"),
    ],
)
def test_refusals_name_what_was_given_and_the_remedy(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def _twice(name: str) -> None:
    game = make_objective("gan")
    game.add(term(name, 1.0))
    game.add(term(name, 1.0))
