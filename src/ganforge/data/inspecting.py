"""What is in a source, before anything is trained on it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.data.names import DEFAULT
from ganforge.data.packing import Progress, Report
from ganforge.data.source import (
    check_holdout,
    check_splits,
    class_number,
    find,
    in_split,
    wished,
)
from ganforge.data.store import UNSPLIT, cache_folder
from ganforge.errors import UserError


def inspect(
    source: Any = DEFAULT,
    *,
    size: int | str | Sequence[int] | None = None,
    channels: int | None = None,
    layout: str | None = None,
    range: str | Sequence[float] | None = None,
    split: str | None = None,
    holdout: float | None = None,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read every sample of a source and say what is there; nothing is kept.

    Arguments are those of `open_source`, but without a split everything is looked at.

    Returns:
        {"count", "readable": how many samples there are, "sizes": {"HxW": count},
        "modes": {mode: count} as published, "classes": {name: count}, "duplicates": how many
        repeat an earlier one byte for byte, "unreadable": [{"file", "reason"}]}. Unreadable
        files are listed whatever split and classes are asked for.

    Raises:
        UserError: the source does not exist, or holds no samples at all.
    """
    wish = wished(size, channels, layout, range)
    address, found = find(source, split, data_root, cache_folder(cache))
    raw = found.open()
    form = raw.form(wish)
    wanted = address.split or "all"
    chosen = [class_number(raw.classes, c, found.name) for c in address.classes]
    report, classes, marks, said = Report(named=sys.maxsize), Counter(), [], False
    check_holdout(holdout)
    for block in raw.blocks(form, wish, report):
        said = said or bool((block.splits != UNSPLIT).any())
        keep = in_split(block.splits, block.marks, wanted, holdout, said)
        if chosen:
            assert block.labels is not None
            keep &= np.isin(block.labels, chosen)
        report.add(block, keep)
        marks.append(block.marks[keep])
        if block.labels is not None:
            classes.update(block.labels[keep].tolist())
        if progress is not None:
            progress(report.count, len(raw))
    check_splits(said, wanted, holdout, found.name)
    if not report.count:
        raise UserError(f"{found.name} has no samples in @{wanted} of these classes")
    distinct = len(np.unique(np.concatenate(marks))) if marks else 0
    return {
        "count": report.count,
        "readable": report.readable,
        "sizes": dict(report.sizes.most_common()),
        "modes": dict(report.modes.most_common()),
        "classes": {raw.classes[k]: n for k, n in sorted(classes.items())},
        "duplicates": report.readable - distinct,
        "unreadable": report.broken,
    }
