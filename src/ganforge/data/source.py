"""`open_source`: whatever the user points at, as a `Dataset`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganforge.data.dataset import Dataset
from ganforge.data.names import NAMES, named
from ganforge.data.packing import Progress, Raw, Wish, pack
from ganforge.data.store import FORMAT, TEST, TRAIN, UNSPLIT, Store, cache_folder, cached
from ganforge.errors import UserError

SPLITS = ("train", "test", "all")


class Address(NamedTuple):
    """A source as text: NAME[:CLASS[,CLASS]][@train|test|all]."""

    place: str
    classes: tuple[str, ...] = ()
    split: str | None = None


def parse(text: str) -> Address:
    """Take a source's text apart. What exists as a path is one, whatever signs it has.

    Raises:
        UserError: the split is unknown.
    """
    if not text or _exists(text):
        return Address(text)
    place, at, split = text.rpartition("@")
    if not at:
        place, split = text, ""
    elif split not in SPLITS:
        if "/" in split:  # a path with an @ in it
            place, split = text, ""
        else:
            raise UserError(f"split @{split} of {text!r} is unknown; choose @{', @'.join(SPLITS)}")
    if place in NAMES or _exists(place):
        return Address(place, (), split or None)
    name, colon, classes = place.rpartition(":")
    if colon and (name in NAMES or _exists(name)):
        chosen = tuple(c.strip() for c in classes.split(",") if c.strip())
        if not chosen:
            raise UserError(f"{text!r} names no class after the colon; say NAME:CLASS")
        return Address(name, chosen, split or None)
    return Address(place, (), split or None)


def open_source(
    source: str | Path = "fashion-mnist-mini",
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
) -> Dataset:
    """Open a source: pack it once into the cache, and give batches by index.

    Raises:
        UserError: it does not exist, cannot be read, or does not fit what is asked.
    """
    wish = Wish(parse_size(size), channels, layout, None)
    address = parse(str(source))
    if split is not None:
        address = address._replace(split=split)
    folder = cache_folder(cache)
    raw = _raw(address.place, Path(data_root) if data_root else None, folder)
    store = cached(folder, _key(raw, wish), lambda path: pack(raw, wish, path, progress))
    return view(store, address, raw.name, holdout, folder)


def view(
    store: Store, address: Address, name: str, holdout: float | None, folder: Path | None
) -> Dataset:
    """The samples of a store that have the address's classes and split."""
    split = address.split or "train"
    chosen = [class_number(store.classes, c, name) for c in address.classes]
    keep = _in_split(store, split, holdout, name)
    if chosen:
        keep &= np.isin(store.labels, chosen)
    rows = np.flatnonzero(keep)
    if not len(rows):
        raise UserError(f"{name} has no samples in the split @{split} with these classes")
    contiguous = rows[-1] - rows[0] + 1 == len(rows)
    relabel = None
    if chosen:
        relabel = np.zeros(len(store.classes), np.int64)
        relabel[chosen] = np.arange(len(chosen))
    labelled = bool(store.classes)
    what = json.dumps([store.fingerprint, chosen, split, holdout])
    return Dataset(
        store.images,
        store.labels if labelled else None,
        rows=_range(rows) if contiguous else rows,
        classes=[store.classes[c] for c in chosen] if chosen else store.classes,
        relabel=relabel,
        name=f"{name}:{','.join(address.classes)}" if chosen else name,
        split=split,
        fingerprint=hashlib.blake2b(what.encode(), digest_size=16).hexdigest(),
        notes=store.report["notes"],
    )


def _range(rows: np.ndarray):
    from builtins import range

    return range(int(rows[0]), int(rows[-1]) + 1)


def _in_split(store: Store, split: str, holdout: float | None, name: str) -> np.ndarray:
    if split == "all":
        return np.ones(len(store), bool)
    splits = store.splits
    if not (splits == UNSPLIT).all():
        return splits == (TRAIN if split == "train" else TEST)
    if holdout is not None:
        held = store.marks < np.uint64(int(holdout * 2**64))
        return held if split == "test" else ~held
    if split == "test":
        raise UserError(
            f"{name} has no test split; hold some samples out with --holdout 0.1, or use @all"
        )
    return np.ones(len(store), bool)


def class_number(classes: Sequence[str], wanted: str, name: str) -> int:
    """The number of a class by its name (case does not matter) or its number."""
    lower = [c.lower() for c in classes]
    if wanted.lower() in lower:
        return lower.index(wanted.lower())
    if wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    have = ", ".join(classes) if classes else "none (it has no labels)"
    raise UserError(f"{name} has no class {wanted!r}; it has {have}")


def parse_size(size: int | str | Sequence[int] | None) -> tuple[int, int] | None:
    """A size as (H, W), from 64, "64", "64x48" or (64, 48).

    Raises:
        UserError: it is none of these, or outside 4 to 4096.
    """
    if size is None:
        return None
    if isinstance(size, str):
        match = re.fullmatch(r"(\d+)(?:[xX×](\d+))?", size.strip())
        sides = [int(s) for s in match.groups() if s] if match else []
    else:
        sides = [size] if isinstance(size, int) else list(size)
    if len(sides) not in (1, 2) or not all(4 <= s <= 4096 for s in sides):
        raise UserError(f"size {size!r} does not fit; say one side or HxW, each from 4 to 4096")
    return sides[0], sides[-1]


def _raw(place: str, data_root: Path | None, folder: Path) -> Raw:
    if place in NAMES:
        return named(place, data_root, folder)
    raise UserError(f"{place!r} is neither a file, a folder nor one of {', '.join(NAMES)}")


def _key(raw: Raw, wish: Wish) -> str:
    parts = [FORMAT, raw.key(), wish.size, wish.channels, wish.layout, wish.range]
    text = json.dumps(parts, sort_keys=True).encode()
    stem = re.sub(r"[^\w.-]+", "-", raw.name)[-40:].strip("-.") or "data"
    return f"{stem}-{hashlib.blake2b(text, digest_size=12).hexdigest()}"


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError):
        return False
