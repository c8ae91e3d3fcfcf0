"""The run folder: the only meeting point of what writes and what reads.

    config.yaml          what was asked for, complete; written once
    records.jsonl        one JSON object a line, appended, never rewritten
    samples/             samples-STEP.png, from fixed latents
    checkpoints/         step-STEP/ (safetensors and state.json with checksums), best.json
    scores/              one JSON a score, with its protocol
    requests/            what a face (the studio) asks of the training: stop, save, rate
    report.html          one file that opens with no network

Nothing in it can execute, and nothing here needs torch: the studio reads runs with this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from ganforge.errors import UserError

SAMPLE = re.compile(r"samples-(\d+)\.png$")
CHECKPOINT = re.compile(r"step-(\d+)$")
REQUESTS = ("stop", "save", "rate")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file aside, flush it to the disk, and rename it into place: a reader, or a
    crash, sees the old file or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Outcome:
    """How a sitting ended: `reason` is budget, request, converged, diverged or a signal's
    name; `code` is what a process should exit with."""

    reason: str
    code: int
    message: str


class Run:
    """A run folder.

    `Run.create` makes one, `Run.open` opens an existing one; both raise `UserError`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: IO[str] | None = None
        self.outcome: Outcome | None = None

    # -- opening ------------------------------------------------------------------------
    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any]) -> Run:
        """A new run folder with its configuration. An existing run is never overwritten."""
        run = cls(path)
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            if (run.path / "config.yaml").exists():
                raise UserError(
                    f"{run.path} is a run already; continue it with 'ganforge resume {run.path}' "
                    "or choose another --run"
                )
            raise UserError(f"{run.path} exists and is not an empty folder; choose another --run")
        try:
            for folder in ("samples", "checkpoints", "scores", "requests"):
                (run.path / folder).mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            write_whole(run.path / "config.yaml", text.encode())
        except OSError as e:
            raise UserError(
                f"cannot make the run folder {run.path}: {e.strerror or e}; make room there, or "
                "choose another --run"
            ) from None
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        run = cls(path)
        if not (run.path / "config.yaml").is_file():
            raise UserError(
                f"{run.path} is not a run folder (it has no config.yaml); give the folder that "
                "'ganforge train --run DIR' made"
            )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml as plain data."""
        try:
            loaded = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            why = " ".join(str(e).split())  # YAML tells it on several lines
            raise UserError(
                f"{self.path / 'config.yaml'} cannot be read: {why}; undo what was changed in it"
            ) from None
        if not isinstance(loaded, dict):
            raise UserError(
                f"{self.path / 'config.yaml'} is damaged: it holds no settings; undo what was "
                "changed in it"
            )
        return loaded

    # -- one writer ---------------------------------------------------------------------
    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for writing; a second process is refused."""
        try:
            lock = open(self.path / ".lock", "a+")  # noqa: SIM115 - held for the whole block
        except OSError as e:
            raise UserError(
                f"cannot write into {self.path}: {e.strerror}; make it writable, or train into "
                "another --run"
            ) from None
        try:
            _lock(lock)
        except OSError:
            lock.seek(0)
            who = lock.read().strip() or "unknown"
            lock.close()
            raise UserError(
                f"{self.path} is being trained by another process (pid {who}); stop it first "
                "or train into another --run"
            ) from None
        try:  # past the buffer, which closing would write again
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        except OSError as e:
            lock.close()
            raise UserError(
                f"cannot write into {self.path}: {e.strerror}; the last good checkpoint is intact; "
                "make room and resume"
            ) from None
        self._lock = lock
        try:
            yield
        finally:
            lock.truncate(0)
            lock.close()
            self._lock = None

    @property
    def live(self) -> bool:
        """Whether some process is training this run now."""
        try:
            with open(self.path / ".lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    # -- records ------------------------------------------------------------------------
    def append(self, record: dict[str, Any]) -> None:
        """Append one record; it has step, images and seconds. A last line that a crash cut
        short is completed first, so that it spoils no other."""
        path = self.path / "records.jsonl"
        line = json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"
        with open(path, "ab+") as f:
            if f.tell() and not _ends_line(f):
                line = "\n" + line
            f.write(line.encode())

    def records(self) -> list[dict[str, Any]]:
        """All records that still hold, in order: where a resume or a roll-back went back to
        step N, earlier records beyond N are dropped, and so is any line that is not whole."""
        try:
            data = (self.path / "records.jsonl").read_bytes()
        except OSError:
            return []
        return valid_records(data.split(b"\n"))

    # -- samples, scores, checkpoints ---------------------------------------------------
    def samples(self) -> list[tuple[int, Path]]:
        """(step, picture), by step."""
        return _numbered(self.path / "samples", SAMPLE)

    def sample_path(self, step: int) -> Path:
        return self.path / "samples" / f"samples-{step:08d}.png"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(step, folder), by step."""
        return _numbered(self.path / "checkpoints", CHECKPOINT)

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}"

    def written(self, step: int) -> int:
        """When a step's checkpoint was written (ns): another number, other weights."""
        try:
            return (self.checkpoint_path(step) / "state.json").stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def best(self) -> dict[str, Any] | None:
        """{"step": N, "score": {...}} of the best checkpoint, or None."""
        try:
            return json.loads((self.path / "checkpoints" / "best.json").read_text())
        except (OSError, ValueError):
            return None

    def leave(self, step: int) -> Path | None:
        """Move what lies beyond a step (checkpoints, pictures, a later best) to left-NUMBER/,
        so that the run can take another way from there; its place, or None if there is nothing."""
        beyond = [p for s, p in (*self.checkpoints(), *self.samples()) if s > step]
        if (self.best or {"step": 0})["step"] > step:
            beyond.append(self.path / "checkpoints" / "best.json")
        if not beyond:
            return None
        n = 1
        while (place := self.path / f"left-{n}").exists():
            n += 1
        for path in beyond:
            (place / path.parent.name).mkdir(parents=True, exist_ok=True)
            path.rename(place / path.parent.name / path.name)
        return place

    def set_best(self, step: int, score: dict[str, Any]) -> None:
        data = json.dumps({"step": step, "score": score}).encode()
        write_whole(self.path / "checkpoints" / "best.json", data)

    def scores(self) -> list[dict[str, Any]]:
        """Every score with its protocol, oldest first."""
        found = []
        for path in sorted((self.path / "scores").glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(path.read_text()))
        return found

    def add_score(self, name: str, score: dict[str, Any]) -> Path:
        """Keep a score {metrics, protocol} as scores/NAME.json; a taken name gets a number."""
        folder, stem, n = self.path / "scores", name, 1
        folder.mkdir(exist_ok=True)
        while (folder / f"{stem}.json").exists():
            n += 1
            stem = f"{name}-{n}"
        write_whole(folder / f"{stem}.json", json.dumps(score, indent=1).encode())
        return folder / f"{stem}.json"

    # -- requests: from a face to the training ------------------------------------------
    def request(self, kind: str, value: float | None = None) -> None:
        """Ask the training process to stop, to save, or to scale its rates by `value`."""
        if kind not in REQUESTS:
            raise UserError(f"request {kind!r} is unknown; choose one of {', '.join(REQUESTS)}")
        if kind == "rate" and not (value is not None and 0 < value <= 10):
            raise UserError(f"the rates can be scaled by a number in (0, 10]; {value} was given")
        folder = self.path / "requests"
        folder.mkdir(exist_ok=True)
        name = f"{time.time_ns():020d}-{kind}.json"
        write_whole(folder / name, json.dumps({"kind": kind, "value": value}).encode())

    def take_requests(self) -> list[dict[str, Any]]:
        """The requests since last time, oldest first; they are removed."""
        taken = []
        for path in sorted((self.path / "requests").glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                asked = json.loads(path.read_text())
                if isinstance(asked, dict) and asked.get("kind") in REQUESTS:
                    taken.append(asked)
            path.unlink(missing_ok=True)
        return taken


def valid_records(lines: list[bytes]) -> list[dict[str, Any]]:
    """The records that hold, from the lines of records.jsonl (see `Run.records`)."""
    kept: list[dict[str, Any]] = []
    for line in lines:
        if (record := parse_record(line)) is None:
            continue
        if goes_back(record):
            while kept and kept[-1]["step"] > record["step"]:
                kept.pop()
        kept.append(record)
    return kept


def parse_record(line: bytes) -> dict[str, Any] | None:
    """One line of records.jsonl, or None where it is not a whole record."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def goes_back(record: dict[str, Any]) -> bool:
    """Whether this record voids all earlier ones beyond its step."""
    return record.get("event") in ("resume", "rollback")


class Tail:
    """What was appended to records.jsonl since the last look; what was read is not read again.

    Args:
        path: the file, which may come, go, shrink or be replaced at any time.
        last: where given, begin within the last so many bytes instead of at the beginning.
    """

    def __init__(self, path: Path, last: int | None = None) -> None:
        self.path, self.last = path, last
        self.behind = False
        """Whether the last `read` stopped at its limit before the file's end."""
        self._forget()

    def _forget(self) -> None:
        self._seen: tuple[int, ...] = ()
        self._offset, self._mark = 0, b""

    def read(self, limit: int = 1 << 22) -> tuple[bool, list[dict[str, Any]]]:
        """(again, records): what `lines` says, roll-backs not yet applied."""
        again, text = self.lines(limit)
        return again, [r for line in text.split(b"\n") if (r := parse_record(line)) is not None]

    def lines(self, limit: int = 1 << 22) -> tuple[bool, bytes]:
        """(again, text): the whole lines since last time, at most `limit` bytes of them.
        `again`: the file is another one or was rewritten, so that everything read earlier is
        void."""
        try:
            with open(self.path, "rb") as f:
                return self._read(f, limit)
        except OSError:
            again, self.behind = self._offset > 0, False
            self._forget()
            return again, b""

    def _read(self, f: IO[bytes], limit: int) -> tuple[bool, bytes]:
        stat = os.fstat(f.fileno())
        seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen == self._seen and not self.behind:
            return False, b""
        again = False
        if self._seen:
            f.seek(max(0, self._offset - len(self._mark)))
            if seen[:2] != self._seen[:2] or f.read(len(self._mark)) != self._mark:
                again = self._offset > 0
                self._forget()
        cut = False
        if not self._seen and self.last is not None and stat.st_size > self.last:
            self._offset, cut = stat.st_size - self.last, True
        self._seen = seen
        f.seek(self._offset)
        chunk = f.read(limit)
        whole = chunk.rfind(b"\n") + 1
        if not whole and len(chunk) == limit:
            whole = limit  # no record is that long: skip it
        self.behind = len(chunk) == limit
        self._offset += whole
        self._mark = (self._mark + chunk[:whole])[-64:]
        return again, chunk[chunk.find(b"\n") + 1 if cut else 0 : whole]


def find_runs(folder: str | Path) -> list[Run]:
    """All runs under a folder (or the folder itself, if it is one), by path."""
    found = []
    for at, folders, files in os.walk(folder):
        if "config.yaml" in files:
            found.append(Run(at))
            folders.clear()  # a run holds thousands of files and no further run
        folders[:] = sorted(f for f in folders if not f.startswith("."))
    return sorted(found, key=lambda run: run.path)


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted((int(m[1]), folder / n) for n in names if (m := pattern.match(n)))


def _lock(lock: IO[str], patience: float = 0.5) -> None:
    """Take the lock. Readers that ask whether a run is live hold it for microseconds, so a
    refusal counts only when it lasts."""
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _ends_line(f: IO[bytes]) -> bool:
    f.seek(-1, os.SEEK_END)
    return f.read(1) == b"\n"
