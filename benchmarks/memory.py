"""Does memory grow with the data? Packing and gathering batches, at four sizes.

    python benchmarks/memory.py [--json]

Each row runs in a process of its own: it packs a zip of 28x28 PNG files (the way data sets are
published) or, in the last row, opens a sparse store of 40 GB, and gathers 300 shuffled batches of 64.
`RssAnon` of /proc/self/status, the memory that only this process can free, is read all the
while by a second thread; `grown` is its peak less what the imports alone had taken. Mapped
pages of the store are the system's cache, given back when anybody needs them, and not counted.

Exits with 1 if the rows differ by more than 20 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

ROWS = ("1000", "10000", "60000", "sparse")
ALLOWED = 20.0  # MiB
SPARSE_BYTES = 40 * 10**9
BATCHES, BATCH = 300, 64


def anonymous() -> float:
    """MiB of anonymous memory of this process."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    if found is None:
        raise SystemExit("this system's kernel does not say RssAnon; run it on Linux")
    return int(found[1]) / 1024


class Peak:
    """The largest `anonymous` inside the block, looked at every few milliseconds."""

    def __enter__(self) -> Peak:
        self.value, self._done = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.value = max(self.value, anonymous())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.value = max(self.value, anonymous())


def make_zip(path: Path, count: int) -> None:
    """`count` PNG files, 1,000 of them different."""
    import io

    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28]
    encoded = []
    for _ in range(min(count, 1000)):
        cy, cx, r = rng.uniform(8, 20), rng.uniform(8, 20), rng.uniform(3, 10)
        picture = np.clip((r - np.hypot(y - cy, x - cx)) * 60 + 128, 0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        encoded.append(out.getvalue())
    with zipfile.ZipFile(path, "w") as z:
        for i in range(count):
            z.writestr(f"{i // 1000:05}/img{i:08}.png", encoded[i % 1000])


def make_sparse(
    path: Path, count: int = SPARSE_BYTES // 3072, shape: tuple[int, ...] = (32, 32, 3)
) -> None:
    """A whole store (40 GB of 32x32 colour pictures) that takes no room: holes are zeros."""
    import numpy as np

    from ganforge.data.store import Writer

    class Hollow(Writer):
        def grow(self, count: int) -> None:
            row = int(np.prod(self.shape)) * self.dtype.itemsize
            self._file.truncate(self._file.seek(count * row, os.SEEK_CUR))
            for name, side in self._side.items():
                side.truncate(count * {"labels": 4, "splits": 1, "marks": 8}[name])
            self.count += count
            self._said.add(0)

    writer = Hollow(path, shape, np.dtype(np.uint8))
    writer.grow(count)
    writer.finish([], {"notes": []}, "sparse")


def measure(row: str, folder: Path) -> dict[str, Any]:
    """One row, in this process."""
    import numpy as np  # noqa: F401
    import torch

    from ganforge.data import Shuffle, open_source
    from ganforge.data.source import Address, view
    from ganforge.data.store import Store

    torch.zeros(8).add_(1)
    before = anonymous()
    started = time.perf_counter()
    with Peak() as peak:
        if row == "sparse":
            dataset = view(
                Store(folder / "sparse.store"), Address("sparse"), "sparse", None, folder
            )
        else:
            dataset = open_source(folder / f"{row}.zip", cache=folder / "cache")
        packed = time.perf_counter() - started
        after_packing = peak.value
        shuffle = Shuffle(len(dataset), 0)
        started = time.perf_counter()
        for i in range(BATCHES):
            dataset.batch(shuffle.at(i * BATCH, BATCH))
        gathered = time.perf_counter() - started
    return {
        "images": len(dataset),
        "bytes": int(dataset.images.nbytes),
        "grown_packing_mib": round(after_packing - before, 1),
        "grown_mib": round(peak.value - before, 1),
        "packing_s": round(packed, 2),
        "batches_per_s": round(BATCHES / gathered),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Does memory grow with the data?")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments.row, arguments.folder)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if row == "sparse":
                make_sparse(Path(folder) / "sparse.store")
            else:
                make_zip(Path(folder) / f"{row}.zip", int(row))
            command = [sys.executable, __file__, "--row", row, "--folder", folder]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(ran.stdout))
    spread = max(r["grown_mib"] for r in rows) - min(r["grown_mib"] for r in rows)
    within = spread <= ALLOWED
    if arguments.json:
        print(json.dumps({"rows": rows, "spread_mib": round(spread, 1), "within": within}))
    else:
        print(
            f"{'images':>10} {'store':>9} {'packing':>9} {'in all':>9} {'pack s':>7} {'batch/s':>8}"
        )
        for r in rows:
            print(
                f"{r['images']:>10,} {r['bytes'] / 1e6:>6,.0f} MB {r['grown_packing_mib']:>5.1f} MiB "
                f"{r['grown_mib']:>5.1f} MiB {r['packing_s']:>7.2f} {r['batches_per_s']:>8,}"
            )
        print(f"anonymous memory differs by {spread:.1f} MiB; {ALLOWED:.0f} are allowed")
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
