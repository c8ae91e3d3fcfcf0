"""What a run on sounds makes, as something to hear."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ganforge.run import Run, write_whole

if TYPE_CHECKING:  # who asks only whether a run can be heard does not wait for torch
    from PIL import Image
    from torch import Tensor

PAUSE = 0.25  # seconds between sounds in one file


def is_sound(config: Mapping[str, Any]) -> bool:
    """Whether a run's samples can be heard: waves, or pictures of them."""
    shape = (config.get("spec") or {}).get("shape") or ()
    return len(shape) == 2 or _view(config) is not None


def rate_of(config: Mapping[str, Any]) -> int:
    """The sampling rate of a run's sounds, Hz."""
    from ganforge.data.soundfiles import RATE

    return int(config.get("data_options", {}).get("rate") or RATE)


def heard(config: Mapping[str, Any], x: Tensor) -> Tensor:
    """Samples of a run (N, *shape) as waves (N, C, T) in [-1, 1]; those that would leave the
    range are made quieter as a whole, so that nothing is clipped."""
    view = _view(config)
    if view is not None:
        from ganforge.data.spectrogram import sound

        x = sound(x, view)
    peak = x.abs().flatten(1).amax(1).clamp(min=1)
    return x / peak.view(-1, 1, 1)


def seen(config: Mapping[str, Any], x: Tensor) -> list[Image.Image]:
    """A spectrogram of each sample of a run (N, *shape), all drawn alike. A spectrogram that
    was made is shown as it is: nobody waits for its phases."""
    from ganforge.gallery import heat, spectrogram

    view = _view(config)
    if view is None:
        return [spectrogram(wave) for wave in x]
    from ganforge.data.spectrogram import decibels

    return [heat(level) for level in decibels(x, view)]


class Hearing:
    """A loaded generator whose samples are waves, whatever it was trained on."""

    def __init__(self, generator: Any) -> None:
        self.generator, self.config, self.state = generator, generator.config, generator.state
        self.latent, self.ask = generator.latent, generator.ask
        shape = generator.spec.shape
        if _view(self.config) is not None:
            from ganforge.data.spectrogram import HOP

            shape = (shape[0], shape[2] * HOP)
        self.spec = replace(generator.spec, shape=shape)

    def make(self, ask: Any) -> Tensor:
        """(N, C, T)."""
        return heard(self.config, self.generator.make(ask))


def _view(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (config.get("dataset") or {}).get("view")


def wav(waves: Tensor, rate: int) -> bytes:
    """Waves (N, C, T) in [-1, 1] as one WAV file of 16 bits, a pause between them."""
    import soundfile

    pause = np.zeros((int(PAUSE * rate), waves.shape[1]), np.int16)
    parts: list[np.ndarray] = []
    for wave in waves:
        levels = wave.mul(32767).round().numpy().astype(np.int16)
        parts += [pause] if parts else []
        parts.append(levels.T)
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def page(waves: Tensor, rate: int, title: str, names: Sequence[str] | None = None) -> str:
    """One HTML file that plays waves (N, C, T) with no network: each with its spectrogram."""
    from ganforge.gallery import spectrogram

    cells = []
    for i, wave in enumerate(waves):
        picture = io.BytesIO()
        spectrogram(wave).save(picture, "PNG", optimize=True)
        name = html.escape(names[i] if names else str(i))
        cells.append(
            f'<figure><img alt="spectrogram of {name}" src="data:image/png;base64,{_text(picture.getvalue())}">'
            f'<audio controls preload="none" aria-label="{name}" src="data:audio/wav;base64,'
            f'{_text(wav(wave[None], rate))}"></audio><figcaption>{name}</figcaption></figure>'
        )
    return _PAGE.format(title=html.escape(title), cells="\n".join(cells), n=len(waves), rate=rate)


def keep_sounds(run: Run, samples: Tensor) -> None:
    """Write RUN/sounds.html, which plays samples (N, *shape) of the run."""
    config = run.config
    made = page(heard(config, samples), rate_of(config), f"{config['recipe']} on {config['data']}")
    write_whole(run.path / "sounds.html", made.encode())


def kept_sounds(made: str) -> list[dict[str, str]]:
    """The sounds of such a page: each as "name", "picture", a data URL, and "wav", base64."""
    cells = re.finditer(_CELL, made)
    return [{k: html.unescape(v) for k, v in cell.groupdict().items()} for cell in cells]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_CELL = (
    r'<img alt="spectrogram of (?P<name>[^"<>]*)" '
    r'src="(?P<picture>data:image/png;base64,[\w+/=]*)"><audio [^<>]*'
    r'src="data:audio/wav;base64,(?P<wav>[\w+/=]*)">'
)
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.25rem; }}
figure {{ margin: 0; }}
img {{ width: 100%; border-radius: 4px; display: block; }}
audio {{ width: 100%; margin-top: .4rem; }}
figcaption {{ opacity: .7; font-size: .9rem; }}
</style>
<h1>{title}</h1>
<p>{n} sounds at {rate} Hz. Low frequencies are below, loud is bright.</p>
<main>
{cells}
</main>
</html>
"""
