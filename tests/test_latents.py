"""Walks, directions and inversion, on generators whose answers are known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

import ganforge
from ganforge import draws, latents
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.families.mlp import MLP
from ganforge.gallery import Block, legible, sheet
from ganforge.generator import between, strips
from ganforge.objectives.latent import KINDS, Latent
from ganforge.spec import Ask, Spec

run = CliRunner().invoke


class Known(nn.Module):
    """z (N, 6) to pictures (N, 1, 8, 8) by one matrix whose singular vectors are known."""

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        left = torch.linalg.qr(torch.randn(64, latent, generator=g))[0]
        right = torch.linalg.qr(torch.randn(latent, latent, generator=g))[0]
        self.layer = nn.Linear(latent, 64, bias=False)
        self.layer.weight = nn.Parameter(left @ torch.diag(2.0 ** -torch.arange(latent)) @ right)
        self.axes = right

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layer(z).tanh().view(-1, 1, 8, 8)


class Nets(MLP):
    def generator(self, latent: int, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        return Known(latent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ganforge.generator.Generator:  # type: ignore[name-defined]
    import os

    place = tmp_path_factory.mktemp("latents")
    os.environ["GANFORGE_CACHE"] = str(place / "cache")
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    settings = {"latent.size": 6, "latent.kind": "normal", "lr": 1e-12, "ema": 0}
    ganforge.train(x, "gan", place / "r", family=Nets, settings=settings, steps=1)
    return ganforge.load(place / "r", family=Nets)


@pytest.mark.parametrize("method", ["sefa", "pca"])
def test_directions_are_the_singular_vectors_of_a_linear_layer(made, method: str) -> None:
    axes = Known(6).axes
    found = latents.directions(made, 4, method)
    agree = (found.vectors @ axes.T).abs()
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(4), atol=1e-5)
    least = 0.999 if method == "sefa" else 0.98
    assert agree.diagonal().min() > least
    want = 2.0 ** -torch.arange(4)
    assert torch.allclose(found.strengths, want, rtol=0.01 if method == "sefa" else 0.06)


def test_directions_are_kept_and_applied(made, tmp_path: Path) -> None:
    found = latents.directions(made, 3)
    found.save(tmp_path / "d.safetensors")
    again = latents.Directions.load(tmp_path / "d.safetensors", 6)
    assert torch.equal(found.vectors, again.vectors)
    ask = made.ask(2)
    assert again.shares == pytest.approx(found.shares)
    assert sum(latents.directions(made, 6).shares) == pytest.approx(1)
    moved = latents.moved(ask, f"{tmp_path / 'd.safetensors'}:1=2.5", made)
    assert torch.allclose(moved - ask.latent, 2.5 * found.vectors[1].expand(2, -1))
    rows = latents.along(made, found, steps=5, reach=2.0, seed=3)
    assert rows.shape == (15, 1, 8, 8)
    assert torch.allclose(rows[2], made.sample(1, seed=3)[0], atol=1e-5), (
        "the middle is the sample itself"
    )
    for text in ("d", "d.safetensors:0", f"{tmp_path / 'd.safetensors'}:9=1", "nowhere:0=1"):
        with pytest.raises(UserError):
            latents.moved(ask, text, made)
    with pytest.raises(UserError, match="width 7"):
        latents.Directions.load(tmp_path / "d.safetensors", 7)


def test_a_walk_passes_its_stops_and_closes(made) -> None:
    x = latents.walk(made, stops=3, frames=4, seed=2)
    assert x.shape == (12, 1, 8, 8)
    assert torch.allclose(x[::4], made.sample(3, seed=2), atol=1e-5)
    steps = (x - x.roll(-1, 0)).flatten(1).norm(dim=1)
    assert steps.max() < 4, "a jump"
    with pytest.raises(UserError, match="2 stops"):
        latents.walk(made, stops=1)


def test_inversion_finds_the_generator_s_own_samples(made, tmp_path: Path) -> None:
    own = made.sample(3, seed=0)
    found = latents.invert(made, own, steps=200, starts=4, tried=200)
    random = made.sample(1000, seed=1)
    best = (random[None] - own[:, None]).square().flatten(2).mean(2).amin(1)
    assert (found.psnr > 10 * (4 / best).log10() + 10).all()
    assert found.psnr.min() > 35
    found.save(tmp_path / "z.safetensors")
    ask = latents.load_latents(tmp_path / "z.safetensors", made)
    assert torch.allclose(made.make(ask), found.made)
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    for path in (tmp_path / "bad.safetensors", tmp_path / "none"):
        with pytest.raises(UserError, match="holds no latents"):
            latents.load_latents(path, made)
    with pytest.raises(UserError, match="bring them to that size"):
        latents.invert(made, torch.zeros(1, 1, 9, 9))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional run that barely trained."""
    import os

    folder = tmp_path_factory.mktemp("verbs")
    os.environ["GANFORGE_CACHE"] = str(folder / "cache")
    small = {"width": 4, "batch_size": 8, "steps": 1}
    ganforge.train("fashion-mnist-mini", "cgan", folder / "r", settings=small)
    ganforge.train("fashion-mnist-mini", "denoise", folder / "d", depth=1, settings=small)
    return folder


def test_the_verbs_write_pictures_and_say_what(place: Path, tmp_path: Path) -> None:
    r = str(place / "r")
    done = run(
        app,
        ["walk", r, "--out", str(tmp_path / "w.gif"), "--stops", "3", "--frames", "3", "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == 9
    assert Image.open(tmp_path / "w.gif").n_frames > 1  # type: ignore[attr-defined]
    assert run(app, ["walk", r, "--out", str(tmp_path / "w.png"), "--frames", "3"]).exit_code == 0
    done = run(
        app, ["directions", r, "--out", str(tmp_path / "d.png"), "--method", "pca", "--json"]
    )
    assert done.exit_code == 0, done.output
    kept = json.loads(done.stdout)["directions"]
    args = ["sample", r, "--count", "4", "--out", str(tmp_path / "s.png")]
    assert run(app, [*args, "--direction", f"{kept}:0=3"]).exit_code == 0
    done = run(app, ["invert", r, "fashion-mnist-mini", "--count", "2", "--steps", "3", "--starts", "2",
                     "--out", str(tmp_path / "i.png"), "--json"])  # fmt: skip
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert len(body["psnr"]) == 2
    done = run(
        app, ["sample", r, "--latent", body["latents"], "--out", str(tmp_path / "l.png"), "--json"]
    )
    assert json.loads(done.stdout)["count"] == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["walk", "d"], "ganforge apply"),
        (["walk", "r", "--out", "x.avi"], "unknown ending"),
        (["directions", "r", "--method", "ica"], "choose one of auto, sefa, pca, pictures"),
        (["directions", "r", "--out", "x.foo"], "unknown ending; use .png"),
        (["sheet", "r", "--out", "x.gif"], "unknown ending; use .png"),
        (["neighbours", "r", "--out", "x.safetensors"], "unknown ending; use .png"),
        (["invert", "r", "nowhere.png", "--out", "x"], "unknown ending; use .png"),
        (["directions", "r", "--count", "1000"], "directions; 1000"),
        (["invert", "r", "nowhere.png"], "cannot be read"),
        (["invert", "d", "fashion-mnist-mini"], "ganforge apply"),
    ],
)
def test_mistakes(place: Path, tmp_path: Path, args: list[str], said: str) -> None:
    verb, name, *rest = args
    if "--out" not in rest:
        rest += ["--out", str(tmp_path / ("o.gif" if verb == "walk" else "o.png"))]
    with pytest.raises(UserError, match=said):
        run(app, [verb, str(place / name), *rest], catch_exceptions=False)


def test_nothing_is_overwritten(place: Path, tmp_path: Path) -> None:
    (tmp_path / "w.gif").write_bytes(b"mine")
    with pytest.raises(UserError, match="--force"):
        run(
            app,
            ["walk", str(place / "r"), "--out", str(tmp_path / "w.gif")],
            catch_exceptions=False,
        )
    assert (tmp_path / "w.gif").read_bytes() == b"mine"


def test_a_request_of_latents_is_made_as_it_is(made) -> None:
    z = torch.randn(5, 6)
    assert torch.equal(made.make(Ask(z)), made.make(Ask(z)))


@pytest.fixture(scope="module")
def coded(place: Path) -> ganforge.generator.Generator:  # type: ignore[name-defined]
    small = {"width": 4, "batch_size": 8, "steps": 1}
    ganforge.train("fashion-mnist-mini", "infogan", place / "i", settings=small)
    ganforge.train("fashion-mnist-mini", "biggan", place / "b", embedding=4, settings=small)
    return ganforge.load(place / "i")


def test_codes_stay_codes(coded) -> None:
    latent = coded.latent
    found = latents.directions(coded, 3)
    assert found.vectors[:, latent.size :].abs().max() == 0
    z = coded.ask(8).latent
    path = between(latent, Ask(z), Ask(z.roll(-1, 0)), torch.linspace(0, 1, 7)).latent
    for one_hot in latent.categories(path):
        assert set(one_hot.unique().tolist()) == {0.0, 1.0}
        assert (one_hot.sum(1) == 1).all()
    inverted = latents.invert(coded, coded.sample(2, seed=5), steps=5, starts=2, tried=50)
    for one_hot in latent.categories(inverted.latent):
        assert (one_hot.sort(1).values[:, -1] == 1).all()
    assert latent.codes(inverted.latent).abs().max() <= 1


def test_a_code_is_set_by_its_name_or_its_number(coded, place: Path, tmp_path: Path) -> None:
    made = []
    for i, pairs in enumerate((["code0=3", "code1=-0.5"], ["0=3", "1=-0.5"], ["0=4", "1=-0.5"])):
        out = tmp_path / f"{i}.npy"
        codes = [a for pair in pairs for a in ("--code", pair)]
        run(app, ["sample", str(place / "i"), "--count", "4", "--out", str(out), *codes],
            catch_exceptions=False)  # fmt: skip
        made.append(np.load(out, allow_pickle=False))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    for wrong in ("code0", "kind=3", "0=three"):
        with pytest.raises(UserError, match="--code takes NAME=VALUE"):
            run(app, ["sample", str(place / "i"), "--code", wrong], catch_exceptions=False)


def test_a_direction_is_as_far_for_sample_as_in_the_picture(
    coded, place: Path, tmp_path: Path
) -> None:
    """Column 1 of the picture is one deviation of the noise, and so is --direction FILE:0=1."""
    for name in ("r", "i"):
        generator = ganforge.load(place / name)
        label = 0 if generator.spec.classes else None
        found = latents.directions(generator, 1, "pictures", label)
        found.save(tmp_path / "d.safetensors")
        row = latents.along(generator, found, steps=3, reach=1.0, seed=5, label=label)
        ask = generator.ask(1, 5, label)
        z = latents.moved(ask, f"{tmp_path / 'd.safetensors'}:0=1", generator)
        x = generator.make(Ask(z, ask.label))
        torch.testing.assert_close(x[0], row[-1], atol=1e-4, rtol=0)


def test_directions_of_a_uniform_latent_stay_in_its_range(made, place: Path) -> None:
    uniform = ganforge.load(place / "r")
    assert uniform.latent.kind == "uniform" or uniform.latent.within(torch.ones(1, 6)).max() == 1
    far = uniform.latent.within(torch.full((2, uniform.latent.width), 9.0))
    assert far.max() == (1 if uniform.latent.kind == "uniform" else 9)


def test_where_no_layer_takes_the_whole_latent_pca_does(coded, place: Path) -> None:
    biggan = ganforge.load(place / "b")
    with pytest.raises(UserError, match="--method pca"):
        latents.directions(biggan, 2, "sefa")
    assert latents.directions(biggan, 2).method == "pca"
    assert latents.directions(coded, 2).method == "sefa"
    assert latents.directions(biggan, 2, "pca").vectors.shape == (2, biggan.latent.width)


def test_files_that_lie_are_refused(made, place: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path, width = tmp_path / "x.safetensors", ganforge.load(place / "r").latent.width
    for tensors in (
        {"latent": torch.full((2, width), float("nan"))},
        {"latent": torch.zeros(2, width), "label": torch.tensor([0, 77])},
        {"latent": torch.zeros(2, width), "label": torch.zeros(3, dtype=torch.int64)},
        {"latent": torch.zeros(width)},
    ):
        save_file(tensors, path)
        with pytest.raises(UserError):
            latents.load_latents(path, ganforge.load(place / "r"))
    save_file({"vectors": torch.zeros(6), "strengths": torch.zeros(6)}, path)
    with pytest.raises(UserError, match="make them from this run"):
        latents.Directions.load(path, 6)


def test_an_ffmpeg_that_fails_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no such codec >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no such codec"):
        latents.film(torch.zeros(200, 1, 8, 8), tmp_path / "x.mp4")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"use a \.gif"):
        latents.film(torch.zeros(2, 1, 8, 8), tmp_path / "x.mp4")


def test_what_sample_is_told_twice_is_refused_or_done(place: Path, tmp_path: Path) -> None:
    made = ganforge.load(place / "r")
    kept, r = tmp_path / "z.safetensors", str(place / "r")
    ask = made.ask(3, seed=4)
    assert ask.latent is not None
    pictures = made.make(ask)
    latents.Inverted(ask.latent, ask.label, pictures, torch.zeros(3)).save(kept)

    def sample(*args: str) -> np.ndarray:
        file = tmp_path / "s.npy"
        done = run(app, ["sample", r, *args, "--out", str(file), "--force", "--json"],
                   catch_exceptions=False)  # fmt: skip
        x = np.load(file, allow_pickle=False)
        assert json.loads(done.stdout)["count"] == len(x)
        return x

    whole = sample("--latent", str(kept), "--interpolate")
    assert whole.shape == (16, 1, 28, 28)
    assert np.allclose(whole[[0, 8, 15]], pictures, atol=1e-5)
    rows = sample("--interpolate", "--count", "16", "--seed", "2", "--label", "3")
    assert np.allclose(rows[[0, 7, 8, 15]], made.sample(4, seed=2, label=3), atol=1e-5)
    found = latents.directions(made, 2)
    found.save(tmp_path / "d.safetensors")
    moved = sample(
        "--interpolate", "--count", "8", "--direction", f"{tmp_path / 'd.safetensors'}:1=2"
    )
    assert np.abs(moved - sample("--interpolate", "--count", "8")).max() > 1e-5
    for args, said in (
        (["--latent", str(kept), "--count", "9"], "leave --count away"),
        (["--latent", str(kept), "--label", "3", "--truncation", "0.5"],
         "leave --label, --truncation away"),
        (["--interpolate", "--count", "20"], "use --count 24"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            sample(*args)
    latents.Inverted(ask.latent[:1], ask.label[:1], pictures, torch.zeros(1)).save(kept)
    with pytest.raises(UserError, match="give 2 or more"):
        sample("--latent", str(kept), "--interpolate")


def test_interpolation_keeps_codes_whole(coded) -> None:
    z = strips(coded.latent, coded.ask(4), torch.linspace(0, 1, 8)).latent
    for one_hot in coded.latent.categories(z):
        assert set(one_hot.unique().tolist()) == {0.0, 1.0}
    same = strips(coded.latent, Ask(coded.ask(1).latent.expand(2, -1)), torch.linspace(0, 1, 5))
    assert torch.allclose(same.latent, coded.ask(1).latent.expand(5, -1), atol=1e-5)


# -- sheets -----------------------------------------------------------------------------
def test_a_traversal_sets_one_code_and_nothing_else(coded) -> None:
    blocks = latents.traversal(coded, count=3, seed=5, steps=5)
    assert [len(b.columns) for b in blocks] == [10, 5, 5]
    assert blocks[0].columns == [str(i) for i in range(10)]
    assert blocks[1].columns == ["-2", "-1", "0", "1", "2"]
    for i, column, value in ((0, 7, 7), (1, 1, -1.0), (2, 4, 2.0)):
        shown = blocks[i].x.unflatten(0, (3, -1))[:, column]
        assert torch.allclose(shown, coded.sample(3, seed=5, code={i: value}), atol=1e-5)


def test_classes_share_their_latents(place: Path) -> None:
    made = ganforge.load(place / "r")
    (block,) = latents.classes(made, count=3, seed=2)
    assert list(block.rows) == made.classes
    z = made.ask(3, seed=2).latent
    assert torch.allclose(block.x[12:15], made.make(Ask(z, torch.full((3,), 4))), atol=1e-5)
    (block,) = latents.classes(made, 2, labels=["Bag", 1])
    assert block.rows == ["Bag", "Trouser"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_keeps_quantiles_and_ends_with_the_sample(kind: str) -> None:
    latent = Latent(4000, kind, (3,), 1)
    with draws.keyed(0, "t", torch.arange(2)):
        z = latent.draw(2)
    again = latent.noise(latent.quantile(z))
    assert torch.allclose(again, z[:, :4000], atol=2e-3)
    narrow = latent.noise(latent.quantile(z), 0.5)
    assert narrow.abs().max() <= (0.5 if kind == "uniform" else 1)
    assert narrow[0][z[0, :4000].argsort()].diff().min() > -1e-4, "in the same order"


def test_the_last_row_of_truncations_is_what_sample_makes(place: Path) -> None:
    made = ganforge.load(place / "r")
    (block,) = latents.truncations(made, 3, seed=6)
    assert block.rows[0] == "truncation 0.25"
    assert torch.allclose(block.x[-3:], made.sample(3, seed=6), atol=1e-5)
    with pytest.raises(UserError, match=r"\(0, 1\]"):
        latents.truncations(made, 3, values=(0.5, 2))


def test_a_sheet_puts_each_sample_in_its_place_and_words_beside() -> None:
    x = torch.ones(6, 3, 32, 32)
    x[:, 0], x[:, 1] = torch.linspace(-1, 0.9, 6).view(6, 1, 1), -1  # colours that no word has
    words = Block(x, ["a long name", "b"], ["0", "1", "2"], "title", [str(i) for i in range(6)])
    im = np.asarray(sheet([words, Block(-x[:1], ["b"], ["x"])])).astype(int)
    found = []
    for sample in x:
        colour = sample[:, 0, 0].add(1).mul(127.5).round().int().numpy()
        rows, columns = np.nonzero((im == colour).all(2))
        assert len(rows) == 64 * 64
        assert rows.max() - rows.min() == columns.max() - columns.min() == 63
        found.append((rows.min(), columns.min()))
    assert found[0][0] == found[1][0] == found[2][0] < found[3][0] - 64
    assert found[0][1] == found[3][1] < found[1][1] - 63 < found[2][1] - 126
    assert (im[:, : found[0][1]].sum(2) < 200).any(), "words on the left"
    below = np.nonzero((im == (255, 255, 0)).all(2))[0]
    assert len(below) == 64 * 64, "the second block"
    assert below.min() > found[3][0] + 64


def test_names_that_the_font_cannot_write_become_numbers() -> None:
    assert legible(["T-shirt/top", "\u6c49", "a b"]) == ["T-shirt/top", "class 1", "a b"]


def test_large_samples_are_shrunk_and_sounds_are_spectrograms() -> None:
    big = sheet([Block(torch.zeros(2, 3, 400, 200), ["r"], ["0", "1"])])
    assert big.height < 220
    assert sheet([Block(torch.zeros(2, 1, 4096), ["r"], ["0", "1"])]).width > 250


def test_sheets_and_neighbours_by_the_verbs(place: Path, coded, tmp_path: Path) -> None:
    def body(*args: str) -> dict:
        done = run(app, [*args, "--out", str(tmp_path / "o.png"), "--force", "--json"],
                   catch_exceptions=False)  # fmt: skip
        Image.open(tmp_path / "o.png").load()
        return json.loads(done.stdout)

    r, i = str(place / "r"), str(place / "i")
    assert body("sheet", i, "--count", "2")["kind"] == "traversal"
    found = body("sheet", r, "--count", "2", "--label", "Bag", "--label", "0")
    assert found["kind"] == "classes"
    assert found["blocks"][0]["rows"] == ["Bag", "T-shirt/top"]
    assert len(body("sheet", i, "--kind", "truncation", "--count", "2")["blocks"][0]["rows"]) == 4
    found = body(
        "neighbours", r, "--count", "2", "--nearest", "3", "--most", "300", "--features", "raw"
    )
    assert found["searched"] == 300
    assert [len(s) for s in found["samples"]] == [3, 3]
    assert found["samples"][0][0]["class"]
    assert found["held_out"] > 0
    bags = body("neighbours", r, "--count", "1", "--features", "raw", "--label", "Bag")
    assert found["held_out"] != bags["held_out"] > 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["sheet", "r", "--kind", "traversal"], "ganforge directions"),
        (["sheet", "i", "--kind", "classes"], "not trained by class"),
        (["sheet", "i", "--label", "1"], "not trained by class"),
        (["sheet", "r", "--kind", "truncation", "--label", "1", "--label", "2"], "of one class"),
        (["sheet", "r", "--label", "Hat"], "class 'Hat' is unknown"),
        (["sheet", "d"], "ganforge apply"),
        (["neighbours", "d"], "ganforge apply"),
        (["neighbours", "r", "--features", "nothing"], "are unknown"),
    ],
)
def test_mistakes_about_sheets(
    place: Path, coded, tmp_path: Path, args: list[str], said: str
) -> None:
    verb, name, *rest = args
    with pytest.raises(UserError, match=said):
        run(app, [verb, str(place / name), *rest, "--out", str(tmp_path / "o.png")],
            catch_exceptions=False)  # fmt: skip
    assert not (tmp_path / "o.png").exists()


def test_vectors_are_not_looked_at(place: Path, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    ganforge.train(points, "gan", tmp_path / "v", settings={"steps": 1, "batch_size": 8})
    for verb in ("walk", "directions", "sheet", "neighbours"):
        with pytest.raises(UserError, match=r"makes vectors; 'ganforge sample"):
            run(app, [verb, str(tmp_path / "v")], catch_exceptions=False)


def test_a_class_sheet_of_a_thousand_classes_asks_which(place: Path) -> None:
    made = ganforge.load(place / "r")
    made.spec = Spec(made.spec.shape, 1000)
    with pytest.raises(UserError, match="1000 classes"):
        latents.classes(made)


# -- films ------------------------------------------------------------------------------
def test_classes_walk_side_by_side(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.gif"
    args = ["--label", "Bag", "--label", "Shirt", "--label", "3", "--stops", "2", "--frames", "3"]
    done = run(app, ["walk", str(place / "r"), *args, "--out", str(file), "--json"],
               catch_exceptions=False)  # fmt: skip
    assert json.loads(done.stdout)["frames"] == 6
    im = Image.open(file)
    assert im.size[0] > 2.5 * im.size[1]


def test_films_show_samples_in_order_and_can_go_back(tmp_path: Path) -> None:
    levels = torch.linspace(-1, 1, 5)
    x = levels.view(5, 1, 1, 1).expand(5, 1, 8, 6)
    for form, back, wanted in (
        ("webp", False, [0, 1, 2, 3, 4]),
        ("gif", True, [0, 1, 2, 3, 4, 3, 2, 1]),
    ):
        im = Image.open(io.BytesIO(latents.animation(x, form, back=back)))
        assert im.size == (192, 256)
        shown = []
        for i in range(getattr(im, "n_frames", 1)):
            im.seek(i)
            shown.append(np.asarray(im.convert("L"))[100, 100])
        assert np.abs(np.array(shown) - (levels[wanted] + 1).numpy() * 127.5).max() < 8


def test_ffmpeg_is_given_every_frame_as_a_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nfor last; do :; done\n/bin/cat > "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    x = torch.linspace(-1, 1, 3).view(3, 1, 1, 1).expand(3, 1, 9, 7)
    latents.film(x, tmp_path / "x.mp4", per_second=25)
    asked = (tmp_path / "asked").read_text()
    assert "-f image2pipe -r 25 -i -" in asked
    assert "yuv420p" in asked
    given = (tmp_path / "x.mp4").read_bytes()
    start = b"\x89PNG\r\n\x1a\n"
    pictures = [Image.open(io.BytesIO(start + p)) for p in given.split(start)[1:]]
    assert [np.asarray(p)[4, 4, 0] for p in pictures] == [0, 128, 255]


def test_a_number_is_a_class_s_number_even_where_names_are_numbers(place: Path) -> None:
    made = ganforge.load(place / "r")
    made.classes = ["1", "10", "2", *"3456789"]
    assert [made.label(v) for v in (1, "1", "10", 2, "0")] == [1, 0, 1, 2, 0]
    (block,) = latents.classes(made, 1)
    assert list(block.rows) == made.classes
    z = made.ask(1).latent
    want = made.make(Ask(z.expand(10, -1), torch.arange(10)))
    assert torch.allclose(block.x, want, atol=1e-5)
