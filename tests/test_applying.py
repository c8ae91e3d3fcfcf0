"""Trained on a few pictures, applied to any: files, folders, arrays, tiles."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import ganforge
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.export.applying import Applier, apply, tiled

run = CliRunner().invoke


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Restorers trained for a moment."""
    rng = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("runs")
    import os

    os.environ["GANFORGE_CACHE"] = str(place / "cache")
    small = {"width": 4, "depth": 1, "critic_width": 4, "batch_size": 4, "steps": 2, "warmup": 4}
    grey = rng.integers(0, 256, (32, 16, 16), np.uint8)
    colour = rng.integers(0, 256, (32, 16, 16, 3), np.uint8)
    l1 = {"terms": {"l1": 1.0}}
    for name, data, recipe, settings in (
        ("grey", grey, "denoise", small | l1),
        ("colour", colour, "denoise", small | l1),
        ("hole", colour, "inpaint", small | l1),
        ("up", colour, "upscale", small | l1),
        ("colorize", colour, "colorize", small | l1),
    ):
        ganforge.train(data, recipe, place / name, settings=settings)
    np.save(place / "sources.npy", 255 - colour)
    ganforge.train(colour, "cyclegan", place / "cycle", inputs=str(place / "sources.npy"),
                   settings=small | {"warmup": 0})  # fmt: skip
    return place


def save(path, mode="RGB", size=(37, 29), seed=0):
    rng = np.random.default_rng(seed)
    bands = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    levels = rng.integers(0, 256, (size[1], size[0], *bands), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels, mode).save(path)
    return path


@pytest.mark.parametrize("name", ["grey", "colour"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_any_size_and_mode(runs, tmp_path, name, mode):
    source = save(tmp_path / "a.png", mode)
    done = run(app, ["apply", str(runs / name), str(source), str(tmp_path / "b.png"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["count"] == 1
    out = Image.open(tmp_path / "b.png")
    assert out.size == (37, 29)
    if "A" in mode:  # transparency passes through
        assert np.array_equal(np.asarray(out)[..., -1], np.asarray(Image.open(source))[..., -1])


def test_enlarging_doubles_and_colours_appear(runs, tmp_path):
    for name, mode, size, bands in (("up", "RGB", (74, 58), 3), ("colorize", "L", (37, 29), 3)):
        source, out = save(tmp_path / f"{name}.png", mode), tmp_path / f"{name}-out.png"
        assert run(app, ["apply", str(runs / name), str(source), str(out)]).exit_code == 0
        made = Image.open(out)
        assert made.size == size
        assert len(made.getbands()) == bands


def test_holes_come_from_transparency_or_a_mask_and_the_rest_stays(runs, tmp_path):
    levels = np.full((20, 24, 4), 90, np.uint8)
    levels[..., 3] = 255
    levels[5:9, 6:12, 3] = 0
    Image.fromarray(levels).save(tmp_path / "a.png")
    generator = ganforge.load(runs / "hole")
    for mask in (None, tmp_path / "m.png"):
        if mask is not None:
            Image.fromarray(255 - levels[..., 3]).save(mask)
            Image.fromarray(levels[..., :3]).save(tmp_path / "a.png")
        out = tmp_path / f"out-{mask is None}.png"
        count, work = apply(Applier(generator), tmp_path / "a.png", out, mask=mask)
        assert (count, len(list(work))) == (1, 1)
        made = np.asarray(Image.open(out))
        known = levels[..., 3] > 0
        assert (made[..., :3][known] == 90).all()
    save(tmp_path / "plain.png")
    with pytest.raises(UserError, match="--mask FILE"):
        list(apply(Applier(generator), tmp_path / "plain.png", tmp_path / "x.png")[1])


def test_holes_of_an_array_come_from_a_mask(runs, tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (3, 12, 14, 3), np.uint8)
    np.save(tmp_path / "x.npy", x)
    hole = np.zeros((12, 14), np.uint8)
    hole[3:6, 4:9] = 255
    Image.fromarray(hole).save(tmp_path / "m.png")
    args = ["apply", str(runs / "hole"), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    done = run(app, [*args, "--mask", str(tmp_path / "m.png"), "--uint8"])
    assert done.exit_code == 0, done.output
    made = np.load(tmp_path / "y.npy")
    assert np.array_equal(made[:, hole == 0], x[:, hole == 0])
    assert not np.array_equal(made[:, hole > 0], x[:, hole > 0])


@pytest.mark.parametrize("name", ["colour", "colorize", "up"])
def test_what_the_network_saw_stands_beside_it_transparent_where_it_was(runs, tmp_path, name):
    levels = np.full((16, 20, 4), 200, np.uint8)
    levels[..., 1] = 30
    levels[:, :8, 3], levels[:, 8:, 3] = 0, 255
    Image.fromarray(levels).save(tmp_path / "a.png")
    args = ["apply", str(runs / name), str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert run(app, [*args, "--beside"]).exit_code == 0
    out = np.asarray(Image.open(tmp_path / "b.png"))
    half = out.shape[1] // 2
    saw, made = out[:, :half], out[:, half:]
    edge = saw.shape[1] * 8 // 20
    for part in (saw, made):
        assert (part[:, : edge - 2, 3] == 0).all()
        assert (part[:, edge + 2 :, 3] == 255).all()
    if name == "colour":
        assert np.array_equal(saw[..., :3], levels[..., :3])


@pytest.mark.parametrize(("mode", "ending"), [("RGBA", "jpg"), ("LA", "jpeg"), ("LA", "bmp")])
def test_where_nothing_is_transparent_it_is_laid_over_white(runs, tmp_path, mode, ending):
    shape = (16, 16, len(mode))
    levels = np.full(shape, 40, np.uint8)
    levels[:, :8, -1] = 0
    levels[:, 8:, -1] = 255
    Image.fromarray(levels, mode).save(tmp_path / "a.png")
    args = ["apply", str(runs / "colour"), str(tmp_path / "a.png"), str(tmp_path / f"b.{ending}")]
    done = run(app, args)
    assert done.exit_code == 0, done.output
    out = np.asarray(Image.open(tmp_path / f"b.{ending}").convert("RGB"))
    assert out[:, :6].min() > 240
    assert out[:, 10:].max() < 240


def test_what_does_not_fit_is_skipped_in_a_folder(runs, tmp_path):
    save(tmp_path / "in" / "a.png", "RGBA")
    save(tmp_path / "in" / "b.jpg")  # says nowhere where holes are
    args = ["apply", str(runs / "hole"), str(tmp_path / "in"), str(tmp_path / "out"), "--json"]
    done = run(app, args)
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert body["count"] == 1
    assert "b.jpg" in body["skipped"][0]
    assert "--mask FILE" in body["skipped"][0]


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("colour", ["--mask", "m.png"], "fills holes"),
        ("hole", ["--mask", "m.png", "--damage"], "without --damage"),
        ("colour", ["--uint8"], "goes with arrays"),
    ],
)
def test_options_that_would_do_nothing_are_refused(runs, tmp_path, name, flags, said):
    source = save(tmp_path / "a.png")
    args = ["apply", str(runs / name), str(source), str(tmp_path / "b.png"), *flags]
    with pytest.raises(UserError, match=said):
        run(app, args, catch_exceptions=False)


def test_a_folder_keeps_names_and_names_what_it_skips(runs, tmp_path):
    for name in ("a.png", "sub/b.jpg", "sub/c.gif"):
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG no")
    args = ["apply", str(runs / "colour"), str(tmp_path / "in"), str(tmp_path / "out"), "--json"]
    done = run(app, args)
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert body["count"] == 3
    assert "broken.png" in body["skipped"][0]
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert made == ["a.png", "sub/b.jpg", "sub/c.png"]
    with pytest.raises(UserError, match="--force"):
        run(app, args, catch_exceptions=False)
    assert run(app, [*args, "--force"]).exit_code == 0


def test_arrays(runs, tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (5, 12, 14, 3), np.uint8)
    np.save(tmp_path / "x.npy", x)
    for flag, shape, kind in (
        (["--uint8"], (5, 12, 14, 3), np.uint8),
        ([], (5, 3, 12, 14), np.float32),
    ):
        out = tmp_path / f"y{len(flag)}.npy"
        done = run(app, ["apply", str(runs / "colour"), str(tmp_path / "x.npy"), str(out), *flag])
        assert done.exit_code == 0, done.output
        made = np.load(out)
        assert made.shape == shape
        assert made.dtype == kind


def test_an_array_that_could_be_read_in_two_ways_says_how(runs, tmp_path):
    x = np.random.default_rng(1).uniform(0, 255, (4, 3, 12, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    args = ["apply", str(runs / "colour"), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    with pytest.raises(UserError, match=r"--(layout|range)"):
        run(app, args, catch_exceptions=False)
    done = run(app, [*args, "--layout", "NCHW", "--range", "0,255"])
    assert done.exit_code == 0, done.output
    assert np.load(tmp_path / "y.npy").shape == (4, 3, 12, 3)


def test_the_way_back(runs, tmp_path):
    source = save(tmp_path / "a.png")
    there, back = tmp_path / "there.png", tmp_path / "back.png"
    assert run(app, ["apply", str(runs / "cycle"), str(source), str(there)]).exit_code == 0
    assert run(app, ["apply", str(runs / "cycle"), str(source), str(back), "--back"]).exit_code == 0
    assert not np.array_equal(np.asarray(Image.open(there)), np.asarray(Image.open(back)))


def test_damage_first_and_beside(runs, tmp_path):
    source = save(tmp_path / "a.png", size=(32, 24))
    for name, width in (("grey", 64), ("up", 64), ("hole", 64)):
        out = tmp_path / f"{name}.png"
        done = run(app, ["apply", str(runs / name), str(source), str(out), "--damage", "--beside"])
        assert done.exit_code == 0, done.output
        assert Image.open(out).size == (width, 24)


@pytest.mark.parametrize("name", ["colour", "up", "hole"])
def test_tiles_leave_no_seams(runs, name):
    """Tiled and whole agree to half a level of 255, on average and at every seam."""
    generator = ganforge.load(runs / name)
    net = generator.nets["G"]
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1, generator.spec.source[0], 300, 280, generator=g) * 2 - 1
    with torch.no_grad():
        whole, parts = net(x), tiled(net, x, 128, 64)
    assert parts.shape == whole.shape
    assert (parts - whole).abs().max() < 0.5 / 127.5


def test_tiles_that_cannot_advance_are_refused(runs):
    with pytest.raises(UserError, match="do not advance"):
        tiled(lambda x: x, torch.zeros(1, 1, 300, 300), 100, 90)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["grey", "nowhere.png", "o.png"], "does not exist"),
        (["grey", "a.png", "o.xyz"], "cannot be written"),
        (["grey", "a.png", "a.png"], "--force"),
        (["grey", "a.png", "o.png", "--back"], "no way back"),
        (["cycle", "a.png", "o.png", "--damage"], "not trained on damaged"),
    ],
)
def test_mistakes(runs, tmp_path, args, said):
    save(tmp_path / "a.png")
    name, *paths = args
    full = [str(tmp_path / p) if "." in p else p for p in paths]
    with pytest.raises(UserError, match=said):
        run(app, ["apply", str(runs / name), *full], catch_exceptions=False)


def test_a_generator_from_noise_has_nothing_to_apply(tmp_path, pictures):
    ganforge.train(pictures, "gan", tmp_path / "r", steps=1, width=4)
    with pytest.raises(UserError, match="ganforge sample"):
        Applier(ganforge.load(tmp_path / "r"))
    save(tmp_path / "a.png")
    ganforge.train(pictures, "denoise", tmp_path / "s", steps=1, width=4, depth=1)
    with pytest.raises(UserError, match="ganforge apply"):
        ganforge.load(tmp_path / "s").sample(2)
