"""Objectives, networks, terms, conditioning, latents, augmentation and data are independent
choices: a sample of their product that has every pair of them is played, and what is refused is
what cannot make sense, said with the remedy."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from ganforge import config as configuration
from ganforge import draws, recipes
from ganforge.build import build_game, build_trainer
from ganforge.errors import UserError
from ganforge.families import FAMILIES, family_class
from ganforge.objectives import OBJECTIVES, objective_class
from ganforge.objectives.terms import AUXILIARY, TERMS
from ganforge.spec import Ask, Batch

SHAPES = {"vectors": (6,), "sound": (1, 256), "grey": (1, 16, 16), "odd": (3, 17, 22)}
LATENTS: dict[str, dict[str, Any]] = {
    "normal": {"latent.kind": "normal"},
    "uniform": {"latent.kind": "uniform"},
    "truncated": {"latent.kind": "truncated"},
    "codes": {"latent.kind": "normal", "latent.categorical": [3], "latent.continuous": 2},
}
CHOICES: dict[str, tuple[str, ...]] = {
    "objective": tuple(OBJECTIVES),
    "family": tuple(FAMILIES),
    "term": ("", *(t for t in TERMS if t not in ("lpips", *AUXILIARY))),
    "conditioning": ("none", "concat", "projection", "auxiliary"),
    "latent": tuple(LATENTS),
    "data": tuple(SHAPES),
    "source": ("", "same"),
    "augment": ("", "color,translation,cutout"),
    "d_norm": ("family", "layer", ""),
}
NAMES = tuple(CHOICES)
FIDELITIES = ("l1", "charbonnier", "perceptual")
Case = Mapping[str, str]


def pairs(case: Case) -> set[tuple[tuple[str, str], ...]]:
    return set(itertools.combinations(((k, case[k]) for k in NAMES), 2))


def covering(seed: int = 0) -> list[Case]:
    """Cases such that every pair of choices is in one of them, in one that makes sense if there
    is any to be found."""
    rng = random.Random(seed)
    left = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(NAMES, 2)
        for x in CHOICES[a]
        for y in CHOICES[b]
    }
    found: list[Case] = []
    while left:
        wanted = dict(min(left))
        drawn = [{k: rng.choice(CHOICES[k]) for k in NAMES} | wanted for _ in range(600)]
        sound = [c for c in drawn if not reasons(c)] or drawn
        best = max(sound, key=lambda c: len(pairs(c) & left))
        left -= pairs(best) if not reasons(best) else {min(left)}
        found.append(best)
    return found


@dataclass
class Samples:
    """Eight random labelled samples, each with a source where there is to be one."""

    shape: tuple[int, ...]
    source: bool

    def __len__(self) -> int:
        return 8

    def batch(self, indices: np.ndarray) -> Batch:
        index = torch.from_numpy(indices)
        with draws.keyed(0, "product", index):
            x = draws.uniform(len(index), *self.shape).mul_(2).sub_(1)
            source = draws.uniform(len(index), *self.shape).mul_(2).sub_(1)
            label = draws.integers(len(index), 3)
        return Batch(x, label, source if self.source else None)


def reasons(case: Case) -> list[str]:
    """Why a combination cannot make sense, by its parts; words that the refusal may have."""
    game, net, term = objective_class(case["objective"]), family_class(case["family"]), case["term"]
    shape, source, told = SHAPES[case["data"]], bool(case["source"]), case["conditioning"] != "none"
    two = not game.alone and case["objective"] != "cyclegan"
    found = []
    # -- networks
    if len(shape) - 1 not in net.dims:
        found.append("makes")
    if case["objective"] in ("regression", "cyclegan", "cut") and not source:
        found.append("source")
    if source and not game.from_source:
        found.append("sources")
    energies = case["objective"] in ("ebgan", "began", "ae", "vae")
    wanted = {"translator" if source else "generator"} if not energies or two else set()
    wanted |= {"autoencoder"} if energies else {"critic"} if not game.alone else set()
    if not all(net.has(m) for m in wanted):
        found.append("has no")
    # -- classes
    if told and game.labels == "ignored":
        found.append("not look at classes")
    if case["family"] == "frogs" and case["data"] == "odd":
        found.append("even sides")
    if case["objective"] == "cut" and case["family"] == "srresnet":
        found.append("maps inside of the translator")
    if case["objective"] in ("ae", "vae") and case["latent"] != "normal":
        found.append("from a gaussian")
    if term == "perceptual" and len(shape) != 3:
        found.append("pictures of 1 or 3 channels")
    if case["objective"] == "regression" and term not in (*FIDELITIES, "source", "orthogonal"):
        found.append("no loss but its terms")
    if case["objective"] == "infogan" and case["latent"] != "codes":
        found.append("needs codes")
    if case["conditioning"] == "auxiliary" and game.alone:
        found.append("has no d that")
    # -- terms
    if term and TERMS[term].two_player and not two:
        found.append("term")
    if term in (*FIDELITIES, "source") and not source:
        found.append("term")
    if case["augment"] and game.alone:
        found.append("no discriminator")
    return found


def play(case: Case) -> None:
    """Two turns of the training, and what it makes."""
    shape, source = SHAPES[case["data"]], bool(case["source"])
    recipe = recipes.recipe("dcgan")
    settings: dict[str, Any] = {"objective": case["objective"], "family": case["family"]}
    settings |= {"conditioning": case["conditioning"], "batch_size": 4, **LATENTS[case["latent"]]}
    settings |= {"latent.size": 8, "augment": case["augment"], "width": 8}
    if "d_norm" in configuration.hints(objective_class(case["objective"]), set()):
        settings["d_norm"] = case["d_norm"] or None
    config = configuration.resolve(
        recipe,
        settings,
        shape=shape,
        source=shape if source else None,
        class_names=["a", "b", "c"],
        terms={case["term"]: 0.1} if case["term"] else {},
        data="product",
        dataset={},
        steps=2,
    )
    game = build_game(config)
    trainer = build_trainer(game, Samples(shape, source))
    before = {k: v.clone() for k, v in game.nets.named_parameters()}
    for _ in range(2):
        turn = trainer.turn()
        said = {"D/class", "D/class-fake", "G/class-g"} & turn.terms.keys()
        assert len(said) == (3 if case["conditioning"] == "auxiliary" else 0)
        assert all(v.isfinite() for v in turn.terms.values()), turn.terms
    moved = {k.split(".")[0] for k, v in game.nets.named_parameters() if not v.equal(before[k])}
    assert moved == set(game.nets.keys()), moved
    batch = trainer.data.batch(np.arange(3))
    label = batch.label if game.spec.classes else None
    with draws.keyed(0, "sample", torch.arange(3)), torch.no_grad():
        z = game.objective.latent.draw(3) if game.objective.latent and not source else None
        made = game.objective.sample(trainer.ema.nets, Ask(z, label, batch.source))
    assert made.shape == (3, *shape)
    assert made.isfinite().all()


CASES = covering()


def test_every_pair_of_choices_plays_but_those_that_cannot() -> None:
    had = set().union(*(pairs(c) for c in CASES if not reasons(c)))
    of = sum(len(a) * len(b) for a, b in itertools.combinations(CHOICES.values(), 2))
    assert of - len(had) <= 250  # a game or a family without sources, a critic alone, and so on
    for objective in ("gan", "lsgan", "wgan", "wgan-gp", "dragan", "hinge", "rpgan", "infogan"):
        for conditioning in CHOICES["conditioning"]:
            assert (("objective", objective), ("conditioning", conditioning)) in had
        for term in ("r1", "r2", "gp", "gp-data", "lecam", "pulling-away", "orthogonal"):
            assert (("objective", objective), ("term", term)) in had


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(v for v in c.values() if v))
def test_what_makes_sense_plays_and_the_rest_is_refused(case: Case) -> None:
    expected = reasons(case)
    if not expected:
        play(case)
        return
    with pytest.raises(UserError) as refusal:
        play(case)
    said = str(refusal.value)
    assert any(part in said.lower() for part in expected), said
    assert re.search(r"\b(use|drop|choose|add|leave|say|train on|let)\b", said), said
