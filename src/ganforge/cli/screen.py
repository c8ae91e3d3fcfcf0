"""What a person sees: results on standard output, everything else on standard error. Of several
processes of one training, the first one speaks."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subprocess import Popen

    from torch import Tensor

    from ganforge.sitting import Budget


def first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def emit(body: Any, as_json: bool, text: Callable[[], str]) -> None:
    """The verb's one result."""
    if first():
        print(json_module.dumps(body, allow_nan=False) if as_json else text())


def note(line: str) -> None:
    """Something to know, beside the result."""
    if first():
        print(line, file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """The text with line breaks, control characters and bytes that are no text, all of which
    names of files may have, written as escapes."""
    odd = ("Cc", "Cs", "Zl", "Zp")
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in odd else c for c in text
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain columns, aligned."""
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * w for w in widths], *rows]
    return "\n".join(
        "  ".join(str(c).ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in lines
    )


class Progress:
    """A line that is redrawn on a terminal, and said now and then elsewhere."""

    def __init__(self, budget: Budget | None = None, beside: Popen[bytes] | None = None) -> None:
        self.budget, self.beside = budget, beside
        self.total, self.noun = 0, ""
        self._bar: Any = None
        self._task: Any = None
        self._said = 0.0

    @classmethod
    def counting(cls, total: int, noun: str) -> Progress:
        made = cls()
        made.total, made.noun = total, noun
        return made

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and first():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(30), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.description}"),
                console=Console(stderr=True),
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=1.0)
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self.beside is not None:
            self.beside.terminate()

    def watch(self, record: dict[str, Any]) -> None:
        """Show a record of a training."""
        if "event" in record:
            if record["event"] not in ("start", "stop"):
                self._say(f"{record['event']}: {record['message']}")
            return
        if "health" in record:
            return
        if "speed" not in record or self.budget is None:
            return
        done = self.budget.share(record["step"], record["images"], record["seconds"])
        left = record["seconds"] * (1 - done) / done if done > 0 else 0.0
        parts = [
            f"step {record['step']}",
            f"{record['speed']:.0f} images/s",
            f"{_clock(left)} left",
        ]
        parts += [f"{k} {v:.3g}" for k, v in record["reading"].items() if v is not None]
        self._show(done, "  ".join(parts), record["seconds"])

    def through(self, stream: Iterable[Tensor]) -> Iterator[Tensor]:
        """Show how far a stream of samples has come."""
        made, t0 = 0, time.monotonic()
        for x in stream:
            yield x
            made += len(x)
            self._show(
                made / self.total, f"{made} of {self.total} {self.noun}", time.monotonic() - t0
            )

    def counted(self, stream: Iterable[str]) -> Iterator[str]:
        """Show how far a stream of names has come."""
        t0 = time.monotonic()
        for made, name in enumerate(stream, 1):
            yield name
            self._show(
                made / self.total, f"{made} of {self.total} {self.noun}", time.monotonic() - t0
            )

    def _show(self, done: float, line: str, seconds: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=line)
        elif seconds >= self._said + 10 or (seconds < self._said and self._said):
            self._said = seconds
            note(f"{done:4.0%}  {line}")

    def _say(self, line: str) -> None:
        (self._bar.console.print if self._bar is not None else note)(line)


def _clock(seconds: float) -> str:
    m, s = divmod(int(seconds), 60)
    return f"{m // 60}:{m % 60:02d}:{s:02d}" if m >= 60 else f"{m}:{s:02d}"
