"""Array files as published: npy, npz, idx."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ganforge.data.arrays import ArraySamples, Rows
from ganforge.data.files import (
    UNREADABLE,
    Broken,
    Files,
    Located,
    Zip,
    identity,
    unreadable,
)
from ganforge.data.store import OTHER, TEST, TRAIN, UNSPLIT
from ganforge.errors import UserError

Opener = Callable[[], IO[bytes]]

_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_FILES = {
    TRAIN: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    TEST: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# Names of images and labels in a .npz, as people save them.
_SPLIT_KEYS = (
    (TRAIN, ("x_train", "train_images", "X_train"), ("y_train", "train_labels")),
    (OTHER, ("x_val", "val_images", "X_val"), ("y_val", "val_labels")),
    (TEST, ("x_test", "test_images", "X_test"), ("y_test", "test_labels")),
)
_IMAGE_KEYS = ("images", "x", "X", "data", "samples", "arr_0")
_LABEL_KEYS = ("labels", "y", "label", "targets", "arr_1")


def stream(
    opener: Opener,
    skip: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str,
    labels: np.ndarray | None = None,
    split: int | np.ndarray = UNSPLIT,
) -> Rows:
    """Rows that follow one another in a byte stream and end with it.

    Args:
        opener: gives the stream.
        skip: bytes before the first row.
        shape: (N, ...).
        dtype: of a value.
        name: of the file, for errors.
        labels, split: see `Rows`.
    """
    row = math.prod(shape[1:]) * dtype.itemsize
    native = dtype.newbyteorder("=")

    def read(step: int) -> Iterator[np.ndarray]:
        try:
            with opener() as f:
                f.read(skip)
                for i in range(0, shape[0], step):
                    n = min(step, shape[0] - i)
                    data = f.read(n * row)
                    if len(data) < n * row:
                        raise EOFError(f"it ends in row {i + len(data) // row} of {shape[0]}")
                    block = np.frombuffer(data, dtype).reshape(n, *shape[1:])
                    yield block.astype(native, copy=False)
                if f.read(1):
                    raise ValueError(f"it goes on after the {shape[0]} rows that it promises")
        except (*UNREADABLE, Broken) as e:
            raise unreadable(name, e) from None

    return Rows(shape, native, read, labels, split)


# -- npy and npz ----------------------------------------------------------------------------
def npy(
    opener: Opener,
    name: str,
    labels: np.ndarray | None = None,
    split: int | np.ndarray = UNSPLIT,
    size: int | None = None,
) -> Rows:
    """An array as numpy.save writes it. Objects are refused: reading them runs code.

    Args:
        size: bytes of the file, where they are known.
    """
    try:
        with opener() as f:
            version = np.lib.format.read_magic(f)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if header is None:
                raise ValueError(f"npy version {version} is for records, not samples")
            shape, fortran, dtype = header(f)
            skip = f.tell()
        if size is not None and skip + math.prod(shape) * dtype.itemsize > size:
            raise EOFError(f"its header promises {shape}, more than the file holds")
    except (*UNREADABLE, Broken) as e:
        raise unreadable(name, e) from None
    if dtype.hasobject:
        raise UserError(
            f"{name} holds Python objects, which ganforge never reads because that runs code; save "
            "a plain array of one shape and type"
        )
    if fortran and len(shape) > 1:
        raise UserError(
            f"{name} is stored column by column; save it again with np.save(path, "
            "np.ascontiguousarray(x))"
        )
    return stream(opener, skip, shape, dtype, name, labels, split)


def opening(path: Path) -> Opener:
    return lambda: open(path, "rb")


def npy_samples(path: Path) -> ArraySamples:
    rows = npy(opening(path), str(path), size=path.stat().st_size)
    return ArraySamples(path.name, [rows])


def npz_samples(path: Path) -> ArraySamples:
    """The arrays of a .npz: x_train, y_train, x_test, y_test (or train_images, ...); else
    images and labels; else the only array with two axes or more. `classes` may name classes."""
    files = Zip(path)
    keys = {n.removesuffix(".npy"): i for i, n in enumerate(files.names)}

    def first(names: tuple[str, ...]) -> str | None:
        return next((n for n in names if n in keys), None)

    def rows(key: str, labels: str | None, split: int) -> Rows:
        number = keys[key]
        known = None if labels is None else whole(labels)
        return npy(lambda: files.open(number), f"{path}: {key}", known, split)

    def whole(key: str) -> np.ndarray:
        found = npy(lambda: files.open(keys[key]), f"{path}: {key}")
        return np.concatenate([np.zeros((0, *found.shape[1:]), found.dtype), *found.read(1 << 16)])

    parts = [
        rows(x, first(labels), split)
        for split, images, labels in _SPLIT_KEYS
        if (x := first(images)) is not None
    ]
    if not parts:
        images = first(_IMAGE_KEYS)
        if images is None:
            ranks = {k: len(rows(k, None, UNSPLIT).shape) for k in keys if k != "classes"}
            many = [k for k, rank in ranks.items() if rank >= 2]
            if len(many) != 1:
                raise UserError(
                    f"which array of {path} holds the samples is not clear from its names "
                    f"({', '.join(keys) or 'none'}); call it 'images', and its labels 'labels'"
                )
            images = many[0]
        parts = [rows(images, first(_LABEL_KEYS), UNSPLIT)]
    classes = [str(c) for c in whole("classes")] if "classes" in keys else None
    return ArraySamples(path.name, parts, classes)


# -- idx ------------------------------------------------------------------------------------
def idx(
    opener: Opener,
    name: str,
    labels: np.ndarray | None = None,
    split: int | np.ndarray = UNSPLIT,
) -> Rows:
    """An idx file (LeCun's format of MNIST), plain or gzip."""

    def unpacked() -> IO[bytes]:
        f = opener()
        start = f.read(2)
        f.close()
        return gzip.GzipFile(fileobj=opener()) if start == b"\x1f\x8b" else opener()  # type: ignore[return-value]

    try:
        with unpacked() as f:
            head = f.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX or not head[3]:
                raise ValueError("it has no idx header")
            sizes = f.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise EOFError("its header is cut short")
    except (*UNREADABLE, Broken) as e:
        raise unreadable(name, e) from None
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    return stream(unpacked, 4 + len(sizes), shape, np.dtype(_IDX[head[2]]), name, labels, split)


def idx_labels(opener: Opener, name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.uint8), *idx(opener, name).read(1 << 16)])


def idx_file(path: Path) -> ArraySamples:
    """One idx file of images, with the labels beside it if they are there."""
    labels = None
    for beside in _labels_beside(path):
        labels = idx_labels(opening(beside), str(beside))
    return ArraySamples(path.name, [idx(opening(path), str(path), labels)])


def _labels_beside(path: Path) -> list[Path]:
    """The file of labels that belongs to one of images, if it is there."""
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    return [beside] if beside != path and beside.is_file() else []


def idx_places(files: Files) -> dict[str, int] | None:
    """Where MNIST's four files are, by their published names; None if one is missing."""
    found = {n.rpartition("/")[2].removesuffix(".gz"): i for i, n in enumerate(files.names)}
    wanted = [name for pair in IDX_FILES.values() for name in pair]
    return {n: found[n] for n in wanted} if all(n in found for n in wanted) else None


def idx_samples(files: Files, name: str, classes: list[str] | None = None) -> ArraySamples | None:
    """A set in MNIST's four files, or None."""
    places = idx_places(files)
    if places is None:
        return None
    parts = []
    for split, pair in IDX_FILES.items():
        images, labels = ((lambda i=places[n]: files.open(i), f"{files.name}/{n}") for n in pair)
        parts.append(idx(*images, labels=idx_labels(*labels), split=split))
    return ArraySamples(name, parts, classes)


def array_file(path: Path) -> Located | None:
    """The source in a file of arrays, by its first bytes; None if it is none."""
    try:
        with open(path, "rb") as f:
            start = f.read(4)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(path) as f:
                start = f.read(4)
    except UNREADABLE as e:
        raise unreadable(path, e) from None
    reader = None
    if start == b"\x93NUM":
        reader = npy_samples
    elif start[:2] == b"PK" and path.suffix.lower() == ".npz":
        reader = npz_samples
    elif start[:2] == b"\0\0" and len(start) == 4 and start[2] in _IDX and 1 <= start[3] <= 8:
        reader = idx_file
    if reader is None:
        return None
    read = [path, *_labels_beside(path)] if reader is idx_file else [path]
    return Located(path.stem, identity(*read), lambda: reader(path))
