"""Sounds as a judge hears them: log-mel features at the sounds' own rate, and how far spectra
have converged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganforge.data.soundfiles import RATE
from ganforge.errors import UserError
from ganforge.judging.features import SOUND, Features, is_sound
from ganforge.judging.store import digest

BANDS = 64
FRAME = 0.032
"""Seconds that a window hears, to a power of two of samples: 512 at 16,000 Hz."""


def window_of(rate: int, samples: int) -> int:
    """Samples of a window at a rate (Hz), and no more than the sound has."""
    return 2 ** min(round(math.log2(FRAME * rate)), int(math.log2(samples)))


def magnitudes(x: Tensor, window: int, hop: int) -> Tensor:
    """Sounds (N, T) as the magnitudes of their short-time spectra (N, window // 2 + 1, frames),
    by a Hann window and without padding."""
    hann = torch.hann_window(window, device=x.device)
    return torch.stft(
        x, window, hop, window=hann, center=False, return_complex=True
    ).abs()  # fmt: skip


def convergence(made: Tensor, real: Tensor, rate: int = RATE) -> Tensor:
    """Spectral convergence of each sound to the one that it should be: the norm of the
    difference of their magnitudes as a share of the real one's norm (Sturmel and Daudet 2011).
    0 where the spectra are equal, 1 where nothing was made; phases do not matter.

    Args:
        made, real: (N, C, T); channels are compared one by one.

    Returns:
        (N,).
    """
    window = window_of(rate, real.shape[2])
    a, b = (magnitudes(x.flatten(0, 1), window, window // 4) for x in (made, real))
    a, b = a.reshape(len(made), -1), b.reshape(len(real), -1)
    return (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-12)


def spectrum(shape: tuple[int, ...], rate: int = RATE, device: str = "cpu") -> Features:
    """The mean over time of the magnitudes of sounds (C, T), channels mixed: what the metric
    `spectral_convergence` compares the means of."""
    _is_sound("spectrum", shape)
    window = window_of(rate, shape[1])

    def embed(x: Tensor) -> Tensor:
        return magnitudes(x.mean(1), window, window // 4).mean(2)

    about = {"resize": "none", "window": window, "hop": window // 4}
    return Features(
        "spectrum", window // 2 + 1, digest("spectrum", *about.values()), embed, about=about,
        batch=64, device=device,
    )  # fmt: skip


def logmel(shape: tuple[int, ...], rate: int = RATE, device: str = "cpu") -> Features:
    """Mean and deviation over time of the logarithm of the power in 64 bands of equal width on
    the mel scale (O'Shaughnessy 1987) of sounds (C, T), channels mixed: 128 features, of
    windows of 32 ms up to half the rate."""
    _is_sound("logmel", shape)
    window = window_of(rate, shape[1])
    bands = mel_bands(rate, window).to(device)

    def embed(x: Tensor) -> Tensor:
        power = magnitudes(x.mean(1), window, window // 4).square()
        power = (bands @ power).clamp(min=1e-6).log()
        return torch.cat([power.mean(2), power.std(2, correction=0)], 1)

    about = {"resize": "none", "bands": BANDS, "window": window, "hop": window // 4}
    mark = digest("logmel", *about.values(), *([] if rate == RATE else [rate]))
    return Features(
        "logmel", 2 * BANDS, mark, embed, about=about | {"rate": rate}, batch=64, device=device
    )


def mel_bands(rate: int = RATE, window: int = 512) -> Tensor:
    """(BANDS, bins): triangles between points that are equally far apart in mel."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    nyquist, bins = rate / 2, window // 2 + 1
    points = torch.linspace(mel(0), mel(nyquist), BANDS + 2)
    hertz = 700 * (10 ** (points / 2595) - 1)
    at = torch.linspace(0, nyquist, bins)
    low, mid, high = (hertz[i : i + BANDS, None] for i in range(3))
    rising, falling = (at - low) / (mid - low), (high - at) / (high - mid)
    # The lowest triangles are narrower than a bin: each keeps the bin that is nearest.
    found = torch.minimum(rising, falling).clamp(min=0)
    nearest = (at[None] - mid).abs().argmin(1)
    found[torch.arange(BANDS), nearest] = found[torch.arange(BANDS), nearest].clamp(min=0.5)
    return found


def _is_sound(name: str, shape: tuple[int, ...]) -> None:
    if not is_sound(shape):
        raise UserError(
            f"features {name!r} hear sounds (C, T) of {SOUND} samples or more, and these are "
            f"{shape}; use --features raw or lite"
        )
