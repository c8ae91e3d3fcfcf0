"""Shards at URLs, served by this process."""

import functools
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_making import encoded
from PIL import Image

import ganforge
from ganforge import api
from ganforge.data import open_source
from ganforge.data.shuffle import Windowed
from ganforge.data.streamed import GivenUp, Remote, braces
from ganforge.errors import Lacking, UserError
from ganforge.judging.samples import Rows
from ganforge.training.checkpoints import read

EACH = 10


def grey(value: int) -> bytes:
    return encoded(Image.fromarray(np.full((8, 8), value, np.uint8)))


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def shard(first: int, n: int = EACH, label: str = "cls") -> bytes:
    """n grey pictures, each of its own number, with the number's last digit but two as class."""
    members = {}
    for i in range(first, first + n):
        members[f"{i:05}.png"] = grey(i)
        members[f"{i:05}.{label}"] = (
            str(i % 3).encode() if label == "cls" else json.dumps({"label": i % 3}).encode()
        )
    return tar(members)


class Served:
    """A folder at a URL, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                if self.command == "GET":
                    asked.append(self.path)

        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def got(self, name: str) -> int:
        return self.asked.count(f"/{name}")


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "www").mkdir()
    site = Served(tmp_path / "www")
    for k in range(6):
        (site.folder / f"s-{k}.tar").write_bytes(shard(k * EACH))
    yield site
    site.server.shutdown()
    site.server.server_close()


def values(dataset, indices) -> list[int]:
    return ((dataset.real(indices)[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


# -- the order ------------------------------------------------------------------------------
@pytest.mark.parametrize("counts", [[10] * 6, [7, 1, 12, 5], [3]])
def test_an_epoch_has_every_sample_once(counts):
    n = sum(counts)
    order = Windowed(counts, 3)
    for epoch in range(3):
        assert sorted(order.at(epoch * n, n)) == list(range(n))
    assert n < 5 or (order.at(0, n) != order.at(n, n)).any()


@pytest.mark.parametrize(("counts", "batch"), [([10] * 6, 8), ([7, 1, 12, 5], 6)])
def test_lanes_see_every_sample_equally_often(counts, batch):
    order = Windowed(counts, 3, batch)
    seen = np.bincount(order.at(0, 20 * batch * order.length), minlength=sum(counts))
    assert order.lanes == 2
    assert seen.max() <= 20 * order.width  # once per epoch and no more
    assert seen.min() >= 0.5 * 20 * order.width  # what lanes leave out differs each time


def test_the_order_is_a_function_of_the_position():
    order, again = Windowed([10] * 6, 3, 8), Windowed([10] * 6, 3, 8)
    whole = order.at(0, 200)
    assert (np.concatenate([again.at(i, 7) for i in range(0, 203, 7)])[:200] == whole).all()
    assert (Windowed([10] * 6, 4, 8).at(0, 200) != whole).any()


def test_two_processes_read_different_shards():
    order = Windowed([100] * 64, 0, 16)
    halves = [set(), set()]
    for step in range(order.window // order.width):
        for rank in (0, 1):
            halves[rank] |= set((order.at(16 * step + 8 * rank, 8) // 100).tolist())
    assert len(halves[0] & halves[1]) <= 1  # the one that the lanes' border cuts
    assert len(halves[0] | halves[1]) < 32  # of 64


# -- what is read ---------------------------------------------------------------------------
@pytest.mark.parametrize("label", ["cls", "json"])
def test_pictures_and_labels_are_those_of_the_shards(served, label):
    for k in range(6):
        (served.folder / f"s-{k}.tar").write_bytes(shard(k * EACH, label=label))
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    assert data.shape == (1, 8, 8)
    assert (len(data), data.classes, data.notes) == (60, ["0", "1", "2"], [])
    every = np.arange(60)
    assert values(data, every) == every.tolist()
    assert data.batch(every[::-1]).label.tolist() == [i % 3 for i in every[::-1]]


def test_a_second_start_reads_nothing_anew(served):
    first = open_source(f"{served.url}/s-{{0..5}}.tar")
    before = len([a for a in served.asked if a.endswith(".tar")])
    second = open_source(f"{served.url}/s-{{0..5}}.tar")
    values(second, np.arange(60))
    assert len([a for a in served.asked if a.endswith(".tar")]) == before
    assert first.fingerprint == second.fingerprint
    (served.folder / "s-3.tar").write_bytes(shard(130, 2 * EACH))
    assert open_source(f"{served.url}/s-{{0..5}}.tar").fingerprint != first.fingerprint


def test_sizes_json_saves_the_counting(served):
    sizes = {f"s-{k}.tar": EACH for k in range(6)}
    (served.folder / "sizes.json").write_text(json.dumps(sizes))
    (served.folder / "classes.json").write_text('["a", "b", "c"]')
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    assert len(data) == 60
    assert data.classes == ["a", "b", "c"]
    assert [served.got(f"s-{k}.tar") for k in range(6)] == [1, 0, 0, 0, 0, 0]
    assert values(data, np.array([25])) == [25]
    assert [served.got(f"s-{k}.tar") for k in range(2, 6)] == [1, 0, 0, 0]
    (served.folder / "sizes.json").write_text(json.dumps(sizes | {"s-4.tar": 25}))
    with pytest.raises(UserError, match=r"s-4\.tar has 10 samples .* 25 were counted"):
        open_source(f"{served.url}/s-{{0..5}}.tar").real(np.array([50]))


def test_arrays(served):
    for k in range(2):
        members = {}
        for i in range(4):
            out = io.BytesIO()
            np.save(out, np.full((8, 8, 3), k * 4 + i, np.uint8))
            members[f"{i}.npy"] = out.getvalue()
        (served.folder / f"a-{k}.tar").write_bytes(tar(members))
    data = open_source(f"{served.url}/a-{{0,1}}.tar", layout="NHWC")
    assert data.shape == (3, 8, 8)
    assert values(data, np.arange(8)) == list(range(8))


def test_parquet_with_the_names_of_its_classes(served):
    about = {"info": {"features": {"image": {"_type": "Image"},
                                   "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}  # fmt: skip
    for k in range(3):
        rows = [{"bytes": grey(k * 5 + i), "path": None} for i in range(5)]
        table = pa.table({"image": rows, "label": [i % 2 for i in range(5)]})
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
        pq.write_table(table, served.folder / f"train-{k}.parquet")
    data = open_source(f"{served.url}/train-{{0..2}}.parquet")
    assert data.classes == ["cat", "dog"]
    assert values(data, np.arange(15)) == list(range(15))
    assert data.batch(np.array([5, 6])).label.tolist() == [0, 1]


def test_folders_of_this_machine_and_patterns(served):
    data = open_source(f"file://{served.folder}/s-*.tar@train", holdout=0.3)
    held = open_source(f"file://{served.folder}/s-*.tar", holdout=0.3, split="test")
    both = [*values(data, np.arange(len(data))), *values(held, np.arange(len(held)))]
    assert len(held) == 20
    assert sorted(both) == list(range(60))


def test_the_cache_stays_within_its_limit(served, monkeypatch, tmp_path):
    open_source(f"{served.url}/s-0.tar")
    (one,) = (tmp_path / "cache" / "shards").glob("*.store")
    size = one.stat().st_size
    monkeypatch.setenv("GANFORGE_STREAM_GB", str(2.5 * size / 1e9))
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    for place in np.random.default_rng(0).permutation(60):
        assert values(data, np.array([place])) == [place]
        kept = list((tmp_path / "cache" / "shards").glob("*.store"))
        assert sum(p.stat().st_size for p in kept) <= 2.5 * size
        assert len(data.shards._open) <= 2  # what is mapped takes room too
    assert not list((tmp_path / "cache" / "shards").glob(".shard-*"))


def emptied(tmp_path: Path) -> None:
    """Nothing of the shards is at hand any more."""
    for path in (tmp_path / "cache" / "shards").glob("*.store"):
        path.unlink()


def test_what_was_to_come_is_given_up(served, tmp_path, monkeypatch):
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    emptied(tmp_path)
    fetch, begun, go = data.shards.remote.fetch, threading.Semaphore(0), threading.Event()
    asked = []

    def slow(url, to, unwanted=None):
        asked.append((url, unwanted))
        begun.release()
        go.wait(60)
        fetch(url, to, unwanted)

    monkeypatch.setattr(data.shards.remote, "fetch", slow)
    data.shards.want(np.arange(60))
    begun.acquire()
    begun.acquire()  # both threads are busy, four shards wait
    data.rest()
    go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("shards"):
            thread.join(60)
    assert len(asked) == 2
    assert not list((tmp_path / "cache" / "shards").glob("*.store"))
    assert not list((tmp_path / "cache" / "shards").glob(".shard-*"))
    with pytest.raises(GivenUp):
        fetch(asked[0][0], tmp_path / "part", asked[0][1])
    assert values(data, np.arange(60)) == list(range(60))  # and can be wanted again


def test_nothing_is_fetched_after_the_end(served, tmp_path):
    """What the last turns looked ahead to would otherwise keep the program from ending."""
    (served.folder / "sizes.json").write_text(json.dumps({f"s-{k}.tar": EACH for k in range(6)}))
    config, dataset, _ = ganforge.plan(f"{served.url}/s-{{0..5}}.tar", "gan", steps=1, width=8,
                                       batch_size=4, size=8, horizon=1000)  # fmt: skip
    looked, want = [], dataset.shards.want
    dataset.shards.want = lambda places: (looked.append(1), want(places))

    def rests() -> bool:
        began = bool(looked)
        looked.clear()
        return began and dataset.shards._pool is None and not dataset.shards._coming

    api.forecast(config, dataset)
    assert rests()
    api.begin(config, dataset, run=tmp_path / "run")
    assert rests()


def test_what_is_scored_is_not_read_beyond(served):
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    wanted = []
    data.shards.want = wanted.append
    Rows(data, 30).at(0, 30)
    assert sum(map(len, wanted)) == 10  # a window is of two shards, twenty samples
    del wanted[:]
    data.shuffle(0).at(0, 30)
    assert sum(map(len, wanted)) == 30


def test_what_a_killed_process_left_is_removed(served, tmp_path):
    open_source(f"{served.url}/s-0.tar")
    old, new = (tmp_path / "cache" / "shards" / f".shard-{k}" for k in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    open_source(f"{served.url}/s-0.tar")
    assert new.exists()
    assert not old.exists()


def test_a_signed_address_has_a_query(served):
    assert values(open_source(f"{served.url}/s-0.tar?signature=a/b.c"), np.arange(EACH)) == [
        *range(EACH)
    ]


# -- what can be wrong ----------------------------------------------------------------------
def test_a_full_disk_is_no_fault_of_the_shards(served, monkeypatch):
    """It is said, and nothing is remembered of it."""
    url = f"{served.url}/s-{{0..5}}.tar"
    whole, asked = Remote.ask, []

    def full(remote, work):
        asked.append(1)
        if len(asked) == 9:  # six are asked about, sizes.json and classes.json, then the first
            return whole(remote, lambda: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
        return whole(remote, work)

    monkeypatch.setattr(Remote, "ask", full)
    with pytest.raises(Lacking, match=r"disk is full.*GANFORGE_CACHE"):
        open_source(url)
    assert len(open_source(url)) == 60


def test_a_broken_shard_is_named_and_left_out(served):
    (served.folder / "s-1.tar").write_bytes(shard(10)[:3000])
    (served.folder / "s-4.tar").unlink()
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    assert len(data) == 40
    (note,) = data.notes
    assert note.startswith("2 of 6 shards could not be read and are left out")
    assert "s-4.tar (not found)" in note
    assert "s-1.tar (it is no tar, cut short or damaged)" in note
    assert 10 not in values(data, np.arange(40))


def test_an_unreadable_picture_gives_way_to_a_neighbour(served):
    members = {f"{i}.png": grey(i) if i != 3 else b"no picture" for i in range(EACH)}
    (served.folder / "s-0.tar").write_bytes(tar(members))
    (served.folder / "sizes.json").write_text(json.dumps({"s-0.tar": EACH}))
    data = open_source(f"{served.url}/s-0.tar")
    assert len(data) == EACH
    assert set(values(data, np.arange(EACH))) == set(range(EACH)) - {3}


def test_a_shard_that_vanishes_is_named(served, tmp_path):
    data = open_source(f"{served.url}/s-{{0..5}}.tar")
    emptied(tmp_path)
    (served.folder / "s-2.tar").unlink()
    with pytest.raises(UserError, match=r"s-2\.tar cannot be read \(not found\).*resume"):
        data.real(np.array([25]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none-{0..3}.tar", "cannot be read.*check the address"),
        ("s-{0..5}", "names no shards"),
        ("s-{0..5}?x=.tar", "names no shards"),
        ("s-0.tar@test", "--holdout"),
        ("s-0.tar@half", "unknown"),
    ],
)
def test_what_is_wrong_with_a_url(served, name, message):
    with pytest.raises(UserError, match=message):
        open_source(f"{served.url}/{name}")


def test_most_shards_broken_is_an_error(served):
    for k in range(4):
        (served.folder / f"s-{k}.tar").write_bytes(b"not a tar")
    with pytest.raises(UserError, match="4 of 6 shards"):
        open_source(f"{served.url}/s-{{0..5}}.tar")


@pytest.mark.parametrize("url", ["nothing://there/x-{0..3}.tar", "none-{0..3}.tar"])
def test_a_wrong_url_is_one_line_and_exit_2(served, capsys, monkeypatch, url):
    from ganforge.cli import main

    at = url if "://" in url else f"{served.url}/{url}"
    monkeypatch.setattr("sys.argv", ["ganforge", "train", at, "--dry-run"])
    with pytest.raises(SystemExit) as e:
        main()
    assert e.value.code == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert said.startswith(f"error: {at} cannot be read")


def test_braces():
    assert braces("a-{08..10}.{x,y}") == [f"a-{n}.{e}" for n in ("08", "09", "10") for e in "xy"]


# -- training -------------------------------------------------------------------------------
def networks(run: Path, step: int):
    tensors, _ = read(run / "checkpoints" / f"step-{step:08d}")
    return tensors["networks"]


def test_a_resume_is_exact(served, tmp_path):
    settings = {"recipe": "gan", "width": 8, "batch_size": 8, "horizon": 1000, "size": 8}
    url = f"{served.url}/s-{{0..5}}.tar"
    whole = ganforge.train(url, run=tmp_path / "whole", steps=6, **settings)
    ganforge.train(url, run=tmp_path / "parts", steps=2, **settings)
    emptied(tmp_path)  # what was brought before matters not
    parts = ganforge.resume(tmp_path / "parts", steps=6)
    a, b = networks(whole.path, 6), networks(parts.path, 6)
    assert all((a[k] == b[k]).all() for k in a)


def test_two_processes_agree_with_one(served, tmp_path):
    """Each reads its own part of every batch; together it is the batch of one."""
    url, steps = f"{served.url}/s-{{0..5}}.tar", 6
    one = ganforge.train(url, "gan", tmp_path / "one", steps=steps, width=8, batch_size=8,
                         horizon=1000, size=8)  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "ganforge", "train", url, "--recipe", "gan", "--run-dir", str(tmp_path / "two"),
               "--steps", str(steps), "--width", "8", "--batch-size", "8", "--size", "8",
               "--set", "horizon=1000"]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1", "GANFORGE_CACHE": str(tmp_path / "other-cache")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = networks(one.path, steps), networks(tmp_path / "two", steps)
    assert all(torch.allclose(x, b[k], atol=2e-5, rtol=1e-4) for k, x in a.items())
