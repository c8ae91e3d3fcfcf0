"""Array files as published: idx."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ganforge.data.arrays import Rows
from ganforge.data.store import UNSPLIT
from ganforge.errors import UserError

_SMALL = 64 << 20  # files up to this size are identified by their content
_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What reading a damaged file raises."""


def identity(paths: Sequence[Path]) -> list[Any]:
    """Plain data that differ whenever the files' content may: a digest, or where that would
    take long the path, size and time of change."""
    found: list[Any] = []
    for path in paths:
        try:
            stat = path.stat()
            if stat.st_size <= _SMALL:
                found.append(hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest())
            else:
                found.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
        except OSError as e:
            raise unreadable(path, e) from None
    return found


def unreadable(path: Path | str, error: BaseException) -> UserError:
    if isinstance(error, PermissionError):
        return UserError(f"{path} cannot be read: no permission; make it readable (chmod +r)")
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} does not exist; check the path")
    reason = str(error) or type(error).__name__
    return UserError(f"{path} is damaged or not what its name says ({reason}); get it anew")


def stream(
    opener: Callable[[], IO[bytes]],
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str,
    labels: np.ndarray | None = None,
    split: int | np.ndarray = UNSPLIT,
) -> Rows:
    """Rows that follow one another in a byte stream, which must end with the last one.

    Args:
        opener: gives the stream, placed at the first row.
        shape: (N, ...).
        dtype: of a value.
        name: of the file, for errors.
        labels: (N,), or None.
        split: see `Rows`.
    """
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    native = dtype.newbyteorder("=")

    def read(step: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        try:
            with opener() as f:
                for i in range(0, shape[0], step):
                    n = min(step, shape[0] - i)
                    data = f.read(n * row)
                    if len(data) < n * row:
                        raise EOFError(
                            f"it ends at row {i + len(data) // max(row, 1)} of {shape[0]}"
                        )
                    block = np.frombuffer(data, dtype).reshape(n, *shape[1:])
                    yield (
                        block.astype(native, copy=False),
                        None if labels is None else labels[i : i + n],
                    )
                if f.read(1):
                    raise ValueError(f"it goes on after the {shape[0]} rows it promises")
        except UNREADABLE as e:
            raise unreadable(name, e) from None

    return Rows(shape, native, read, split)


def open_plain(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked where it is gzip."""
    with open(path, "rb") as f:
        zipped = f.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # type: ignore[return-value]


def idx(path: Path, split: int | np.ndarray = UNSPLIT, labels: Path | None = None) -> Rows:
    """An idx file (LeCun's format of MNIST), plain or gzip, with the labels of another."""
    header = 4

    def opener() -> IO[bytes]:
        f = open_plain(path)
        f.read(header)
        return f

    try:
        with open_plain(path) as f:
            head = f.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX or head[3] < 1:
                raise ValueError("no idx header")
            sizes = f.read(4 * head[3])
            shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
            if len(shape) != head[3]:
                raise EOFError("its header is cut short")
    except UNREADABLE as e:
        raise unreadable(path, e) from None
    header = 4 + 4 * head[3]
    known = None
    if labels is not None:
        rows = idx(labels)
        known = np.concatenate([block for block, _ in rows.read(1 << 20)])
        if known.shape != (shape[0],):
            raise UserError(
                f"{labels} has labels of shape {known.shape} for the {shape[0]} samples of {path}; "
                "give the two files of one set"
            )
    return stream(opener, shape, np.dtype(_IDX[head[2]]), str(path), known, split)
