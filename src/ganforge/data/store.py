"""The packed store: samples of one shape, in one file that is mapped into memory.

    bytes 0-63   magic, place and digest of the header
    from 4096    images (N, *space, C), uint8, uint16 or int16: channels last, row after row
    then         labels (N,) int32 (-1: none), splits (N,) uint8, marks (N,) uint64
    at the end   the header, JSON: shapes, places, classes, the content's digest, the report

Samples are appended block by block, so packing needs no more memory than a block. The file
is written aside and renamed; only the header, written last, makes it a store. A batch is one
gather over the mapped images.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ganforge.errors import Lacking

FORMAT = 1
MAGIC = b"ganforge store\0\1"
START = 4096
_PREAMBLE = struct.Struct("<16sQQ16s")  # magic, header's offset and length, its digest

TRAIN, TEST, OTHER, UNSPLIT = 1, 2, 3, 0
"""What the source says of a sample; UNSPLIT where it says nothing."""

_SIDE = {"labels": np.dtype("<i4"), "splits": np.dtype("u1"), "marks": np.dtype("<u8")}


class Damaged(Exception):
    """The file is not a whole store."""


class Store:
    """An opened store. Its arrays are views of the mapped file.

    Attributes:
        images: (N, *space, C).
        labels: (N,) int32, -1 where there is none.
        splits: (N,) uint8, see `TRAIN`.
        marks: (N,) uint64, a digest of each sample as it was published.
        classes: names of the labels.
        has_splits: the source itself says what is for training and what for testing.
        fingerprint: digest of shape, images, labels and splits, hexadecimal.
        report: what packing found: see `ganforge.data.packing.Report`.
    """

    def __init__(self, path: Path) -> None:
        """Raises: Damaged."""
        self.path = path
        try:
            with open(path, "rb") as f:
                size = os.fstat(f.fileno()).st_size
                header = _read_header(f, size)
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, struct.error) as e:
            raise Damaged(f"{path}: {e}") from None
        if header.get("format") != FORMAT or header.get("size") != size:
            raise Damaged(f"{path}: {size} bytes, {header.get('size')} expected")
        if size > _memory() / 4:
            # What does not stay in memory is read again and again, a sample here, a sample
            # there; reading ahead would read a hundred kilobytes for each.
            self._map.madvise(mmap.MADV_RANDOM)
        self.header = header
        self.images, self.labels, self.splits, self.marks = (
            self._section(n) for n in ("images", "labels", "splits", "marks")
        )
        self.classes: list[str] = header["classes"]
        self.fingerprint: str = header["fingerprint"]
        self.has_splits = header["splits"] not in ([], [UNSPLIT])
        self.report: dict[str, Any] = header["report"]

    def _section(self, name: str) -> np.ndarray:
        place = self.header["sections"][name]
        shape = tuple(place["shape"])
        count = math.prod(shape)
        flat = np.frombuffer(self._map, np.dtype(place["dtype"]), count, place["offset"])
        return flat.reshape(shape)

    def __len__(self) -> int:
        return len(self.images)


class Writer:
    """Appends samples to a new store at `path`, which appears only when `finish` is called.

    Args:
        path: of the store.
        shape: (*space, C) of a sample.
        dtype: of a sample's values.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.shape, self.dtype, self.count = path, shape, np.dtype(dtype), 0
        self._said: set[int] = set()
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        self.aside = Path(name)
        self._file: IO[bytes] = os.fdopen(handle, "w+b", buffering=0)
        self._file.seek(START)
        # The small columns wait in files too: nothing here grows with the number of samples.
        self._side = {k: tempfile.TemporaryFile(dir=path.parent) for k in _SIDE}  # noqa: SIM115
        self._digests = {k: hashlib.blake2b(digest_size=16) for k in ("images", "labels", "splits")}

    def append(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        splits: np.ndarray | None = None,
        marks: np.ndarray | None = None,
    ) -> None:
        """Append samples (n, *space, C), with their columns (n,)."""
        n = len(images)
        self._said |= {UNSPLIT} if splits is None else set(np.unique(splits).tolist())
        block = np.ascontiguousarray(images, self.dtype)
        assert block.shape[1:] == self.shape, (block.shape, self.shape)
        self._write("images", self._file, block)
        defaults = {"labels": (labels, -1), "splits": (splits, UNSPLIT), "marks": (marks, 0)}
        for name, (column, default) in defaults.items():
            full = np.full(n, default) if column is None else np.asarray(column)
            assert full.shape == (n,)
            self._write(name, self._side[name], full.astype(_SIDE[name]))
        self.count += n

    def _write(self, name: str, file: IO[bytes], block: np.ndarray) -> None:
        raw = memoryview(block.data).cast("B") if block.size else memoryview(b"")
        if name in self._digests:
            self._digests[name].update(raw)
        written = 0
        while written < len(raw):  # an unbuffered write may stop short
            written += file.write(raw[written:])

    def finish(self, classes: list[str], report: dict[str, Any], source: str) -> None:
        """Write the columns and the header, flush to the disk, and rename into place."""
        sections = {"images": (START, self.dtype, (self.count, *self.shape))}
        for name, dtype in _SIDE.items():
            offset = -(-self._file.seek(0, os.SEEK_END) // 64) * 64
            self._file.seek(max(offset, START))
            sections[name] = (self._file.tell(), dtype, (self.count,))
            self._side[name].seek(0)
            shutil.copyfileobj(self._side[name], self._file)
        self._seal(sections, self._fingerprint(classes), classes, report, source)

    def _fingerprint(self, classes: list[str]) -> str:
        parts = {k: d.hexdigest() for k, d in self._digests.items()}
        parts |= {"shape": list(self.shape), "dtype": self.dtype.str, "classes": classes}
        return hashlib.blake2b(
            json.dumps(parts, sort_keys=True).encode(), digest_size=16
        ).hexdigest()

    def _seal(
        self,
        sections: dict[str, tuple[int, np.dtype, tuple[int, ...]]],
        fingerprint: str,
        classes: list[str],
        report: dict[str, Any],
        source: str,
    ) -> None:
        end = self._file.seek(0, os.SEEK_END)
        header = {
            "format": FORMAT,
            "source": source,
            "fingerprint": fingerprint,
            "classes": classes,
            "splits": sorted(self._said),
            "report": report,
            "sections": {
                k: {"offset": o, "dtype": d.str, "shape": list(s)}
                for k, (o, d, s) in sections.items()
            },
        }
        # The header names the file's size, its own length included.
        text = _with_size(header, end)
        self._file.write(text)
        self._file.seek(0)
        self._file.write(_PREAMBLE.pack(MAGIC, end, len(text), _digest(text)))
        os.fsync(self._file.fileno())
        self.close()
        os.replace(self.aside, self.path)

    def close(self) -> None:
        for file in (self._file, *self._side.values()):
            file.close()

    def discard(self) -> None:
        self.close()
        self.aside.unlink(missing_ok=True)


def _with_size(header: dict[str, Any], end: int) -> bytes:
    size = end
    while True:
        text = json.dumps(header | {"size": size}).encode()
        if end + len(text) == size:
            return text
        size = end + len(text)


def _memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _read_header(f: IO[bytes], size: int) -> dict[str, Any]:
    magic, offset, length, digest = _PREAMBLE.unpack(f.read(_PREAMBLE.size))
    if magic != MAGIC or offset + length != size:
        raise ValueError("not a whole store")
    f.seek(offset)
    text = f.read(length)
    if _digest(text) != digest:
        raise ValueError("its header does not match its digest")
    return json.loads(text)


# -- the cache ------------------------------------------------------------------------------
def cache_folder(cache: str | Path | None = None) -> Path:
    """Where packed stores and downloads live: `cache`, else $GANFORGE_CACHE, else
    ~/.cache/ganforge.

    Raises:
        Lacking: the folder cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = cache or os.environ.get("GANFORGE_CACHE") or f"{home}/ganforge"
    folder = Path(chosen).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Lacking(
            f"cannot make the cache folder {folder}: {e.strerror}; set GANFORGE_CACHE to a folder "
            "that can be written"
        ) from None
    return folder


def cached(folder: Path, key: str, pack: Callable[[Path], None]) -> Store:
    """The store of this key; `pack(path)` writes it if it is not there yet.

    Of several processes that ask at once one packs and the others wait for it. A damaged
    store is packed again.
    """
    path = folder / f"{key}.store"
    with contextlib.suppress(Damaged):
        return Store(path)
    try:
        with alone(path):
            with contextlib.suppress(Damaged):
                return Store(path)  # another process packed it while we waited
            for left in folder.glob(f".{path.name}.*.tmp"):
                left.unlink(missing_ok=True)
            pack(path)
            return Store(path)
    except OSError as e:
        if (lacking := room(e, folder)) is not None:
            raise lacking from None
        if e.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and (
            e.filename is None or str(folder) in str(e.filename)
        ):
            raise Lacking(
                f"the cache folder {folder} cannot be written; set GANFORGE_CACHE to one that can"
            ) from None
        raise


def room(e: OSError, folder: Path) -> Lacking | None:
    """What to say of a disk, or a share of it, that is full; None of any other error."""
    if e.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return Lacking(
        f"the disk is full: packing into {folder} stopped; free some space or set "
        "GANFORGE_CACHE to a folder on a larger disk"
    )


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    with open(path.with_name(f".{path.name}.lock"), "a") as lock:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
