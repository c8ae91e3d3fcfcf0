"""One computation at a time, in one thread: keyed draws and torch's generator belong to
the process, every thread that computes would bring its own team of workers, and the
trainings beside the studio need the cores more than it does. Repairs, which take long,
have a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_worker = ThreadPoolExecutor(1, "computing")


def compute(work: Callable[[], T]) -> T:
    """What `work` returns or raises; its turn comes after those who asked before."""
    return _worker.submit(work).result()
