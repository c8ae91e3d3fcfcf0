"""Data with sources: damaged, side by side, paired by name, unpaired."""

import functools
import re

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import draws
from ganforge.data import open_source
from ganforge.data.packing import Report
from ganforge.errors import UserError


def picture(i, size=(16, 16), offset=0):
    levels = np.full((*size, 3), (7 * i + offset) % 256, np.uint8)
    levels[2 + i % 8, :, 1] = 255 - offset
    return Image.fromarray(levels)


@pytest.fixture
def folders(tmp_path):
    for kind, offset in (("a", 0), ("b", 100)):
        (tmp_path / kind).mkdir()
        for i in range(12):
            picture(i, offset=offset).save(tmp_path / kind / f"{i:02d}.{'png' if i % 2 else 'bmp'}")
    return tmp_path


def test_a_damaged_sample_is_the_same_until_training_keys_it(pictures):
    data = open_source(pictures, degrade="noise:25")
    assert data.source_shape == (1, 12, 12)
    index = np.array([3, 1, 3])
    b = data.batch(index)
    assert torch.equal(b.source, data.batch(index).source)
    assert torch.equal(b.source[0], b.source[2])
    assert torch.equal(b.real, open_source(pictures).batch(index).real)
    with draws.keyed(0, "data", torch.arange(3)):
        trained = data.batch(index).source
    assert not torch.equal(trained[0], trained[2]), "a sample's noise is new each time it comes"
    assert data.fingerprint != open_source(pictures).fingerprint
    assert data.describe()["source"] == {"degrade": "noise:25"}


def test_pairs_by_name(folders):
    data = open_source(folders / "b", inputs=str(folders / "a"))
    alone = open_source(folders / "b"), open_source(folders / "a")
    b = data.batch(np.arange(12))
    assert torch.equal(b.real, alone[0].batch(np.arange(12)).real)
    assert torch.equal(b.source, alone[1].batch(np.arange(12)).real)
    assert data.paired


@pytest.mark.parametrize("paired", [True, False])
def test_sources_keep_the_channels_that_they_were_trained_with(folders, paired):
    b, a = folders / "b", str(folders / "a")
    data = open_source(b, inputs=a, paired=paired, channels=3, source_channels=1)
    assert (data.shape[0], data.source_shape[0]) == (3, 1)
    assert data.batch(np.arange(2)).source.shape[1] == 1


@pytest.mark.parametrize("kind", ["hat", "shoe"])
def test_pairs_of_one_class_are_of_that_class(tmp_path, kind):
    """Whichever comes first, and whether or not the other class has the same names."""
    for side, offset in (("a", 0), ("b", 100)):
        for i in range(8):
            place = tmp_path / side / ("hat" if i % 2 else "shoe")
            place.mkdir(parents=True, exist_ok=True)
            picture(i, offset=offset).save(place / f"{i}.png")
    data = open_source(f"{tmp_path / 'b'}:{kind}", inputs=f"{tmp_path / 'a'}:{kind}")
    alone = open_source(f"{tmp_path / 'a'}:{kind}")
    assert len(data) == 4
    assert torch.equal(data.batch(np.arange(4)).source, alone.batch(np.arange(4)).real)
    both = open_source(tmp_path / "b", inputs=f"{tmp_path / 'a'}:{kind}")
    assert len(both) == 4
    assert torch.equal(both.batch(np.arange(4)).source, alone.batch(np.arange(4)).real)


def test_more_unreadable_files_than_are_named_pair_nothing(folders, monkeypatch):
    monkeypatch.setattr("ganforge.data.packing.Report", functools.partial(Report, named=1))
    for i in (3, 5):
        (folders / "a" / f"{i:02d}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="1 unreadable files more than are named"):
        open_source(folders / "b", inputs=str(folders / "a"))


def test_what_has_no_partner_is_left_out_and_what_cannot_be_read_shifts_nothing(folders):
    (folders / "a" / "03.png").unlink()
    (folders / "a" / "05.png").write_bytes(b"no picture")
    data = open_source(folders / "b", inputs=str(folders / "a"))
    assert len(data) == 10
    assert any("2 of 12 have no partner" in n for n in data.notes)
    whole = open_source(folders / "b").batch(np.arange(12)).real
    keep = [i for i in range(12) if i not in (3, 5)]
    b = data.batch(np.arange(10))
    assert torch.equal(b.real, whole[keep])
    for i, source in zip(keep, b.source, strict=True):
        want = torch.tensor(np.array(picture(i))).movedim(-1, 0) / 127.5 - 1
        assert torch.allclose(source, want, atol=1e-6)


def test_pairs_keep_to_their_split(folders):
    train = open_source(folders / "b", inputs=str(folders / "a"), holdout=0.4)
    test = open_source(folders / "b", inputs=str(folders / "a"), holdout=0.4, split="test")
    assert len(train) + len(test) == 12
    assert len(test)
    reals = open_source(folders / "b", holdout=0.4, split="test")
    assert torch.equal(test.batch(np.arange(len(test))).real,
                       reals.batch(np.arange(len(test))).real)  # fmt: skip


def test_arrays_are_paired_by_number(pictures, tmp_path):
    np.save(tmp_path / "x.npy", pictures)
    np.save(tmp_path / "y.npy", 255 - pictures)
    data = open_source(str(tmp_path / "x.npy"), inputs=str(tmp_path / "y.npy"))
    b = data.batch(np.arange(5))
    assert torch.allclose(b.real, -b.source, atol=1e-6)
    np.save(tmp_path / "z.npy", pictures[:50])
    with pytest.raises(UserError, match="96 samples and z has 50"):
        open_source(str(tmp_path / "x.npy"), inputs=str(tmp_path / "z.npy"))


def test_unpaired_sources_are_drawn_anew(folders):
    data = open_source(folders / "b", inputs=str(folders / "a"), paired=False)
    assert not data.paired
    index = np.zeros(64, np.int64)
    with draws.keyed(0, "data", torch.arange(64)):
        first = data.batch(index)
    assert len(first.source.flatten(1).unique(dim=0)) > 6
    assert len(first.real.flatten(1).unique(dim=0)) == 1
    with draws.keyed(0, "data", torch.arange(64)):
        assert torch.equal(data.batch(index).source, first.source)


def test_halves(tmp_path):
    for i in range(4):
        wide = Image.new("RGB", (32, 16))
        wide.paste(picture(i), (0, 0))
        wide.paste(picture(i, offset=100), (16, 0))
        wide.save(tmp_path / f"{i}.png")
    left = open_source(tmp_path, inputs="left", size=16)
    right = open_source(tmp_path, inputs="right", size=16)
    assert left.shape == left.source_shape == (3, 16, 16)
    a, b = left.batch(np.arange(4)), right.batch(np.arange(4))
    assert torch.equal(a.real, b.source)
    assert torch.equal(a.source, b.real)
    assert torch.equal(left.real(np.arange(4)), a.real)
    with pytest.raises(UserError, match="--size"):
        open_source(tmp_path, inputs="left")


def test_refusals(folders, pictures):
    (folders / "c").mkdir()
    picture(1).save(folders / "c" / "other.png")
    with pytest.raises(UserError, match="no picture of b has the name"):
        open_source(folders / "b", inputs=str(folders / "c"))
    with pytest.raises(UserError, match="give one"):
        open_source(folders / "b", inputs=str(folders / "a"), degrade="grey")
    with pytest.raises(UserError, match="does not exist"):
        open_source(folders / "b", inputs="nowhere")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"degrade": 5}, "degrade=5 does not fit; give text"),
        ({"inputs": 3}, "inputs=3 does not fit"),
        ({"view": 1}, "view=1 does not fit"),
        ({"samples": "abc"}, "samples='abc' does not fit; give a whole number"),
        ({"rate": 8000.5}, "rate=8000.5 does not fit"),
        ({"rate": True}, "rate=True does not fit"),
        ({"paired": "maybe"}, "paired='maybe' does not fit; give true or false"),
        ({"slices": 7}, "slices=7 does not fit"),
        ({"samples": 16384}, "samples is for sound files"),
        ({"rate": 8e3}, "rate is for sound files"),
        ({"slices": False}, "slices is for sound files"),
        ({"view": "spectrogram", "degrade": "noise:5"}, "drop degrade"),
        ({"view": "spectrogram", "inputs": "left"}, "drop inputs"),
    ],
    ids=str,
)
def test_options_of_the_wrong_kind_are_refused(folders, pictures, option, expected):
    for source in (folders / "a", pictures):
        with pytest.raises(UserError, match=re.escape(expected)):
            open_source(source, **option)


def test_a_mask_file_is_known_by_its_content(pictures, tmp_path):
    found = []
    for name, level in (("x", 255), ("y", 255), ("x", 0)):
        levels = np.full((12, 12), level, np.uint8)
        levels[:6] = 255
        Image.fromarray(levels).save(tmp_path / f"{name}.png")
        found.append(open_source(pictures, degrade=f"mask:{tmp_path / name}.png"))
    a, _, changed = (d.fingerprint for d in found)
    assert a != changed
    digests = [d.about["mask"] for d in found]
    assert digests[0] == digests[1] != digests[2]
