"""Small data sets for the tests, written as people publish theirs."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def gradient(h: int, w: int, channels: int = 3, shift: int = 0) -> np.ndarray:
    """(h, w, channels) uint8: red grows to the right, green downwards, blue both."""
    y, x = np.mgrid[:h, :w]
    full = np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (h + w), 255 - x * 255 // w], -1)
    return ((full + shift) % 256).astype(np.uint8)[..., :channels]


def image(h: int = 24, w: int = 24, channels: int = 3, shift: int = 0) -> Image.Image:
    x = gradient(h, w, channels, shift)
    return Image.fromarray(x[..., 0] if channels == 1 else x)


def encoded(im: Image.Image, kind: str = "PNG", **more) -> bytes:
    out = io.BytesIO()
    im.save(out, kind, **more)
    return out.getvalue()


def deep_png(x: np.ndarray) -> bytes:
    """(H, W, 2 to 4) uint16 as a 16-bit PNG of grey and alpha, RGB or RGBA, which Pillow
    cannot write; its rows are filtered in turn by none, left and up."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    height, width, channels = x.shape
    rows, above = [], np.zeros(width * channels * 2, np.uint8)
    for i, row in enumerate(x.astype(">u2")):
        plain = np.frombuffer(row.tobytes(), np.uint8)
        left = np.concatenate([np.zeros(channels * 2, np.uint8), plain[: -channels * 2]])
        rows.append(bytes([i % 3]) + (plain - (0, left, above)[i % 3]).astype(np.uint8).tobytes())
        above = plain
    colour = {2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = (
        chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bomb_png(side: int = 60_000) -> bytes:
    """A small file that claims side x side pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    return (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
            + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT" + b"\0" * 64)  # fmt: skip


def some_files(n: int = 12, classes: int = 0, size: tuple[int, int] = (24, 24)) -> dict[str, bytes]:
    """n PNG files by name, in folders by class if there are classes."""
    found = {}
    for i in range(n):
        folder = f"class{i % classes}/" if classes else ""
        found[f"{folder}img{i:03}.png"] = encoded(image(*size, shift=i))
    return found


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as z:
        for name, data in files.items():
            z.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def write_idx(path: Path, x: np.ndarray) -> Path:
    codes = {"u1": 8, "i2": 11, "i4": 12, "f4": 13}
    head = bytes([0, 0, codes[x.dtype.str[1:]], x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
    path.write_bytes(head + x.astype(x.dtype.newbyteorder(">")).tobytes())
    return path


def labels_json(labels: object) -> bytes:
    return json.dumps({"labels": labels}).encode()


# -- CIFAR's archives, as Python 2 pickled them ---------------------------------------------
def _text(s: bytes) -> bytes:
    if len(s) < 256:
        return b"U" + bytes([len(s)]) + s
    return b"T" + struct.pack("<I", len(s)) + s


def _strings(items: list[bytes]) -> bytes:
    return b"](" + b"".join(map(_text, items)) + b"e"


def _numbers(items: list[int]) -> bytes:
    return b"](" + b"".join(b"K" + bytes([i]) for i in items) + b"e"


def _bytes_array(x: np.ndarray) -> bytes:
    """numpy's protocol 2 state of a uint8 matrix, with the memo as cPickle used it."""
    shape = b"".join(b"M" + struct.pack("<H", n) for n in x.shape)
    start = b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06"
    start += b"K\x00\x85U\x01b\x87Rq\x07"
    kind = b"\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09"
    order = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    return start + b"(K\x01" + shape + kind + order + _text(x.tobytes()) + b"tb"


def cifar_pickle(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    return (b"\x80\x02}q\x01(" + _text(b"batch_label") + b"q\x02" + _text(b"training batch 1 of 5")
            + _text(key) + _numbers(labels) + _text(b"data") + _bytes_array(pixels)
            + _text(b"filenames") + _strings([b"a.png"] * len(labels)) + b"u.")  # fmt: skip


def cifar_meta(names: list[str], key: bytes = b"label_names") -> bytes:
    return b"\x80\x02}q\x01(" + _text(key) + _strings([n.encode() for n in names]) + b"u."


def cifar10(binary: bool, per_batch: int = 6) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """The files of a small CIFAR-10, and its training pixels (N, 3, 32, 32) and labels."""
    rng = np.random.default_rng(0)
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    folder = "cifar-10-batches-bin" if binary else "cifar-10-batches-py"
    files: dict[str, bytes] = {}
    kept = []
    for base in ["data_batch_4", "test_batch", *(f"data_batch_{i}" for i in (3, 2, 5, 1))]:
        pixels = rng.integers(0, 256, (per_batch, 3072), np.uint8)
        labels = rng.integers(0, 10, per_batch, np.uint8)
        if binary:
            files[f"{folder}/{base}.bin"] = np.concatenate([labels[:, None], pixels], 1).tobytes()
        else:
            files[f"{folder}/{base}"] = cifar_pickle(pixels, labels.tolist())
        if base != "test_batch":
            kept.append((base, pixels, labels))
    if binary:
        files[f"{folder}/batches.meta.txt"] = ("\n".join(names) + "\n\n").encode()
    else:
        files[f"{folder}/batches.meta"] = cifar_meta(names)
    kept.sort(key=lambda batch: batch[0])
    pixels = np.concatenate([p for _, p, _ in kept]).reshape(-1, 3, 32, 32)
    return files, pixels, np.concatenate([y for _, _, y in kept])
