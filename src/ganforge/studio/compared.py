"""What `ganforge compare` wrote: its folders below the runs folder, each as one page."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.studio.library import MOST_BYTES, Library, key_of, read_png
from ganforge.studio.problems import Problem

POINTS = 60
MOST_RESULTS = 2000
NEEDED = ("variant", "seed", "score", "curve", "health", "speed", "memory_mib", "data")


def comparisons(library: Library) -> dict[str, Path]:
    """The folders that hold results, by key."""
    found = {}
    for at, folders, files in os.walk(library.root):
        if "config.yaml" in files:
            folders.clear()
            continue
        if "results" in folders and any(Path(at, "results").glob("*.json")):
            found[key_of(Path(at), library.root)] = Path(at)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "results")
    return found


def results(folder: Path) -> list[dict[str, Any]]:
    """The whole results, each with the name of its file."""
    kept = []
    for path in sorted((folder / "results").glob("*.json"))[:MOST_RESULTS]:
        with contextlib.suppress(OSError, ValueError):
            if path.stat().st_size > MOST_BYTES or path.is_symlink():
                continue
            result = json.loads(path.read_bytes())
            if isinstance(result, dict) and all(k in result for k in NEEDED):
                kept.append(result | {"file": path.stem})
    return kept


def listed(library: Library) -> list[dict[str, Any]]:
    """A line for each comparison."""
    lines = []
    for key, folder in comparisons(library).items():
        found = results(folder)
        if found:
            lines.append(
                {
                    "key": key,
                    "name": folder.name,
                    "data": found[0]["data"],
                    "variants": len({r["variant"] for r in found}),
                    "results": len(found),
                }
            )
    return lines


def compared(library: Library, key: str) -> dict[str, Any]:
    """One comparison: its table, its curves, its pictures."""
    from ganforge.compare import differences, protocol_line, rows

    folder = comparisons(library).get(key)
    found = [] if folder is None else results(folder)
    if folder is None or not found:
        raise Problem(404, "No such comparison", f"there is no comparison {key!r}")
    try:
        table, apart = rows(found), differences(found)
        said = protocol_line(found, found[0]["data"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Problem(
            409, "Damaged comparison", "its results cannot be read together; make it again"
        ) from None
    shots = [
        {"variant": r["variant"], "seed": r["seed"], "file": r["file"]}
        for r in found
        if (folder / "results" / f"{r['file']}.png").is_file()
    ]
    return {
        "name": folder.name,
        "said": said,
        "differences": apart,
        "rows": table,
        "curves": [curve for row in table if (curve := curve_of(row["variant"], found))],
        "shots": shots,
    }


def curve_of(variant: str, found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The quick score against seconds: the mean over seeds and their range."""
    runs = [r["curve"] for r in found if r["variant"] == variant and len(r["curve"]) > 1]
    if not runs:
        return None
    start, end = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
    at = np.linspace(start, max(start, end), POINTS)
    values = np.array(
        [np.interp(at, [p[0] for p in run], [p[2]["value"] for p in run]) for run in runs]
    )
    rounded = {
        "x": at,
        "mean": values.mean(0),
        "low": values.min(0),
        "high": values.max(0),
    }
    return {"variant": variant} | {k: [float(f"{n:.5g}") for n in v] for k, v in rounded.items()}


def shot(library: Library, key: str, file: str) -> bytes:
    """The last samples of one training."""
    folder = comparisons(library).get(key)
    names = {p.stem for p in (folder / "results").glob("*.png")} if folder else set()
    if folder is None or file not in names:
        raise Problem(404, "No such picture", f"the comparison has no picture {file!r}")
    return read_png(folder / "results" / f"{file}.png", folder)
