"""Arrays as sources: which axis is which, and what their values mean."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.data.decode import convert_channels, resize
from ganforge.data.packing import Block, Form, Report, Wish
from ganforge.data.store import UNSPLIT
from ganforge.errors import UserError

LAYOUTS = ("NHW", "NHWC", "NCHW", "NT", "NTC", "NCT", "NC")
MAX_CHANNELS = 16
_BLOCK = 1 << 20  # bytes of a block
_TOLERANCE = 1e-4  # how far floats may step over the ends of their range


@dataclass(frozen=True)
class Rows:
    """Equal rows that are read in order, a block at a time.

    Attributes:
        shape: (N, ...) of all rows together.
        dtype: of a value.
        read: rows per block -> an iterator of (rows, labels or None).
        split: what the source says of them all, or of each (N,): see `ganforge.data.store`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray | None]]]
    split: int | np.ndarray = UNSPLIT


def held(array: np.ndarray, labels: np.ndarray | None = None, split: int = UNSPLIT) -> Rows:
    """The rows of an array in memory or mapped."""

    def read(step: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for i in range(0, len(array), step):
            yield array[i : i + step], None if labels is None else labels[i : i + step]

    return Rows(array.shape, array.dtype, read, split)


class ArraySamples:
    """Arrays of equal rows as published samples.

    Args:
        name: what to call them.
        parts: the arrays, one after another.
        identity: plain data that differ whenever the content may.
        classes: names of the labels; found from the labels where None.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Rows],
        identity: Mapping[str, Any],
        classes: Sequence[str] | None = None,
    ) -> None:
        self.name, self.parts, self.identity = name, list(parts), identity
        shapes = {p.shape[1:] for p in parts}
        if len(shapes) > 1 or len({p.dtype for p in parts}) > 1:
            raise UserError(f"the arrays of {name} differ in shape or type: {shapes}")
        self.shape = (sum(p.shape[0] for p in parts), *parts[0].shape[1:])
        self.dtype = parts[0].dtype
        if not self.shape[0]:
            raise UserError(f"{name} is empty: its shape is {self.shape}; give at least one sample")
        self._given = classes
        self.classes: list[str] = list(classes or [])

    def __len__(self) -> int:
        return self.shape[0]

    def key(self) -> Mapping[str, Any]:
        return self.identity

    def form(self, wish: Wish) -> Form:
        axes = self.axes(wish)
        self._values = self._find_values(wish, axes)
        sizes = dict(zip(axes, self.shape, strict=True))
        channels = sizes.get("C", 1)
        if not 1 <= channels <= MAX_CHANNELS:
            raise UserError(
                f"{self.name} has {channels} channels as {axes}; 1 to {MAX_CHANNELS} can be kept: "
                f"say --layout ({', '.join(LAYOUTS)}) if another axis counts channels"
            )
        convert_channels(np.zeros((1, 1, channels), np.uint8), wish.channels or channels, self.name)
        space = (sizes["T"],) if "T" in sizes else (wish.size or (sizes["H"], sizes["W"]))
        if self._given is None:
            self.classes = self._count_classes()
        return Form((*space, wish.channels or channels), self._values.dtype)

    def axes(self, wish: Wish) -> str:
        """The layout that was asked for, or the only one that the shape can mean."""
        if wish.layout is None:
            return infer_layout(self.shape, self.name)
        axes = wish.layout.upper()
        if axes not in LAYOUTS:
            raise UserError(
                f"--layout {wish.layout} is unknown; choose one of {', '.join(LAYOUTS)}"
            )
        if len(axes) != len(self.shape):
            raise UserError(
                f"--layout {axes} does not fit {self.name}, whose shape is {self.shape}"
            )
        return axes

    def blocks(self, form: Form, wish: Wish, report: Report) -> Iterator[Block]:
        axes = self.axes(wish)
        move = [axes.index(a) for a in "NHTWC" if a in axes]
        row = int(np.prod(self.shape[1:])) * max(self.dtype.itemsize, form.dtype.itemsize)
        height = "x".join(str(self.shape[axes.index(a)]) for a in "HTW" if a in axes)
        for part in self.parts:
            done = 0
            for raw, labels in part.read(max(1, _BLOCK // row)):
                x = raw.transpose(move)
                x = self._values.apply(x if "C" in axes else x[..., None])
                x = convert_channels(x, form.shape[-1], self.name)
                if x.shape[1:-1] != form.shape[:-1]:
                    x = np.stack([resize(picture, form.shape[:2]) for picture in x])
                report.count += len(x)
                report.sizes[height] += len(x)
                report.modes[
                    f"{self.dtype} x {self.shape[axes.index('C')] if 'C' in axes else 1}"
                ] += len(x)
                splits = np.broadcast_to(part.split, part.shape[:1])[done : done + len(x)]
                done += len(x)
                yield Block(x, _labels(labels, self.name), splits, digests(raw))

    def _count_classes(self) -> list[str]:
        """Names 0 .. K-1, K from the labels."""
        top = -1
        for part in self.parts:
            for _, labels in part.read(1 << 16) if _has_labels(part) else ():
                checked = _labels(labels, self.name)
                assert checked is not None
                top = max(top, int(checked.max(initial=-1)))
        if top >= 10_000:
            raise UserError(
                f"the labels of {self.name} go up to {top}; number the classes from 0, without gaps"
            )
        return [str(k) for k in range(top + 1)]

    def _find_values(self, wish: Wish, axes: str) -> Values:
        kind = self.dtype.kind
        if kind == "b":
            return Values(np.dtype(np.uint8), 0, 1)
        if kind not in "iuf":
            raise UserError(
                f"{self.name} holds {self.dtype} values; save it as uint8, uint16 or floats"
            )
        low, high = wish.range or (None, None)
        if low is None and kind in "iu" and self.dtype.itemsize <= 2:
            if self.dtype == np.int16 and "T" in axes:
                return Values(np.dtype(np.int16), None, None)
            info = np.iinfo(self.dtype)
            stored = np.dtype(np.uint8 if self.dtype.itemsize == 1 else np.uint16)
            return Values(stored, None, None) if kind == "u" else Values(stored, info.min, info.max)
        return self._measure(low, high)

    def _measure(self, low: float | None, high: float | None) -> Values:
        """The range of the values, and whether 8 bits hold them all; one pass over them."""
        least, most = np.inf, -np.inf
        row = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        for part in self.parts:
            for block, _ in part.read(max(1, _BLOCK // row)):
                if self.dtype.kind == "f" and not np.isfinite(block).all():
                    raise UserError(
                        f"{self.name} holds NaN or infinity; replace or drop those samples"
                    )
                least, most = min(least, block.min()), max(most, block.max())
        if low is None or high is None:
            if self.dtype.kind != "f":
                info = np.iinfo(self.dtype)
                raise UserError(
                    f"{self.name} is {self.dtype} with values {least} to {most}, and a type's range of "
                    f"{info.min} to {info.max} says little; say --range 0,255 (or what they mean)"
                )
            if least < -1 - _TOLERANCE or most > 1 + _TOLERANCE:
                raise UserError(
                    f"{self.name} has floats from {least:g} to {most:g}; they must be in [0, 1] or "
                    "[-1, 1], or say --range LOW,HIGH"
                )
            low, high = (-1.0 if least < -_TOLERANCE else 0.0), 1.0
        slack = _TOLERANCE * (high - low)
        if least < low - slack or most > high + slack:
            raise UserError(
                f"{self.name} has values from {least:g} to {most:g}, outside --range {low:g},{high:g}"
            )
        values = Values(np.dtype(np.uint8), low, high)
        return values if self._fits(values) else Values(np.dtype(np.uint16), low, high)

    def _fits(self, values: Values) -> bool:
        """Whether every value is one of 256 evenly spaced ones."""
        assert values.low is not None
        assert values.high is not None
        row = max(1, int(np.prod(self.shape[1:])) * 8)
        for part in self.parts:
            for block, _ in part.read(max(1, _BLOCK // row)):
                x = (block.astype(np.float64) - values.low) * (255 / (values.high - values.low))
                if np.abs(x - x.round()).max(initial=0) > 0.01:
                    return False
        return True


@dataclass(frozen=True)
class Values:
    """What values mean: `low` becomes 0 and `high` the stored type's largest; None keeps them."""

    dtype: np.dtype
    low: float | None
    high: float | None

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.low is None or self.high is None:
            return x.astype(self.dtype, copy=False)
        top = np.iinfo(self.dtype).max
        scaled = (x.astype(np.float64) - self.low) * (top / (self.high - self.low))
        return np.clip(np.rint(scaled), 0, top).astype(self.dtype)


def infer_layout(shape: tuple[int, ...], name: str) -> str:
    """The only layout that a shape can mean.

    Raises:
        UserError: none fits, or more than one.
    """
    choose = f"say --layout ({', '.join(LAYOUTS)})"
    if len(shape) == 3:
        if shape[2] in (3, 4) and min(shape[:2]) > 16:
            raise UserError(
                f"{name} has shape {shape}, which looks like one picture rather than many; add an axis "
                f"in front, or {choose}"
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
        f"which axis of {name} counts channels is not clear from its shape {shape}; {choose}"
    )


def digests(rows: np.ndarray) -> np.ndarray:
    """A 64-bit digest of each row's bytes, (n,) uint64."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    out = b"".join(hashlib.blake2b(r, digest_size=8).digest() for r in flat)
    return np.frombuffer(out, "<u8")


def _has_labels(part: Rows) -> bool:
    for _, labels in part.read(1):
        return labels is not None
    return False


def _labels(labels: np.ndarray | None, name: str) -> np.ndarray | None:
    """Labels (n,) as int32; one-hot rows count too."""
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all():
        labels = labels.argmax(1)
    whole = labels.ndim == 1 and (
        labels.dtype.kind in "iub"
        or (labels.dtype.kind == "f" and (labels == labels.round()).all())
    )
    if not whole or (len(labels) and labels.min() < 0):
        raise UserError(
            f"the labels of {name} are not class numbers (shape {labels.shape}, {labels.dtype}); give "
            "one whole number from 0 for each sample"
        )
    return labels.astype(np.int32)
