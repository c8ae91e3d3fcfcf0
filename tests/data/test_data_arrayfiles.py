"""npy, npz and idx files, whole and damaged."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_making import write_idx

from ganforge.data import open_source
from ganforge.errors import UserError

X = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), np.uint8)
Y = np.arange(12) % 4


def pixels(path: Path, **options) -> np.ndarray:
    return np.asarray(open_source(path, **{"split": "all"} | options).images)


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    assert np.array_equal(pixels(tmp_path / "x.npy"), X)
    assert open_source(tmp_path / "x.npy").name == "x"


def test_big_endian_and_version_2(tmp_path: Path) -> None:
    wide = X.astype(">u2") * 257
    with open(tmp_path / "x.npy", "wb") as f:
        np.lib.format.write_array(f, wide, version=(2, 0))
    assert np.array_equal(pixels(tmp_path / "x.npy"), wide.astype(np.uint16))


@pytest.mark.parametrize("keep", [0, 3, 5, 9, 60, 128, 1000, -1])
def test_a_truncated_npy_is_one_clear_line(tmp_path: Path, keep: int) -> None:
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:keep])
    with pytest.raises(UserError, match=r"x\.npy") as e:
        open_source(tmp_path / "x.npy")
    assert "\n" not in str(e.value)


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole.replace(b"(12, 9,", b"(10**9"[:6] + b","))
    with pytest.raises(UserError, match=r"x\.npy"):
        open_source(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(
        whole.replace(b"(12, 9, 9, 3), }     ", b"(12, 9, 9, 300000), }")
    )
    with pytest.raises(UserError, match="promises"):
        open_source(tmp_path / "x.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trap = np.array([Trap(mark)] * 3, object)
    np.save(tmp_path / "x.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "x.npz", images=X, labels=trap, classes=trap)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(UserError, match="Python objects"):
            open_source(tmp_path / name)
    assert not mark.exists()


def test_fortran_order_says_how_to_save_it(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    with pytest.raises(UserError, match="ascontiguousarray"):
        open_source(tmp_path / "x.npy")


def test_records_and_text_are_no_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), [("a", "u1"), ("b", "u1")]))
    np.save(tmp_path / "y.npy", np.full((3, 8, 8), "text"))
    for name in ("x.npy", "y.npy"):
        with pytest.raises(UserError, match="integers or floats"):
            open_source(tmp_path / name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("arr_0", "arr_1"), ("faces", "labels")]
)
def test_npz_with_labels(tmp_path: Path, save, names: tuple[str, str]) -> None:
    save(tmp_path / "x.npz", **dict(zip(names, (X, Y), strict=True)))
    dataset = open_source(tmp_path / "x.npz")
    assert np.array_equal(dataset.images, X)
    assert dataset.classes == ["0", "1", "2", "3"]
    label = dataset.batch(np.arange(12)).label
    assert label is not None
    assert label.tolist() == Y.tolist()


def test_npz_with_class_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=X, labels=Y, classes=np.array(["a", "b", "c", "d"]))
    assert open_source(f"{tmp_path}/x.npz:c,A").classes == ["c", "a"]
    np.savez(tmp_path / "x.npz", images=X, labels=Y, classes=np.array(["a", "b"]))
    with pytest.raises(UserError, match="names 2 classes"):
        open_source(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_with_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "x.npz", **dict(zip(names, (X[:8], Y[:8], X[8:], Y[8:]), strict=True)))
    train, test = open_source(f"{tmp_path}/x.npz"), open_source(f"{tmp_path}/x.npz@test")
    assert (len(train), len(test)) == (8, 4)
    assert np.array_equal(test.raw(np.arange(4)), X[8:])


def test_npz_that_is_unclear(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", left=X, right=X)
    with pytest.raises(UserError, match=r"left, right.*'images'"):
        open_source(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", images=X, labels=Y[:5])
    with pytest.raises(UserError, match="one label for each"):
        open_source(tmp_path / "x.npz")


def test_npz_damaged(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=X)
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"x\.npz is damaged"):
        open_source(tmp_path / "x.npz")
    whole[len(whole) // 2] ^= 255
    (tmp_path / "x.npz").write_bytes(whole)
    with pytest.raises(UserError, match=r"x\.npz: images is damaged"):
        open_source(tmp_path / "x.npz")


# -- idx ------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path: Path, dtype: type, zipped: bool) -> None:
    x = X[..., 0].astype(dtype)
    path = write_idx(tmp_path / "set-images-idx3-ubyte", x)
    write_idx(tmp_path / "set-labels-idx1-ubyte", Y.astype(np.uint8))
    if zipped:
        for plain in list(tmp_path.iterdir()):
            plain.with_suffix(".gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        path = path.with_suffix(".gz")
    dataset = open_source(path)
    offset = 0 if dtype == np.uint8 else 32768
    assert np.array_equal(np.asarray(dataset.images[..., 0], np.int64) - offset, x)
    assert dataset.classes == ["0", "1", "2", "3"]


def test_idx_damaged(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "images-idx3", X[..., 0])
    whole = path.read_bytes()
    packed = gzip.compress(whole)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # the check sum
    for data in (whole[:10], whole[:500], whole + b"x", packed[:-5], packed[:40], bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(UserError, match="images-idx3 is damaged"):
            open_source(path)


def test_idx_with_the_labels_of_another_set(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "images-idx3", X[..., 0])
    write_idx(tmp_path / "labels-idx1", Y[:5].astype(np.uint8))
    with pytest.raises(UserError, match="one label for each"):
        open_source(path)


def test_four_idx_files_in_a_folder(tmp_path: Path) -> None:
    for split, x, y in (("train", X[:8, ..., 0], Y[:8]), ("t10k", X[8:, ..., 0], Y[8:])):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", x)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", y.astype(np.uint8))
    test = open_source(f"{tmp_path}@test")
    assert np.array_equal(test.raw(np.arange(4))[..., 0], X[8:, ..., 0])
    archive = shutil.make_archive(str(tmp_path.parent / "set"), "zip", tmp_path)
    assert open_source(f"{archive}@test").describe()["count"] == 4
