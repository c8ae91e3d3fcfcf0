"""Nearness, and the simple means that a network has to beat."""

import math

import pytest
import torch

from ganforge import draws
from ganforge.data.degrade import degradation
from ganforge.judging.fidelity import baselines, fidelity, judging_distances, measures
from ganforge.spec import Batch


def smooth(n=8, c=3, side=32, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.interpolate(
        torch.rand(n, c, 6, 6, generator=g), (side, side), mode="bicubic"
    )
    return x.clamp(0, 1).mul(255).round() / 127.5 - 1


def test_psnr_is_its_formula_and_equal_pictures_have_the_cap():
    x = smooth()
    y = (x + 10 / 127.5).clamp(-1, 1)
    found = measures(y, x)
    for a, b, db in zip(x, y, found["psnr"], strict=True):
        q = b.add(1).mul(127.5).round() / 127.5 - 1
        mse = (a - q).square().mean().item()
        assert db.item() == pytest.approx(10 * math.log10(4 / mse), abs=1e-3)
    same = measures(x, x)
    assert same["psnr"].min() == 100
    assert same["ssim"].min().item() == pytest.approx(1, abs=1e-5)
    assert same["l1"].max() == 0
    assert set(found) == {"psnr", "ssim", "psnr_y", "ssim_y", "l1"}


def test_the_crop_and_the_hole_are_where_they_are_said_to_be():
    x = smooth()
    y = x.clone()
    y[:, :, :2] = -y[:, :, :2]
    assert measures(y, x, crop=2)["psnr"].min() == 100
    hole = torch.zeros(8, 1, 32, 32, dtype=torch.bool)
    hole[:, :, 10:20] = True
    assert measures(y, x, hole=hole)["psnr_hole"].min() == 100
    hole[:, :, 0] = True
    assert measures(y, x, hole=hole)["psnr_hole"].max() < 40


def test_the_perceptual_distance_orders_damage():
    looks, through, warned = judging_distances((1, 64, 64), ["perceptual"])
    x = smooth(4, side=64)
    distances = []
    for text in ("noise:2", "noise:10", "noise:40"):
        with draws.keyed(0, "d", torch.arange(4)):
            found = measures(degradation(text)(x), x, distances=looks)
            distances.append(found["perceptual"].mean())
    assert distances[0] < distances[1] < distances[2]
    assert looks["perceptual"](x, x).max().item() == pytest.approx(0, abs=1e-5)
    assert bool(warned) == ("lite0" in through["perceptual"])
    assert judging_distances((2,)) == ({}, {}, [])


@pytest.mark.parametrize(
    ("text", "better"),
    [("noise:25", "non-local means"), ("noise:25", "median"), ("mask:center:0.1", "telea"),
     ("pixelate:4", "bicubic"), ("down:2", "bicubic")],
)  # fmt: skip
def test_simple_means_beat_nothing_on_smooth_pictures(text, better):
    x = smooth()
    with draws.keyed(0, "d", torch.arange(8)):
        source = degradation(text)(x)
    made = {k: f(source) for k, f in baselines(degradation(text)).items()}
    psnr = {k: measures(v, x)["psnr"].mean().item() for k, v in made.items()}
    assert all(v.shape == x.shape for v in made.values())
    assert psnr[better] > psnr["nothing"] + 1


@pytest.mark.parametrize(
    "text",
    ["grey+mask:center", "grey+down:2", "down:2+mask:center", "pixelate:4+grey", "noise:25+grey",
     "blur:1+down:2+mask:strokes", "noise:10+mask:boxes", "grey+pixelate:4+down:2+mask:center"],
)  # fmt: skip
def test_every_mixture_of_damage_can_be_scored(text):
    x, damage = smooth(side=16), degradation(text)

    def batches(start, count):
        with draws.keyed(0, "d", torch.arange(start, start + count)):
            return Batch(x[start : start + count], None, damage(x[start : start + count]))

    for restore in baselines(damage).values():
        found, made = fidelity(restore, batches, 8, crop=damage.factor, masked=damage.masks)
        assert made.shape == x.shape
        assert ("psnr_hole" in found) == damage.masks
        assert found["psnr"].value > 0


def test_fidelity_goes_over_all_of_them():
    x = smooth(10)
    damage = degradation("noise:25")

    def batches(start, count):
        with draws.keyed(0, "d", torch.arange(start, start + count)):
            return Batch(x[start : start + count], None, damage(x[start : start + count]))

    found, made = fidelity(lambda s: s, batches, 10, step=4)
    whole = measures(made, x)
    assert made.shape == x.shape
    assert found["psnr"].value == pytest.approx(whole["psnr"].mean().item(), abs=1e-4)
    assert found["psnr"].low < found["psnr"].value < found["psnr"].high


def test_pictures_below_its_window_have_no_ssim():
    x = smooth(side=8)
    found = measures(x.neg(), x)
    assert "ssim" not in found
    assert "ssim_y" not in found
    assert torch.isfinite(found["psnr"]).all()
