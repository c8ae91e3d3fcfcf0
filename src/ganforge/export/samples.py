"""Samples to files: a grid, an array, one picture each, a zip of them. In a stream: memory
stays flat however many there are."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError
from ganforge.gallery import picture

GRID = 1024  # samples in one picture


def parse_codes(pairs: Iterable[str]) -> dict[int, float]:
    """NUMBER=VALUE strings of `--code`."""
    out: dict[int, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            out[int(name.strip().removeprefix("c"))] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"--code takes NUMBER=VALUE, such as 0=3 or 1=-0.5; {pair!r} was given")
    return out


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A name in the folder that nothing has yet."""
    folder.mkdir(parents=True, exist_ok=True)
    n, path = 1, folder / f"{stem}{suffix}"
    while path.exists():
        n += 1
        path = folder / f"{stem}-{n}{suffix}"
    return path


def as_bytes(x: Tensor) -> np.ndarray:
    """(N, C, *space) float in [-1, 1] to (N, *space, C) uint8."""
    levels = x.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return levels.movedim(1, -1).numpy()


def write_samples(
    stream: Iterable[Tensor],
    out: Path,
    count: int,
    *,
    uint8: bool = False,
    force: bool = False,
    rate: int | None = None,
) -> None:
    """Write a stream of (n, C, *space) samples as `out`'s ending says.

    .png: a grid; .npy: float32 (N, C, *space) in [-1, 1], or with `uint8` (N, *space, C);
    .zip or a folder: one picture (or sound) each, losslessly. Sounds (n, C, T), whose `rate`
    is given, also: .wav, one after another, and .html, a page that plays them.

    Raises:
        UserError: an ending that is not known, too many for a grid, no room.
    """
    kind = out.suffix.lower()
    kinds = (".png", ".npy", ".zip", "") + ((".wav", ".html") if rate else ())
    if kind not in kinds:
        names = ", ".join(k for k in kinds if k)
        raise UserError(f"{out} has an unknown ending; use {names} or a folder's name")
    if kind in (".png", ".html", ".wav") and count > GRID:
        raise UserError(
            f"a {kind} holds up to {GRID} samples, {count} were asked for; use .npy or .zip"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        if kind == "":
            out.mkdir(exist_ok=True)
            for name, data in _files(stream, count, rate):
                (out / name).write_bytes(data)
            return
        if rate is not None and kind in (".wav", ".html"):
            from ganforge.sounds import page, wav

            waves = torch.cat(list(stream))
            made = wav(waves, rate) if kind == ".wav" else page(waves, rate, out.stem).encode()
            aside.write_bytes(made)
            os.replace(aside, out)
            return
        if kind == ".png":
            x = torch.cat(list(stream))
            columns = 8 if len(x) <= 64 else math.ceil(math.sqrt(len(x)))
            picture(x, min(columns, len(x))).save(aside, "PNG")
        elif kind == ".npy":
            _array(stream, aside, count, uint8)
        else:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as z:
                for name, data in _files(stream, count, rate):
                    z.writestr(name, data)
        os.replace(aside, out)
    except OSError as e:
        raise UserError(f"cannot write {out}: {e.strerror or e}") from None
    finally:
        aside.unlink(missing_ok=True)


def _array(stream: Iterable[Tensor], path: Path, count: int, uint8: bool) -> None:
    whole: np.memmap | None = None
    at = 0
    for x in stream:
        part = as_bytes(x) if uint8 else x.numpy()
        if whole is None:
            whole = open_memmap(path, "w+", part.dtype, (count, *part.shape[1:]))
        whole[at : at + len(part)] = part
        at += len(part)
    assert whole is not None
    whole.flush()


def _files(
    stream: Iterable[Tensor], count: int, rate: int | None = None
) -> Iterator[tuple[str, bytes]]:
    digits, at = max(5, len(str(count - 1))), 0
    for x in stream:
        if rate is not None:
            from ganforge.sounds import wav

            for sound in x:
                yield f"{at:0{digits}d}.wav", wav(sound[None], rate)
                at += 1
            continue
        if x.dim() != 4 or x.shape[1] not in (1, 2, 3, 4):
            raise UserError(
                f"samples of shape {tuple(x.shape[1:])} are no pictures; use --out FILE.npy"
            )
        for sample in as_bytes(x):
            file = io.BytesIO()
            Image.fromarray(sample[:, :, 0] if sample.shape[2] == 1 else sample).save(file, "PNG")
            yield f"{at:0{digits}d}.png", file.getvalue()
            at += 1
