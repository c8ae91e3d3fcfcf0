"""Picture files as a source: a folder, a zip or a tar of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ganforge.data.decode import EXTENSIONS, Look, Picture, decode, look
from ganforge.data.files import Broken, Files
from ganforge.data.packing import Block, Form, Report, Wish
from ganforge.data.store import OTHER, TEST, TRAIN, UNSPLIT
from ganforge.errors import UserError

_PROBED = 512  # pictures whose headers decide size, channels and depth
_CHUNK_FILES, _CHUNK_BYTES = 32, 4 << 20
_SIZES = (16, 32, 64)
_SPLIT_FOLDERS = {"train": TRAIN, "test": TEST, "val": OTHER, "valid": OTHER, "validation": OTHER}
_LABELS = "dataset.json"


class PictureSamples:
    """Picture files as published samples.

    Labels come from `dataset.json` (StyleGAN's format) or from the sub-folders, if every
    picture is in one; splits from sub-folders called train and test. A single folder around
    everything counts for nothing.

    Args:
        files: among which the pictures are.
        splits: what the source says of each picture, by its name without folders.

    Raises:
        UserError: there are no pictures, or the labels do not fit.
    """

    def __init__(self, files: Files, splits: Mapping[str, int] | None = None) -> None:
        self.files, self.name = files, files.name
        chosen = np.fromiter((i for i, n in enumerate(files.names) if is_picture(n)), np.int64)
        if not len(chosen):
            kinds = sorted({os.path.splitext(n)[1].lower() or "no extension" for n in files.names})
            there = f"only files with {', '.join(kinds[:8])}" if kinds else "and no other file"
            raise UserError(
                f"{files.name} has no pictures in it, {there}; give a folder or archive with "
                ".png, .jpg, .webp, .gif, .bmp or .tif files, or a .npy"
            )
        self._numbers = chosen
        labels = next((i for i, n in enumerate(files.names) if n.endswith(_LABELS)), None)
        paths, self._splits = take_splits(self.paths())
        if splits is not None:
            said = (splits.get(p.rpartition("/")[2], OTHER) for p in self.paths())
            self._splits = np.fromiter(said, np.uint8, len(chosen))
        self.classes: list[str] = []
        self._labels: np.ndarray | None = None
        if labels is not None:
            self.classes, self._labels = self._read_labels(labels)
        elif splits is None:
            self.classes, self._labels = folder_labels(paths)

    def __len__(self) -> int:
        return len(self._numbers)

    def paths(self) -> Iterator[str]:
        """The names of all pictures, in order."""
        return (self.files.names[i] for i in self._numbers)

    # -- form ---------------------------------------------------------------------------
    def form(self, wish: Wish) -> Form:
        if wish.layout or wish.range:
            asked = "--layout" if wish.layout else "--range"
            raise UserError(f"{asked} is for arrays; {self.name} has picture files")
        wish.silent(self.name)
        looks = self._probe()
        size = wish.size or choose_size([s.size for s in looks])
        channels = wish.channels or (3 if any(s.colour for s in looks) else 1)
        if channels > 4:
            raise UserError(f"picture files have 1 to 4 channels; {channels} were asked for")
        deep = any(s.deep for s in looks)
        return Form((*size, channels), np.dtype(np.uint16 if deep else np.uint8))

    def _probe(self) -> list[Look]:
        """The headers of up to 512 pictures, evenly spread; of more while none is readable."""
        n = len(self)
        spread = np.unique(np.linspace(0, n - 1, min(n, _PROBED)).astype(np.int64))
        looks: list[Look] = []
        for which in (spread, np.setdiff1d(np.arange(n), spread)):
            for name, data in self._read(which):
                if not isinstance(data, Broken):
                    try:
                        looks.append(look(data, name))
                    except Broken:
                        continue
                    if which is not spread:
                        return looks
            if looks:
                return looks
        return looks

    def _read(self, which: Iterable[int]) -> Iterator[tuple[str, bytes | Broken]]:
        numbers = self._numbers[np.asarray(which, np.int64)]
        # Archives have paths that lead out of them only to do harm; nothing is unpacked here,
        # but what such a file is called cannot be trusted either.
        for i, data in zip(numbers, self.files.read(map(int, numbers)), strict=True):
            name = self.files.names[i]
            if name.startswith("/") or ".." in name.split("/"):
                data = Broken("its name leads out of the archive")
            yield name, data

    # -- pictures -----------------------------------------------------------------------
    def blocks(self, form: Form, wish: Wish, report: Report) -> Iterator[Block]:
        size, channels = form.shape[:2], form.shape[2]

        def work(
            chunk: list[tuple[int, str, bytes | Broken]],
        ) -> list[tuple[int, str, Picture | Broken, bytes]]:
            done = []
            for i, name, data in chunk:
                result: Picture | Broken
                mark = b""
                if isinstance(data, Broken):
                    result = data
                else:
                    mark = hashlib.blake2b(data, digest_size=8).digest()
                    try:
                        result = decode(data, name, size, channels, form.dtype)
                    except Broken as e:
                        result = e
                done.append((i, name, result, mark))
            return done

        workers = max(1, len(_cores()))
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future] = deque()
            try:
                for chunk in self._chunks():
                    waiting.append(pool.submit(work, chunk))
                    if len(waiting) > workers + 1:
                        yield from self._block(waiting.popleft().result(), form, report)
                while waiting:
                    yield from self._block(waiting.popleft().result(), form, report)
            finally:
                pool.shutdown(cancel_futures=True)

    def _chunks(self) -> Iterator[list[tuple[int, str, bytes | Broken]]]:
        chunk: list[tuple[int, str, bytes | Broken]] = []
        size = 0
        for i, (name, data) in enumerate(self._read(np.arange(len(self)))):
            chunk.append((i, name, data))
            size += 0 if isinstance(data, Broken) else len(data)
            if len(chunk) == _CHUNK_FILES or size > _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _block(
        self, done: list[tuple[int, str, Picture | Broken, bytes]], form: Form, report: Report
    ) -> Iterator[Block]:
        kept = []
        for i, name, result, mark in done:
            if isinstance(result, Broken):
                report.skip(name, str(result))
            else:
                kept.append((i, result, mark))
                for phrase in _oddities(result.look, form):
                    report.oddities[phrase] += 1
        if kept:
            rows = [i for i, _, _ in kept]
            yield Block(
                np.stack([p.pixels for _, p, _ in kept]),
                None if self._labels is None else self._labels[rows],
                self._splits[rows],
                np.frombuffer(b"".join(m for _, _, m in kept), "<u8"),
                ["x".join(map(str, p.look.size)) for _, p, _ in kept],
                [p.look.mode for _, p, _ in kept],
            )

    # -- labels -------------------------------------------------------------------------
    def _read_labels(self, number: int) -> tuple[list[str], np.ndarray | None]:
        """The labels in dataset.json: {"labels": [[name, class], ...]}, or null."""
        place = f"{self.name}/{self.files.names[number]}"
        shape = 'it must be {"labels": [["folder/name.png", 0], ...]} with a class for each picture'
        (data,) = self.files.read([number])
        try:
            if isinstance(data, Broken):
                raise ValueError(str(data))
            said = json.loads(data)["labels"]
            pairs = said.items() if isinstance(said, dict) else said or []
            labels = {str(name): _class(value) for name, value in pairs}
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise UserError(
                f"{place} is no labels file ({type(e).__name__}: {e}); {shape}"
            ) from None
        if not labels:
            return [], None
        prefix = self.files.names[number].removesuffix(_LABELS)
        names = [p.removeprefix(prefix) for p in self.paths()]
        without = [n for n in names if n not in labels]
        if without:
            raise UserError(
                f"{place} has no label for {len(without)} of {len(names)} pictures, the first "
                f"being {without[0]}; {shape}"
            )
        if len(labels) > len(names):
            strange = next(iter(labels.keys() - set(names)))
            raise UserError(
                f"{place} labels {len(labels) - len(names)} files that are not there, such as "
                f"{strange}; take them out, or give the whole set"
            )
        found = np.array([labels[n] for n in names], np.int32)
        return [str(k) for k in range(int(found.max()) + 1)], found


def is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def choose_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The size to train at, (H, W), when none is asked for.

    Pictures that all have one size of at most 64 (and at least 8) a side keep it. Otherwise
    a square of 16, 32 or 64: the largest that the median picture covers, so that few are
    enlarged. More than 64 is never chosen, only asked for: it costs four times the time.
    """
    if not sizes:
        return (_SIZES[0], _SIZES[0])
    if len(set(sizes)) == 1 and min(sizes[0]) >= 8 and max(sizes[0]) <= _SIZES[-1]:
        return sizes[0]
    median = float(np.median([min(s) for s in sizes]))
    side = max((s for s in _SIZES if s <= median), default=_SIZES[0])
    return side, side


def _oddities(seen: Look, form: Form) -> Iterator[str]:
    """What had to be done to a picture that its owner may want to know."""
    if seen.frames:
        yield "animated pictures, of which the first frame is used"
    if seen.turned:
        yield "pictures turned upright as their EXIF data say"
    if seen.alpha and form.shape[2] in (1, 3):
        yield "transparent pictures, laid over white (--channels 4 keeps transparency)"
    if seen.colour and form.shape[2] in (1, 2):
        yield "coloured pictures, made grey (--channels 3 keeps colours)"
    if seen.deep and form.dtype == np.uint8:
        yield "16-bit pictures, of which 8 bits are kept"
    if seen.size[0] < form.shape[0] or seen.size[1] < form.shape[1]:
        yield f"pictures enlarged to {form.shape[0]}x{form.shape[1]}"


def take_splits(paths: Iterator[str]) -> tuple[list[str], np.ndarray]:
    """The paths below train and test folders, if there are, and what these say of each."""
    inner = _below_common(list(paths))
    tops = {p.partition("/")[0].lower() for p in inner}
    if not {"train"} < tops <= _SPLIT_FOLDERS.keys():
        return inner, np.full(len(inner), UNSPLIT, np.uint8)
    said = dict(_SPLIT_FOLDERS)
    if "test" not in tops:  # a set with train and val calls its test split val
        said |= dict.fromkeys(("val", "valid", "validation"), TEST)
    splits = (said[p.partition("/")[0].lower()] for p in inner)
    found = np.fromiter(splits, np.uint8, len(inner))
    return [p.partition("/")[2] for p in inner], found


def _below_common(paths: list[str]) -> list[str]:
    """The paths without the folders that all of them are in."""
    first, last = (p.split("/")[:-1] for p in (min(paths), max(paths)))
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    cut = sum(len(part) + 1 for part in first[:shared])
    return [p[cut:] for p in paths]


def folder_labels(paths: list[str]) -> tuple[list[str], np.ndarray | None]:
    """The first folder of each path as its class, if there are two or more, for all."""
    # Paths are gone through one by one: lists of their parts would take memory for each.
    if not all("/" in p for p in paths):
        return [], None
    classes = sorted({p.partition("/")[0] for p in paths})
    if len(classes) < 2:
        return [], None
    numbers = {c: i for i, c in enumerate(classes)}
    found = (numbers[p.partition("/")[0]] for p in paths)
    return classes, np.fromiter(found, np.int32, len(paths))


def _class(value: object) -> int:
    """A class from dataset.json: a whole number, or a one-hot list."""
    if isinstance(value, list) and sorted(value) == [0] * (len(value) - 1) + [1]:
        return value.index(1)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 100_000:
        raise ValueError(f"{value!r} is no class number")
    return value


def _cores() -> set[int]:
    """The processor cores that this process may use."""
    try:
        return os.sched_getaffinity(0)  # type: ignore[attr-defined]
    except AttributeError:  # macOS
        return set(range(os.cpu_count() or 1))
