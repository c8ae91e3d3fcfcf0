"""Memory does not grow with the data. `benchmarks/memory.py` measures the processes' own."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_making import encoded, image, write_zip

from ganforge.data import Shuffle, open_source


def most(source: Path, **options) -> float:
    """MiB that Python and numpy hold at most while packing and gathering."""
    tracemalloc.start()
    try:
        dataset = open_source(source, **options)
        shuffle = Shuffle(len(dataset), 0)
        for i in range(20):
            dataset.batch(shuffle.at(64 * i, 64))
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    for name, n in (("small", 1000), ("large", 10_000)):
        np.save(tmp_path / name, rng.integers(0, 2, (n, 28, 28)).astype(dtype))
    small, large = (most(tmp_path / f"{name}.npy") for name in ("small", "large"))
    assert large < small + 2  # the large array has 7.5 MiB or 30


def test_pictures(tmp_path: Path) -> None:
    one = encoded(image(64, 64))
    for name, n in (("small", 100), ("large", 800)):
        write_zip(tmp_path / f"{name}.zip", {f"c{i % 3}/picture{i:06}.png": one for i in range(n)})
    small, large = (most(tmp_path / f"{name}.zip") for name in ("small", "large"))
    assert large < small + 2  # the large set has 9 MiB


def test_views(tmp_path: Path) -> None:
    x = np.zeros((300_000, 8, 8), np.uint8)
    y = np.arange(300_000) % 7
    np.savez(tmp_path / "x.npz", images=x, labels=y)
    open_source(tmp_path / "x.npz")
    assert most(tmp_path / "x.npz", split="train") < 1  # packed already
    odd = f"{tmp_path}/x.npz:1,3,5"
    assert most(Path(odd)) < 1  # the rows alone are 1 MiB, but on disk
