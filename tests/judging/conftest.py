"""Everything that judging keeps goes into a folder of the test's own."""

import gzip

import numpy as np
import pytest

from ganforge.data import Dataset


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def shapes(n: int, seed: int = 0, kinds: int = 2, size: int = 16, noise: float = 20) -> Dataset:
    """Grey pictures of crosses and rings somewhere, labelled: (n, size, size, 1) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    label = rng.integers(0, kinds, n)
    pictures = np.empty((n, size, size, 1), np.uint8)
    for i, kind in enumerate(label):
        a, b = rng.uniform(size * 0.35, size * 0.65, 2)
        r = np.hypot(y - a, x - b)
        inked = (abs(y - a) < 1.5) | (abs(x - b) < 1.5) if kind == 0 else abs(r - size * 0.3) < 1.3
        picture = inked * rng.uniform(160, 230) + rng.normal(20, noise, (size, size))
        pictures[i, ..., 0] = picture.clip(0, 255)
    names = ["cross", "ring", "more"][:kinds]
    mark = f"shapes-{n}-{seed}-{kinds}-{size}-{noise}"
    return Dataset(pictures, label, classes=names, name="shapes", split="test", fingerprint=mark)


def write_idx(path, array: np.ndarray) -> None:
    """MNIST's format, for a set on disk."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))
