"""Sound files as a source: a folder, a zip or a tar of WAV, FLAC, OGG ..."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ganforge.data.files import Broken, Files
from ganforge.data.packing import Block, Form, Report, Wish
from ganforge.data.picturefiles import folder_labels, is_picture, take_splits
from ganforge.errors import UserError

EXTENSIONS = frozenset([".wav", ".flac", ".ogg", ".oga", ".aif", ".aiff", ".au", ".caf", ".w64"])
RATE, SAMPLES = 16_000, 16_384
"""The default sampling rate (Hz) and length of what networks see: WaveGAN's, about a second."""

LEAST, MOST = 256, 65_536
RATES = (1_000, 1_000_000)
"""Samples a second that a file may claim: beyond them is no sound, but a broken header."""

LONGEST = 1 << 28
"""Values of a sound, over its channels, that are decoded: an hour and a half of mono at 48 kHz."""
_SILENT = 10 ** (-60 / 20)  # a peak of -60 dB of full scale
_BLOCK = 64


def sound_samples(files: Files) -> SoundSamples | None:
    """The sounds among these files, if there are more of them than pictures."""
    sounds = sum(is_sound(n) for n in files.names)
    return SoundSamples(files) if sounds > sum(map(is_picture, files.names)) else None


def is_sound(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


class SoundSamples:
    """Sound files as published samples, all of one rate and one length.

    Longer sounds are cut into pieces that follow one another (or lose their end), shorter ones are padded with
    silence at their end. Labels come from the sub-folders, if every sound is in one; splits
    from sub-folders called train and test. Silent and unreadable files are named and skipped.
    """

    def __init__(self, files: Files) -> None:
        self.files, self.name = files, files.name
        self._numbers = [i for i, n in enumerate(files.names) if is_sound(n)]
        paths, self._splits = take_splits(files.names[i] for i in self._numbers)
        self.classes, self._labels = folder_labels(paths)

    def __len__(self) -> int:
        return len(self._numbers)

    def form(self, wish: Wish) -> Form:
        if wish.layout or wish.range or wish.size:
            asked = "--layout" if wish.layout else "--range" if wish.range else "--size"
            raise UserError(
                f"{asked} is for pictures and arrays; {self.name} has sound files: their length is "
                "--set samples=16384, their rate --set rate=16000"
            )
        if wish.channels not in (None, 1, 2):
            raise UserError(f"sound has 1 or 2 channels; --channels {wish.channels} was asked for")
        samples = wish.samples or SAMPLES
        if not LEAST <= samples <= MOST:
            raise UserError(f"samples={samples} does not fit; {LEAST} to {MOST:,} are possible")
        if not 1000 <= (wish.rate or RATE) <= 192_000:
            raise UserError(f"rate={wish.rate} does not fit; 1,000 to 192,000 Hz are possible")
        return Form((samples, wish.channels or 1), np.dtype(np.int16))

    def blocks(self, form: Form, wish: Wish, report: Report) -> Iterator[Block]:
        rate = wish.rate or RATE
        kept: list[tuple[int, np.ndarray, bytes, str, str]] = []
        for i, (number, data) in enumerate(
            zip(self._numbers, self.files.read(self._numbers), strict=True)
        ):
            name = self.files.names[number]
            try:
                if isinstance(data, Broken):
                    raise data
                wave, size, mode, odd = decode(data, rate, form.shape[1])
                pieces = cut(wave if wish.slices else wave[: form.shape[0]], form.shape[0])
                if not pieces:
                    raise Broken("its beginning is silent (its peak is below -60 dB)")
            except Broken as e:
                report.skip(name, str(e))
                continue
            mark = hashlib.blake2b(data, digest_size=8).digest()
            for phrase in odd:
                report.oddities[phrase] += 1
            if len(pieces) > 1:
                report.oddities[f"pieces of {form.shape[0]:,} samples, cut from longer sounds"] += (
                    len(pieces)
                )
            kept += [(i, p, mark, size, mode) for p in pieces]
            while len(kept) >= _BLOCK:
                yield self._block(kept[:_BLOCK])
                kept = kept[_BLOCK:]
        if kept:
            yield self._block(kept)

    def _block(self, kept: list[tuple[int, np.ndarray, bytes, str, str]]) -> Block:
        rows = [i for i, *_ in kept]
        levels = np.stack([p for _, p, *_ in kept])
        return Block(
            np.clip(np.rint(levels * 32768), -32768, 32767).astype(np.int16),
            None if self._labels is None else self._labels[rows],
            self._splits[rows],
            # Pieces of one sound stay on one side of a held-out share.
            np.frombuffer(b"".join(m for _, _, m, *_ in kept), "<u8"),
            [size for *_, size, _ in kept],
            [mode for *_, mode in kept],
        )


def decode(data: bytes, rate: int, channels: int) -> tuple[np.ndarray, str, str, list[str]]:
    """A sound file as (T, channels) float32 at `rate`, what it was, and what was done to it.

    Raises:
        Broken: it cannot be decoded, or there is nothing to hear.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as f:
            said, was, kind = f.frames, f.samplerate, f.subtype
            if not RATES[0] <= was <= RATES[1]:
                raise Broken(f"it says {was:,} samples a second; save it at 8,000 to 96,000")
            # A small file can claim, and even hold, more than memory does.
            grown = f.channels * max(1.0, rate / was)
            if said * grown > LONGEST:
                hours = LONGEST / grown / was / 3600
                raise Broken(
                    f"it says that it is {said / was / 3600:,.1f} h long; cut it into parts of up to {hours:.1f} h"
                )
            wave = f.read(dtype="float32", always_2d=True)
    except MemoryError:
        raise Broken("it does not fit into memory; cut it into parts") from None
    except (soundfile.SoundFileError, RuntimeError, ValueError) as e:
        raise Broken(str(e).rpartition(": ")[2].strip(" .") or "no sound") from None
    odd = []
    if not len(wave):
        raise Broken("it has no samples")
    if len(wave) < said or _promised(data) > len(data):
        odd.append("truncated sounds, of which what is there is used")
    if not np.isfinite(wave).all():
        raise Broken("its samples hold NaN or infinity")
    if np.abs(wave).max() < _SILENT:
        raise Broken("it is silent (its peak is below -60 dB)")
    size = f"{len(wave) / was:.2f} s"
    mode = f"{wave.shape[1]} x {kind}, {was} Hz"
    if wave.shape[1] != channels:
        mono = wave.mean(1, keepdims=True)
        if wave.shape[1] > 2 or channels == 1:
            odd += ["sounds of several channels, mixed to one"] if channels == 1 else []
        wave = mono if channels == 1 else np.repeat(mono, 2, 1) if wave.shape[1] != 2 else wave
    if was != rate:
        wave = resampled(wave, was, rate)
        odd.append(f"sounds resampled to {rate} Hz")
    if np.abs(wave).max() > 1:
        odd.append("sounds over full scale, whose peaks are cut")
        wave = np.clip(wave, -1, 1)
    return wave, size, mode, odd


def _promised(data: bytes) -> int:
    """How long a WAV file's header says that the file is."""
    if data[:4] != b"RIFF" or len(data) < 8:
        return 0
    size = int.from_bytes(data[4:8], "little")
    return size + 8 if size < 0xFFFFFFF0 else 0  # a streamed file does not know


def resampled(wave: np.ndarray, was: int, rate: int) -> np.ndarray:
    """(T, C) at another rate, by a polyphase filter; odd ratios to a part in a thousand."""
    from scipy.signal import resample_poly

    ratio = Fraction(rate, was).limit_denominator(1000)
    return resample_poly(wave, ratio.numerator, ratio.denominator, axis=0).astype(np.float32)


def cut(wave: np.ndarray, samples: int) -> list[np.ndarray]:
    """Pieces of `samples` that follow one another; the last is padded, and left out if it is
    shorter than a quarter. Silent pieces are left out."""
    count = max(1, math.ceil(len(wave) / samples - 0.25))
    pieces = []
    for i in range(count):
        piece = wave[i * samples : (i + 1) * samples]
        if np.abs(piece).max() < _SILENT:
            continue
        pieces.append(np.pad(piece, ((0, samples - len(piece)), (0, 0))))
    return pieces
