"""All runs under one folder: what each is doing, in a few numbers, and its files.

A run is named by its path below the folder and found by looking that name up among the
runs that are there; no path is ever made from what a browser sent.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from PIL import Image

from ganforge.errors import UserError
from ganforge.run import Run, Tail, find_runs
from ganforge.sounds import is_sound, kept_sounds
from ganforge.studio.ledger import AXES, Ledger, number, numbers
from ganforge.studio.problems import Problem

PEEK = 1 << 18
"""How much of a long record file is read for a line in the list: the newest 256 KiB."""
MOST_BYTES = 64 << 20
MOST_PIXELS = 1 << 26
PNG = b"\x89PNG\r\n\x1a\n"


def key_of(path: Path, root: Path) -> str:
    """A run's name in a URL: its path below the root, "/" as "~1" and "~" as "~0"."""
    relative = path.relative_to(root).as_posix()
    return relative.replace("~", "~0").replace("/", "~1")


class Entry:
    """One run, with what has been read of it so far."""

    def __init__(self, run: Run, key: str) -> None:
        self.run, self.key = run, key
        self._tail = Tail(run.path / "records.jsonl", last=PEEK)
        self._newest: dict[str, dict[str, Any]] = {}
        self._config: dict[str, Any] = {}
        self._config_seen: tuple[int, int] = (0, 0)
        self._lock = threading.Lock()
        self._live = (0.0, False)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration; re-read when the file changed, empty when it cannot be read."""
        with contextlib.suppress(OSError):
            stat = (self.run.path / "config.yaml").stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen != self._config_seen:
                try:
                    self._config = json.loads(json.dumps(self.run.config, default=str))
                except (UserError, ValueError):
                    self._config = {}
                self._config_seen = seen
        return self._config

    @property
    def live(self) -> bool:
        """Whether it is being trained; asked of the system at most once a second."""
        then, live = self._live
        if time.monotonic() - then > 1:
            live = self.run.live
            self._live = (time.monotonic(), live)
        return live

    def summary(self) -> dict[str, Any]:
        """A line of the list."""
        with self._lock:
            self._look()
            newest = dict(self._newest)
        samples = self.samples()
        tick, health, event = (newest.get(k, {}) for k in ("tick", "health", "event"))
        last = newest.get("last", {})
        live = self.live
        config = self.config
        return {
            "key": self.key,
            "name": self.run.path.name if self.key == "." else self.key.replace("~1", "/"),
            "recipe": config.get("recipe"),
            "data": config.get("data"),
            "sound": heard_of(config),
            "state": state_of(live, last, event, config),
            "step": last.get("step"),
            "images": last.get("images"),
            "seconds": last.get("seconds"),
            "speed": tick.get("speed") if live else None,
            "rate": tick.get("rate"),
            "progress": progress(config, last),
            "left": time_left(config, last) if live else None,
            "score": (newest.get("score") or {}).get("score"),
            "best": self.run.best,
            "health": health.get("health"),
            "sample": samples[-1] if samples else None,
            "changed": self.changed(),
        }

    def _look(self) -> None:
        again, records = self._tail.read(limit=PEEK * 2)
        while True:
            if again:
                self._newest = {}
            for record in records:
                kind = next((k for k in ("event", "score", "health") if k in record), "tick")
                if kind == "tick" and not numbers(record).keys() - set(AXES):
                    continue
                self._newest[kind] = self._newest["last"] = record
            if not self._tail.behind:
                return
            again, records = self._tail.read(limit=PEEK * 2)

    def changed(self) -> float:
        """When it last wrote a record, in seconds since 1970."""
        for name in ("records.jsonl", "config.yaml"):
            with contextlib.suppress(OSError):
                return (self.run.path / name).stat().st_mtime
        return 0.0

    def samples(self) -> list[list[int]]:
        """[step, version] of every sample picture; a rewritten one has another version."""
        found = []
        for step, path in self.run.samples():
            with contextlib.suppress(OSError):
                found.append([step, path.stat().st_mtime_ns // 1_000_000])
        return found

    def sample(self, step: int) -> bytes:
        """The picture of one step, as it is in the run folder."""
        return read_png(self.run.sample_path(step), self.run.path)

    def sounds(self) -> list[dict[str, str]]:
        """What the run has kept to be heard; see `ganforge.sounds.kept_sounds`."""
        try:
            made = read_within(self.run.path / "sounds.html", self.run.path)
        except OSError:
            return []
        return kept_sounds(made.decode(errors="replace"))


def read_within(path: Path, folder: Path) -> bytes:
    """A file that lies below a folder, as far as `MOST_BYTES` and one more: links that lead
    out of it are not followed."""
    real = path.resolve(strict=True)
    if not real.is_relative_to(folder.resolve()) or not real.is_file():
        raise FileNotFoundError
    with open(real, "rb") as f:
        return f.read(MOST_BYTES + 1)


def read_png(path: Path, folder: Path) -> bytes:
    """A PNG that lies below a folder."""
    try:
        data = read_within(path, folder)
    except OSError:
        raise Problem(404, "No such picture", f"there is no {path.name}") from None
    if len(data) > MOST_BYTES or not data.startswith(PNG):
        raise Problem(404, "No such picture", f"{path.name} is not a whole PNG")
    return data


def heard_of(config: dict[str, Any]) -> bool:
    """Whether these are sounds, as far as a configuration can be read."""
    with contextlib.suppress(AttributeError, TypeError):
        return is_sound(config)
    return False


def state_of(
    live: bool, last: dict[str, Any], event: dict[str, Any], config: dict[str, Any]
) -> str:
    """training, waiting, finished, stopped or interrupted."""
    if live:
        return "training"
    if not last:
        return "waiting"
    if (progress(config, last) or 0) >= 1:
        return "finished"
    return "stopped" if event.get("event") == "stop" else "interrupted"


def budgets(config: dict[str, Any]) -> dict[str, float]:
    """The run's budgets by the record field that they bound."""
    found = {}
    for name, axis, unit in (
        ("steps", "step", 1),
        ("images", "images", 1),
        ("minutes", "seconds", 60),
    ):
        if (v := number(config.get(name))) and v > 0:
            found[axis] = v * unit
    return found


def progress(config: dict[str, Any], last: dict[str, Any]) -> float | None:
    """The share of the budget that is spent; the first budget reached ends a run."""
    shares = [(number(last.get(axis)) or 0) / most for axis, most in budgets(config).items()]
    return min(max(shares), 1.0) if shares else None


def time_left(config: dict[str, Any], last: dict[str, Any]) -> float | None:
    """Seconds until the budget is spent, at the average speed so far."""
    done, seconds = progress(config, last), number(last.get("seconds"))
    if not done or not seconds:
        return None
    return seconds * (1 - done) / done


class Library:
    """The runs under `folder`. The list of them is at most two seconds old."""

    FRESH = 2.0
    MOST_LEDGERS = 12

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(
                f"{folder} is not a folder; give the folder that holds your runs, such as runs/"
            )
        self.root = self.folder.resolve()
        self._entries: dict[str, Entry] = {}
        self._scanned = -self.FRESH
        self._lock = threading.Lock()
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        self._thumbs: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def entries(self, fresh: float = FRESH) -> dict[str, Entry]:
        """All runs by key."""
        with self._lock:
            if time.monotonic() - self._scanned > fresh:
                found = {key_of(run.path, self.root): run for run in find_runs(self.root)}
                self._entries = {
                    key: self._entries.get(key) or Entry(run, key) for key, run in found.items()
                }
                for gone in self._ledgers.keys() - found.keys():
                    del self._ledgers[gone]
                self._scanned = time.monotonic()
            return self._entries

    def entry(self, key: str) -> Entry:
        """The run of that name. `Problem` 404 where there is none (any more)."""
        found = self.entries().get(key) or self.entries(fresh=0.2).get(key)
        if found is None or not (found.run.path / "config.yaml").is_file():
            raise Problem(404, "No such run", f"there is no run {key!r} below the runs folder")
        return found

    def ledger(self, key: str) -> Ledger:
        """The run's records; those used least recently are let go."""
        run = self.entry(key).run
        with self._lock:
            ledger = self._ledgers.get(key) or Ledger(run)
            self._ledgers[key] = ledger
            self._ledgers.move_to_end(key)
            while len(self._ledgers) > self.MOST_LEDGERS:
                self._ledgers.popitem(last=False)
        return ledger

    def summaries(self) -> list[dict[str, Any]]:
        return [entry.summary() for entry in self.entries().values()]

    def thumbnail(self, key: str, step: int, version: int, side: int = 256) -> bytes:
        """The sample picture of one step, at most `side` pixels wide and high."""
        name = (key, step, version)
        made = self._thumbs.get(name) or shrink(self.entry(key).sample(step), side)
        with self._lock:
            self._thumbs[name] = made
            self._thumbs.move_to_end(name)
            while len(self._thumbs) > 256:
                self._thumbs.popitem(last=False)
        return made


def shrink(png: bytes, side: int) -> bytes:
    """A PNG of at most `side` by `side` pixels."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Problem(404, "No such picture", "the picture is too large to show")
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Problem(404, "No such picture", "the picture is not a whole PNG") from None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()
