"""CIFAR as published, without unpickling anything."""

import contextlib
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_making import cifar10, cifar_meta, cifar_pickle, write_folder, write_tar, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.data import open_source
from ganforge.data.cifar import plain
from ganforge.errors import UserError


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_cifar10(tmp_path: Path, binary: bool, kind: str) -> None:
    files, pixels, labels = cifar10(binary)
    if kind == "folder":
        path = write_folder(tmp_path / "set", files)
    elif kind == "tar":
        path = write_tar(tmp_path / "cifar-10-python.tar.gz", files)
    else:
        path = write_zip(tmp_path / "set.zip", files)
    train = open_source(path)
    assert (len(train), len(open_source(f"{path}@test"))) == (30, 6)
    batch = train.batch(np.arange(30))
    assert batch.label is not None
    assert np.array_equal(batch.label.numpy(), labels)
    assert np.array_equal(((batch.real.numpy() + 1) * 127.5).round(), pixels)
    assert train.classes[6] == "frog"


def test_by_name_under_a_data_root(tmp_path: Path) -> None:
    files, _, labels = cifar10(binary=False)
    write_tar(tmp_path / "cifar-10-python.tar.gz", files)
    frogs = open_source("cifar10:frog", data_root=tmp_path)
    assert frogs.name == "cifar10:frog"
    assert frogs.classes == ["frog"]
    assert len(frogs) == (labels == 6).sum()


@pytest.mark.parametrize("binary", [False, True])
def test_cifar100_has_its_fine_labels(tmp_path: Path, binary: bool) -> None:
    rng = np.random.default_rng(0)
    names = [f"fine{i}" for i in range(100)]
    files = {}
    fine = rng.integers(0, 100, 8, np.uint8)
    for base in ("train", "test"):
        x = rng.integers(0, 256, (8, 3072), np.uint8)
        if binary:
            head = np.stack([fine // 5, fine], 1)
            files[f"cifar-100-binary/{base}.bin"] = np.concatenate([head, x], 1).tobytes()
        else:
            data = cifar_pickle(x, fine.tolist(), b"fine_labels")
            files[f"cifar-100-python/{base}"] = data
    if binary:
        files["cifar-100-binary/fine_label_names.txt"] = "\n".join(names).encode()
    else:
        files["cifar-100-python/meta"] = cifar_meta(names, b"fine_label_names")
    write_folder(tmp_path, files)
    dataset = open_source("cifar100", data_root=tmp_path)
    label = dataset.batch(np.arange(8)).label
    assert label is not None
    assert label.tolist() == fine.tolist()
    assert dataset.classes == names


def test_it_reads_what_pickle_reads() -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 3072), np.uint8)
    data = cifar_pickle(x, [1] * 300)
    mine, theirs = plain(data), pickle.loads(data, encoding="bytes")
    assert np.array_equal(mine["data"].value, theirs[b"data"])
    assert mine["labels"] == theirs[b"labels"]
    assert mine["filenames"] == theirs[b"filenames"]


class Trap:
    def __init__(self, what: tuple) -> None:
        self.what = what

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    files, _, _ = cifar10(binary=False)
    name = "cifar-10-batches-py/data_batch_1"
    for trap in ((open, (str(mark), "w")), (exec, (f"open({str(mark)!r}, 'w')",))):
        files[name] = pickle.dumps({"labels": Trap(trap), "data": 1}, protocol)
        folder = write_folder(tmp_path / "set", files)
        with pytest.raises(UserError, match="data_batch_1 is damaged"):
            open_source(folder)
    assert not mark.exists()


def test_no_part_of_the_package_can_unpickle() -> None:
    """`pickle`, `torch.load`, `allow_pickle=True` and `yaml.load` appear nowhere in data/."""
    folder = Path(sys.modules["ganforge.data"].__file__ or "").parent
    words = r"import pickle|from pickle|torch\.load|allow_pickle|yaml\.load\(|\beval\(|\bexec\("
    found = subprocess.run(["grep", "-rnE", words, str(folder), "--include=*.py"],
                           capture_output=True, text=True)  # fmt: skip
    assert found.stdout == ""
    assert found.returncode == 1


def test_an_array_of_something_else_is_refused() -> None:
    x = np.zeros((2, 3072), np.uint8)
    data = cifar_pickle(x, [0, 1])
    for change in ((b"u1", b"f8"), (b"numpy\ndtype", b"numpy\nempty"), (b"ndarray", b"matrixx")):
        with pytest.raises(ValueError, match="asks"):
            plain(data.replace(*change))


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 6500), change=st.integers(0, 6500), byte=st.integers(0, 255))
def test_a_damaged_batch_is_never_more_than_an_error(cut: int, change: int, byte: int) -> None:
    data = bytearray(cifar_pickle(np.zeros((2, 3072), np.uint8), [0, 1]))
    data[change % len(data)] = byte
    known = (ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, struct.error)
    with contextlib.suppress(*known):
        plain(bytes(data[: max(cut, change)]))


@pytest.mark.parametrize("binary", [False, True])
def test_a_batch_cut_short_is_named(tmp_path: Path, binary: bool) -> None:
    files, _, _ = cifar10(binary)
    name = next(n for n in files if "data_batch_3" in n)
    files[name] = files[name][:-100]
    with pytest.raises(UserError, match=r"data_batch_3(\.bin)? is damaged"):
        open_source(write_folder(tmp_path / "set", files))
