"""Sound files: every kind, every fault, and spectrograms there and back."""

import numpy as np
import pytest
import soundfile
import torch

from ganforge.data import inspect, open_source
from ganforge.data import spectrogram as sp
from ganforge.data.soundfiles import cut, resampled
from ganforge.errors import UserError


def sine(pitch, rate, seconds=0.5, peak=0.5):
    t = np.arange(int(rate * seconds)) / rate
    return peak * np.sin(2 * np.pi * pitch * t)


def pitch_of(wave, rate):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * rate / len(wave)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_U8"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "PCM_32"),
     ("a.wav", "FLOAT"), ("a.wav", "DOUBLE"), ("a.flac", "PCM_16"), ("a.flac", "PCM_24"),
     ("a.ogg", "VORBIS"), ("a.aiff", "PCM_16")],
)  # fmt: skip
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 22051])
def test_every_kind_and_rate_keeps_its_pitch(tmp_path, name, subtype, rate):
    soundfile.write(tmp_path / name, sine(700, rate), rate, subtype)
    data = open_source(tmp_path, samples=4096)
    x = data.batch(np.array([0])).real[0, 0].numpy()
    assert data.shape == (1, 4096)
    assert pitch_of(x, 16000) == pytest.approx(700, abs=5)
    assert np.abs(x).max() == pytest.approx(0.5, abs=0.05 if subtype == "VORBIS" else 0.03)


def test_16_bits_are_kept_as_they_are(tmp_path):
    levels = np.random.default_rng(0).integers(-32768, 32768, 4096).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", levels, 16000, "PCM_16")
    x = open_source(tmp_path, samples=4096).real(np.array([0]))[0, 0]
    assert np.array_equal((x.numpy() * 32768).astype(np.int16), levels)


def test_stereo_is_mixed_kept_or_made(tmp_path):
    both = np.stack([sine(500, 16000), sine(900, 16000)], 1)
    soundfile.write(tmp_path / "a.wav", both, 16000)
    mono = open_source(tmp_path, samples=4096)
    assert any("mixed to one" in n for n in mono.notes)
    stereo = open_source(tmp_path, samples=4096, channels=2)
    x = stereo.real(np.array([0]))[0].numpy()
    assert x.shape == (2, 4096)
    assert [round(pitch_of(c, 16000), -2) for c in x] == [500, 900]
    m = mono.real(np.array([0]))[0, 0].numpy()
    assert np.allclose(m, x.mean(0), atol=1e-4)
    (tmp_path / "mono").mkdir()
    soundfile.write(tmp_path / "mono" / "b.wav", sine(500, 16000), 16000)
    doubled = open_source(tmp_path / "mono", samples=4096, channels=2).real(np.array([0]))[0]
    assert torch.equal(doubled[0], doubled[1])


def test_long_sounds_are_cut_short_ones_padded(tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    soundfile.write(tmp_path / "low" / "long.wav", sine(300, 16000, 1.0), 16000)
    soundfile.write(tmp_path / "high" / "short.wav", sine(900, 16000, 0.1), 16000)
    data = open_source(tmp_path, samples=4096)
    assert len(data) == 1 + 4  # 16,000 samples are 3.9 pieces
    assert data.classes == ["high", "low"]
    short = data.real(np.array([0]))[0, 0]
    assert short[1600:].abs().max() == 0
    assert short[:1600].abs().max() > 0.4
    assert data.label(np.arange(5)).tolist() == [0, 1, 1, 1, 1]
    assert len(open_source(tmp_path, samples=4096, slices=False)) == 2


def test_faults_are_named(tmp_path):
    good = tmp_path / "good.wav"
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", sine(300, 16000), 16000)
    soundfile.write(good, sine(300, 16000), 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan), 16000, "FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    (tmp_path / "text.wav").write_bytes(b"RIFF is not all")
    (tmp_path / "empty.flac").write_bytes(b"")
    whole = good.read_bytes()
    good.write_bytes(whole[: len(whole) // 2])
    found = inspect(tmp_path)
    reasons = {u["file"]: u["reason"] for u in found["unreadable"]}
    assert set(reasons) == {"silent.wav", "nan.wav", "none.wav", "text.wav", "empty.flac"}
    assert "silent" in reasons["silent.wav"]
    assert "NaN" in reasons["nan.wav"]
    assert "no samples" in reasons["none.wav"]
    data = open_source(tmp_path, samples=4096)
    assert any("truncated" in n for n in data.notes)
    assert len(data) >= 5


def test_a_sound_longer_than_memory_is_named(tmp_path, monkeypatch):
    """Of a small file: ten hours of silence are 2 MB."""
    monkeypatch.setattr("ganforge.data.soundfiles.LONGEST", 16_000 * 60)
    for i in range(2):
        soundfile.write(tmp_path / f"{i}.wav", sine(300, 16000), 16000)
    soundfile.write(tmp_path / "long.flac", np.zeros((16_000 * 40, 2)), 16000)
    (unreadable,) = inspect(tmp_path)["unreadable"]
    assert unreadable["file"] == "long.flac"
    assert "cut it into parts" in unreadable["reason"]


def test_over_full_scale_is_cut_and_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(300, 16000, peak=1.7), 16000, "FLOAT")
    data = open_source(tmp_path, samples=4096)
    assert any("over full scale" in n for n in data.notes)
    assert data.real(np.array([0])).abs().max() <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 100}, "256 to 65,536"),
        ({"rate": 10}, "1,000 to 192,000"),
        ({"size": 32}, "--set samples"),
        ({"channels": 3}, "1 or 2 channels"),
        ({"view": "cepstrum"}, "choose one of spectrogram"),
        ({"view": "spectrogram", "samples": 1000}, "128 divides"),
    ],
)
def test_refusals(tmp_path, options, said):
    soundfile.write(tmp_path / "a.wav", sine(300, 16000), 16000)
    with pytest.raises(UserError, match=said):
        open_source(tmp_path, **options)
    with pytest.raises(UserError, match="is one sound"):
        open_source(tmp_path / "a.wav")


def test_pieces():
    wave = np.ones((1000, 1), np.float32)
    assert [len(p) for p in cut(wave, 400)] == [400, 400, 400]
    assert len(cut(wave[:880], 400)) == 2  # the rest is less than a quarter
    assert len(cut(wave[:10], 400)) == 1
    assert len(resampled(wave, 44100, 16000)) == pytest.approx(1000 * 16000 / 44100, abs=2)


# -- spectrograms ---------------------------------------------------------------------------
def sounds(n=6, samples=8192):
    rng = np.random.default_rng(0)
    out = []
    for _ in range(n):
        parts = [sine(rng.uniform(200, 3000), 16000, samples / 16000, 0.2) for _ in range(3)]
        out.append(sum(parts) * np.exp(-3 * np.arange(samples) / samples))
    return (np.stack(out) * 32767).astype(np.int16)[:, None]


def test_a_spectrogram_there_and_back():
    x = sounds()
    data = open_source(x, layout="NCT", view="spectrogram")
    wave = open_source(x, layout="NCT").real(np.arange(6))
    assert data.shape == (1, 128, 64)
    seen = data.real(np.arange(6))
    assert seen.abs().max() <= 1
    back = sp.sound(seen, data.scaling)
    assert back.shape == wave.shape
    assert sp.convergence(back, wave).max() < 0.2
    assert sp.convergence(torch.randn_like(wave) * wave.std(), wave).min() > 1
    assert sp.convergence(wave, wave).max() == 0


def test_its_scaling_is_the_training_split_s_and_is_recorded():
    x = np.concatenate([sounds(8), sounds(8) // 8])
    train = open_source(x, layout="NCT", view="spectrogram", holdout=0.4)
    test = open_source(x, layout="NCT", view="spectrogram", holdout=0.4, split="test")
    assert train.scaling == test.scaling
    assert train.describe()["view"]["mean"] == train.scaling["mean"]
    whole = train.real(np.arange(len(train)))
    centred = whole.flatten(2).mean((0, 2)) if whole.dim() == 3 else whole.mean((0, 1, 3))
    assert centred.abs().max() < 0.2


def test_its_scaling_sees_every_class_of_a_large_set(monkeypatch):
    monkeypatch.setattr(sp, "MEASURED", 8)
    quiet, loud = sounds(16, 2048) // 64, sounds(16, 2048)
    data = open_source(np.concatenate([quiet, loud]), layout="NCT", view="spectrogram")
    monkeypatch.setattr(sp, "MEASURED", 1000)
    whole = open_source(np.concatenate([quiet, loud]), layout="NCT", view="spectrogram")
    gap = np.subtract(data.scaling["mean"], whole.scaling["mean"])
    # The classes are 4.2 apart: the first eight sounds alone would be off by half of that.
    assert np.abs(gap).mean() < 1


@pytest.mark.parametrize("rate", [1, 900, 2_000_000])
def test_a_rate_that_no_sound_has_is_named(tmp_path, rate):
    """A header that says one sample a second would make a small file long beyond memory."""
    soundfile.write(tmp_path / "a.wav", sine(300, 16000), 16000)
    soundfile.write(tmp_path / "odd.wav", sine(300, 16000), rate)
    (unreadable,) = inspect(tmp_path)["unreadable"]
    assert unreadable["file"] == "odd.wav"
    assert f"{rate:,} samples a second" in unreadable["reason"]


def test_sounds_are_not_paired_by_their_place(tmp_path):
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        for i in range(3):
            soundfile.write(tmp_path / side / f"{i}.wav", sine(300 + i, 16000), 16000)
    with pytest.raises(UserError, match="not paired by name"):
        open_source(tmp_path / "b", inputs=str(tmp_path / "a"), samples=1024)
    data = open_source(tmp_path / "b", inputs=str(tmp_path / "a"), samples=1024, paired=False)
    assert data.source_shape == (1, 1024)


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_a_truncated_file_gives_what_is_there_or_is_named(tmp_path, kind):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    soundfile.write(tmp_path / f"whole.{kind}", wave, 16000)
    content = (tmp_path / f"whole.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 3])
    found = inspect(tmp_path)
    data = open_source(tmp_path, samples=4096)
    named = [u["file"] for u in found["unreadable"]] == [f"cut.{kind}"]
    assert named or 12 < len(data) <= 12 + 6
