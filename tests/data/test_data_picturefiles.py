"""Picture files as a source: form, labels, splits, broken files."""

import json
from pathlib import Path

import numpy as np
import pytest
from data_making import (
    bomb_png,
    deep_png,
    encoded,
    gradient,
    image,
    labels_json,
    some_files,
    write_folder,
    write_zip,
)

from ganforge.data import Dataset, open_source
from ganforge.data.picturefiles import choose_size
from ganforge.errors import UserError


def labels(dataset: Dataset) -> list[int]:
    found = dataset.batch(np.arange(len(dataset))).label
    assert found is not None
    return found.tolist()


# -- form -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(48, 64)] * 3, (48, 64)),
        ([(64, 64)] * 3, (64, 64)),
        ([(65, 64)] * 3, (64, 64)),
        ([(4, 28)] * 3, (16, 16)),
        ([(1000, 800), (900, 700)], (64, 64)),
        ([(40, 60), (33, 90), (200, 200)], (32, 32)),
        ([(20, 30), (25, 25)], (16, 16)),
        ([(10, 10), (11, 11)], (16, 16)),
        ([], (16, 16)),
    ],
)
def test_the_size_is_chosen_from_the_data(sizes, chosen) -> None:
    assert choose_size(sizes) == chosen


def test_size_and_channels_as_asked(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(4, size=(50, 40)))
    assert open_source(folder).shape == (3, 50, 40)
    assert open_source(folder, size=16).shape == (3, 16, 16)
    assert open_source(folder, size="20x48").shape == (3, 20, 48)
    assert open_source(folder, size=(8, 9), channels=1).shape == (1, 8, 9)
    assert open_source(folder, channels=4).shape == (4, 50, 40)
    with pytest.raises(UserError, match="1 to 4 channels"):
        open_source(folder, channels=7)
    with pytest.raises(UserError, match="for arrays"):
        open_source(folder, layout="NHWC")


@pytest.mark.parametrize("size", ["0", "3", 5000, "axb", "1x2x3", "", (1, 2, 3), "64x", 1.5])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(UserError, match="--size"):
        open_source(size=size)  # type: ignore[arg-type]


def test_grey_pictures_stay_grey_until_one_has_colours(tmp_path: Path) -> None:
    files = {f"{i}.png": encoded(image(channels=1, shift=i)) for i in range(4)}
    assert open_source(write_folder(tmp_path / "f", files)).shape == (1, 24, 24)
    files["colour.png"] = encoded(image())
    assert open_source(write_folder(tmp_path / "f", files)).shape == (3, 24, 24)


def test_16_bit_pictures_are_kept_in_16_bits(tmp_path: Path) -> None:
    x = gradient(24, 24).astype(np.uint16) * 250 + 7
    files = {"a.png": deep_png(x), "b.png": encoded(image())}
    dataset = open_source(write_folder(tmp_path / "f", files))
    assert dataset.images.dtype == np.uint16
    assert np.array_equal(dataset.images[0], x)
    assert np.array_equal(dataset.images[1], np.asarray(image()).astype(int) * 257)


def test_pixels_are_those_of_the_files_in_their_order(tmp_path: Path) -> None:
    """More files than a chunk holds, decoded by several threads."""
    files = some_files(100)
    dataset = open_source(write_zip(tmp_path / "f.zip", files))
    expected = np.stack([np.asarray(image(shift=i)) for i in range(100)])
    assert np.array_equal(dataset.images, expected)


def test_what_was_done_is_noted(tmp_path: Path) -> None:
    frames = [image(shift=i) for i in range(3)]
    files = some_files(3) | {
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "clear.png": encoded(image().convert("RGBA")),
        "small.png": encoded(image(20, 20)),
    }
    notes = open_source(write_folder(tmp_path / "f", files), size=24).notes
    assert notes == [
        "animated pictures, of which the first frame is used: 1 of 6",
        "pictures enlarged to 24x24: 1 of 6",
        "transparent pictures, laid over white (--channels 4 keeps transparency): 1 of 6",
    ]
    assert open_source(tmp_path / "f", size=24).notes == notes  # from the store, too


# -- labels ---------------------------------------------------------------------------------
def test_sub_folders_are_classes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(12, classes=3))
    dataset = open_source(folder)
    assert dataset.classes == ["class0", "class1", "class2"]
    assert labels(dataset) == [0] * 4 + [1] * 4 + [2] * 4
    assert labels(open_source(f"{folder}:class2,class0")) == [1] * 4 + [0] * 4
    assert labels(open_source(f"{folder}:CLASS1")) == [0] * 4
    with pytest.raises(UserError, match=r"'dogs'.*class0, class1, class2"):
        open_source(f"{folder}:dogs")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a/x.png", "b/y.png"], ["a", "b"]),
        (["set/a/x.png", "set/b/y.png"], ["a", "b"]),
        (["set/deep/a/x.png", "set/deep/b/c/y.png"], ["a", "b"]),
        (["a/x.png", "a/y.png"], []),
        (["a/x.png", "y.png"], []),
        (["x.png", "y.png"], []),
        (["ab/x.png", "abc/y.png"], ["ab", "abc"]),
    ],
)
def test_which_folders_are_classes(tmp_path: Path, names: list[str], classes: list[str]) -> None:
    files = {n: encoded(image(shift=i)) for i, n in enumerate(names)}
    assert open_source(write_folder(tmp_path / "f", files)).classes == classes
    assert open_source(write_zip(tmp_path / "f.zip", files)).classes == classes


def test_stylegans_labels(tmp_path: Path) -> None:
    files = {f"00000/img{i:08}.png": encoded(image(shift=i)) for i in range(6)}
    files |= {f"00001/img{i:08}.png": encoded(image(shift=i + 9)) for i in range(2)}
    said = [[n, i % 3] for i, n in enumerate(files)]
    forms = [said, dict(said), [[n, np.eye(3, dtype=int)[k].tolist()] for n, k in said]]
    for i, form in enumerate(forms):
        path = write_zip(tmp_path / f"{i}.zip", files | {"dataset.json": labels_json(form)})
        dataset = open_source(path)
        assert dataset.classes == ["0", "1", "2"]
        assert labels(dataset) == [k for _, k in said]
    path = write_zip(tmp_path / "none.zip", files | {"dataset.json": labels_json(None)})
    assert open_source(path).classes == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"labels": 3}',
        b'{"labels": [["img000.png"]]}',
        b'{"labels": [["img000.png", -1]]}',
        b'{"labels": [["img000.png", "cat"]]}',
        b'{"labels": [["img000.png", true]]}',
        b'{"labels": [["img000.png", 1e99]]}',
        b'{"labels": [["img000.png", [0.5, 0.5]]]}',
        b'{"labels": [["img000.png", 999999999]]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(14),
)
def test_labels_that_are_none(tmp_path: Path, text: bytes) -> None:
    folder = write_folder(tmp_path / "f", some_files(3) | {"dataset.json": text})
    with pytest.raises(UserError, match=r"dataset\.json is no labels file") as e:
        open_source(folder)
    assert "\n" not in str(e.value)


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    files = some_files(3)
    said = [[n, 0] for n in files]
    few = files | {"dataset.json": labels_json(said[:2])}
    with pytest.raises(UserError, match=r"no label for 1 of 3 pictures.*img002\.png"):
        open_source(write_folder(tmp_path / "few", few))
    many = files | {"dataset.json": labels_json([*said, ["gone.png", 1]])}
    with pytest.raises(UserError, match=r"labels 1 files that are not there.*gone\.png"):
        open_source(write_folder(tmp_path / "many", many))


# -- splits ---------------------------------------------------------------------------------
def test_train_and_test_folders(tmp_path: Path) -> None:
    files = {f"train/a/{n}": d for n, d in some_files(5).items()}
    files |= {f"train/b/{n}": d for n, d in some_files(3).items()}
    files |= {f"test/b/{n}": d for n, d in some_files(2).items()}
    folder = write_folder(tmp_path / "f", files)
    counts = {s: len(open_source(f"{folder}@{s}")) for s in ("train", "test", "all")}
    assert counts == {"train": 8, "test": 2, "all": 10}
    assert len(open_source(folder)) == 8
    test = open_source(f"{folder}@test")
    assert test.classes == ["a", "b"]
    assert labels(test) == [1, 1]
    assert len(open_source(f"{folder}:a@all")) == 5
    with pytest.raises(UserError, match="no samples of a in @test"):
        open_source(f"{folder}:a@test")
    with pytest.raises(UserError, match="drop --holdout"):
        open_source(folder, holdout=0.1)


@pytest.mark.parametrize(
    ("third", "test"), [({"val": 2}, 2), ({"val": 2, "test": 3}, 3), ({"valid": 2}, 2)]
)
def test_validation_folders(tmp_path: Path, third: dict[str, int], test: int) -> None:
    files = {f"train/{n}": d for n, d in some_files(5).items()}
    for folder, n in third.items():
        files |= {f"{folder}/{name}": d for name, d in some_files(n).items()}
    path = write_folder(tmp_path / "f", files)
    assert len(open_source(path)) == 5
    assert len(open_source(f"{path}@test")) == test


def test_a_folder_called_train_alone_is_a_folder(tmp_path: Path) -> None:
    files = {f"{k}/{n}": d for k in ("train", "cats") for n, d in some_files(3).items()}
    dataset = open_source(write_folder(tmp_path / "f", files))
    assert dataset.classes == ["cats", "train"]
    assert len(dataset) == 6


def test_holdout_is_by_content(tmp_path: Path) -> None:
    files = some_files(200)
    folder = write_folder(tmp_path / "f", files)
    train, test = open_source(folder, holdout=0.3), open_source(f"{folder}@test", holdout=0.3)
    assert len(train) + len(test) == 200
    assert 35 < len(test) < 85
    kept = {x.tobytes() for x in train.raw(np.arange(len(train)))}
    assert not kept & {x.tobytes() for x in test.raw(np.arange(len(test)))}
    # Neither a new name, nor a new size, nor more pictures move one to the other side.
    renamed = {f"z{i}/{n[::-1][4:]}.png": d for i, (n, d) in enumerate(reversed(files.items()))}
    again = open_source(write_folder(tmp_path / "g", renamed), holdout=0.3, split="test", size=8)
    assert len(again) == len(test)
    with pytest.raises(UserError, match=r"--holdout 0\.1"):
        open_source(f"{folder}@test")
    for bad in (0, 1, -1, 3):
        with pytest.raises(UserError, match="--holdout"):
            open_source(folder, holdout=bad)


# -- bad input ------------------------------------------------------------------------------
def test_broken_files_are_skipped_counted_and_named(tmp_path: Path) -> None:
    files = some_files(8, classes=2)
    files |= {"class0/broken.png": b"no", "class1/empty.jpg": b"", "class1/readme.txt": b"hi"}
    dataset = open_source(write_folder(tmp_path / "f", files))
    assert len(dataset) == 8
    assert labels(dataset) == [0] * 4 + [1] * 4
    assert dataset.notes == [
        "2 of 10 files could not be read and were skipped: class0/broken.png (no picture); "
        "class1/empty.jpg (it is empty)"
    ]


def test_more_than_half_broken_is_an_error(tmp_path: Path) -> None:
    files = some_files(4)
    files |= {f"broken{i}.png": b"no" for i in range(4)}
    assert len(open_source(write_folder(tmp_path / "f", files))) == 4
    files["broken4.png"] = b"no"
    with pytest.raises(UserError, match=r"5 of 9 files of f cannot be read.*broken0\.png"):
        open_source(write_folder(tmp_path / "f", files))


def test_all_broken(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", {f"{i}.png": b"no" for i in range(600)})
    with pytest.raises(UserError, match="600 of 600"):
        open_source(folder)


def test_the_form_is_found_even_if_the_first_look_sees_only_broken_files(tmp_path: Path) -> None:
    broken = {f"{i:04}.png": b"no" for i in range(512)}
    files = {f"{i:04}b.png": encoded(image(20, 30, shift=i % 200)) for i in range(513)}
    dataset = open_source(write_folder(tmp_path / "f", broken | files))
    assert dataset.shape == (3, 20, 30)
    assert len(dataset) == 513


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, r"has no pictures in it, and no other file"),
        ({"a.txt": b"1", "b.doc": b"2", "c": b"3"}, r"only files with \.doc, \.txt, no extension"),
    ],
)
def test_no_pictures(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(UserError, match=words):
        open_source(write_folder(tmp_path / "f", files))
    with pytest.raises(UserError, match=words):
        open_source(write_zip(tmp_path / "f.zip", files))


def test_a_bomb_among_good_files_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(3) | {"bomb.png": bomb_png()})
    with pytest.raises(UserError, match=r"bomb\.png unpacks to 60000x60000 pixels|bomb\.png.*178"):
        open_source(folder)
    assert not list(tmp_path.glob("**/*.store"))


def test_one_picture_is_not_a_set(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(image()))
    with pytest.raises(UserError, match="is one picture"):
        open_source(tmp_path / "x.png")


def test_json_that_is_not_labels_is_left_alone(tmp_path: Path) -> None:
    files = some_files(3) | {"metadata.json": json.dumps({"a": 1}).encode()}
    assert len(open_source(write_folder(tmp_path / "f", files))) == 3
