"""CIFAR-10 and CIFAR-100 as published (Krizhevsky 2009): the binary and the Python archives.

The Python archives are pickles, and a pickle is a program. `plain` reads the few
instructions that these files consist of and refuses every other; it imports and calls
nothing, so no file can make it run anything.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ganforge.data.arrays import ArraySamples, Rows, held
from ganforge.data.files import UNREADABLE, Broken, Files, read_whole, unreadable
from ganforge.data.store import TEST, TRAIN
from ganforge.errors import UserError

_SPLITS = {f"data_batch_{i}": TRAIN for i in range(1, 7)} | {
    "test_batch": TEST,
    "train": TRAIN,
    "test": TEST,
}
_NAMES = ("batches.meta", "meta", "batches.meta.txt", "fine_label_names.txt")


def is_cifar(files: Files) -> bool:
    """Whether these files are called as CIFAR's are."""
    base = {n.rpartition("/")[2] for n in files.names}
    return bool(base & set(_NAMES) and {n.removesuffix(".bin") for n in base} & _SPLITS.keys())


def cifar_samples(files: Files, name: str | None = None) -> ArraySamples | None:
    """The set in a folder or archive, or None if these files are not CIFAR's."""
    if not is_cifar(files):
        return None
    base = [n.rpartition("/")[2] for n in files.names]
    meta = next(base.index(n) for n in _NAMES if n in base)
    batches = [i for i, n in enumerate(base) if n.removesuffix(".bin") in _SPLITS]
    binary, hundred = base[meta].endswith(".txt"), base[meta] in (_NAMES[1], _NAMES[3])
    batches = sorted(
        (i for i in batches if base[i].endswith(".bin") == binary), key=base.__getitem__
    )
    classes = _class_names(files, meta, binary)
    parts = [_rows(files, i, binary, hundred, base[i].removesuffix(".bin")) for i in batches]
    if not parts:
        return None
    return ArraySamples(name or ("cifar100" if hundred else "cifar10"), parts, classes)


def _rows(files: Files, number: int, binary: bool, hundred: bool, base: str) -> Rows:
    """One batch file. Only its labels stay in memory; the pixels are read again."""

    def load() -> tuple[np.ndarray, np.ndarray]:
        data = _whole(files, number)
        try:
            return _binary(data, hundred) if binary else _pickled(data)
        except (*UNREADABLE, KeyError, TypeError, AttributeError, IndexError, struct.error) as e:
            raise unreadable(f"{files.name}/{files.names[number]}", e) from None

    pixels, labels = load()
    return Rows(pixels.shape, pixels.dtype, lambda step: held(load()[0]).read(step), labels,
                _SPLITS[base])  # fmt: skip


def _binary(data: bytes, hundred: bool) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte (CIFAR-100: two, the second being the fine one) and 3,072
    pixels, channel after channel."""
    head = 2 if hundred else 1
    if not data or len(data) % (head + 3072):
        raise EOFError(f"{len(data)} bytes are no whole number of pictures")
    records = np.frombuffer(data, np.uint8).reshape(-1, head + 3072)
    return records[:, head:].reshape(-1, 3, 32, 32), records[:, head - 1].copy()


def _pickled(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    batch = plain(data)
    pixels = batch["data"].value
    labels = batch["labels"] if "labels" in batch else batch["fine_labels"]
    return pixels.reshape(-1, 3, 32, 32), np.asarray(labels)


def _class_names(files: Files, number: int, binary: bool) -> list[str]:
    data = _whole(files, number)
    try:
        if binary:
            return data.decode().split()
        meta = plain(data)
        names = meta["label_names"] if "label_names" in meta else meta["fine_label_names"]
        return [n if isinstance(n, str) else n.decode() for n in names]
    except (*UNREADABLE, KeyError, TypeError, AttributeError, IndexError, struct.error) as e:
        raise unreadable(f"{files.name}/{files.names[number]}", e) from None


def _whole(files: Files, number: int) -> bytes:
    name = f"{files.name}/{files.names[number]}"
    data = read_whole(name, lambda: files.open(number))
    if isinstance(data, Broken):
        raise UserError(f"{name} cannot be read ({data}); get the archive anew")
    return data


# -- the pickles' plain part ----------------------------------------------------------------
class _Array:
    """What stands for numpy's array until its contents are known."""

    value: np.ndarray


_RECONSTRUCT, _NDARRAY, _DTYPE = (
    b"numpy.core.multiarray _reconstruct", b"numpy ndarray", b"numpy dtype",
)  # fmt: skip
_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_NUMBERS = {b"K": "<B", b"M": "<H", b"J": "<i"}
_STRINGS = {b"U": "<B", b"T": "<I", b"X": "<I"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}


def plain(data: bytes) -> dict[str, Any]:
    """The dictionary in a protocol 2 pickle of numbers, strings, lists and uint8 arrays.

    Raises:
        ValueError: it holds anything else.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(kind, data, place)
        place += struct.calcsize(kind)
        return value

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    while True:
        op = data[place : place + 1]
        place += 1
        if op == b".":
            break
        if op == b"\x80":
            if number("<B") != 2:
                raise ValueError("a pickle of another protocol than the published files have")
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op in _NUMBERS:
            stack.append(number(_NUMBERS[op]))
        elif op in _STRINGS:
            length = number(_STRINGS[op])
            text = data[place : place + length]
            if len(text) < length:
                raise EOFError("it is cut short")
            place += length
            stack.append(text.decode() if op == b"X" else text)
        elif op in (b"}", b"]", b")"):
            stack.append({b"}": {}, b"]": [], b")": ()}[op])
        elif op == b"(":
            marks.append(len(stack))
        elif op == b"t":
            stack.append(tuple(since_mark()))
        elif op in _TUPLES:
            n = _TUPLES[op]
            stack[-n:] = [tuple(stack[-n:])]
        elif op in (b"q", b"r"):
            memo[number("<B" if op == b"q" else "<I")] = stack[-1]
        elif op in (b"h", b"j"):
            stack.append(memo[number("<B" if op == b"h" else "<I")])
        elif op in (b"a", b"e"):
            items = since_mark() if op == b"e" else [stack.pop()]
            _of(stack[-1], list).extend(items)
        elif op in (b"s", b"u"):
            pairs = since_mark() if op == b"u" else [stack.pop(-2), stack.pop()]
            _of(stack[-1], dict).update(zip(pairs[::2], pairs[1::2], strict=True))
        elif op == b"c":
            end = data.index(b"\n", data.index(b"\n", place) + 1)
            name = data[place:end].replace(b"\n", b" ")
            place = end + 1
            if name not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
                raise ValueError(f"it asks to run {name[:60].decode(errors='replace')!r}")
            stack.append(name)
        elif op == b"R":
            arguments = stack.pop()
            stack[-1] = _stand_in(stack[-1], arguments)
        elif op == b"b":
            state = stack.pop()
            if isinstance(stack[-1], _Array):
                _version, shape, dtype, fortran, raw = state
                if dtype != np.uint8 or fortran:
                    raise ValueError("its array is not of bytes, row by row")
                stack[-1].value = np.frombuffer(raw, np.uint8).reshape(shape)
        else:
            raise ValueError(f"it holds the pickle instruction {op!r}, which data do not need")
    found = _of(stack.pop(), dict)
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in found.items()}


def _stand_in(name: Any, arguments: Any) -> Any:
    if name == _RECONSTRUCT:
        return _Array()
    if name == _DTYPE and arguments[0] in (b"u1", b"|u1", "u1", "|u1"):
        return np.dtype(np.uint8)
    raise ValueError("it asks for something else than an array of bytes")


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError("its structure is damaged")
    return value
