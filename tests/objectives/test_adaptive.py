"""Augmentation whose probability adapts."""

import numpy as np
import pytest
import torch

import ganforge
from ganforge.build import build_game
from ganforge.data.augment import Augment, Augmented
from ganforge.errors import UserError
from ganforge.objectives import make_objective
from ganforge.objectives.adaptive import Adaptive
from ganforge.spec import Batch
from ganforge.training.checkpoints import read


def move(adaptive: Adaptive, real: torch.Tensor, fake: torch.Tensor) -> float:
    b = Batch(torch.zeros(len(real), 1, 8, 8))
    b.memo |= {"D(x)": {"score": real}, "D(G(z))": {"score": fake}}
    adaptive(make_objective("gan"), torch.nn.ModuleDict(), b)
    return adaptive._augments[0].p.item()


def test_p_rises_where_d_tells_all_and_falls_where_it_tells_none():
    adaptive = Adaptive([Augment("color", 0.0)], 0.6, batch_size=8, pace=320)
    high, low = torch.full((8,), 3.0), torch.full((8,), 2.0)  # both above 0: their order counts
    assert [round(move(adaptive, high, low), 6) for _ in range(8)] == [
        0,
        0,
        0,
        0.1,
        0.1,
        0.1,
        0.1,
        0.2,
    ]
    half = torch.tensor([3.0, 1.0] * 4)  # as often above as below
    assert [round(move(adaptive, half, low), 6) for _ in range(4)] == [0.2, 0.2, 0.2, 0.1]
    for _ in range(12):
        p = move(adaptive, half, low)
    assert p == 0  # and no lower
    for _ in range(80):
        p = move(adaptive, low, high)  # an energy is lower for reals
    assert p == 1


def test_the_share_of_pairs_is_what_counts():
    for told, rises in ((7, True), (6, False)):  # r = (told - rest) / 8 = 0.75, 0.5
        adaptive = Adaptive([Augment("color", 0.5)], 0.6, batch_size=8, pace=320)
        real = torch.cat([torch.ones(told), -torch.ones(8 - told)])
        for _ in range(4):
            p = move(adaptive, real, torch.zeros(8))
        assert (p > 0.5) == rises


def test_while_warming_nothing_moves():
    adaptive, game = Adaptive([Augment("color", 0.3)], 0.6, batch_size=8), make_objective("gan")
    game.warming = True
    for _ in range(9):
        adaptive(game, torch.nn.ModuleDict(), Batch(torch.zeros(8, 1, 8, 8)))
    assert adaptive._augments[0].p == 0.3
    assert adaptive.moves == 0


def test_a_game_that_keeps_no_scores_is_told(tmp_path):
    class Bare(ganforge.objectives.objective_class("gan")):
        def d_loss(self, nets, b):
            score = nets["D"](b.real).mean() - nets["D"](self.fake(nets, b)).mean()
            return {"all": score}

    asked = {"width": 8, "batch_size": 8, "augment": "color", "augment_target": 0.6}
    with pytest.raises(UserError, match="on_real and on_fake"):
        ganforge.train(np.zeros((24, 8, 8), np.uint8), "gan", tmp_path / "run", steps=1, objective=Bare,
                       settings=asked)  # fmt: skip


def test_every_critic_sees_augmented_samples():
    x = np.zeros((24, 3, 16, 16), np.uint8)
    config, _, _ = ganforge.plan(x, "cyclegan", augment="color", augment_target=0.6, width=8,
                                 degrade="noise:25", size=16)  # fmt: skip
    game = build_game(config)
    assert all(isinstance(game.nets[k], Augmented) for k in ("D", "E"))
    assert not any(isinstance(game.nets[k], Augmented) for k in ("G", "F"))


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [
        ({"augment": "color", "augment_p": 0.3}, {"augment": "color"}, 1.0),
        ({"augment": "color"}, {"augment": "color", "augment_target": 0.6}, 0.0),
        ({"augment": "color"}, {}, None),
        ({}, {"augment": "color", "augment_p": 0.4}, 0.4),
    ],
)
def test_a_run_that_begins_from_another_keeps_its_own_augmentation(tmp_path, before, after, p):
    data = np.random.default_rng(0).integers(0, 255, (24, 8, 8), np.uint8)
    asked = {"width": 8, "batch_size": 8}
    old = ganforge.train(data, "gan", tmp_path / "old", steps=1, settings=asked | before)
    new = ganforge.train(
        data,
        "gan",
        tmp_path / "new",
        steps=1,
        start_from=old.path,
        settings=asked | after | {"lr": 1e-9},
    )
    a, b = (read(r.path / "checkpoints" / "step-00000001")[0]["networks"] for r in (old, new))
    found = b.get("D.augment.p")
    assert (found is None) if p is None else found == pytest.approx(p)
    inner = {k.replace("D.critic.", "D."): v for k, v in b.items()}
    for k, v in a.items():  # D's own weights came along
        if k.startswith("D.") and not k.endswith("augment.p"):
            assert torch.allclose(v, inner[k.replace("D.critic.", "D.")], atol=1e-6)


def test_a_resume_is_exact(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (24, 8, 8), np.uint8)
    asked = {"width": 8, "batch_size": 8, "augment": "color,translation", "augment_target": 0.05}
    whole = ganforge.train(data, "gan", tmp_path / "whole", steps=14, settings=asked)
    ganforge.train(data, "gan", tmp_path / "parts", steps=6, settings=asked)
    parts = ganforge.resume(tmp_path / "parts", steps=14, data=data)
    a, b = (read(r.path / "checkpoints" / "step-00000014")[0]["networks"] for r in (whole, parts))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert a["D.augment.p"] > 0


@pytest.mark.parametrize("recipe", ["gan", "r3gan"])
def test_p_is_among_the_readings(tmp_path, recipe):
    data = np.zeros((24, 8, 8), np.uint8)
    asked = {
        "width": 8,
        "batch_size": 8,
        "augment": "color",
        "augment_target": 0.6,
        "augment_p": 0.25,
    }
    run = ganforge.train(data, recipe, tmp_path / "run", steps=2, settings=asked)
    seen = [r["reading"]["augmented"] for r in run.records() if "augmented" in r.get("reading", {})]
    assert seen
    assert seen[0] == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(
    ("recipe", "given", "said"),
    [
        ("gan", {"augment_target": 0.6}, "nothing is chosen"),
        ("gan", {"train.augment_target": 0.6}, "nothing is chosen"),
        ("gan", {"augment_p": 0.5}, "nothing is chosen"),
        ("ae", {"augment_target": 0.6}, "has no discriminator"),
        ("ae", {"train.augment": "color"}, "has no discriminator"),
    ],
)
def test_what_would_do_nothing_is_refused(recipe, given, said):
    with pytest.raises(UserError, match=said):
        ganforge.plan(np.zeros((24, 8, 8), np.uint8), recipe, settings=given)


def test_a_game_whose_critic_has_another_name_says_so():
    class Odd(ganforge.objectives.objective_class("gan")):
        critics = ("J",)

    x = np.zeros((24, 8, 8), np.uint8)
    config, _, own = ganforge.plan(x, "gan", objective=Odd, augment="color")
    with pytest.raises(UserError, match="has no network J"):
        build_game(config, own)
