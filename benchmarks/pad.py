"""How long a move on the explore page's pad takes, from the request to the picture.

    python benchmarks/pad.py runs/demo runs/drums [--moves 200]
    python benchmarks/pad.py runs/demo --browser              # what the page itself shows

A studio of its own, in a process of its own, is asked for one frame after another, each at
another place, as the page asks while a pointer moves. Prints one JSON object a run: median and
95th percentile in milliseconds of the whole round trip. A run on sounds is asked for its
sounds. Generators of 32 pixels are to take at most 50 ms on two cores. `--browser` drags across
the pad in Chromium, which draws on the same cores, and reads the page's own milliseconds, the
first frames included.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

STUDIO = "import sys; from ganforge.studio import serve; serve(sys.argv[1], port=0)"


def moves(client: httpx.Client, key: str, count: int) -> list[float]:
    """Milliseconds of each of `count` moves, after ten that warm up."""
    opened = client.post(f"/api/explore/{key}/open", json={}).raise_for_status().json()
    verb = "hear" if opened.get("sound") else "make"
    spent = []
    for i in range(count + 10):
        place = {"u": math.sin(i / 7), "v": math.cos(i / 11)}
        began = time.perf_counter()
        wanted = {"step": opened["step"], "points": [place]}
        client.post(f"/api/explore/{key}/{verb}", json=wanted).raise_for_status()
        spent.append(1000 * (time.perf_counter() - began))
    return spent[10:]


def dragged(address: str, key: str, count: int) -> list[float]:
    """Milliseconds that the page shows while a pointer is dragged across its pad."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(f"{address}/explore/{key}")
        page.locator(".pad img").wait_for()
        took = page.get_by_text(re.compile(r"^\d+ ms$")).first
        took.wait_for()
        box = page.locator(".pad").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        spent = []
        for i in range(count):
            share = i / count
            page.mouse.move(
                box["x"] + 20 + share * (box["width"] - 40),
                box["y"] + 20 + share * (box["height"] - 40),
            )
            page.wait_for_timeout(100)
            spent.append(float(took.inner_text().split()[0]))
        browser.close()
    return spent


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--moves", type=int, default=200)
    p.add_argument("--browser", action="store_true")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for run in a.runs:
            shutil.copytree(run, Path(folder) / run.name)
        studio = subprocess.Popen(
            [sys.executable, "-c", STUDIO, folder], stderr=subprocess.PIPE, text=True
        )
        try:
            assert studio.stderr is not None
            found = re.search(r"http://[^/]+:\d+", studio.stderr.readline())
            assert found is not None
            with httpx.Client(base_url=found[0], timeout=60) as client:
                action = client.get("/api/session").json()["action"]
                client.headers["x-ganforge-action"] = action
                for run in a.runs:
                    if a.browser:
                        spent = sorted(dragged(found[0], run.name, a.moves))
                    else:
                        spent = sorted(moves(client, run.name, a.moves))
                    said = {
                        "run": run.name,
                        "moves": len(spent),
                        "median_ms": round(statistics.median(spent), 1),
                        "p95_ms": round(spent[math.ceil(0.95 * len(spent)) - 1], 1),
                    }
                    print(json.dumps(said), flush=True)
        finally:
            studio.kill()
            studio.wait()


if __name__ == "__main__":
    main()
