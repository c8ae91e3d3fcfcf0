"""Looking at a training: what is recorded, within a share of the clock, without a trace."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganforge import api, draws
from ganforge.build import build_game, build_trainer
from ganforge.config import resolve
from ganforge.judging.features import raw
from ganforge.judging.health import VERDICTS
from ganforge.judging.watch import Quick, Watch, quick_features
from ganforge.recipes import recipe

from .conftest import shapes


def playing(name="gan", settings=None, **changes):
    """A training as a watch sees it."""
    data = shapes(600, 1, **changes)
    config = resolve(
        recipe(name), {"width": 16, "batch_size": 32, **(settings or {})}, shape=data.shape,
        class_names=data.classes, data="shapes", dataset=data.describe(),
    )  # fmt: skip
    game = build_game(config)
    trainer = build_trainer(game, data)
    run = SimpleNamespace(records=list)
    return SimpleNamespace(seconds=0.0, run=run, game=game, trainer=trainer), data


def watch(data, held_out=None, **more):
    return Watch(data, held_out, network=raw(data.shape, 8), **more)


def looked(w, sitting, seconds):
    sitting.seconds = seconds
    return list(w.look(sitting))


@pytest.mark.parametrize("name", ["gan", "wgan-gp", "cgan", "vae", "ebgan", "infogan"])
def test_a_look_records_a_score_and_a_verdict(name):
    sitting, data = playing(name)
    w = watch(data, shapes(300, 2))
    score, health = looked(w, sitting, 1e6)
    assert set(score["score"]) == {"kid", "coverage"}
    assert set(score["score"]["kid"]) == {"value", "low", "high"}
    assert health["health"]["verdict"] in VERDICTS
    pulse = health["health"]["evidence"]["pulse"]
    assert set(pulse) == {"diversity", "lost", "moved", "drift", "auc", "memory"}
    assert pulse["diversity"] is not None
    if name != "vae":
        assert 0.5 <= pulse["auc"] <= 1
        assert 0.5 <= pulse["memory"] <= 1


def test_a_look_leaves_no_trace():
    runs = []
    for look in (False, True):
        sitting, data = playing("gan", {"family": "dcgan"})
        w = watch(data, shapes(300, 2))
        for i in range(6):
            sitting.trainer.turn()
            if look:
                assert looked(w, sitting, 1e6 * (i + 1))
        runs.append(sitting.trainer.tensors())
    for part, tensors in runs[0].items():
        for key, value in tensors.items():
            assert torch.equal(value, runs[1][part][key]), (part, key)


def test_the_same_latents_are_shown_every_time():
    sitting, data = playing()
    w = watch(data)
    nets = sitting.trainer.ema.nets
    one = w.samples(sitting, nets, "score", 300)[0]
    with draws.keyed(1, "something else", torch.arange(3)):
        draws.normal(3, 4)
    two = w.samples(sitting, nets, "score", 300)[0]
    assert torch.equal(one, two)
    assert torch.equal(w.samples(sitting, nets, "score", 40)[0], one[:40])
    assert not torch.equal(w.samples(sitting, nets, "pulse", 40)[0], one[:40])


def test_a_conditional_generator_is_asked_for_the_data_s_classes():
    sitting, data = playing("cgan", kinds=3)
    w = watch(data)
    x, label = w.samples(sitting, sitting.trainer.ema.nets, "pulse", 700)
    assert len(x) == len(label) == 700
    shares = np.bincount(label, minlength=3) / 700
    assert abs(shares - np.bincount(data.labels, minlength=3) / 600).max() < 0.03


def test_it_takes_its_share_of_the_clock_and_no_more(monkeypatch):
    sitting, data = playing()
    w = watch(data, share=0.05)
    clock = [0.0]
    monkeypatch.setattr("ganforge.judging.watch.time.monotonic", lambda: clock[0])

    def costly(name, seconds):
        def work(*_):
            clock[0] += seconds
            return {name: {}}

        return work

    monkeypatch.setattr(w, "_score", costly("score", 8.0))
    monkeypatch.setattr(w, "_pulse", costly("health", 0.5))
    w.quick.__dict__["seconds"] = lambda: 7.0
    done = {"score": 0, "health": 0}
    for second in range(1, 3000):
        for found in looked(w, sitting, float(second)):
            done[next(iter(found))] += 1
        assert w.spent <= 0.05 * second + 1.3  # a first guess may fall short
    assert done["score"] >= 6
    assert done["health"] >= 20
    assert w.spent == pytest.approx(8 * done["score"] + 0.5 * done["health"])


def test_nothing_is_looked_at_before_it_is_due():
    sitting, data = playing()
    assert looked(watch(data), sitting, 1.0) == []


def test_a_generator_that_has_broken_is_not_scored():
    sitting, data = playing()
    for p in sitting.trainer.nets["G"].parameters():
        p.data.fill_(torch.nan)
    for p in sitting.trainer.ema.nets["G"].parameters():
        p.data.fill_(torch.nan)
    (found,) = looked(watch(data), sitting, 1e6)
    assert set(found["health"]["evidence"]["pulse"].values()) == {None}


def test_quick_scores_rank_and_keep_the_real_features():
    real, network = shapes(500, 3), raw((1, 16, 16), 8)
    quick = Quick(real, network)
    good = quick.score(shapes(500, 4).batch(np.arange(500)).real)
    poor = quick.score(torch.rand(500, 1, 16, 16) * 2 - 1)
    assert good["kid"]["high"] < poor["kid"]["low"]
    assert good["coverage"]["low"] > poor["coverage"]["high"]
    network.embed = None  # the real features are kept
    assert len(Quick(real, network).real) == 500


def test_a_look_at_compiled_networks_leaves_no_trace():
    sitting, data = playing("dcgan")
    d = sitting.trainer.nets["D"]
    d.outputs = torch.compile(d.outputs, backend="eager")
    before = {k: v.clone() for k, v in d.state_dict().items()}
    assert any("running_mean" in k for k in before)
    looked(watch(data), sitting, 1e6)
    for name, value in d.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_quick_features_fit_the_data():
    assert quick_features((2,)) == "raw"
    assert quick_features((3, 128, 128)) == "lite"
    assert quick_features((1, 28, 28)).startswith("lite")


def test_a_training_is_watched_from_the_api(tmp_path, monkeypatch):
    """The whole way: the run's records hold what the watch found, and the report is there."""
    monkeypatch.setattr(Watch, "_due", lambda self, what, seconds: what == "pulse")
    run = api.train(
        "fashion-mnist-mini", "gan", tmp_path / "run", settings={"width": 8}, steps=3,
        batch_size=16, device="cpu",
    )  # fmt: skip
    health = [r["health"] for r in run.records() if "health" in r]
    assert len(health) == 3
    assert health[0]["evidence"]["pulse"]["memory"] is not None
    assert (run.path / "report.html").stat().st_size > 20_000
