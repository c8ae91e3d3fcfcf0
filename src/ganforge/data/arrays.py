"""Arrays as sources: which axis is which, and what their values mean."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ganforge.data.decode import resize, to_channels
from ganforge.data.packing import Block, Form, Report, Wish
from ganforge.data.store import UNSPLIT
from ganforge.errors import UserError

LAYOUTS = ("NHW", "NHWC", "NCHW", "NT", "NTC", "NCT", "NC")
MAX_CHANNELS = 16
MAX_CLASSES = 100_000
_BLOCK = 1 << 20  # bytes of a block
_TOLERANCE = 1e-4  # how far floats may step over the ends of their range
_CHOOSE = f"say --layout ({', '.join(LAYOUTS)})"


@dataclass(frozen=True)
class Rows:
    """Equal rows that are read in order, a block at a time.

    Attributes:
        shape: (N, ...) of all rows together.
        dtype: of a value.
        read: rows per block -> the blocks.
        labels: (N,), or None.
        split: what the source says of them all, or of each (N,): see `ganforge.data.store`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int], Iterator[np.ndarray]]
    labels: np.ndarray | None = None
    split: int | np.ndarray = UNSPLIT


def held(
    array: np.ndarray, labels: np.ndarray | None = None, split: int | np.ndarray = UNSPLIT
) -> Rows:
    """The rows of an array in memory or mapped from a file."""

    def read(step: int) -> Iterator[np.ndarray]:
        for i in range(0, len(array), step):
            yield array[i : i + step]

    return Rows(array.shape, array.dtype, read, labels, split)


class ArraySamples:
    """Arrays of equal rows as published samples.

    Args:
        name: what to call them.
        parts: the arrays, one after another.
        classes: names of the labels; where None they are called by their numbers.

    Raises:
        UserError: the arrays or labels do not fit each other.
    """

    def __init__(
        self, name: str, parts: Sequence[Rows], classes: Sequence[str] | None = None
    ) -> None:
        self.name = name
        kinds = {(p.shape[1:], p.dtype, p.labels is None) for p in parts}
        if len(kinds) > 1:
            have = "; ".join(f"{p.shape} {p.dtype}" for p in parts)
            raise UserError(f"the arrays of {name} differ in shape, type or labels: {have}")
        self.shape = (sum(p.shape[0] for p in parts), *parts[0].shape[1:])
        self.dtype = parts[0].dtype
        if 0 in self.shape or len(self.shape) < 2:
            raise UserError(
                f"{name} has shape {self.shape}, which holds no samples; give (N, ...) with N > 0"
            )
        self._parts = [(p, check_labels(p.labels, p.shape[0], name)) for p in parts]
        top = max((int(y.max()) for _, y in self._parts if y is not None), default=-1)
        if classes is not None and top >= len(classes):
            raise UserError(
                f"the labels of {name} go up to {top}, but it names {len(classes)} classes, from 0"
            )
        if top >= MAX_CLASSES:
            raise UserError(f"the labels of {name} go up to {top}; number the classes from 0")
        self.classes = list(classes) if classes else [str(k) for k in range(top + 1)]

    def __len__(self) -> int:
        return self.shape[0]

    def form(self, wish: Wish) -> Form:
        axes = self._axes(wish)
        wish.silent(self.name, waves="T" in axes)
        sizes = dict(zip(axes, self.shape, strict=True))
        channels, wanted = sizes.get("C", 1), wish.channels or sizes.get("C", 1)
        if axes == "NC":
            space: tuple[int, ...] = ()
        elif channels > MAX_CHANNELS:
            raise UserError(
                f"{self.name} has {channels} channels as {axes}; 1 to {MAX_CHANNELS} can be kept: "
                f"{_CHOOSE} if another axis counts channels"
            )
        elif "T" in axes:
            space = (sizes["T"],)
        else:
            space = wish.size or (sizes["H"], sizes["W"])
        if wanted != channels and not {wanted, channels} <= {1, 3, 4}:
            raise UserError(
                f"{self.name} has {channels} channels and cannot be brought to {wanted}; drop "
                "--channels, or make the array with the channels wanted"
            )
        if wish.size is not None and "H" not in axes:
            raise UserError(f"{self.name} ({axes}) holds no pictures that --size could resize")
        return Form((*space, wanted), self._values(wish, axes).dtype)

    def blocks(self, form: Form, wish: Wish, report: Report) -> Iterator[Block]:
        axes = self._axes(wish)
        values = self._values(wish, axes)
        move = [axes.index(a) for a in "NHTWC" if a in axes]
        size = "x".join(str(self.shape[axes.index(a)]) for a in "HTW" if a in axes) or "vector"
        mode = f"{self.shape[axes.index('C')] if 'C' in axes else 1} x {self.dtype}"
        for part, labels in self._parts:
            splits = np.broadcast_to(part.split, part.shape[:1])
            done = 0
            for raw in part.read(self._step()):
                rows = slice(done, done := done + len(raw))
                x = raw.transpose(move)
                x = values.apply(x if "C" in axes else x[..., None])
                if x.shape[-1] != form.shape[-1]:
                    x = to_channels(x, form.shape[-1])
                if x.shape[1:-1] != form.shape[:-1]:
                    x = np.stack([resize(picture, form.shape[:2]) for picture in x])
                yield Block(
                    x,
                    None if labels is None else labels[rows],
                    splits[rows],
                    digests(raw),
                    [size] * len(raw),
                    [mode] * len(raw),
                )

    def _step(self) -> int:
        return max(1, _BLOCK // (math.prod(self.shape[1:]) * self.dtype.itemsize))

    def _axes(self, wish: Wish) -> str:
        """The layout that was asked for, or the only one that the shape can mean."""
        if wish.layout is None:
            return infer_layout(self.shape, self.dtype, self.name)
        axes = wish.layout.upper()
        if axes not in LAYOUTS:
            known = ", ".join(LAYOUTS)
            raise UserError(f"--layout {wish.layout} is unknown; choose one of {known}")
        if len(axes) != len(self.shape):
            raise UserError(
                f"--layout {axes} does not fit {self.name}, whose shape is {self.shape}"
            )
        return axes

    def _values(self, wish: Wish, axes: str) -> Values:
        """What the values mean."""
        kind = self.dtype.kind
        if kind not in "biuf":
            raise UserError(
                f"{self.name} holds values of type {self.dtype}; save it as integers or floats"
            )
        if axes == "NC":
            self._extent()
            return Values(np.dtype(np.float32))
        if kind == "b":
            return Values(np.dtype(np.uint8), 0, 1)
        if wish.range is None and kind in "iu" and self.dtype.itemsize <= 2:
            if self.dtype == np.int16 and "T" in axes:
                return Values(self.dtype)  # sound
            stored = np.dtype(np.uint8 if self.dtype.itemsize == 1 else np.uint16)
            info = np.iinfo(self.dtype)
            return Values(stored) if kind == "u" else Values(stored, info.min, info.max)
        low, high = wish.range or self._likely_range()
        least, most = self._extent()
        slack = _TOLERANCE * (high - low)
        if least < low - slack or most > high + slack:
            raise UserError(
                f"{self.name} has values from {least:g} to {most:g}, outside --range "
                f"{low:g},{high:g}"
            )
        values = Values(np.dtype(np.uint8), low, high)
        return values if self._fits(values) else Values(np.dtype(np.uint16), low, high)

    def _likely_range(self) -> tuple[float, float]:
        least, most = self._extent()
        if self.dtype.kind != "f":
            raise UserError(
                f"{self.name} is {self.dtype} with values from {least:g} to {most:g}, which do not "
                "say what is black and what is white; say --range 0,255 (or what they mean), or "
                "save it as uint8"
            )
        if least < -1 - _TOLERANCE or most > 1 + _TOLERANCE:
            raise UserError(
                f"{self.name} has floats from {least:g} to {most:g}; they must be in [0, 1] or "
                "[-1, 1], or say --range LOW,HIGH"
            )
        return (-1.0 if least < -_TOLERANCE else 0.0), 1.0

    def _extent(self) -> tuple[float, float]:
        """The least and the greatest value."""
        least, most = math.inf, -math.inf
        for part, _ in self._parts:
            for block in part.read(self._step()):
                if self.dtype.kind == "f" and not np.isfinite(block).all():
                    raise UserError(
                        f"{self.name} holds NaN or infinity; repair or drop those samples"
                    )
                least, most = min(least, float(block.min())), max(most, float(block.max()))
        return least, most

    def _fits(self, values: Values) -> bool:
        """Whether every value is one of 256 evenly spaced ones."""
        assert values.low is not None
        assert values.high is not None
        for part, _ in self._parts:
            for block in part.read(self._step()):
                x = (block.astype(np.float64) - values.low) * (255 / (values.high - values.low))
                if np.abs(x - np.rint(x)).max() > 0.01:
                    return False
        return True


@dataclass(frozen=True)
class Values:
    """What values mean: `low` becomes 0 and `high` the stored type's largest; None keeps them."""

    dtype: np.dtype
    low: float | None = None
    high: float | None = None

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.low is None or self.high is None:
            return x.astype(self.dtype, copy=False)
        top = np.iinfo(self.dtype).max
        scaled = (x.astype(np.float64) - self.low) * (top / (self.high - self.low))
        return np.clip(np.rint(scaled), 0, top).astype(self.dtype)


def infer_layout(shape: tuple[int, ...], dtype: np.dtype, name: str) -> str:
    """The only layout that a shape can mean.

    Raises:
        UserError: none fits, or more than one.
    """
    if len(shape) == 2 and dtype.kind == "f":
        return "NC"
    if len(shape) == 3:
        if shape[2] in (3, 4) and min(shape[:2]) > MAX_CHANNELS:
            raise UserError(
                f"{name} has shape {shape}, which looks like one picture, not many; add an axis in "
                f"front, or {_CHOOSE}"
            )
        return "NHW"
    if len(shape) == 4:
        for likely in (range(1, MAX_CHANNELS + 1), (1, 3, 4), (3,)):
            first, last = shape[1] in likely, shape[3] in likely
            if first != last:
                return "NCHW" if first else "NHWC"
            if not first:
                break
    raise UserError(
        f"what the axes of {name} mean is not clear from its shape {shape} ({dtype}); {_CHOOSE}"
    )


def check_labels(labels: np.ndarray | None, count: int, name: str) -> np.ndarray | None:
    """Labels (N,) as int32; one-hot rows (N, K) count too.

    Raises:
        UserError: they are no class numbers, or not one for each sample.
    """
    if labels is None:
        return None
    if len(labels.shape) == 0 or len(labels) != count:
        raise UserError(
            f"{name} has {count} samples but labels of shape {labels.shape}; give one label for "
            "each sample"
        )
    y = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    number = y.dtype.kind in "biuf"
    if y.ndim == 2 and number and ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
        y = y.argmax(1)
    if y.ndim != 1 or not number or (y != np.rint(y)).any() or y.min() < 0 or y.max() >= 2**31:
        raise UserError(
            f"the labels of {name} are not class numbers (shape {labels.shape}, {labels.dtype}); "
            "give one whole number from 0 for each sample"
        )
    return y.astype(np.int32)


def digests(rows: np.ndarray) -> np.ndarray:
    """A 64-bit digest of each row's bytes, (n,) uint64."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    out = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in flat)
    return np.frombuffer(out, "<u8")
