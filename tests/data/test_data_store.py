"""The packed store: written aside, checked when opened, shared by processes."""

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ganforge.data import store as stores
from ganforge.data.packing import Form
from ganforge.data.store import TEST, TRAIN, Damaged, Store, Writer, cached
from ganforge.errors import UserError


def write(path: Path, n: int = 10, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(n)
    images = rng.integers(0, 200, (n, 4, 5, 3)).astype(dtype)
    writer = Writer(path, (4, 5, 3), np.dtype(dtype))
    half = n // 2
    writer.append(images[:half], np.arange(half), np.full(half, TRAIN), np.arange(half))
    writer.append(images[half:], np.arange(half, n), np.full(n - half, TEST), np.arange(half, n))
    writer.finish([str(i) for i in range(n)], {"notes": ["one"]}, "test")
    return images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_what_is_written_is_read(tmp_path: Path, dtype: type) -> None:
    images = write(tmp_path / "a.store", 10, dtype)
    store = Store(tmp_path / "a.store")
    assert np.array_equal(store.images, images)
    assert store.images.dtype == dtype
    assert store.labels.tolist() == list(range(10))
    assert store.marks.tolist() == list(range(10))
    assert store.splits.tolist() == [TRAIN] * 5 + [TEST] * 5
    assert store.has_splits
    assert store.classes[3] == "3"
    assert store.report == {"notes": ["one"]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.store"]


def test_the_fingerprint_is_of_the_content_not_of_the_blocks(tmp_path: Path) -> None:
    images = write(tmp_path / "a.store")
    prints = []
    for name, parts, change in (("b", [10], 0), ("c", [1, 9], 0), ("d", [10], 1)):
        writer = Writer(tmp_path / name, (4, 5, 3), np.dtype(np.uint8))
        done = 0
        for n in parts:
            rows = slice(done, done + n)
            splits = np.where(np.arange(10) < 5, TRAIN, TEST)[rows]
            writer.append(images[rows] + change, np.arange(10)[rows], splits)
            done += n
        writer.finish([str(i) for i in range(10)], {}, "other")
        prints.append(Store(tmp_path / name).fingerprint)
    assert prints[0] == prints[1] == Store(tmp_path / "a.store").fingerprint
    assert prints[2] != prints[0]


def test_a_store_cut_short_anywhere_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    write(path)
    whole = path.read_bytes()
    for size in (0, 1, 63, 64, 4096, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            Store(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(Damaged):
        Store(path)


def test_a_changed_header_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    write(path)
    whole = bytearray(path.read_bytes())
    whole[-20] ^= 1
    path.write_bytes(whole)
    with pytest.raises(Damaged, match="digest"):
        Store(path)


def test_a_damaged_store_is_packed_again(tmp_path: Path) -> None:
    cached(tmp_path, "k", write)
    path = tmp_path / "k.store"
    path.write_bytes(path.read_bytes()[:-3])
    assert len(cached(tmp_path, "k", write)) == 10


def test_the_second_start_does_not_pack(tmp_path: Path) -> None:
    cached(tmp_path, "k", write)

    def never(path: Path) -> None:
        raise AssertionError("packed twice")

    assert len(cached(tmp_path, "k", never)) == 10


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".k.store.abc.tmp").write_bytes(b"half")
    cached(tmp_path, "k", write)
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_failed_packing_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        writer = Writer(path, (2, 2, 1), np.dtype(np.uint8))
        try:
            writer.append(np.zeros((3, 2, 2, 1), np.uint8))
            raise RuntimeError("stop")
        except RuntimeError:
            writer.discard()
            raise

    with pytest.raises(RuntimeError):
        cached(tmp_path, "k", fail)
    assert not list(tmp_path.glob("k.store")) + list(tmp_path.glob(".*.tmp"))


def _pack_when_told(folder: str, started: Any, log: str) -> None:
    def pack(path: Path) -> None:
        with open(log, "a") as f:
            f.write(f"{os.getpid()}\n")
        write(path, 2000)

    started.wait()
    store = cached(Path(folder), "k", pack)
    assert len(store) == 2000
    assert np.array_equal(store.labels, np.arange(2000))


def test_two_processes_pack_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    started = context.Event()
    arguments = (str(tmp_path), started, str(tmp_path / "log"))
    workers = [context.Process(target=_pack_when_told, args=arguments) for _ in range(4)]
    for w in workers:
        w.start()
    started.set()
    for w in workers:
        w.join(60)
    assert [w.exitcode for w in workers] == [0] * 4
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(UserError, match=r"disk is full.*GANFORGE_CACHE"):
        cached(tmp_path, "k", full)


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(UserError, match=r"cannot be written.*GANFORGE_CACHE"):
        cached(tmp_path, "k", denied)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="cannot make the cache folder"):
        stores.cache_folder()


def test_too_little_room_is_said_before_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganforge.data import packing
    from ganforge.data.source import in_memory

    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
    raw = in_memory(np.zeros((4, 8, 8), np.uint8))
    assert raw.form(packing.Wish()) == Form((8, 8, 1), np.dtype(np.uint8))
    with pytest.raises(UserError, match="MB free"):
        packing.pack(raw, packing.Wish(), tmp_path / "x")
