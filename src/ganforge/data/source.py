"""`open_source`: whatever the user points at, as a `Dataset`."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ganforge.data.arrayfiles import array_file, idx_samples
from ganforge.data.arrays import MAX_CHANNELS, ArraySamples, held
from ganforge.data.cifar import cifar_samples
from ganforge.data.dataset import Dataset
from ganforge.data.decode import EXTENSIONS
from ganforge.data.degrade import degradation
from ganforge.data.files import Files, Folder, Located, Tar, Zip, identity, unreadable
from ganforge.data.names import DEFAULT, NAMES, locate_named
from ganforge.data.packing import Progress, Raw, Wish, pack, pack_nameless
from ganforge.data.picturefiles import PictureSamples
from ganforge.data.soundfiles import SoundSamples, is_sound, sound_samples
from ganforge.data.sourced import HALVES, Degraded, Halves, Unpaired, partners
from ganforge.data.spectrogram import VIEWS, Spectrograms, statistics
from ganforge.data.store import FORMAT, TEST, TRAIN, Store, cache_folder, cached
from ganforge.data.streamed import is_url, open_streamed
from ganforge.errors import UserError

SPLITS = ("train", "test", "all")

RECOGNISERS: list[Callable[[Files], Raw | None]] = [
    lambda files: idx_samples(files, files.name),
    cifar_samples,
    sound_samples,
    PictureSamples,
]
"""What files in a folder or an archive may be; the first that does not return None reads
them, the last says what is missing."""


class Address(NamedTuple):
    """A source as text: NAME[:CLASS[,CLASS]][@train|test|all]."""

    place: str
    classes: tuple[str, ...] = ()
    split: str | None = None


def open_source(
    source: Any = DEFAULT,
    *,
    size: int | str | Sequence[int] | None = None,
    channels: int | None = None,
    layout: str | None = None,
    range: str | Sequence[float] | None = None,
    split: str | None = None,
    holdout: float | None = None,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    degrade: str | None = None,
    source_channels: int | None = None,
    inputs: str | None = None,
    paired: bool = True,
    samples: int | None = None,
    rate: int | None = None,
    slices: bool = True,
    view: str | None = None,
) -> Dataset:
    """Open a source: pack it once into the cache, and give batches by index.

    Args:
        source: text `NAME[:CLASS[,CLASS]][@train|test|all]`, where NAME is a known set, a
            folder, an archive or a file; or shards at a URL, see `ganforge.data.streamed`;
            or an array (N, ...), or (array, labels); or a Dataset, which is open already.
        size: of pictures, 64, "64x48" or (H, W); chosen from the data where None (see
            `ganforge.data.picturefiles.choose_size`).
        channels: chosen from the data where None.
        layout: axes of an array, one of `ganforge.data.arrays.LAYOUTS`.
        range: the values of an array that mean -1 and 1, "0,255" or (0, 255).
        split: "train" (the default), "test" or "all"; overrides the text's.
        holdout: share of a source without splits that is kept for "test", by a digest of
            each sample's content, so that copies stay together.
        data_root: where sets that are known by name may lie.
        cache: folder for packed data; default $GANFORGE_CACHE or ~/.cache/ganforge.
        progress: called with (done, of how many) while packing.
        degrade: how `Batch.source` is made of each sample; see `ganforge.data.degrade`.
        source_channels: channels that the inputs are brought to; `channels` where None.
        inputs: where `Batch.source` comes from: "left" or "right", the other half being the
            sample; or a source, brought to the samples' size.
        paired: whether the inputs belong to the samples: by the name of their files, or
            where they have none by number.
        samples, rate: length and sampling rate (Hz) that sounds are brought to; 16,384 and
            16,000 where None.
        slices: cut longer sounds into pieces; else only their beginning is used.
        view: "spectrogram" to see sounds as pictures; see `ganforge.data.spectrogram`.

    Raises:
        UserError: it does not exist, cannot be read, or does not fit what is asked.
    """
    if isinstance(source, Dataset):
        asked = {
            "size": size, "channels": channels, "layout": layout, "range": range, "split": split,
            "holdout": holdout, "degrade": degrade, "inputs": inputs, "view": view,
            "samples": samples, "rate": rate, "source_channels": source_channels,
        }  # fmt: skip
        given = [k for k, v in asked.items() if v is not None]
        if given:
            raise UserError(
                f"these data are open already, so {', '.join(given)} cannot be chosen here: give it to "
                "open_source, or give the source itself"
            )
        return source
    degrade, inputs, view = fits(degrade=degrade, inputs=inputs, view=view)
    samples, rate = fits(samples=samples, rate=rate)
    paired, slices = fits(paired=paired, slices=slices)
    opened = partial(
        _open, layout=layout, range=range, data_root=data_root, cache=cache, progress=progress,
        samples=samples, rate=rate, slices=slices,
    )  # fmt: skip
    if view is not None:
        if view not in VIEWS:
            raise UserError(f"view={view} is unknown; choose one of {', '.join(VIEWS)}")
        if degrade or inputs:
            raise UserError(
                f"view={view} shows sounds as pictures, which cannot be damaged or paired yet; "
                f"drop {'degrade' if degrade else 'inputs'}"
            )
        sound = opened(source, size, channels, split, holdout)[0]
        train = opened(source, size, channels, "train", holdout)[0]
        return Spectrograms(sound, statistics(train))
    if inputs in HALVES:
        return Halves(opened(source, _doubled(size), channels, split, holdout)[0], inputs)
    target, names = opened(source, size, channels, split, holdout)
    target.rate = rate
    if degrade and inputs:
        raise UserError(
            f"degrade={degrade} and inputs={inputs} both say what the sources are; give one"
        )
    if degrade:
        return Degraded(target, degradation(degrade))
    if not inputs:
        return target
    size = size if len(target.shape) != 3 else list(target.shape[1:])
    theirs = channels if source_channels is None else source_channels
    if not paired:
        place = parse(inputs)
        text = inputs if place.split is None else inputs.rpartition("@")[0]
        chosen = place.split if place.split not in (None, "train") else target.split
        return Unpaired(target, opened(text, size, theirs, chosen, holdout)[0])
    other, other_names = opened(inputs, size, theirs, "all", None)
    return partners(target, names(), other, other_names())


def _open(
    source: Any,
    size: int | str | Sequence[int] | None,
    channels: int | None,
    split: str | None,
    holdout: float | None,
    *,
    layout: str | None,
    range: str | Sequence[float] | None,
    data_root: str | Path | None,
    cache: str | Path | None,
    progress: Progress | None,
    samples: int | None,
    rate: int | None,
    slices: bool,
) -> tuple[Dataset, Callable[[], list[str] | None]]:
    """The samples, and what gives the names of all in the store (None where they have none)."""
    wish = replace(wished(size, channels, layout, range), samples=samples, rate=rate, slices=slices)
    folder = cache_folder(cache)
    if isinstance(source, str) and is_url(source):
        return open_streamed(
            source, wish, split, check_holdout(holdout), folder, progress
        ), _nameless
    address, found = find(source, split, data_root, folder)
    if found.identity is None:
        store = pack_nameless(found.open(), wish, folder, progress)
    else:
        store = cached(
            folder, _key(found, wish), lambda path: pack(found.open(), wish, path, progress)
        )
    data = view(store, address, found.name, check_holdout(holdout), folder)

    def names() -> list[str] | None:
        broken = {b["file"] for b in store.report["unreadable"]}
        raw = found.open()
        if isinstance(raw, SoundSamples):
            raise UserError(
                f"{found.name}: sounds are not paired by name, as silent ones are left out and long "
                "ones cut; give two arrays of as many sounds, or --set paired=false"
            )
        read = raw.paths() if isinstance(raw, PictureSamples) else None
        if read is None:
            return None
        kept = [n for n in read if n not in broken]
        if len(kept) != len(data.images):  # the report names the first unreadable files only
            raise UserError(
                f"{found.name} has {len(kept) - len(data.images)} unreadable files more than are named, so "
                "its pictures cannot be paired by name; remove what 'ganforge inspect' names, and try again"
            )
        return kept

    return data, names


def _nameless() -> None:
    raise UserError("inputs= pairs data on this machine, not a stream; use --set degrade=...")


def _doubled(size: int | str | Sequence[int] | None) -> tuple[int, int]:
    """The size of two pictures side by side."""
    one = parse_size(size)
    if one is None:
        raise UserError("side-by-side pictures need the size of one half: say --size 64 or HxW")
    return one[0], 2 * one[1]


def find(
    source: Any, split: str | None, data_root: str | Path | None, cache: Path
) -> tuple[Address, Located]:
    """What `open_source` is pointed at; what is in memory has no identity.

    Raises:
        UserError: it is nothing.
    """
    if isinstance(source, (str, Path)):
        address = parse(str(source))
        found = locate(address.place, Path(data_root).expanduser() if data_root else None, cache)
    else:
        raw = in_memory(source)
        address, found = Address("array"), Located("array", None, lambda: raw)
    if split is not None:
        address = address._replace(split=check_split(split, str(split)))
    return address, found


# -- what the user points at ----------------------------------------------------------------
def parse(text: str) -> Address:
    """Take a source's text apart. What exists as a path is one, whatever signs it has.

    Raises:
        UserError: the split is unknown, or no class follows the colon.
    """
    if text in NAMES or _exists(text):
        return Address(text)
    place, at, split = text.rpartition("@")
    if not at or "/" in split:
        place, split = text, ""
    said = check_split(split, text) if at and place != text else None
    if place in NAMES or _exists(place):
        return Address(place, (), said)
    name, colon, classes = place.rpartition(":")
    if colon and (name in NAMES or _exists(name)):
        chosen = tuple(c.strip() for c in classes.split(",") if c.strip())
        if not chosen:
            raise UserError(f"{text!r} names no class after the colon; say NAME:CLASS")
        return Address(name, chosen, said)
    return Address(place, (), said)


def check_split(split: str, text: str) -> str:
    if split not in SPLITS:
        raise UserError(f"split {split!r} in {text!r} is unknown; choose @{', @'.join(SPLITS)}")
    return split


def locate(place: str, data_root: Path | None, cache: Path) -> Located:
    """What is at this place.

    Raises:
        UserError: nothing, or nothing that ganforge reads.
    """
    if place in NAMES:
        return locate_named(place, data_root, cache)
    if is_url(place):
        raise UserError(f"{place} is a stream: see it with 'ganforge train URL --dry-run'")
    if not _exists(place):
        raise UserError(
            f"{place[:200]!r} does not exist and is no known set; give a folder, an archive, a .npy, "
            f"or one of {', '.join(NAMES)}"
        )
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            folder = Folder(path)
            return Located(folder.name, folder.identity(), lambda: recognise(folder))
        return _locate_file(path)
    except OSError as e:
        raise unreadable(path, e) from None


def _locate_file(path: Path) -> Located:
    if path.is_file() and not path.stat().st_size:
        raise unreadable(path, EOFError("it is empty"))
    found = array_file(path) if path.is_file() else None
    if found is not None:
        return found
    if path.suffix.lower() in EXTENSIONS or is_sound(path.name):
        what = "sound" if is_sound(path.name) else "picture"
        raise UserError(f"{path} is one {what}; give the folder or archive with all of them")
    if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        return Located(path.stem, identity(path), lambda: recognise(Zip(path)))
    if tarfile.is_tarfile(path) or ".tar" in path.name.lower():
        return Located(path.name.split(".")[0], identity(path), lambda: recognise(Tar(path)))
    if path.suffix.lower() in (".npy", ".npz"):
        raise unreadable(path, ValueError(f"it does not begin as a {path.suffix} file does"))
    raise UserError(
        f"{path} is of no kind that ganforge reads; give a folder, a .zip, .tar, .npy, .npz or "
        "an idx file"
    )


def recognise(files: Files) -> Raw:
    """The samples among these files."""
    found = (r(files) for r in RECOGNISERS)
    return next(samples for samples in found if samples is not None)


def in_memory(source: Any) -> ArraySamples:
    """An array or (array, labels) as samples. An array is anything that numpy takes."""
    pair = isinstance(source, tuple) and len(source) == 2
    images, labels = source if pair else (source, None)
    x, y = _numpy(images), None if labels is None else _numpy(labels)
    return ArraySamples("array", [held(x, y)])


def _numpy(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        value = value.numpy()
    try:
        x = np.asarray(value)
    except (TypeError, ValueError):
        x = np.asarray(None)
    if x.dtype.kind not in "biuf" or not x.ndim:
        raise UserError(
            "a source is text, a path, an array, or (array, labels); "
            f"{type(value).__name__} was given"
        )
    return x


# -- views ----------------------------------------------------------------------------------
def view(store: Store, address: Address, name: str, holdout: float | None, folder: Path) -> Dataset:
    """The samples of a store that have the address's classes and split.

    Raises:
        UserError: there are none.
    """
    split = address.split or "train"
    chosen = [class_number(store.classes, c, name) for c in address.classes]
    check_splits(store.has_splits, split, holdout, name)

    def keep(which: slice) -> np.ndarray:
        kept = in_split(store.splits[which], store.marks[which], split, holdout, store.has_splits)
        return kept & np.isin(store.labels[which], chosen) if chosen else kept

    rows = select(len(store), keep, folder)
    if not len(rows):
        classes = f" of {', '.join(address.classes)}" if chosen else ""
        raise UserError(f"{name} has no samples{classes} in @{split}; choose others, or @all")
    relabel = None
    if chosen:
        relabel = np.zeros(len(store.classes), np.int64)
        relabel[chosen] = np.arange(len(chosen))
    what = json.dumps([store.fingerprint, chosen, split, holdout])
    return Dataset(
        store.images,
        store.labels if store.classes else None,
        rows=rows,
        classes=[store.classes[c] for c in chosen] if chosen else store.classes,
        relabel=relabel,
        name=f"{name}:{','.join(store.classes[c] for c in chosen)}" if chosen else name,
        split=split,
        fingerprint=hashlib.blake2b(what.encode(), digest_size=16).hexdigest(),
        notes=store.report["notes"],
    )


def check_splits(has_splits: bool, split: str, holdout: float | None, name: str) -> None:
    """Raises: UserError: there is no test split, or there are two."""
    if has_splits and holdout is not None:
        raise UserError(f"{name} has a test split of its own (@test); drop --holdout")
    if split == "test" and not has_splits and holdout is None:
        raise UserError(
            f"{name} has no test split; hold some samples out with --holdout 0.1, or use @all"
        )


def in_split(
    splits: np.ndarray, marks: np.ndarray, split: str, holdout: float | None, has_splits: bool
) -> np.ndarray:
    """Which samples are in "train", "test" or "all", (n,) bool."""
    if split == "all":
        return np.ones(len(splits), bool)
    if has_splits:
        return splits == (TRAIN if split == "train" else TEST)
    held_out = marks < np.uint64(int((holdout or 0) * 2**64))
    return held_out if split == "test" else ~held_out


def select(n: int, keep: Callable[[slice], np.ndarray], folder: Path) -> Any:
    """The numbers below n that are kept: a range where they are consecutive, else an int64
    array in a nameless file, so that memory does not grow with n."""
    step, count, first, last = 1 << 15, 0, 0, -1
    with tempfile.TemporaryFile(dir=folder) as f:
        for start in range(0, n, step):
            rows = np.flatnonzero(keep(slice(start, min(n, start + step)))) + start
            if len(rows):
                first, last = (first if count else int(rows[0])), int(rows[-1])
                count += len(rows)
                f.write(rows.astype(np.int64).tobytes())
        if last - first + 1 == count:
            return range(first, last + 1)
        f.flush()
        return np.memmap(f, np.int64, "r", shape=(count,))


def class_number(classes: Sequence[str], wanted: str, name: str) -> int:
    """The number of a class by its name (case does not matter) or its number."""
    lower = [c.lower().replace("-", " ") for c in classes]
    if wanted.lower().replace("-", " ") in lower:
        return lower.index(wanted.lower().replace("-", " "))
    if wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    have = ", ".join(classes[:20]) if classes else "none: it has no labels"
    raise UserError(f"{name} has no class {wanted!r}; its classes are {have}")


# -- what the user asks for -----------------------------------------------------------------
KINDS: dict[str, tuple[type, str]] = {
    "degrade": (str, "text such as noise:25+mask:center"),
    "inputs": (str, "left, right, or another source"),
    "view": (str, f"one of {', '.join(VIEWS)}"),
    "samples": (int, "a whole number, such as 16384"),
    "rate": (int, "a whole number of Hz, such as 16000"),
    "paired": (bool, "true or false"),
    "slices": (bool, "true or false"),
}


def fits(**options: Any) -> list[Any]:
    """The options, each of its kind in `KINDS` or None.

    Raises:
        UserError: one is of another.
    """
    found = []
    for name, value in options.items():
        kind, expected = KINDS[name]
        if isinstance(value, Path):
            value = str(value)
        if isinstance(value, float) and kind is int and value.is_integer():
            value = int(value)  # 8e3
        if value is not None and type(value) is not kind:
            raise UserError(f"{name}={value!r} does not fit; give {expected}")
        found.append(value)
    return found


def wished(
    size: int | str | Sequence[int] | None,
    channels: int | None,
    layout: str | None,
    range: str | Sequence[float] | None,
) -> Wish:
    """Raises: UserError: a value does not fit."""
    if channels is not None and not 1 <= channels <= MAX_CHANNELS:
        raise UserError(f"--channels {channels} does not fit; 1 to {MAX_CHANNELS} are possible")
    return Wish(parse_size(size), channels, layout, parse_range(range))


def check_holdout(holdout: float | None) -> float | None:
    if holdout is not None and not 0 < holdout < 1:
        raise UserError(f"--holdout {holdout} does not fit; give a share such as 0.1")
    return holdout


def parse_size(size: int | str | Sequence[int] | None) -> tuple[int, int] | None:
    """A size as (H, W), from 64, "64", "64x48" or (64, 48).

    Raises:
        UserError: it is none of these, or outside 4 to 4096.
    """
    if size is None:
        return None
    if isinstance(size, str):
        match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", size.strip())
        sides: list[Any] = [int(s) for s in match.groups() if s] if match else []
    else:
        sides = list(size) if isinstance(size, (tuple, list)) else [size]
    if len(sides) not in (1, 2) or not all(isinstance(s, int) and 4 <= s <= 4096 for s in sides):
        raise UserError(f"--size {size} does not fit; say one side or HxW, each from 4 to 4096")
    return sides[0], sides[-1]


def parse_range(values: str | Sequence[float] | None) -> tuple[float, float] | None:
    """LOW and HIGH, from "0,255" or (0, 255).

    Raises:
        UserError: it is no such pair.
    """
    if values is None:
        return None
    try:
        low, high = map(float, values.split(",") if isinstance(values, str) else values)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high < float("inf"):
        raise UserError(f"--range {values} does not fit; say LOW,HIGH such as 0,255")
    return low, high


def _key(found: Located, wish: Wish) -> str:
    parts = [FORMAT, found.name, found.identity, *vars(wish).values()]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
    stem = re.sub(r"[^\w.-]+", "-", found.name)[-40:].strip("-.") or "data"
    return f"{stem}-{digest}"


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().exists()
    except PermissionError:
        return True  # reading it will say so
    except (OSError, ValueError, RuntimeError):  # too long, or with signs that no path has
        return False
