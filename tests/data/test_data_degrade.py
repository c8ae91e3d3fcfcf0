"""Damage: what it does, that it is the same for the same sample, and what it refuses."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganforge import draws
from ganforge.data.degrade import KINDS, degradation
from ganforge.errors import UserError


def damaged(text, x, seed=0):
    with draws.keyed(seed, "damage", torch.arange(len(x))):
        return degradation(text)(x)


@pytest.fixture
def x():
    g = torch.Generator().manual_seed(0)
    return torch.rand(6, 3, 16, 24, generator=g) * 2 - 1


TEXTS = ["noise:25", "noise:0.1", "poisson:30", "jpeg:20", "blur:1.5", "pixelate:4", "grey",
         "mask:center", "mask:boxes:0.3", "mask:strokes", "down:2", "down:4:area",
         "blur:1+down:2+noise:10", "noise:0.1+mask:center", "grey+noise:25"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_shape_range_and_repetition(text, x):
    d = degradation(text)
    y = damaged(text, x)
    assert y.shape == (len(x), *d.shape((3, 16, 24)))
    assert torch.isfinite(y).all()
    assert y.abs().max() <= 1 + 1e-6
    assert torch.equal(y, damaged(text, x))
    part = damaged(text, x[:2])
    assert torch.allclose(part, y[:2], atol=1e-6), "a sample's damage depends on its neighbours"


def test_every_kind_is_tried_above():
    assert {part.split(":")[0] for t in TEXTS for part in t.split("+")} == set(KINDS)


def test_noise_has_the_deviation_that_was_asked_for():
    grey = torch.zeros(64, 1, 32, 32)
    for text, sigma in (("noise:25", 25 / 255), ("noise:0.1", 0.1)):
        assert damaged(text, grey).std().item() == pytest.approx(2 * sigma, rel=0.02)
    light = damaged("poisson:50", torch.full((64, 1, 32, 32), 0.0))
    # Poisson of 25 photons: deviation 5 of 50, of a range of 2
    assert light.std().item() == pytest.approx(2 * 5 / 50, rel=0.05)
    assert light.mean().item() == pytest.approx(0, abs=0.01)


def test_blocks_are_means_and_smaller_pictures_keep_the_mean(x):
    y = damaged("pixelate:4", x)
    assert torch.allclose(y[:, :, ::4, ::4], torch.nn.functional.avg_pool2d(x, 4), atol=1e-6)
    assert torch.equal(y[:, :, 0], y[:, :, 3])
    small = damaged("down:2:area", x)
    assert torch.allclose(small, torch.nn.functional.avg_pool2d(x, 2), atol=1e-6)


def test_blur_keeps_constants_and_smooths(x):
    assert torch.allclose(damaged("blur:2", torch.full((1, 1, 16, 16), 0.3)), torch.tensor(0.3))
    assert damaged("blur:2", x).std() < x.std() / 2


def test_grey_is_the_luma(x):
    want = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    assert torch.allclose(damaged("grey", x)[:, 0], want, atol=1e-6)


def test_masks_hide_what_they_say(x):
    for text, low, high in (("mask:center", 0.25, 0.25), ("mask:boxes", 0.1, 0.4),
                            ("mask:strokes", 0.08, 0.45)):  # fmt: skip
        y = damaged(text, x)
        hole = y[:, -1:] > 0
        assert low <= hole.float().mean().item() <= high
        assert (y[:, :-1] == 0).logical_or(~hole).all()
        assert torch.equal(y[:, :-1].masked_select(~hole), x.masked_select(~hole))
    assert damaged("mask:center", x)[:, -1, 8, 12].min() > 0


def test_a_mask_from_a_file(tmp_path, x):
    from PIL import Image

    levels = np.zeros((32, 48), np.uint8)
    levels[:16] = 255
    Image.fromarray(levels).save(tmp_path / "m.png")
    y = damaged(f"mask:{tmp_path / 'm.png'}", x)
    assert (y[:, -1, :8] == 1).all()
    assert (y[:, -1, 8:] == -1).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nois:25", "did you mean 'noise'"),
        ("noise:a", "standard deviation"),
        ("noise:-1", "does not fit"),
        ("jpeg:0", "quality"),
        ("pixelate:1", "2 to 16"),
        ("pixelate:3.5", "2 to 16"),
        ("down:5", "2, 3 or 4"),
        ("down:2:lanczos", "kernel"),
        ("mask:hexagon", "holes are center"),
        ("mask:hexagon:0.5", "a file has its own"),
        ("mask:center+noise:1", "nothing may follow a mask"),
        ("down:2+down:2", "once"),
        ("noise:1:2:3", "too many values"),
        ("", "unknown"),
    ],
)
def test_refusals(text, said):
    with pytest.raises(UserError, match=said):
        degradation(text).content()


@pytest.mark.parametrize(
    ("text", "factor", "pixel"),
    [("down", 2, 1), ("down:2.0", 2, 1), ("pixelate", 1, 4), ("pixelate:8.0+down:3", 3, 8)],
)
def test_sizes_that_are_not_said_are_the_usual_ones(text, factor, pixel):
    made = degradation(text)
    assert (made.factor, made.pixel) == (factor, pixel)
    assert made(torch.zeros(1, 3, 24, 24)).shape[1:] == made.shape((3, 24, 24))


def test_a_mask_s_file_is_missed_only_where_it_is_read(tmp_path):
    made = degradation(f"mask:{tmp_path / 'gone.png'}")
    assert made.fills
    assert made.shape((3, 8, 8)) == (4, 8, 8)
    with pytest.raises(UserError, match="cannot be read"):
        made(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match="none that can be read"):
        made.content()


def test_shapes_that_cannot_be_damaged():
    with pytest.raises(UserError, match="--size 16x20"):
        degradation("down:4").shape((3, 18, 20))
    with pytest.raises(UserError, match="1 channels"):
        degradation("grey").shape((1, 16, 16))
    with pytest.raises(UserError, match="damages pictures"):
        degradation("noise:25").shape((2,))


@given(st.text(alphabet="noiseblrmakcdw:+.0123456789-", max_size=24))
def test_any_text_is_a_degradation_or_a_user_s_mistake(text):
    with contextlib.suppress(UserError):
        assert degradation(text).text == text
