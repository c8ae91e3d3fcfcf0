"""Sound as pictures and back: SpecGAN's view. Donahue, McAuley, Puckette 2018, arXiv 1802.04208.

The short-time Fourier transform (Hann window of 256, hops of 128), its magnitude's logarithm,
brought to mean 0 and deviation 1 in each frequency, cut off at 3 deviations and divided by 3.
16,384 samples become 128 x 128: the highest frequency is left out. Rows are frequencies, high
ones above.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError

VIEWS = ("spectrogram",)
WINDOW, HOP = 256, 128
CUT = 3.0  # deviations
FLOOR = 1e-6
MEASURED = 2000  # samples that the statistics are taken from
ROUNDS = 32  # of Griffin and Lim's iteration


class Spectrograms(Dataset):
    """A view of sounds (C, T) as pictures (C, 128, T / 128).

    Args:
        sound: the sounds.
        scaling: see `statistics`.
    """

    def __init__(self, sound: Dataset, scaling: Mapping[str, Sequence[float]]) -> None:
        vars(self).update(vars(sound))
        self.sound, self.scaling = sound, dict(scaling)
        channels, samples = sound.shape
        self.shape = (channels, WINDOW // 2, samples // HOP)
        what = json.dumps([sound.fingerprint, self.scaling])
        self.fingerprint = hashlib.blake2b(what.encode(), digest_size=16).hexdigest()

    def real(self, indices: np.ndarray) -> Tensor:
        return picture(self.sound.real(indices), self.scaling)

    def describe(self) -> dict[str, Any]:
        about = {"kind": "spectrogram", "window": WINDOW, "hop": HOP, **self.scaling}
        return super().describe() | {"view": about}


def statistics(sound: Dataset) -> dict[str, list[float]]:
    """Mean and deviation of the log-magnitude in each frequency, over up to 2,000 sounds that
    are spread evenly over the set, for sets come class by class.

    Raises:
        UserError: these are no sounds of a length that frames divide.
    """
    if len(sound.shape) != 2:
        raise UserError(f"view=spectrogram is for sound (C, T); these are {tuple(sound.shape)}")
    if sound.shape[1] % HOP or sound.shape[1] < 16 * HOP:
        raise UserError(
            f"view=spectrogram needs a length that {HOP} divides, {16 * HOP} or more; these have "
            f"{sound.shape[1]}: --set samples=16384"
        )
    total = torch.zeros(2, WINDOW // 2, dtype=torch.float64)
    count = 0
    spread = np.linspace(0, len(sound) - 1, min(len(sound), MEASURED)).astype(np.int64)
    for start in range(0, len(spread), 100):
        x = sound.real(spread[start : start + 100])
        log = log_magnitude(x).double()
        total += torch.stack([log.sum((0, 1, 3)), log.square().sum((0, 1, 3))])
        count += log[:, :, 0].numel()
    mean, square = total / count
    deviation = (square - mean.square()).clamp(min=1e-6).sqrt()
    return {
        "mean": [round(v, 5) for v in mean.tolist()],
        "deviation": [round(v, 5) for v in deviation.tolist()],
    }


def log_magnitude(x: Tensor) -> Tensor:
    """(N, C, T) sounds to (N, C, 128, T / 128), low frequencies first."""
    n, c, t = x.shape
    padded = torch.nn.functional.pad(x.reshape(n * c, t), (0, WINDOW - HOP))
    window = torch.hann_window(WINDOW, device=x.device)
    found = torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True)
    return (found.abs()[:, : WINDOW // 2, : t // HOP] + FLOOR).log().reshape(n, c, -1, t // HOP)


def picture(x: Tensor, scaling: Mapping[str, Sequence[float]]) -> Tensor:
    """(N, C, T) sounds in [-1, 1] to pictures (N, C, 128, T / 128) in [-1, 1]."""
    log = log_magnitude(x)
    mean, deviation = (torch.tensor(scaling[k])[:, None] for k in ("mean", "deviation"))
    scaled = ((log - mean) / (CUT * deviation)).clamp(-1, 1)
    return scaled.flip(2).contiguous(memory_format=torch.channels_last)


def decibels(pictures: Tensor, scaling: Mapping[str, Sequence[float]]) -> Tensor:
    """The levels that pictures (N, C, 128, frames) stand for, (N, C, 128, frames), low
    frequencies first; a sine of full scale has 0."""
    return (_magnitude(pictures, scaling) / (WINDOW / 4)).clamp(min=1e-7).log10() * 20


def _magnitude(pictures: Tensor, scaling: Mapping[str, Sequence[float]]) -> Tensor:
    mean, deviation = (torch.tensor(scaling[k])[:, None] for k in ("mean", "deviation"))
    log = pictures.float().flip(2) * (CUT * deviation) + mean
    return (log.exp() - FLOOR).clamp(min=0)


def sound(pictures: Tensor, scaling: Mapping[str, Sequence[float]]) -> Tensor:
    """Pictures (N, C, 128, frames) back to sounds (N, C, frames * 128), their phases found by
    Griffin and Lim's iteration (1984), accelerated (Perraudin et al. 2013)."""
    n, c, bins, frames = pictures.shape
    magnitude = _magnitude(pictures, scaling).reshape(n * c, bins, frames)
    magnitude = torch.nn.functional.pad(magnitude, (0, 0, 0, 1))  # the highest frequency
    window = torch.hann_window(WINDOW)
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(magnitude.shape, generator=generator) * 2 * torch.pi
    phase = torch.polar(torch.ones_like(magnitude), angle)
    length, before = frames * HOP, torch.zeros_like(phase)
    wave = torch.zeros(n * c, length + WINDOW - HOP)
    for _ in range(ROUNDS):
        wave = _overlapped(magnitude * phase, window)
        again = torch.stft(wave, WINDOW, HOP, window=window, center=False, return_complex=True)
        ahead = again + 0.99 * (again - before)
        before = again
        phase = ahead / ahead.abs().clamp(min=1e-8)
    return _overlapped(magnitude * phase, window)[:, :length].reshape(n, c, length)


def _overlapped(spectrum: Tensor, window: Tensor) -> Tensor:
    """The inverse transform: windowed frames added, over the windows' squares."""
    frames = torch.fft.irfft(spectrum, WINDOW, dim=1) * window[:, None]
    fold = torch.nn.functional.fold
    length = WINDOW + HOP * (spectrum.shape[2] - 1)
    size, kernel, step = (1, length), (1, WINDOW), (1, HOP)
    wave = fold(frames, size, kernel, stride=step)
    weight = fold(
        window.square()[:, None].expand(-1, frames.shape[2])[None], size, kernel, stride=step
    )
    return (wave / weight.clamp(min=0.1))[:, 0, 0]


def convergence(made: Tensor, real: Tensor) -> Tensor:
    """(N,) spectral convergence of sounds (N, C, T): the norm of the magnitudes' difference
    over the norm of the real ones'; 0 is equal."""
    a, b = (log_magnitude(x).exp().flatten(1) for x in (made, real))
    return (a - b).norm(dim=1) / b.norm(dim=1).clamp(min=1e-9)
