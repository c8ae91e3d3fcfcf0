"""Comparisons: every job once, by the same protocol, into tables that say what they are."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

import ganforge
from ganforge import compare as c
from ganforge.errors import UserError
from ganforge.run import Run

SMALL = {"features": "raw@8", "samples": 100, "images": 128}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def job(**changes):
    small = {
        "images": 128,
        "settings": {"width": 8, "batch_size": 32},
        "features": "raw@8",
        "samples": 100,
    }
    return c.Job(**{"recipe": "gan", "data": "fashion-mnist-mini", "seed": 0, **small, **changes})


def result(recipe="gan", seed=0, value=20.0, health="healthy", reason="budget", **protocol):
    """As `do` writes it."""
    j = job(recipe=recipe, seed=seed)
    curve = [[10.0 * i, 640 * i, {"value": value / i, "low": 0, "high": 1}] for i in range(1, 6)]
    metrics = {
        "frechet": {"value": value, "low": value - 1, "high": value + 1, "floor": 8.0},
        "kid": {"value": value / 100, "low": 0.0, "high": 1.0, "floor": 0.0},
        "coverage": {"value": 0.5, "low": 0.4, "high": 0.6, "floor": 0.97},
    }
    about = {
        "format": 1, "features": {"name": "lite", "hash": "a"}, "n_real": 100, "n_fake": 100,
        "reference": {"name": "mini", "split": "test", "fingerprint": "f"}, **protocol,
    }  # fmt: skip
    return {
        "code": c.code_hash(j), "variant": j.variant, **c.asdict(j),
        "outcome": {"reason": reason, "code": 0, "message": ""}, "health": health, "step": 4,
        "images_seen": 128, "seconds": 1.0, "speed": 500.0, "memory_mib": 300, "curve": curve,
        "score": {"metrics": metrics, "protocol": about},
    }  # fmt: skip


# -- doing ------------------------------------------------------------------------------
def test_a_comparison_is_done_once_and_written(tmp_path):
    said = []
    arguments = {"seeds": 1, "sweep": {"width": [8], "batch_size": [32]}, **SMALL}
    found = c.compare(["gan"], "fashion-mnist-mini", out=tmp_path, say=said.append, **arguments)
    assert said[0] == "trainings: 1, done before: 0"
    assert [r["variant"] for r in found["rows"]] == ["gan width=8 batch_size=32"]
    assert found["differences"] == []
    page = (Path(__file__).parents[1] / "docs" / "contracts.md").read_text()
    schemas = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.S)]
    jsonschema.validate(found, next(s for s in schemas if s["title"] == "compare"))
    assert len(list((tmp_path / "results").glob("*.json"))) == 1
    assert len(list((tmp_path / "results").glob("*.png"))) == 1
    assert list((tmp_path / "runs").iterdir()) == []
    for kind in ("md", "csv", "html"):
        assert (tmp_path / f"comparison.{kind}").stat().st_size > 100
    again = c.compare(["gan"], "fashion-mnist-mini", out=tmp_path, say=said.append, **arguments)
    assert "trainings: 1, done before: 1" in said
    assert again["rows"] == found["rows"]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path, monkeypatch):
    from ganforge import api

    (tmp_path / "results").mkdir()
    j = job(images=256)
    api.train(j.data, j.recipe, tmp_path / "runs" / j.name, settings=j.settings, seed=0, images=64)
    (tmp_path / "runs" / f"{j.name}.code").write_text(c.code_hash(j))
    done = c.do(j, tmp_path)
    assert done["images_seen"] == 64  # the run's own budget holds; nothing was begun again
    assert c.finished(tmp_path, j) is not None


def test_other_code_makes_other_results(tmp_path):
    (tmp_path / "results").mkdir()
    j = job()
    path = tmp_path / "results" / f"{j.name}.json"
    path.write_text(json.dumps(result()))
    assert c.finished(tmp_path, j) is not None
    path.write_text(json.dumps(result() | {"code": "older"}))
    assert c.finished(tmp_path, j) is None
    assert c.code_hash(job()) != c.code_hash(job(recipe="wgan"))
    assert job(seed=1).name != j.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipes": ["gam"]}, "recipe 'gam' is unknown"),
        ({"seeds": 0}, "at least 1"),
        ({"sweep": {"widht": [8]}}, "setting 'widht' is unknown"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path, changes, message):
    arguments = {"recipes": ["gan"], "data": "fashion-mnist-mini", "seeds": 1, **SMALL, **changes}
    with pytest.raises(UserError, match=message):
        c.compare(out=tmp_path, say=lambda text: None, **arguments)


def test_without_ray_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install ganforge\[sweep\]"):
        c.compare(["gan"], "fashion-mnist-mini", out=tmp_path, ray="local", say=print, **SMALL)


class Ray:
    """Ray's part of the seam: tasks that run when they are waited for."""

    def __init__(self, gpus=0):
        self.calls, self.gpus = [], gpus

    def init(self, address, **options):
        if address == "nowhere:1":
            raise ConnectionError("ray could not connect\nand more")
        self.calls.append(("init", address))

    def cluster_resources(self):
        return {"CPU": 4.0, "GPU": float(self.gpus)} if self.gpus else {"CPU": 4.0}

    def remote(self, **options):
        self.calls.append(("remote", options))

        def task(function):
            class Task:
                @staticmethod
                def remote(*args):
                    return lambda: function(*args)

            return Task

        return task

    def wait(self, handles, timeout=None):
        return handles[:1], handles[1:]

    def get(self, handle):
        return handle()

    def shutdown(self):
        self.calls.append(("shutdown",))


def test_on_a_cluster_each_training_is_a_task(tmp_path, monkeypatch):
    ray = Ray(gpus=2)
    monkeypatch.setitem(sys.modules, "ray", ray)
    said = []
    settings = {"width": [8], "batch_size": [32]}
    found = c.compare(
        ["gan"], "fashion-mnist-mini", out=tmp_path, seeds=2, sweep=settings, ray="10.0.0.1:6379",
        cut=True, say=said.append, **SMALL,
    )  # fmt: skip
    assert ray.calls == [
        ("init", "10.0.0.1:6379"),
        ("remote", {"num_cpus": 1, "num_gpus": 1, "max_calls": 1, "max_retries": 0}),
        ("shutdown",),
    ]
    assert [(r["variant"], r["seeds"]) for r in found["rows"]] == [("gan width=8 batch_size=32", 2)]
    assert len(list((tmp_path / "results").glob("*.json"))) == 2
    c.compare(
        ["gan"], "fashion-mnist-mini", out=tmp_path, seeds=2, sweep=settings, ray="local",
        say=said.append, **SMALL,
    )  # fmt: skip
    assert len(ray.calls) == 3, "what is done is not sent again"


def test_a_cluster_that_does_not_answer_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", Ray())
    with pytest.raises(UserError, match="no Ray cluster answers at 'nowhere:1'"):
        c.compare(
            ["gan"],
            "fashion-mnist-mini",
            out=tmp_path,
            seeds=1,
            ray="nowhere:1",
            say=print,
            **SMALL,
        )


# -- tables -----------------------------------------------------------------------------
def test_rows_are_means_over_seeds_best_first():
    made = [
        result("gan", 0, 30.0), result("gan", 1, 34.0, "collapse"),
        result("r3gan", 0, 12.0), result("r3gan", 1, 90.0, reason="request"),
    ]  # fmt: skip
    first, second = c.rows(made)
    assert (first["variant"].split()[0], first["mean"], first["cut"]) == ("r3gan", 12.0, 1)
    assert first["deviation"] is None
    assert (second["mean"], second["best"], second["worst"]) == (32.0, 30.0, 34.0)
    assert second["deviation"] == pytest.approx(2.828, abs=1e-3)
    assert second["lost"] == 1


def test_tables_say_the_protocol(tmp_path):
    (tmp_path / "results").mkdir()
    made = [result("gan", 0, 30.0), result("r3gan", 0, 12.0)]
    for r in made:
        Image.new("L", (64, 64)).save(tmp_path / "results" / f"{c._job(r).name}.png")
    c.write_tables(made, tmp_path, "mini")
    text = (tmp_path / "comparison.md").read_text()
    assert "lite features, 100 samples against 100 of mini@test; lower is better" in text
    assert "after 128 images of training; real data reach 8" in text
    assert text.index("r3gan") < text.index("| gan")
    read = list(csv.DictReader(io.StringIO((tmp_path / "comparison.csv").read_text())))
    assert [r["mean"] for r in read] == ["12.0", "30.0"]
    page = (tmp_path / "comparison.html").read_text()
    assert page.count("<img") == 2
    assert page.count("<polyline") == 2


def test_results_of_different_protocols_are_not_compared_silently(tmp_path):
    (tmp_path / "results").mkdir()
    made = [result("gan", 0), result("r3gan", 0, n_fake=50)]
    found = c.write_tables(made, tmp_path, "mini")
    assert found["differences"] == ["generated samples: 100 against 50"]
    for kind in ("md", "html"):
        assert "may not be compared" in (tmp_path / f"comparison.{kind}").read_text()


# -- what goes wrong --------------------------------------------------------------------
def test_a_training_that_fails_ends_the_comparison(tmp_path):
    """The trainings that have not begun are given up, and the command ends."""
    np.save(tmp_path / "few.npy", np.zeros((40, 8, 8), np.uint8))
    done = subprocess.run(
        [sys.executable, "-m", "ganforge", "compare", "gan", "--data", str(tmp_path / "few.npy"),
         "--seeds", "3", "--images", "64", "--set", "width=8", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "error: gan width=8, seed 0" in done.stderr.splitlines()[-1]
    assert "at least 50" in done.stderr.splitlines()[-1]


def test_what_other_code_began_is_begun_anew(tmp_path, monkeypatch):
    for name in ("runs", "results"):
        (tmp_path / name).mkdir()
    settings = {"width": 8, "batch_size": 32}
    j = c.Job("gan", "fashion-mnist-mini", 0, None, 64, settings, "raw", 60)
    path = tmp_path / "runs" / j.name
    ganforge.train(j.data, j.recipe, path, settings=settings, seed=0, images=32)
    begun = []
    monkeypatch.setattr(c, "code_hash", lambda _: "now")
    real = ganforge.api.train
    monkeypatch.setattr("ganforge.api.train", lambda *a, **k: begun.append(1) or real(*a, **k))
    path.with_name(f"{path.name}.code").write_text("then")
    assert c.do(j, tmp_path)["images_seen"] == 64
    assert begun == [1]
    assert list((tmp_path / "runs").iterdir()) == []


# -- cutting ----------------------------------------------------------------------------
def test_the_hopeless_are_asked_to_stop(tmp_path):
    cutter = c.Cutter(tmp_path)
    jobs = [job(seed=s, images=6400) for s in range(4)]
    for j, level in zip(jobs, (0.1, 0.12, 0.11, 5.0), strict=True):
        run = Run.create(tmp_path / "runs" / j.name, {"recipe": "gan"})
        for i in range(1, 6):
            kid = {"value": level / i, "low": 0.0, "high": 1.0}
            run.append({"step": i, "images": 640 * i, "seconds": i, "score": {"kid": kid}})
    for j in jobs[:3]:
        assert cutter.look([j]) == []
        cutter.done(j)
    assert cutter.look([jobs[3]]) == [jobs[3].name]
    (asked,) = Run(tmp_path / "runs" / jobs[3].name).take_requests()
    assert asked["kind"] == "stop"
    assert cutter.look([jobs[3]]) == [], "once is enough"


def test_a_training_that_ends_while_it_is_looked_at(tmp_path):
    cutter = c.Cutter(tmp_path)
    jobs = [job(seed=s, images=6400) for s in range(4)]
    for j, level in zip(jobs, (0.1, 0.12, 0.11, 5.0), strict=True):
        for i in range(1, 6):
            cutter._report(j.name, i, level / i)
        if j is not jobs[3]:
            cutter.done(j)
    assert cutter.look([jobs[3]]) == []  # its folder is gone


def test_seeds_that_were_never_scored_at_the_same_time_have_no_common_curve(tmp_path):
    (tmp_path / "results").mkdir()
    made = [result("gan", 0), result("gan", 1)]
    for r, seconds in zip(made, ((10.0, 20.0), (30.0, 40.0)), strict=True):
        r["curve"] = [[s, 1, {"value": 1 / s}] for s in seconds]
    c.write_tables(made, tmp_path, "mini")
    assert "<polyline" not in (tmp_path / "comparison.html").read_text()
