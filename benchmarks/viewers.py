"""What fifty viewers of a live run cost its training.

    python benchmarks/viewers.py [--rounds 3] [--seconds 20] [--viewers 50]

The small default recipe trains on the embedded pictures, alternately alone and while a studio
serves its page's feed to fifty viewers, each of which also loads every new picture. The studio
and the viewers are processes of their own, both at low priority, as `ganforge studio` is. Prints
one JSON object: medians over the rounds of the training's images per second, their ratio, and
the share of one core that the server used. The viewers' own work, which in life happens on other
machines, runs on this one too and is part of the cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDIO = "import sys; from ganforge.studio import serve; serve(sys.argv[1], port=0)"
WIDTH = 16


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- the viewers, in a process of their own ---------------------------------------------------
async def get(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def view(port: int, key: str) -> None:
    """Follow a run's feed and load each new picture, as its page does."""
    reader, writer = await get(port, f"/api/runs/{key}/live")
    seen = None
    try:
        while line := await reader.readline():
            if not line.startswith(b"data: {"):
                continue
            print("news", flush=True)
            samples = json.loads(line[6:]).get("samples")
            if samples and samples[-1] != seen:
                seen = step, version = samples[-1]
                picture, other = await get(port, f"/api/runs/{key}/samples/{step}.png?v={version}")
                await picture.read()
                other.close()
    finally:
        writer.close()


async def watch(port: int, key: str, viewers: int) -> None:
    os.nice(10)
    await asyncio.gather(*(view(port, key) for _ in range(viewers)))


# -- the trainings ----------------------------------------------------------------------------
def train(run: Path, minutes: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ganforge", "train", "--width", str(WIDTH)]
    command += ["--minutes", f"{minutes:g}", "--run", str(run)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def newest(run: Path) -> tuple[int, float]:
    """(images, training seconds) of the last record."""
    try:
        for line in reversed((run / "records.jsonl").read_bytes().split(b"\n")):
            if line.endswith(b"}"):
                record = json.loads(line)
                return record["images"], record["seconds"]
    except OSError:
        pass
    return 0, 0.0


def speed(run: Path, seconds: float) -> float:
    """Images per second of wall time between records about so far apart, from now on."""
    first = newest(run)
    while (start := newest(run)) == first:  # from a record on
        time.sleep(0.02)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(0.1)
    last = newest(run)
    while (end := newest(run)) == last:
        time.sleep(0.02)
    return (end[0] - start[0]) / (time.monotonic() - began)


def measure(folder: Path, seconds: float, viewers: int) -> dict[str, float]:
    """One training: so many seconds alone, so many watched."""
    run = folder / "run"
    training = train(run, 30)
    studio = crowd = None
    try:
        while newest(run)[1] < 5:
            if training.poll() is not None:
                raise SystemExit("the training ended early")
            time.sleep(0.2)
        studio = subprocess.Popen(
            [sys.executable, "-c", STUDIO, str(folder)], stderr=subprocess.PIPE, text=True
        )
        assert studio.stderr is not None
        found = re.search(r":(\d+)/", studio.stderr.readline())
        assert found is not None
        alone = speed(run, seconds)
        crowd = subprocess.Popen(
            [sys.executable, __file__, "--watch", found[1], "--viewers", str(viewers)],
            stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        assert crowd.stdout is not None
        for _ in range(viewers):  # all have begun
            crowd.stdout.readline()
        drain = subprocess.Popen(["cat"], stdin=crowd.stdout, stdout=subprocess.DEVNULL)
        before, began = cpu_seconds(studio.pid), time.monotonic()
        watched = speed(run, seconds)
        spent = (cpu_seconds(studio.pid) - before) / (time.monotonic() - began)
        crowd.kill()
        crowd.wait()
        drain.wait()
        again = speed(run, seconds)  # before and after, so that a drift cancels out
        return {"alone": (alone + again) / 2, "watched": watched, "server": spent}
    finally:
        for process in (crowd, studio, training):
            if process is not None:
                process.kill()
                process.wait()


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--viewers", type=int, default=50)
    p.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.watch:
        asyncio.run(watch(a.watch, "run", a.viewers))
        return
    rounds = []
    for i in range(a.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(measure(Path(folder), a.seconds, a.viewers))
        print(f"round {i + 1}: {rounds[-1]}", file=sys.stderr, flush=True)
    middle = {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
    ratios = [r["watched"] / r["alone"] for r in rounds]
    report = {
        "viewers": a.viewers,
        "rounds": a.rounds,
        "seconds": a.seconds,
        "cores": os.cpu_count(),
        "images_per_s_alone": round(middle["alone"], 1),
        "images_per_s_watched": round(middle["watched"], 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "server_share_of_a_core": round(middle["server"], 3),
        "load": [round(v, 1) for v in os.getloadavg()],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
