"""Augmentation whose probability adapts."""

import numpy as np
import pytest
import torch

import ganforge
from ganforge.data.augment import Augment
from ganforge.errors import UserError
from ganforge.objectives import make_objective
from ganforge.objectives.adaptive import Adaptive
from ganforge.spec import Batch
from ganforge.training.checkpoints import read


def move(adaptive: Adaptive, real: torch.Tensor, fake: torch.Tensor) -> float:
    b = Batch(torch.zeros(len(real), 1, 8, 8))
    b.memo |= {"D(x)": {"score": real}, "D(G(z))": {"score": fake}}
    adaptive(make_objective("gan"), torch.nn.ModuleDict(), b)
    return adaptive._augment[0].p.item()


def test_p_rises_where_d_tells_all_and_falls_where_it_tells_none():
    adaptive = Adaptive(Augment("color", 0.0), 0.6, batch_size=8, pace=320)
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
        adaptive = Adaptive(Augment("color", 0.5), 0.6, batch_size=8, pace=320)
        real = torch.cat([torch.ones(told), -torch.ones(8 - told)])
        for _ in range(4):
            p = move(adaptive, real, torch.zeros(8))
        assert (p > 0.5) == rises


def test_while_warming_nothing_moves():
    adaptive = Adaptive(Augment("color", 0.3), 0.6, batch_size=8)
    for _ in range(9):
        adaptive(make_objective("gan"), torch.nn.ModuleDict(), Batch(torch.zeros(8, 1, 8, 8)))
    assert adaptive._augment[0].p == 0.3
    assert adaptive.moves == 0


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


def test_p_is_among_the_readings(tmp_path):
    data = np.zeros((24, 8, 8), np.uint8)
    asked = {
        "width": 8,
        "batch_size": 8,
        "augment": "color",
        "augment_target": 0.6,
        "augment_p": 0.25,
    }
    run = ganforge.train(data, "gan", tmp_path / "run", steps=2, settings=asked)
    seen = [r["reading"]["augmented"] for r in run.records() if "augmented" in r.get("reading", {})]
    assert seen
    assert seen[0] == pytest.approx(0.25, abs=0.001)


def test_a_target_without_an_augmentation_is_refused():
    with pytest.raises(UserError, match="nothing is chosen"):
        ganforge.plan(np.zeros((24, 8, 8), np.uint8), "gan", augment_target=0.6)
