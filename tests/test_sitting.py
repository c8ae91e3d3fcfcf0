"""What a user relies on: nothing is lost, and a resumed run is the same run."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.api import held_out_of, reference_of
from ganforge.data import open_source
from ganforge.errors import UserError
from ganforge.run import Run
from ganforge.sitting import Budget, Cadence

SMALL = {"width": 8, "batch_size": 8}


def tensors(run: Path, step: int) -> dict:
    """Checksums of everything in a checkpoint."""
    return json.loads((run / "checkpoints" / f"step-{step:08d}" / "state.json").read_text())[
        "sha256"
    ]


@pytest.mark.parametrize("recipe", ["dcgan", "wgan", "began", "r3gan", "sngan", "infogan"])
def test_resume_is_exact_to_the_last_bit(tmp_path, recipe):
    """N + M steps equal N, stop, resume, M: networks, EMA, optimisers, schedules."""
    kw = {**SMALL, "horizon": 100, "rate_end": 0.1}
    ganforge.train(recipe=recipe, run=tmp_path / "whole", steps=5, **kw)
    ganforge.train(recipe=recipe, run=tmp_path / "parts", steps=2, **kw)
    ganforge.resume(tmp_path / "parts", steps=3)
    ganforge.resume(tmp_path / "parts", steps=5)
    assert tensors(tmp_path / "whole", 5) == tensors(tmp_path / "parts", 5)
    a, b = (ganforge.load(tmp_path / n).sample(3) for n in ("whole", "parts"))
    assert torch.equal(a, b)


def test_run_twice_equal_and_seed_matters(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ganforge.train(recipe="dcgan", run=tmp_path / name, steps=2, seed=seed, **SMALL)
    assert tensors(tmp_path / "a", 2) == tensors(tmp_path / "b", 2)
    assert tensors(tmp_path / "a", 2)["networks"] != tensors(tmp_path / "c", 2)["networks"]


def cli(*args: str, **kw) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ganforge", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kw,
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    """Until the run has a record of at least this step (records are written at a cadence)."""
    while process.poll() is None:
        if any(r["step"] >= step for r in Run(run).records()):
            return
        process.poll() or time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


def test_killed_at_random_moments_it_resumes_from_a_whole_checkpoint(tmp_path):
    """kill -9 at random points, then resume: the end is the same as without."""
    total, rng = 40, random.Random(0)
    ganforge.train(recipe="dcgan", run=tmp_path / "whole", steps=total, **SMALL)
    run = tmp_path / "killed"
    sets = ["--set", "width=8", "--batch-size", "8", "--steps", str(total), "--recipe", "dcgan"]
    process = cli("train", "--run", str(run), *sets)
    for _ in range(3):
        wait_for_step(run, rng.randrange(0, total), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = cli("resume", str(run))
    _out, err = process.communicate()
    assert process.returncode == 0, err
    assert tensors(tmp_path / "whole", total) == tensors(run, total)
    steps = [r["step"] for r in Run(run).records()]
    assert steps == sorted(steps)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_exit_with_their_code(tmp_path, number, code):
    run = tmp_path / "r"
    process = cli("train", "--run", str(run), "--recipe", "dcgan", "--minutes", "5", "--set", "width=8",
                  "--json")  # fmt: skip
    wait_for_step(run, 1, process)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == code
    body = json.loads(out)
    assert body["reason"] == signal.Signals(number).name
    assert Run(run).checkpoints()[-1][0] == body["step"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path, capsys):
    run = tmp_path / "r"
    ganforge.train(recipe="dcgan", run=run, steps=2, **SMALL)
    ganforge.resume(run, steps=4)
    path = run / "checkpoints" / "step-00000004" / "networks.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(bytes(data))
    assert ganforge.load(run).step == 2
    assert str(path) in capsys.readouterr().err
    ganforge.resume(run, steps=5)
    assert str(path) in capsys.readouterr().err
    ganforge.train(recipe="dcgan", run=tmp_path / "whole", steps=5, **SMALL)
    assert tensors(run, 5) == tensors(tmp_path / "whole", 5)
    for _, folder in Run(run).checkpoints():
        (folder / "state.json").write_text("{}")
    with pytest.raises(UserError, match="no checkpoint is whole"):
        ganforge.resume(run, steps=6)


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path, monkeypatch):
    run = tmp_path / "r"
    ganforge.train(recipe="dcgan", run=run, steps=2, **SMALL)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            ganforge.resume(run, steps=4)
    ganforge.resume(run, steps=4)
    ganforge.train(recipe="dcgan", run=tmp_path / "whole", steps=4, **SMALL)
    assert tensors(run, 4) == tensors(tmp_path / "whole", 4)


def test_divergence_rolls_back_three_times_then_reports(tmp_path):
    """A rate of 1e30 goes non-finite at once; halving it thrice does not help."""
    run = ganforge.train(recipe="dcgan", run=tmp_path / "r", steps=50, lr=1e30, **SMALL)
    assert run.outcome is not None
    assert run.outcome.reason == "diverged"
    assert run.outcome.code == 1
    events = [r for r in run.records() if r.get("event") == "rollback"]
    assert len(events) == 3
    assert all("not finite" in e["message"] for e in events)
    assert all(step <= run.checkpoints()[-1][0] for step, _ in run.samples()), "of what is void"
    assert "checkpoint of step" in run.outcome.message
    assert all(np.isfinite(ganforge.load(run.path).sample(2).numpy()).ravel())


def test_requests_are_obeyed(tmp_path):
    seen = []

    def watch(record: dict) -> None:
        seen.append(record)
        if "loss" in record and len(seen) < 3:
            run = Run(tmp_path / "r")
            run.request("rate", 0.5)
            run.request("save")
            run.request("stop")

    run = ganforge.train(recipe="dcgan", run=tmp_path / "r", minutes=5, watch=watch, **SMALL)
    assert run.outcome is not None
    assert run.outcome.reason == "request"
    events = [r["event"] for r in run.records() if "event" in r]
    assert events == ["start", "rate", "save", "stop"]
    run = ganforge.resume(tmp_path / "r", steps=run.records()[-1]["step"] + 30)
    rates = [r["rate"]["D"] for r in run.records() if "rate" in r]
    assert rates[-1] == pytest.approx(rates[0] / 2)


def test_what_was_asked_of_a_sitting_that_has_ended_is_not_obeyed_by_the_next(tmp_path):
    run = ganforge.train(recipe="dcgan", run=tmp_path / "r", steps=1, **SMALL)
    run.request("stop")
    run.request("rate", 0.5)
    run = ganforge.resume(tmp_path / "r", steps=3)
    assert run.records()[-1]["step"] == 3
    assert not [r for r in run.records() if r.get("event") == "rate"]


def test_changed_data_are_refused(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (64, 16, 16), dtype=np.uint8)
    ganforge.train(x, "dcgan", tmp_path / "r", steps=1, **SMALL)
    with pytest.raises(UserError, match="array"):
        ganforge.resume(tmp_path / "r", steps=2)
    with pytest.raises(UserError, match="changed"):
        ganforge.resume(tmp_path / "r", steps=2, data=255 - x)
    ganforge.resume(tmp_path / "r", steps=2, data=x)


def test_data_that_were_moved(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (64, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    ganforge.train(str(tmp_path / "x.npy"), "dcgan", tmp_path / "r", steps=1, **SMALL)
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    with pytest.raises(UserError, match=r"data of .* cannot be opened: .*x\.npy.*--data"):
        ganforge.resume(tmp_path / "r", steps=2)
    done = cli("resume", str(tmp_path / "r"), "--steps", "2", "--data", str(tmp_path / "y.npy"))
    assert done.wait() == 0
    assert Run(tmp_path / "r").records()[-1]["step"] == 2


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("width: 8", "width: 16", "does not fit the networks of .*undo"),
        ("batch_size: ", "batch_size: x", "batch_size='x.*undo"),
        ("format: 1", "format: x", "format='x'.*undo"),
        ("family: dcgan\n", "", "family is missing; undo"),
    ],
)
def test_settings_edited_wrongly_are_one_line(tmp_path, was, now, message):
    run = ganforge.train(recipe="dcgan", run=tmp_path / "r", steps=1, **SMALL)
    text = (run.path / "config.yaml").read_text()
    assert was in text
    (run.path / "config.yaml").write_text(text.replace(was, now, 1))
    for verb in (lambda: ganforge.resume(run.path, steps=2), lambda: ganforge.load(run.path)):
        with pytest.raises(UserError, match=message) as caught:
            verb()
        assert "\n" not in str(caught.value)


def test_budgets():
    assert Budget(steps=3).reached(3, 0, 0)
    assert not Budget(steps=3, images=100).reached(2, 99, 1e9)
    assert Budget(minutes=1).reached(0, 0, 60)
    assert Budget(steps=4, images=100).share(2, 75, 0) == 0.75
    assert Budget().share(1, 1, 1) == 0.0


def test_cadence_slows_down_but_never_stops():
    c, due = Cadence(1.0, 2.0, 8.0), []
    for t in range(100):
        if c.due(float(t)):
            due.append(t)
    gaps = np.diff(due)
    assert due[0] == 1
    assert list(gaps[:3]) == [2, 4, 8]
    assert set(gaps[2:]) == {8}


def test_fine_tuning_starts_from_another_runs_networks(tmp_path):
    ganforge.train(recipe="dcgan", run=tmp_path / "a", steps=3, **SMALL)
    ganforge.train(recipe="dcgan", run=tmp_path / "b", steps=1, lr=1e-12,
                   start_from=tmp_path / "a", **SMALL)  # fmt: skip
    a, b = (ganforge.load(tmp_path / n).sample(4) for n in "ab")
    assert torch.allclose(a, b, atol=2e-2)
    assert Run.open(tmp_path / "b").config["start_from"] == str(tmp_path / "a")
    with pytest.raises(UserError, match="do not fit"):
        ganforge.train(
            recipe="dcgan", run=tmp_path / "c", steps=1, width=4, start_from=tmp_path / "a"
        )


def test_a_run_s_held_out_data_are_its_other_split(tmp_path):
    from ganforge import config

    shapes = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    for split in ("train", "test"):
        (tmp_path / "d" / split).mkdir(parents=True)
        for i, x in enumerate(shapes[:20] if split == "train" else shapes[20:]):
            Image.fromarray(x).save(tmp_path / "d" / split / f"{i}.png")
    small = {"steps": 1, "width": 4, "batch_size": 4}
    for split, other in (("train", ""), ("test", "@train")):
        run = ganforge.train(f"{tmp_path / 'd'}@{split}", "dcgan", tmp_path / split, settings=small)
        settled = config.load(run.config)
        data = open_source(settled.data)
        held_out = held_out_of(settled, data)
        assert held_out is not None
        assert {data.split, held_out.split} == {"train", "test"}
        assert reference_of(settled) == f"{tmp_path / 'd'}{other}"
    everything, data, _ = ganforge.plan(f"{tmp_path / 'd'}@all", "dcgan")
    assert held_out_of(everything, data) is None


def test_a_score_says_whether_it_was_taken_against_training_data(tmp_path):
    for name, options in (("all", {}), ("some", {"holdout": 0.5})):
        folder = tmp_path / name
        folder.mkdir()
        for i, x in enumerate(np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8)):
            Image.fromarray(x).save(folder / f"{i}.png")
        looks: list[dict] = []
        with mock.patch("ganforge.judging.watch.Watch._due", return_value=True):
            ganforge.train(folder, "dcgan", tmp_path / f"r-{name}", steps=1, width=4, batch_size=4,
                           watch=looks.append, **options)  # fmt: skip
        against = [r["against"] for r in looks if "score" in r]
        assert set(against) == {"held-out" if options else "training"}


def test_going_back_to_the_best_keeps_what_lay_beyond_and_halves_the_rates(tmp_path):
    path = tmp_path / "r"
    run = ganforge.train(recipe="dcgan", run=path, steps=2, **SMALL)
    with pytest.raises(UserError, match="no best checkpoint"):
        ganforge.resume(path, steps=4, back_to="best")
    run.set_best(2, {"kid": {"value": 0.5}})
    ganforge.resume(path, steps=4)
    run.set_best(4, {"kid": {"value": 0.4}})
    before = tensors(path, 4)
    ganforge.resume(path, steps=4, back_to="2")
    assert tensors(path, 4) != before  # another way, by other rates
    state = json.loads((path / "checkpoints" / "step-00000004" / "state.json").read_text())
    assert state["rate_scale"] == 0.5
    left = json.loads(
        (path / "left-1" / "checkpoints" / "step-00000004" / "state.json").read_text()
    )
    assert left["sha256"] == before
    assert (path / "left-1" / "checkpoints" / "best.json").exists()
    assert (path / "left-1" / "samples" / "samples-00000004.png").exists()
    assert [r["message"] for r in run.records() if r.get("event") == "rollback"] == [
        f"back to step 2 by request, rates halved; what lay beyond is in {path / 'left-1'}"
    ]


@pytest.mark.parametrize("word", ["worst", "2.5", "-1"])
def test_a_checkpoint_is_latest_best_or_a_step(tmp_path, word):
    ganforge.train(recipe="dcgan", run=tmp_path / "r", steps=1, **SMALL)
    with pytest.raises(UserError, match=f"latest, best or a step; '{word}' was given"):
        ganforge.load(tmp_path / "r", word)


def test_tensorboard_s_events_hold_what_the_records_do(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = ganforge.train(recipe="dcgan", run=tmp_path / "r", steps=3, **SMALL)
    written = EventAccumulator(str(run.path / "tensorboard")).Reload()
    ticks = [r for r in run.records() if "loss" in r]
    for name in ("loss/D/real", "loss/G/adv", "reading/D(x)", "grad/G", "rate/D"):
        group, _, key = name.partition("/")
        events = written.Scalars(name)
        assert [e.step for e in events] == [r["step"] for r in ticks]
        assert [e.value for e in events] == pytest.approx([r[group][key] for r in ticks], rel=1e-5)
