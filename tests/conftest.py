"""Shared by all tests: small, quick, seeded."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks this small lose by more

import numpy as np
import pytest
import torch
from hypothesis import settings

# The same examples on every machine, however slow it is.
settings.register_profile("seeded", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache; all tests share one of their own."""
    cache = tmp_path_factory.getbasetemp() / "ganforge-cache"
    monkeypatch.setenv("GANFORGE_CACHE", str(cache))


@pytest.fixture
def pictures() -> np.ndarray:
    """(96, 12, 12) uint8: bright discs and squares on dark, cheap to learn."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:12, :12]
    out = np.zeros((96, 12, 12), np.uint8)
    for i in range(96):
        cy, cx, r = rng.uniform(4, 7), rng.uniform(4, 7), rng.uniform(2, 4)
        d = np.maximum(abs(y - cy), abs(x - cx)) if i % 2 else np.hypot(y - cy, x - cx)
        out[i] = (np.clip(r - d + 0.5, 0, 1) * 200 + rng.integers(0, 30)).astype(np.uint8)
    return out
