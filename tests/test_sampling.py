"""Samples by the million: in shards of a stated size, with flat memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import validate
from PIL import Image
from typer.testing import CliRunner

import ganforge
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.export import samples
from ganforge.export.samples import write_shards

PAGE = Path(__file__).parents[1] / "docs" / "contracts.md"


def schema(title: str) -> dict:
    blocks = PAGE.read_text().split("```json\n")[1:]
    every = (json.loads(b.split("```")[0]) for b in blocks)
    return next(s for s in every if s["title"] == title)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sampling") / "run"
    ganforge.train(recipe="cgan", run=path, steps=1, width=8, batch_size=8)
    return path


def sample(*args: str) -> dict:
    said = CliRunner().invoke(app, ["sample", *args, "--json"], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


@pytest.mark.parametrize("bytes_", [[], ["--uint8"]])
def test_shards_hold_what_one_array_would(trained, tmp_path, bytes_):
    """600 samples (batches are of 256) in shards of 250."""
    out = tmp_path / "many"
    body = sample(str(trained), "--count", "600", "--out", str(out), "--shard", "250", *bytes_)
    validate(body, schema("sample"))
    assert body["shards"] == 3
    sample(str(trained), "--count", "600", "--out", str(tmp_path / "one.npy"), *bytes_)
    index = json.loads((out / "index.json").read_text())
    validate(index, schema("samples"))
    assert sorted(p.name for p in out.iterdir()) == [s["file"] for s in index["shards"]] + [
        "index.json"
    ]
    assert [(s["start"], s["count"]) for s in index["shards"]] == [(0, 250), (250, 250), (500, 100)]
    parts = [np.load(out / s["file"], allow_pickle=False) for s in index["shards"]]
    one = np.load(tmp_path / "one.npy", allow_pickle=False)
    assert np.array_equal(np.concatenate(parts), one)
    assert (list(one.shape[1:]), one.dtype.name) == (index["shape"], index["dtype"])
    assert len(index["classes"]) == 10


def test_memory_stays_flat(trained, tmp_path):
    """RssAnon, the memory that only this process can free, at every batch."""
    code = f"""
import re, pathlib, ganforge
from ganforge.export.samples import write_shards
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
def watched(stream):
    global peak
    for x in stream:
        peak = max(peak, anonymous())
        yield x
made = ganforge.load({str(trained)!r})
for name, n in (("warm", 2000), ("few", 2000), ("many", 20000)):
    peak = 0
    write_shards(watched(made.stream(n)), pathlib.Path({str(tmp_path)!r}) / name, n, 1500)
    print(peak)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    _, few, many = map(int, done.stdout.split())
    assert many - few < 4096  # KiB; the 18,000 samples more take 55,000


def test_shards_are_whole_or_absent(tmp_path):
    def stops():
        yield torch.zeros(5, 1, 4, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(stops(), tmp_path / "d", 8, 4)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["00000.npy"]
    write_shards([torch.ones(8, 1, 4, 4)], tmp_path / "d", 8, 4)
    assert np.load(tmp_path / "d" / "00000.npy").min() == 1
    with pytest.raises(UserError, match=r"other files \(00001\.npy\)"):
        write_shards([torch.ones(4, 1, 4, 4)], tmp_path / "d", 4, 4)


def test_a_shard_is_no_file(trained, tmp_path):
    with pytest.raises(UserError, match="--shard makes a folder"):
        sample(str(trained), "--out", str(tmp_path / "x.npy"), "--shard", "10")


def test_what_no_picture_holds_goes_into_shards_by_itself(trained, monkeypatch):
    """`ganforge sample RUN --count 1000000` and no more."""
    monkeypatch.setattr(samples, "GRID", 30)
    monkeypatch.setattr(samples, "SHARD", 20)
    body = sample(str(trained), "--count", "50", "--seed", "5")
    assert body["shards"] == 3
    assert len(list(Path(body["out"]).glob("*.npy"))) == 3
    assert "shards" not in sample(str(trained), "--count", "30", "--seed", "6")


def test_each_class_has_a_column_of_its_own(trained, tmp_path):
    body = sample(str(trained), "--label", "all", "--out", str(tmp_path / "all.png"))
    assert body["count"] == 70
    with Image.open(tmp_path / "all.png") as grid:
        assert grid.width / grid.height == pytest.approx(10 / 7, rel=0.02)


def test_all_classes_of_a_run_without_any_is_one_line(tmp_path):
    run = ganforge.train(recipe="gan", run=tmp_path / "run", steps=1, width=8, batch_size=8)
    with pytest.raises(UserError, match="class"):
        sample(str(run.path), "--label", "all")
