"""What is in a source, and pictures of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_making import bomb_png, encoded, image, some_files, write_folder
from PIL import Image

from ganforge.data import inspect
from ganforge.data.pictures import grid, save_grid
from ganforge.errors import UserError


def test_a_folder_of_everything(tmp_path: Path) -> None:
    files = some_files(6, classes=2)
    files |= {
        "class0/copy.png": files["class1/img001.png"],
        "class1/grey.png": encoded(image(30, 20, 1)),
        "class1/broken.png": b"no",
        "class1/empty.jpg": b"",
        "notes.txt": b"not a picture",
    }
    folder = write_folder(tmp_path / "f", files)
    assert inspect(folder) == {
        "count": 10,
        "readable": 8,
        "sizes": {"24x24": 7, "30x20": 1},
        "modes": {"RGB": 7, "L": 1},
        "classes": {"class0": 4, "class1": 4},
        "duplicates": 1,
        "unreadable": [
            {"file": "class1/broken.png", "reason": "no picture"},
            {"file": "class1/empty.jpg", "reason": "it is empty"},
        ],
    }
    one = inspect(f"{folder}:class1")
    assert (one["readable"], one["classes"], one["duplicates"]) == (4, {"class1": 4}, 0)


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", {f"{i}.png": b"no" for i in range(1200)})
    found = inspect(folder)
    assert (found["count"], found["readable"]) == (1200, 0)
    assert len({u["file"] for u in found["unreadable"]}) == 1200


def test_splits_and_arrays(tmp_path: Path) -> None:
    files = {f"train/{n}": d for n, d in some_files(5).items()}
    files |= {f"test/{n}": d for n, d in some_files(2).items()}
    folder = write_folder(tmp_path / "f", files)
    assert [inspect(f"{folder}{s}")["count"] for s in ("", "@all", "@train", "@test")] == [
        7,
        7,
        5,
        2,
    ]
    assert inspect(folder)["duplicates"] == 2
    x = np.zeros((5, 9, 8, 3), np.uint16)
    assert inspect((x, [0, 1, 1, 1, 1])) == {
        "count": 5,
        "readable": 5,
        "sizes": {"9x8": 5},
        "modes": {"3 x uint16": 5},
        "classes": {"0": 1, "1": 4},
        "duplicates": 4,
        "unreadable": [],
    }


def test_the_embedded_set() -> None:
    found = inspect("fashion-mnist-mini@test")
    assert found["count"] == found["readable"] == sum(found["classes"].values()) == 2000
    assert found["sizes"] == {"28x28": 2000}


def test_what_cannot_be_inspected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no pictures"):
        inspect(tmp_path / "empty")
    with pytest.raises(UserError, match="does not exist"):
        inspect(tmp_path / "nowhere")
    with pytest.raises(UserError, match="bomb"):
        inspect(write_folder(tmp_path / "bomb", {"x.png": bomb_png()}))
    with pytest.raises(UserError, match="no class"):
        inspect("fashion-mnist-mini:frog")
    with pytest.raises(UserError, match="no test split"):
        inspect(write_folder(tmp_path / "f", some_files(3)), split="test")


# -- pictures -------------------------------------------------------------------------------
@pytest.mark.parametrize(("channels", "mode", "wide"), [(1, "L", 1), (3, "RGB", 1), (4, "RGB", 1), (2, "L", 2), (7, "L", 7)])  # fmt: skip
def test_a_grid_of_any_channels(channels: int, mode: str, wide: int) -> None:
    sheet = grid(torch.rand(5, channels, 10, 8) * 2 - 1, columns=3, scale=2, gap=1)
    assert sheet.mode == mode
    assert sheet.size == (3 * (8 * wide * 2 + 1) + 1, 2 * (10 * 2 + 1) + 1)


def test_pixels_are_crisp_and_exact() -> None:
    x = torch.randint(0, 256, (4, 3, 8, 8)).float() / 127.5 - 1
    sheet = np.asarray(grid(x, columns=2, scale=3, gap=2))
    cell = sheet[2 : 2 + 24, 2 + 26 : 2 + 26 + 24]
    expected = ((x[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(cell, expected.repeat(3, 0).repeat(3, 1))
    assert (sheet[:2] == 255).all()


@pytest.mark.parametrize(("side", "factor"), [(8, 8), (16, 4), (28, 2), (32, 2), (64, 1), (256, 1)])
def test_small_samples_are_enlarged(side: int, factor: int) -> None:
    assert grid(torch.zeros(1, 1, side, side), gap=0).size == (side * factor, side * factor)


def test_values_outside_are_cut_off_and_no_number_is_black() -> None:
    x = torch.tensor([-5.0, 5.0, float("nan"), float("inf")]).reshape(4, 1, 1, 1).expand(4, 1, 8, 8)
    sheet = np.asarray(grid(x, columns=4, scale=1, gap=0))
    assert sheet[0, ::8].tolist() == [0, 255, 0, 255]


def test_transparency_shows_a_checkerboard() -> None:
    clear = torch.full((1, 4, 16, 16), -1.0)
    assert sorted(np.unique(np.asarray(grid(clear, scale=1, gap=0)))) == [190, 240]


def test_saving(tmp_path: Path) -> None:
    save_grid(torch.zeros(6, 1, 8, 8), tmp_path / "g.png", columns=3)
    with Image.open(tmp_path / "g.png") as im:
        assert im.size == (3 * 66 + 2, 2 * 66 + 2)


def test_what_is_no_grid() -> None:
    for shape in ((0, 1, 8, 8), (4, 2), (3, 8, 8)):
        with pytest.raises(UserError, match="a grid shows pictures"):
            grid(torch.zeros(shape))
