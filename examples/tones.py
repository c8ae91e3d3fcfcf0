"""Tones whose pitch is known: to see whether a generator of sound hits it.

    python examples/tones.py tones
    ganforge train tones --recipe wavegan --set rate=8000 --set samples=1024 --minutes 5

Half of the tones lie about 440 Hz, half about 1,320 Hz; each dies away at its own pace.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 8000, 0.128
PITCHES = (440.0, 1320.0)


def tone(rng: np.random.Generator, i: int) -> np.ndarray:
    t = np.arange(int(RATE * SECONDS)) / RATE
    pitch = PITCHES[i % 2] * 2 ** rng.normal(0, 0.05)
    fade = np.exp(-rng.uniform(2, 12) * t)
    return 0.8 * np.sin(2 * np.pi * (pitch * t + rng.uniform())) * fade


def pitch_of(wave: np.ndarray, rate: int = RATE) -> float:
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 4 * len(wave)))
    return float(spectrum.argmax() * rate / (4 * len(wave)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--count", type=int, default=2000)
    a = parser.parse_args()
    if a.out.exists():
        parser.error(f"{a.out} exists; choose another folder")
    a.out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(a.count):
        soundfile.write(a.out / f"{i:05d}.wav", tone(rng, i), RATE)
    print(f"{a.count} tones: {a.out}")


if __name__ == "__main__":
    main()
