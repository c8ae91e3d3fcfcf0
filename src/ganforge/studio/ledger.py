"""A run's records as columns: read once, kept small, thinned for the screen.

A million ticks stay fluid: a tick is appended to typed columns as it arrives, and a page
gets as many points as it has pixels, by the smallest and the largest value of each bucket,
so that a single spike stays visible.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np

from ganforge.run import Run, Tail, goes_back
from ganforge.studio.ticks import Reader, Stretch

AXES = ("step", "images", "seconds")
PLAIN = frozenset((*AXES, "speed"))
GROUPS = frozenset(("loss", "reading", "grad", "rate"))
MOST_NAMES = 128
"""A run has tens of series; a file that claims more is not let into memory."""
MOST_HISTOGRAMS = 240
MOST_NOTES = 5000
MOST_VALUES = 1 << 24
"""In memory, 128 MiB of them. Of a longer run twice as many ticks share two values each."""


class Columns:
    """Growing float64 columns of one length; where a name has no value, NaN."""

    def __init__(self) -> None:
        self.length = 0
        self.paired = 0
        """So many rows are pairs, thinned out of more."""
        self._data: dict[str, np.ndarray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def names(self) -> list[str]:
        return list(self._data)

    def extend(self, rows: list[dict[str, float]]) -> None:
        """Append rows, each with the names that it has."""
        names = dict.fromkeys(name for row in rows for name in row)
        self.add({n: np.array([row.get(n, np.nan) for row in rows]) for n in names}, len(rows))

    def add(self, columns: dict[str, np.ndarray], rows: int) -> None:
        """Append so many rows of the columns that there are."""
        end = self.length + rows
        for name, values in columns.items():
            column = self._data.get(name)
            if column is None:
                if len(self._data) >= MOST_NAMES:
                    continue
                column = self._data[name] = np.full(max(64, end), np.nan)
            if len(column) < end:
                wider = np.full(max(64, end + end // 2), np.nan)
                wider[: len(column)] = column
                column = self._data[name] = wider
            column[self.length : end] = values
        self.length = end
        while self.length * len(self._data) > MOST_VALUES and self.length > 8:
            self._thin()

    def _thin(self) -> None:
        """Of each four rows two, with what is smallest and largest; no pair is torn apart."""
        edges = np.append(np.arange(0, self.length, 4), self.length)
        kept = bucketed({name: self.get(name) for name in self._data}, edges)
        self._data = {name: column.copy() for name, column in kept.items()}
        self.paired = self.length = len(next(iter(kept.values())))

    def cut(self, length: int) -> None:
        """Keep the first `length` rows. Of a pair, which tells of all ticks from its first
        to its second, both or neither."""
        if length < self.paired:
            length -= length % 2
            self.paired = length
        for column in self._data.values():
            column[length : self.length] = np.nan
        self.length = min(self.length, length)

    def get(self, name: str) -> np.ndarray:
        """(length,) float64 of one name."""
        column = self._data[name]
        if len(column) < self.length:
            wider = np.full(self.length, np.nan)
            wider[: len(column)] = column
            column = self._data[name] = wider
        return column[: self.length]


class Ledger:
    """All that a run's records say, kept up to date by `update`. Safe between threads."""

    def __init__(self, run: Run) -> None:
        self.tail = Tail(run.path / "records.jsonl")
        self.reader = Reader(numbers, lambda record: not any(k in record for k in self.notes))
        self.lock = threading.Lock()
        self.generation = 0
        """Grows whenever something that was told before no longer holds."""
        self._clear()

    def _clear(self) -> None:
        self.ticks = Columns()
        self.histograms: list[dict[str, Any]] = []
        self._histogram_count, self._histogram_every = 0, 1
        self.notes: dict[str, list[dict[str, Any]]] = {"event": [], "score": [], "health": []}

    def update(self, seconds: float | None = None) -> None:
        """Read what is new, for about so long; `behind` says that there is more."""
        end = time.monotonic() + (math.inf if seconds is None else seconds)
        with self.lock:
            began = self.behind
            while True:
                again, text = self.tail.lines()
                if again:
                    self.generation += 1
                    self._clear()
                rows: list[dict[str, float]] = []
                paired = self.ticks.paired
                for found in self.reader.read(text):
                    if isinstance(found, Stretch):
                        self.ticks.extend(rows)
                        rows.clear()
                        self._take_stretch(found)
                    else:
                        self._take(found, rows)
                self.ticks.extend(rows)
                self.generation += self.ticks.paired > paired
                if not self.behind or time.monotonic() > end:
                    break
            self.generation += began or self.behind

    @property
    def behind(self) -> bool:
        return self.tail.behind

    def _take_stretch(self, found: Stretch) -> None:
        values = np.where(np.abs(found.rows) < 1e300, found.rows, np.nan)
        columns = {name: values[:, place] for name, place in found.names.items()}
        self.ticks.add(columns, len(values))
        for record in found.samples:
            if isinstance(record.get("histogram"), dict):
                self._take_histogram({"step": record["step"]} | record["histogram"])

    def _take(self, record: dict[str, Any], rows: list[dict[str, float]]) -> None:
        """Note a record; a tick's numbers join `rows`, which are yet to be kept."""
        step = record["step"]
        if goes_back(record):
            self.ticks.extend(rows)
            rows.clear()
            self._go_back(step)
        for kind, kept in self.notes.items():
            if kind in record:
                kept.append(record)
                del kept[:-MOST_NOTES]
                return
        rows.append(numbers(record))
        if isinstance(record.get("histogram"), dict):
            self._take_histogram({"step": step} | record["histogram"])

    def _take_histogram(self, histogram: dict[str, Any]) -> None:
        """Keep evenly spaced ones: when there are too many, every other one goes. The
        newest is always there."""
        if self.histograms and self.histograms[-1].get("passing"):
            self.histograms.pop()
        keep = self._histogram_count % self._histogram_every == 0
        self.histograms.append(histogram if keep else histogram | {"passing": True})
        self._histogram_count += 1
        if len(self.histograms) > MOST_HISTOGRAMS:
            self.histograms = self.histograms[::2]
            self._histogram_every *= 2

    def _go_back(self, step: int) -> None:
        kept = (
            int(np.searchsorted(self.ticks.get("step"), step, "right")) if self.ticks.length else 0
        )
        beyond = kept < self.ticks.length
        self.ticks.cut(kept)
        for notes in [*self.notes.values(), self.histograms]:
            while notes and notes[-1]["step"] > step:
                notes.pop()
                beyond = True
        self.generation += beyond

    # -- what a page gets ---------------------------------------------------------------
    def series(
        self,
        points: int = 1000,
        low: float | None = None,
        high: float | None = None,
        start: int = 0,
    ) -> dict[str, list[float | None]]:
        """{name: values}, the axes among them, of the ticks from row `start` on whose step
        lies in [low, high], thinned to about `points`."""
        with self.lock:
            if not self.ticks.length:
                return {}
            step = self.ticks.get("step")
            first = start if low is None else max(start, int(np.searchsorted(step, low, "left")))
            end = len(step) if high is None else int(np.searchsorted(step, high, "right"))
            part = {name: self.ticks.get(name)[first:end] for name in self.ticks.names()}
            return {name: short(v) for name, v in thin(part, points).items()}


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """What one tick measured, by name: "step", "loss/D/real", "speed" ..."""
    row: dict[str, float] = {}
    for name, value in record.items():
        if type(value) is dict and name in GROUPS:
            for key, inner in value.items():
                if (v := number(inner)) is not None:
                    row[f"{name}/{key}"] = v
        elif name in PLAIN and (v := number(value)) is not None:
            row[name] = v
    return row


def number(value: Any) -> float | None:
    if (type(value) is float or type(value) is int) and -1e300 < value < 1e300:
        return value
    return None


def thin(columns: dict[str, np.ndarray], points: int) -> dict[str, np.ndarray]:
    """Rows of equally long columns, at most about `points` of them: of each bucket of rows
    every column keeps its smallest and its largest value, in the order in which it moved."""
    length = len(next(iter(columns.values()), ()))
    buckets = max(points // 2, 1)
    if length <= 2 * buckets:
        return columns
    return bucketed(columns, np.linspace(0, length, buckets + 1).astype(int))


def bucketed(columns: dict[str, np.ndarray], edges: np.ndarray) -> dict[str, np.ndarray]:
    """Two rows for each bucket of rows, as `thin` says."""
    first, last = edges[:-1], edges[1:] - 1
    out = {}
    for name, v in columns.items():
        if name in AXES:
            a, b = v[first], v[last]
        else:
            low, high = np.fmin.reduceat(v, first), np.fmax.reduceat(v, first)
            rises = ~(v[last] < v[first])
            a, b = np.where(rises, low, high), np.where(rises, high, low)
        out[name] = np.stack([a, b], 1).reshape(-1)
    return out


def short(values: np.ndarray) -> list[float | None]:
    """For JSON: five significant digits, and None where there is no value."""
    out: list[float | None] = []
    for v in values.tolist():
        if v != v:
            out.append(None)
        elif v == int(v):
            out.append(int(v))
        else:
            out.append(float(f"{v:.5g}"))
    return out
