"""Short trainings on tones whose pitch is known, and what can be heard of them."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import ganforge
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.gallery import picture, spectrogram
from ganforge.judging.features import features
from ganforge.sounds import heard, page, wav

ROOT = Path(__file__).parents[1]
run = CliRunner().invoke


def tones() -> Any:
    spec = importlib.util.spec_from_file_location("tones", ROOT / "examples" / "tones.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_of_tones(n: int, samples: int = 1024) -> np.ndarray:
    """(n, 1, samples) int16."""
    rng, make = np.random.default_rng(0), tones()
    whole = [np.resize(make.tone(rng, i), samples) for i in range(n)]
    return (np.stack(whole) * 32767).astype(np.int16)[:, None]


def octaves(waves: np.ndarray) -> np.ndarray:
    """Pitches (N,) of waves (N, T), log2."""
    find = tones().pitch_of
    return np.log2([max(find(w), 1.0) for w in waves])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """W1 between two sets of pitches, in octaves."""
    q = np.linspace(0, 1, 200)
    return float(np.abs(np.quantile(a, q) - np.quantile(b, q)).mean())


def test_wavegan_hits_both_pitches(tmp_path: Path) -> None:
    x = set_of_tones(1000)
    real = octaves(x[:, 0] / 32768)
    settings = {"width": 8, "batch_size": 16, "lr": 1e-3}
    done = ganforge.train(x, "wavegan", tmp_path / "r", layout="NCT", settings=settings, steps=100)
    made = octaves(ganforge.load(done.path).sample(200)[:, 0].numpy())
    known = np.log2(tones().PITCHES)
    off = np.abs(made[:, None] - known).min(1)
    assert (off < 0.3).mean() > 0.9, "some sounds have neither pitch"
    assert len(set(np.abs(made[:, None] - known).argmin(1))) == 2, "one pitch is lost"
    assert distance(made, real) < distance(np.full(200, real.mean()), real)
    assert (done.path / "sounds.html").stat().st_size > 10_000
    image = ganforge.load(done.path)
    assert picture(image.sample(4)).size[0] > 400


def test_specgan_learns_spectrograms_that_can_be_heard(tmp_path: Path) -> None:
    x = set_of_tones(400, 2048)
    settings = {"width": 8, "batch_size": 16, "lr": 1e-3, "rate": 8000, "d_steps": 2}
    done = ganforge.train(x, "specgan", tmp_path / "r", layout="NCT", settings=settings, steps=60)
    generator = ganforge.load(done.path)
    waves = heard(generator.config, generator.sample(64))
    assert waves.shape == (64, 1, 2048)
    assert waves.abs().max() <= 1
    made, real = octaves(waves[:, 0].numpy()), octaves(x[:, 0] / 32768)
    noise = octaves(np.random.default_rng(0).normal(size=(64, 2048)))
    assert distance(made, real) < distance(noise, real) / 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tones in two classes, and a run of each recipe, barely trained."""
    import os

    folder = tmp_path_factory.mktemp("sound")
    os.environ["GANFORGE_CACHE"] = str(folder / "cache")
    make, rng = tones(), np.random.default_rng(0)
    for i in range(60):
        path = folder / "tones" / ("low" if i % 2 == 0 else "high") / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.tile(make.tone(rng, i), 2), 8000)
    small = {"width": 4, "batch_size": 4, "steps": 1, "rate": 8000, "samples": 2048}
    for recipe in ("wavegan", "specgan"):
        ganforge.train(str(folder / "tones"), recipe, folder / recipe, settings=small)
    return folder


@pytest.mark.parametrize("recipe", ["wavegan", "specgan"])
def test_samples_are_files_to_hear(place: Path, tmp_path: Path, recipe: str) -> None:
    args = ["sample", str(place / recipe), "--count", "3"]
    assert run(app, [*args, "--out", str(tmp_path / "x.wav")]).exit_code == 0
    x, rate = soundfile.read(tmp_path / "x.wav")
    assert (rate, len(x)) == (8000, 3 * 2048 + 2 * 2000)
    assert run(app, [*args, "--out", str(tmp_path / "folder")]).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        "00000.wav", "00001.wav", "00002.wav"]  # fmt: skip
    assert run(app, [*args, "--out", str(tmp_path / "x.html")]).exit_code == 0
    text = (tmp_path / "x.html").read_text()
    assert text.count("<audio") == 3
    assert "http" not in text
    assert run(app, [*args, "--out", str(tmp_path / "x.npy")]).exit_code == 0
    assert np.load(tmp_path / "x.npy").shape == (3, 1, 2048)
    with pytest.raises(UserError, match=r"\.wav, \.html"):
        run(app, [*args, "--out", str(tmp_path / "x.mp3")], catch_exceptions=False)


@pytest.mark.parametrize("recipe", ["wavegan", "specgan"])
def test_both_are_judged_by_ear(place: Path, recipe: str) -> None:
    done = run(app, ["score", str(place / recipe), "--reference", str(place / "tones"),
                     "--metric", "kid", "--count", "60", "--json"])  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["protocol"]["features"]["name"] == "logmel"
    assert found["protocol"]["reference"]["shape"] == [1, 2048]
    assert found["metrics"]["kid"]["low"] > 0


def test_no_sound_is_ever_clipped() -> None:
    loud = torch.randn(2, 1, 1000) * 3
    config = {"spec": {"shape": [1, 1000]}, "data_options": {"rate": 8000}}
    waves = heard(config, loud)
    assert waves.abs().amax((1, 2)).tolist() == pytest.approx([1, 1])
    assert torch.allclose(waves[0] / waves[0].abs().max(), loud[0] / loud[0].abs().max())
    quiet = torch.full((1, 1, 10), 0.25)
    assert torch.equal(heard(config, quiet), quiet)
    levels, rate = soundfile.read(io.BytesIO(wav(waves, 8000)), dtype="int16")
    assert rate == 8000
    assert np.abs(levels).max() == 32767


def test_a_spectrogram_shows_pitch_and_time() -> None:
    t = torch.arange(8000) / 8000
    low = torch.sin(2 * torch.pi * 500 * t) * (t < 0.5)
    levels = np.asarray(spectrogram(low[None])).sum(-1)
    row, column = np.unravel_index(levels.argmax(), levels.shape)
    assert row > 0.8 * levels.shape[0], "low frequencies are below"
    assert column < levels.shape[1] / 2
    assert levels[:, : levels.shape[1] // 2].sum() > 1.2 * levels[:, levels.shape[1] // 2 :].sum()
    for samples in (32, 100, 156, 5000):
        assert picture(torch.zeros(3, 2, samples), 2).size[0] > 200


def test_logmel_hears_pitch_and_loudness() -> None:
    t = torch.arange(4096) / 16000
    f = features("logmel", (1, 4096))
    a, b, c = (f(torch.sin(2 * torch.pi * p * t)[None, None] * g) for p, g in
               ((440, 0.5), (880, 0.5), (440, 0.25)))  # fmt: skip
    assert a.shape == (1, 128)
    assert a[0, :64].argmax() < b[0, :64].argmax()
    assert (a - c)[0, :64].max().item() == pytest.approx(np.log(4), abs=0.05)
    with pytest.raises(UserError, match="hear sounds"):
        features("logmel", (3, 32, 32))


def test_the_page_escapes_what_it_is_told() -> None:
    assert "<script>" not in page(torch.zeros(1, 1, 500), 8000, "<script>", ["<b>"])


def test_both_hold_sounds_out(place: Path) -> None:
    from ganforge.api import held_out_of
    from ganforge.config import load
    from ganforge.data import open_source

    with_holdout = {"holdout": 0.3}
    for recipe in ("wavegan", "specgan"):
        config = load(ganforge.run.Run.open(place / recipe).config)
        config = config.model_copy(update={"data_options": config.data_options | with_holdout})
        data = open_source(config.data, **config.data_options)
        other = held_out_of(config, data)
        assert other is not None, recipe
        assert other.shape == data.shape
        assert len(other) > 0
