"""Samples to files: a grid, an array, arrays of so many each, one picture each, a zip of
them. In a stream: memory stays flat however many there are (but for a zip's list of names)."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError
from ganforge.gallery import picture

GRID = 1024  # samples in one picture
SHARD = 10_000  # samples of an array, where nobody says how many
INDEX = "index.json"


def parse_codes(pairs: Sequence[str]) -> dict[int, float]:
    """NAME=VALUE strings of `--code`: a code's name, code0, or its number alone."""
    out: dict[int, float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            out[int(name.strip().removeprefix("code"))] = float(text)
        except ValueError:
            raise UserError(
                f"--code takes NAME=VALUE, such as code0=3 or 1=-0.5; {pair!r} was given"
            ) from None
    if not all(math.isfinite(v) for v in out.values()):
        raise UserError(f"--code takes numbers; {', '.join(pairs)} was given")
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


def aside_of(out: Path) -> Path:
    """Where to write a file until it is whole, beside its place, whose folder is made.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise unwritable(out, e) from None
    return out.with_name(f".{out.name}.{os.getpid()}.tmp")


def unwritable(out: Path, error: OSError) -> UserError:
    """The error of a result that cannot be written."""
    return UserError(
        f"cannot write {out}: {error.strerror or error}; make room there, or choose another place"
    )


def write_samples(
    stream: Iterable[Tensor],
    out: Path,
    count: int,
    *,
    uint8: bool = False,
    force: bool = False,
    rate: int | None = None,
    columns: int | None = None,
) -> None:
    """Write a stream of (n, C, *space) samples as `out`'s ending says.

    .png: a grid, of so many `columns` if they are given; .npy: float32 (N, C, *space) in [-1, 1], or with `uint8` (N, *space, C);
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
            f"a {kind} holds up to {GRID} samples, {count} were asked for; use .npy, .zip or "
            "--shard N"
        )
    aside = aside_of(out)
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
            columns = columns or (8 if len(x) <= 64 else math.ceil(math.sqrt(len(x))))
            picture(x, min(columns, len(x))).save(aside, "PNG")
        elif kind == ".npy":
            _array(stream, aside, count, uint8)
        else:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as z:
                for name, data in _files(stream, count, rate):
                    z.writestr(name, data)
        os.replace(aside, out)
    except OSError as e:
        raise unwritable(out, e) from None
    finally:
        aside.unlink(missing_ok=True)


def write_shards(
    stream: Iterable[Tensor],
    out: Path,
    count: int,
    each: int,
    *,
    uint8: bool = False,
    about: Mapping[str, Any] | None = None,
) -> int:
    """Write a stream of (n, ...) samples as arrays of `each` (the last has what is left) in
    the folder `out`: 00000.npy, 00001.npy, ... as `write_samples` writes one .npy, and at
    the end index.json, which says what they hold. Every file appears whole or not at all.

    Returns:
        how many arrays there are.

    Raises:
        UserError: the folder holds other things, or there is no room.
    """
    number = -(-count // each)
    names = [f"{i:0{max(5, len(str(number - 1)))}d}.npy" for i in range(number)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        strange = {p.name for p in out.iterdir()} - {*names, INDEX}
        if strange:
            raise UserError(
                f"{out} holds other files ({min(strange)}); give a new folder with --out"
            )
        (out / INDEX).unlink(missing_ok=True)
        parts, form = iter(_rows(stream, uint8)), None
        rest: np.ndarray | None = None
        shards = []
        for i, name in enumerate(names):
            size = min(each, count - i * each)
            with _aside(out / name) as file:
                have = 0
                while have < size:
                    part = next(parts) if rest is None else rest
                    part, rest = part[: size - have], part[size - have :]
                    rest = rest if len(rest) else None
                    if not have:
                        form = part.dtype, part.shape[1:]
                        _head(file, size, part)
                    file.write(np.ascontiguousarray(part).data)
                    have += len(part)
            shards.append({"file": name, "start": i * each, "count": size})
        assert form is not None
        body = {"format": 1, "count": count, "shape": list(form[1]), "dtype": form[0].name,
                **(about or {}), "shards": shards}  # fmt: skip
        with _aside(out / INDEX) as file:
            file.write(json.dumps(body, indent=1).encode())
    except OSError as e:
        raise unwritable(out, e) from None
    return number


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only when it is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            yield file
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _rows(stream: Iterable[Tensor], uint8: bool) -> Iterator[np.ndarray]:
    return (as_bytes(x) if uint8 else x.numpy() for x in stream)


def _head(file: IO[bytes], count: int, part: np.ndarray) -> None:
    """The header of an array of `count` rows like these."""
    form = {"descr": dtype_to_descr(part.dtype), "fortran_order": False}
    write_array_header_1_0(file, form | {"shape": (count, *part.shape[1:])})


def _array(stream: Iterable[Tensor], path: Path, count: int, uint8: bool) -> None:
    with open(path, "wb") as file:
        for i, part in enumerate(_rows(stream, uint8)):
            if not i:
                _head(file, count, part)
            file.write(np.ascontiguousarray(part).data)


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
