"""Following runs as they grow: one watcher for each run serves all of its viewers.

The watcher looks at the files a few times a second, reads what is new once, and hands the
same bytes to everybody as server-sent events. A viewer that does not keep up loses its
queue and gets a fresh start when it is back; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio import to_thread

from ganforge.studio.ledger import Ledger
from ganforge.studio.library import Library
from ganforge.studio.problems import Problem

log = logging.getLogger("ganforge.studio")

LOOK = 0.4
"""Seconds between looks: with the answer's way, a tick is on the page within a second."""
HEARTBEAT = 15.0
MOST_VIEWERS = 500
MOST_QUEUED = 16
POINTS = 1200
NEWEST = 40
PATIENCE = 1.0
"""Seconds of reading after which a page is shown as much of a long run as has been read."""


def message(event: str, data: Any) -> bytes:
    """One server-sent event."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, default=str)
    return f"event: {event}\ndata: {text}\n\n".encode()


class Viewer:
    """One open page: what it has not been sent yet."""

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.ready = asyncio.Event()
        self.restart()

    def put(self, data: bytes) -> None:
        if len(self.queue) >= MOST_QUEUED:
            self.restart()
        if not self.behind:
            self.queue.append(data)
        self.ready.set()

    def restart(self) -> None:
        """It is to get everything anew."""
        self.queue.clear()
        self.behind = True
        self.ready.set()


class Watcher:
    """Looks, and tells its viewers what has changed.

    Args:
        first: everything that a page needs to begin.
        look: what has changed since the last look, as messages; called in a worker thread.
    """

    def __init__(self, first: Callable[[], bytes], look: Callable[[], list[bytes]]) -> None:
        self.first, self.look = first, look
        self.viewers: set[Viewer] = set()
        self.task: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()
        self.gone = False
        self.closed = False

    async def _run(self) -> None:
        while self.viewers:
            await asyncio.sleep(LOOK)
            async with self.turn:
                await self._tell()

    async def _tell(self) -> None:
        """Look, and pass the news on. No fault in one look ends the watch."""
        try:
            told = await to_thread.run_sync(self.look)
        except Exception as e:
            if not isinstance(e, Problem):
                log.exception("a look at %s failed", self.first)
            told = [] if self.gone else [message("gone", {"detail": getattr(e, "detail", "")})]
            self.gone = True
        else:
            if self.gone:
                self.gone = False
                for viewer in self.viewers:
                    viewer.restart()
        for data in told:
            for viewer in self.viewers:
                viewer.put(data)

    async def follow(self) -> AsyncIterator[bytes]:
        """The messages for one viewer, for as long as it stays."""
        viewer = Viewer()
        self.viewers.add(viewer)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())
        try:
            while not self.closed:
                try:
                    await asyncio.wait_for(viewer.ready.wait(), HEARTBEAT)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                viewer.ready.clear()
                if viewer.behind:
                    yield await self._start(viewer)
                while viewer.queue:
                    yield viewer.queue.popleft()
        finally:
            self.viewers.discard(viewer)

    async def _start(self, viewer: Viewer) -> bytes:
        """Everything so far, between two looks, so that what follows continues from it."""
        async with self.turn:
            await self._tell()
            try:
                first = await to_thread.run_sync(self.first)
            except Problem as e:
                first = message("gone", {"detail": e.detail})
            viewer.queue.clear()
            viewer.behind = False
            return first


class RunFeed:
    """What a run's page is told: first everything, then what is new."""

    def __init__(self, library: Library, key: str) -> None:
        self.library, self.key = library, key
        self._told: tuple[int, int] = (-1, 0)
        self._seen: Any = None
        self._rest: str = ""
        self._first: tuple[Any, bytes] = (None, b"")  # for which state, and the message
        self._ledger: Ledger | None = None

    def first(self) -> bytes:
        """The whole run, thinned. Made once for all who come between two changes."""
        ledger = self.library.ledger(self.key)
        now = (self._seen, self._rest, ledger.generation, ledger.ticks.length)
        if self._first[0] != now:
            body = self._state() | {
                "config": self.library.entry(self.key).config,
                "series": ledger.series(POINTS),
                "histograms": list(ledger.histograms),
                "count": ledger.ticks.length,
            }
            self._first = (now, message("first", body))
        return self._first[1]

    def _state(self) -> dict[str, Any]:
        """What is small enough to be told whole whenever it changes."""
        entry, ledger = self.library.entry(self.key), self.library.ledger(self.key)
        notes = {f"{kind}s": kept[-400:] for kind, kept in ledger.notes.items()}
        checkpoints = [step for step, _ in entry.run.checkpoints()]
        return notes | {
            "summary": entry.summary(),
            "samples": entry.samples(),
            "reports": entry.run.scores()[-50:],
            "checkpoints": checkpoints,
        }

    def look(self) -> list[bytes]:
        """The news since the last look."""
        entry, ledger = self.library.entry(self.key), self.library.ledger(self.key)
        seen = (signature(entry.run.path), entry.live)
        if seen == self._seen and ledger is self._ledger and not ledger.behind:
            return []
        ledger.update(PATIENCE)
        self._seen, self._ledger = seen, ledger
        generation, count = self._told
        self._told = (ledger.generation, ledger.ticks.length)
        if generation != ledger.generation:
            return [] if generation < 0 else [self.first()]
        news: dict[str, Any] = {}
        if ledger.ticks.length > count:
            news["series"] = ledger.series(NEWEST, start=count)
            news["count"] = ledger.ticks.length
            news["histogram"] = ledger.histograms[-1] if ledger.histograms else None
        state = self._state()
        news["summary"] = state.pop("summary")
        rest = json.dumps(state)
        if rest != self._rest:
            self._rest = rest
            news |= state
        return [message("news", news)]


class ListFeed:
    """What the list of runs is told: the lines that changed, and which are gone."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._told: dict[str, str] = {}

    def first(self) -> bytes:
        lines = self.library.summaries()
        return message("first", {"runs": lines, "folder": self.library.root.name})

    def look(self) -> list[bytes]:
        lines = {line["key"]: line for line in self.library.summaries()}
        told = {key: json.dumps(line) for key, line in lines.items()}
        changed = [lines[key] for key, text in told.items() if self._told.get(key) != text]
        gone = [key for key in self._told if key not in lines]
        self._told = told
        return [message("news", {"runs": changed, "gone": gone})] if changed or gone else []


class Feeds:
    """The watchers, each for as long as somebody looks."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._watchers: dict[str, Watcher] = {}

    def run(self, key: str) -> Watcher:
        self.library.entry(key)
        return self._get(f"run/{key}", lambda: RunFeed(self.library, key))

    def close(self) -> None:
        """End all feeds: the server shuts down, and pages try again by themselves."""
        for watcher in self._watchers.values():
            watcher.closed = True
            for viewer in watcher.viewers:
                viewer.ready.set()

    def list(self) -> Watcher:
        return self._get("list", lambda: ListFeed(self.library))

    def _get(self, name: str, make: Callable[[], RunFeed | ListFeed]) -> Watcher:
        self._watchers = {k: w for k, w in self._watchers.items() if w.viewers or k == name}
        if sum(len(w.viewers) for w in self._watchers.values()) >= MOST_VIEWERS:
            raise Problem(503, "Too many viewers", "close some pages of the studio and try again")
        if name not in self._watchers:
            feed = make()
            self._watchers[name] = Watcher(feed.first, feed.look)
        return self._watchers[name]


def signature(path: os.PathLike[str]) -> tuple[Any, ...]:
    """Changes whenever anything in the run folder does that a page shows."""
    found: list[Any] = []
    for name in ("records.jsonl", "samples", "scores", "checkpoints", "config.yaml"):
        stat = None
        with contextlib.suppress(OSError):
            stat = os.stat(os.path.join(path, name))
        found.append(stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)
