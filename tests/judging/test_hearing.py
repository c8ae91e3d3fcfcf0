"""Sounds as a judge hears them: closed forms."""

import numpy as np
import pytest
import torch

from ganforge.data import Dataset, open_source
from ganforge.errors import UserError
from ganforge.judging.features import features
from ganforge.judging.hearing import convergence, mel_bands, spectrum, window_of
from ganforge.judging.metrics import spectral_convergence
from ganforge.judging.protocol import Reference, score


def noise(n=60, channels=1, samples=2048, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, samples, generator=g) * 1.6 - 0.8


def tone(pitch, rate, samples=4096):
    return (torch.sin(2 * torch.pi * pitch * torch.arange(samples) / rate) * 0.5)[None, None]


def test_equal_sounds_have_converged_and_silence_has_not():
    x = noise(4, channels=2)
    assert convergence(x, x).tolist() == [0, 0, 0, 0]
    assert convergence(torch.zeros_like(x), x).tolist() == pytest.approx([1] * 4)
    assert convergence(0.75 * x, x).tolist() == pytest.approx([0.25] * 4, abs=1e-5)
    assert convergence(-x, x).tolist() == pytest.approx([0] * 4, abs=1e-6)


def test_tones_that_share_no_band_are_as_far_as_they_are_loud():
    a, b = tone(500, 16000), tone(4000, 16000)
    assert convergence(a, b).item() == pytest.approx(2**0.5, abs=0.01)


def test_spectra_of_sets():
    ear = spectrum((1, 2048))
    x, other = ear(noise()), ear(noise(seed=1))
    assert x.shape == (60, 257)
    assert spectral_convergence(x, x).value == pytest.approx(0, abs=1e-12)
    louder = spectral_convergence(1.5 * x, x)
    assert louder.value == pytest.approx(0.5)
    assert louder.low < 0.5 < louder.high
    assert 0 < spectral_convergence(other, x).value < 0.05
    with pytest.raises(UserError, match="at least 50"):
        spectral_convergence(x[:9], x)


def test_bands_reach_half_the_rate():
    for rate in (8000, 16000, 44100):
        window = window_of(rate, 16384)
        assert 0.02 <= window / rate <= 0.05
        bands = mel_bands(rate, window)
        assert bands.shape == (64, window // 2 + 1)
        assert (bands.sum(1) > 0).all()
        # The highest band's peak is near half the rate, whatever the rate is.
        assert bands[-1].argmax() / (window // 2) > 0.9
    assert window_of(48000, 600) == 512


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_pitch_is_heard_at_its_own_rate(rate):
    """The band that answers holds the tone's pitch."""
    ear = features("logmel", (1, 4096), rate=rate)
    heard = ear(tone(1000, rate))[0, :64].argmax().item()
    points = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 66)
    low, high = 700 * (10 ** (points[[heard, heard + 2]] / 2595) - 1)
    bin_width = rate / window_of(rate, 4096)
    assert low - bin_width <= 1000 <= high + bin_width
    assert ear.describe()["rate"] == rate


def test_rates_are_other_features_and_the_usual_one_is_what_it_was():
    usual = features("logmel", (1, 4096))
    assert usual.hash == features("logmel", (1, 4096), rate=16000).hash
    assert usual.hash != features("logmel", (1, 4096), rate=8000).hash
    assert (usual.about["window"], usual.about["hop"]) == (512, 128)


def test_an_opened_source_knows_its_rate(tmp_path):
    np.save(tmp_path / "waves.npy", noise(60)[:, :, :1024].numpy())
    data = open_source(tmp_path / "waves.npy", rate=8000, layout="NCT", split="all")
    assert data.rate == 8000


def test_sound_is_scored_by_its_spectrum_too():
    reals = (noise(120).numpy() * 32767).astype(np.int16).transpose(0, 2, 1)
    train = Dataset(reals[:60], fingerprint="heard-train")
    test = Dataset(reals[60:], fingerprint="heard-test", split="test")
    test.rate = 8000
    names = ["kid", "spectral_convergence"]
    found = score(0.5 * noise(60, seed=3), Reference(test, train), metrics=names)
    assert found["protocol"]["features"]["rate"] == 8000
    value = found["metrics"]["spectral_convergence"]
    assert value["value"] == pytest.approx(0.5, abs=0.03)
    assert value["low"] < value["value"] < value["high"]
    assert value["floor"] < 0.05


def test_pictures_have_no_spectrum_of_sound():
    pictures = Dataset(np.zeros((60, 8, 8, 1), np.uint8), split="test")
    with pytest.raises(UserError, match="hear sounds"):
        score(torch.zeros(60, 1, 8, 8), pictures, metrics=["spectral_convergence"], features="raw")
    found = score(torch.zeros(60, 1, 8, 8), pictures, features="raw")
    assert "spectral_convergence" not in found["protocol"]["omitted"]
