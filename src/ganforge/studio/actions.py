"""What a page may do to a run: leave a request in its folder, or start the command that
resumes it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ganforge.studio.library import Library
from ganforge.studio.problems import Problem

COMMAND = (sys.executable, "-m", "ganforge", "resume")
PATIENCE = 30.0
"""Seconds in which a resume either holds the run or has refused; imports take several."""


class Actions:
    def __init__(self, library: Library) -> None:
        self.library = library
        self._lock = threading.Lock()
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        # Made before the server lowers its priority: on Linux a thread keeps the one that it
        # was born with, and hands it to the processes that it starts.
        self._starter = ThreadPoolExecutor(1)
        self._starter.submit(int).result()

    def request(self, key: str, kind: str, value: float | None) -> None:
        """Ask the training to stop, save or scale its rates. `Problem` 409 where nothing trains."""
        run = self.library.entry(key).run
        if not run.live:
            raise Problem(409, "Not training", f"nothing trains {run.path.name} now; resume it")
        run.request(kind, value)

    def resume(self, key: str, minutes: float | None = None, steps: int | None = None) -> int:
        """Start `ganforge resume RUN`, detached, at ordinary priority where the system lets us.
        Returns its process number; `Problem` 409 with its own words where it refuses."""
        run = self.library.entry(key).run
        with self._lock:
            self._started = {k: p for k, p in self._started.items() if p.poll() is None}
            if key in self._started or run.live:
                raise Problem(409, "Training already", f"{run.path.name} is being trained now")
            command = [*COMMAND, str(run.path)]
            for name, most in (("--minutes", minutes), ("--steps", steps)):
                if most is not None:
                    command += [name, f"{most:g}" if isinstance(most, float) else str(most)]
            said = tempfile.TemporaryFile()  # noqa: SIM115 - the process outlives this call
            process = self._starter.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            ).result()
            self._started[key] = process
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None and not run.live:
            time.sleep(0.05)
        if process.poll() not in (None, 0):
            said.seek(0, os.SEEK_END)
            said.seek(max(0, said.tell() - 4096))
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise Problem(409, "Cannot be resumed", lines[-1] if lines else "it ended at once")
        return process.pid
