"""Long stretches of like lines of a record file, read as a table at once.

A training writes the same names in the same order tick after tick. The first such line gives
a template; as far as the following lines fit it, their numbers are taken out in a few passes
over the bytes and become rows of an array. What does not fit is read as JSON, line by line:
the template only ever skips work, it never decides what a line means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.run import parse_record

INTEGER = rb"-?(?:0|[1-9]\d*+)"
NUMBER = INTEGER + rb"(?:\.\d++)?(?:[eE][+-]?\d++)?"
VALUE = re.compile(rb"(?<=:)" + NUMBER + rb"(?=[,}\0])")
HISTOGRAM = re.compile(rb',"histogram":\{[^{}]*+\}')
"""Most of a long file, and not looked into. (In a JSON string its beginning would be escaped.)"""
FITTING = re.compile(rb',"histogram":\{[^}]*+\}')
"""The same of lines that fit, several times as quickly."""
MARK = b"\0"
FEWEST = 8
"""Shorter stretches are not worth it."""
MOST_LINE = 1 << 14
HISTOGRAMS = 1 << 15
"""Of so many bytes, one line is read with its histogram."""


@dataclass(frozen=True)
class Template:
    """What a line is made of beside its numbers.

    Attributes:
        fits: as many whole lines as there are.
        words: the text before each number, without repetitions, longest first.
        names: of the numbers that count, with their places in the line.
        count: how many numbers there are.
        least: how short a line can be.
    """

    fits: re.Pattern[bytes]
    words: list[bytes]
    names: dict[str, int]
    count: int
    least: int

    @classmethod
    def of(
        cls, line: bytes, numbers: Callable[[dict[str, Any]], dict[str, float]]
    ) -> Template | None:
        """The template of a line that ends in a newline, or None where it has numbers in
        other places; `numbers` says which of a record's numbers count. Where it has a
        histogram, others may have another or none."""
        found = HISTOGRAM.search(line)
        marked = line if found is None else line[: found.start()] + MARK + line[found.end() :]
        words = VALUE.split(marked)
        count = len(words) - 1

        def numbered(start: int) -> dict[str, float]:
            """Of a line whose numbers are their own places, the record tells the places."""
            places = [str(i).encode() for i in range(start, start + count)]
            text = b"".join(w + v for w, v in zip(words, [*places, b""], strict=True))
            return numbers(json.loads(text.replace(MARK, b"")))

        try:
            names = {name: int(place) for name, place in numbered(0).items()}
            if numbered(count) != {name: place + count for name, place in names.items()}:
                return None
        except ValueError:  # its histogram is of another kind
            return None
        step = names.get("step")
        if step is None:
            return None
        parts = [re.escape(words[0])]
        for i, word in enumerate(words[1:]):
            parts.append((INTEGER if i == step else NUMBER) + re.escape(word))
        line = b"".join(parts).replace(re.escape(MARK), b"(?:" + HISTOGRAM.pattern + b")?+")
        plain = {word.replace(MARK, b"") for word in words}
        longest = sorted(plain, key=len, reverse=True)
        return cls(re.compile(b"(?:" + line + b")++"), longest, names, count, sum(map(len, words)))

    def rows(self, text: bytes) -> np.ndarray | None:
        """(N, count) of N lines that fit, or None where the numbers do not come out."""
        lines = text.count(b"\n")
        text = FITTING.sub(b"", text)
        for word in self.words:
            text = text.replace(word, b" ")
        values = np.fromstring(text, sep=" ")
        return values.reshape(lines, -1) if len(values) == lines * self.count else None


@dataclass(frozen=True)
class Stretch:
    """Like ticks: their rows (N, count), which of the columns count, and a few of the lines
    as records, with their histograms."""

    rows: np.ndarray
    names: dict[str, int]
    samples: list[dict[str, Any]]


class Reader:
    """Lines as stretches and records, in order.

    Args:
        numbers: the numbers of a tick that count, by name.
        plain: whether a record is a tick, of which nothing else counts but a histogram.
    """

    def __init__(
        self,
        numbers: Callable[[dict[str, Any]], dict[str, float]],
        plain: Callable[[dict[str, Any]], bool],
    ) -> None:
        self.numbers, self.plain = numbers, plain
        self._template: Template | None = None
        self._line = b""

    def read(self, text: bytes) -> Iterator[Stretch | dict[str, Any]]:
        """What whole lines say. Lines that are no records are left out."""
        at = 0
        while at < len(text):
            found = self._template.fits.match(text, at) if self._template else None
            if found and self._template and found.end() - at > FEWEST * self._template.least:
                rows = self._template.rows(found[0])
                if rows is not None:
                    yield Stretch(rows, self._template.names, few(found[0]))
                    at = found.end()
                    continue
            end = text.find(b"\n", at) + 1 or len(text)
            record = parse_record(text[at:end])
            if record is not None:
                if self.plain(record):
                    self._learn(text[at:end])
                yield record
            at = end

    def _learn(self, line: bytes) -> None:
        """Two like lines in a row make a template."""
        shape = VALUE.sub(b"0", HISTOGRAM.sub(b"", line))
        if shape == self._line and len(line) < MOST_LINE and MARK not in line:
            self._template = Template.of(line, self.numbers)
        self._line = shape


def few(text: bytes) -> list[dict[str, Any]]:
    """Of whole lines the first of every so many bytes, and the last, as records."""
    starts = [text.find(b"\n", at) + 1 for at in range(0, len(text) - HISTOGRAMS, HISTOGRAMS)]
    starts = [0, *starts, text.rfind(b"\n", 0, -1) + 1]
    lines = (text[at : text.find(b"\n", at)] for at in dict.fromkeys(sorted(starts)))
    return [record for line in lines if (record := parse_record(line)) is not None]
