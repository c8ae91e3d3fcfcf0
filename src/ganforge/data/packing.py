"""From samples as they were published to a packed store."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ganforge.data.store import Store, Writer
from ganforge.errors import UserError

Progress = Callable[[int, int], None]
"""Called with how many samples are done, and of how many."""

_NAMED = 1000  # unreadable files that a store names


@dataclass(frozen=True)
class Wish:
    """What is asked of the samples; None leaves it to the data.

    Attributes:
        size: (H, W) of pictures.
        channels: 1 to 16.
        layout: axes of an array, such as "NHWC".
        range: the values of an array that mean -1 and 1.
        samples, rate: length and sampling rate (Hz) of sounds.
        slices: whether the rest of a longer sound is used too, piece by piece.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    layout: str | None = None
    range: tuple[float, float] | None = None
    samples: int | None = None
    rate: int | None = None
    slices: bool = True

    def silent(self, name: str, waves: bool = False) -> None:
        """Raises: UserError: something is asked that only sounds have.

        Args:
            waves: it is an array of waves, whose rate the user has to say.
        """
        asked = {
            "samples": self.samples,
            "rate": self.rate and not waves,
            "slices": not self.slices,
        }
        for option in (k for k, v in asked.items() if v):
            raise UserError(f"{option} is for sound files; {name} has none: drop it")


class Form(NamedTuple):
    """What every packed sample looks like: (*space, C) and the type of its values."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Block(NamedTuple):
    """Some samples, and what each was as published.

    Attributes:
        images: (n, *space, C).
        labels: (n,), or None.
        splits: (n,), see `ganforge.data.store`.
        marks: (n,) uint64, a digest of each.
        sizes, modes: (n,) descriptions.
    """

    images: np.ndarray
    labels: np.ndarray | None
    splits: np.ndarray
    marks: np.ndarray
    sizes: Sequence[str]
    modes: Sequence[str]


@dataclass
class Report:
    """What reading a source found.

    Attributes:
        readable, unreadable: how many samples there are.
        sizes, modes: how many of each, as published.
        broken: the first `named` unreadable ones, each with the reason.
        oddities: how many of each kind, called by what was done about it.
    """

    readable: int = 0
    unreadable: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    named: int = _NAMED
    broken: list[dict[str, str]] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.readable + self.unreadable

    def add(self, block: Block, keep: np.ndarray | None = None) -> None:
        """Count the samples of a block, or those marked in `keep` (n,)."""
        which = list(range(len(block.images)) if keep is None else np.flatnonzero(keep).tolist())
        self.readable += len(which)
        self.sizes.update(block.sizes[i] for i in which)
        self.modes.update(block.modes[i] for i in which)

    def skip(self, file: str, reason: str) -> None:
        self.unreadable += 1
        if len(self.broken) < self.named:
            self.broken.append({"file": file, "reason": reason})

    def notes(self) -> list[str]:
        """What the user should know, one sentence each."""
        found = []
        if self.unreadable:
            names = "; ".join(f"{b['file']} ({b['reason']})" for b in self.broken[:3])
            more = f"; and {self.unreadable - 3} more" if self.unreadable > 3 else ""
            found.append(
                f"{self.unreadable} of {self.count} files could not be read and were skipped: "
                f"{names}{more}"
            )
        found += [f"{what}: {n} of {self.readable}" for what, n in sorted(self.oddities.items())]
        return found

    def plain(self) -> dict[str, Any]:
        """As plain data for a store's header."""
        return {
            "count": self.count,
            "readable": self.readable,
            "sizes": dict(self.sizes.most_common(50)),
            "modes": dict(self.modes.most_common(50)),
            "unreadable": self.broken,
            "notes": self.notes(),
        }

    def check(self, name: str) -> None:
        """Raises: UserError: nothing was readable, or more than half was not."""
        if self.readable and self.unreadable <= self.readable:
            return
        worst = self.broken[0] if self.broken else {"file": name, "reason": "it is empty"}
        raise UserError(
            f"{self.unreadable} of {self.count} files of {name} cannot be read, the first being "
            f"{worst['file']} ({worst['reason']}); repair or remove them, or give another source"
        )


class Raw(Protocol):
    """Samples as they were published: a folder, an archive, an array.

    Attributes:
        name: what to call the source.
        classes: names of the labels; [] where there are none.
    """

    name: str
    classes: list[str]

    def form(self, wish: Wish) -> Form:
        """The form of the packed samples.

        Raises:
            UserError: nothing is readable, or the wish cannot be met.
        """
        ...

    def blocks(self, form: Form, wish: Wish, report: Report) -> Iterator[Block]:
        """All samples in order, a block at a time; what was found goes into `report`."""
        ...

    def __len__(self) -> int:
        """How many there are at most."""
        ...


def pack(
    raw: Raw,
    wish: Wish,
    path: Path,
    progress: Progress | None = None,
    form: Form | None = None,
) -> None:
    """Write the samples into a store at `path`, in the form given or else their own.

    Raises:
        UserError: too little room, more than half unreadable.
    """
    form = form or raw.form(wish)
    need = len(raw) * math.prod(form.shape) * form.dtype.itemsize
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise UserError(
            f"packing {raw.name} needs {need / 1e6:,.1f} MB in {path.parent}, which has "
            f"{free / 1e6:,.1f} MB free; choose a smaller --size or set GANFORGE_CACHE"
        )
    report, writer = Report(), Writer(path, form.shape, form.dtype)
    try:
        for block in raw.blocks(form, wish, report):
            report.add(block)
            writer.append(block.images, block.labels, block.splits, block.marks)
            if progress is not None:
                progress(report.count, len(raw))
        report.check(raw.name)
        writer.finish(raw.classes, report.plain(), raw.name)
    except BaseException:
        writer.discard()
        raise


def pack_nameless(raw: Raw, wish: Wish, folder: Path, progress: Progress | None = None) -> Store:
    """A store on the disk of `folder` that no other process sees and that vanishes with
    this one."""
    handle, name = tempfile.mkstemp(prefix=".nameless-", suffix=".store", dir=folder)
    os.close(handle)
    try:
        pack(raw, wish, Path(name), progress)
        return Store(Path(name))
    finally:
        os.unlink(name)
