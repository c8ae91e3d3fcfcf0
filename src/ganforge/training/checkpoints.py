"""Checkpoints: a folder of safetensors and one state.json with their checksums.

Written aside, flushed, and renamed, so that a checkpoint is whole or absent. Loading reads
tensors and JSON; nothing in it can execute.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ganforge.errors import UserError

FORMAT = 1
Tensors = dict[str, dict[str, Tensor]]


class Damaged(UserError):
    """A checkpoint that is not what was written; the message names the file."""


def write(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint.

    Raises:
        UserError: the disk is full or not writable; nothing is left behind.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        sums = {}
        for name, part in tensors.items():
            data = save({k: v.detach().contiguous().cpu() for k, v in part.items()})
            sums[name] = hashlib.sha256(data).hexdigest()
            _flush(aside / f"{name}.safetensors", data)
        body = {"format": FORMAT, **state, "sha256": sums}
        body["check"] = _check(body)
        _flush(aside / "state.json", json.dumps(body, indent=1).encode())
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(aside, folder)
        _flush_folder(folder.parent)
    except OSError as e:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"cannot write the checkpoint {folder}: {e.strerror or e}; the last good checkpoint "
            "is intact; make room and resume"
        ) from None
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def read(folder: Path, only: tuple[str, ...] | None = None) -> tuple[Tensors, dict[str, Any]]:
    """Read a checkpoint, checking every byte of it (or of the parts in `only`).

    Raises:
        Damaged: a file is missing or its checksum does not fit.
        UserError: it was written by a newer ganforge.
    """
    state = read_state(folder)
    tensors: Tensors = {}
    for name, expected in state["sha256"].items():
        if only is not None and name not in only:
            continue
        path = folder / f"{name}.safetensors"
        try:
            data = path.read_bytes()
        except OSError as e:
            raise Damaged(f"{path} cannot be read: {e.strerror}") from None
        if hashlib.sha256(data).hexdigest() != expected:
            raise Damaged(f"{path} is damaged: its checksum does not fit")
        try:
            tensors[name] = load(data)
        except SafetensorError as e:
            raise Damaged(f"{path} is damaged: {e}") from None
    return tensors, state


def read_state(folder: Path) -> dict[str, Any]:
    """state.json of a checkpoint, checked."""
    path = folder / "state.json"
    try:
        state = json.loads(path.read_bytes())
        check = state.pop("check")
    except OSError as e:
        raise Damaged(f"{path} cannot be read: {e.strerror}") from None
    except (ValueError, KeyError, AttributeError):
        raise Damaged(f"{path} is damaged: it is not whole JSON") from None
    if check != _check(state):
        raise Damaged(f"{path} is damaged: its checksum does not fit")
    if state.get("format", 0) > FORMAT:
        raise UserError(
            f"{folder} has checkpoint format {state['format']}; this ganforge reads up to "
            f"{FORMAT}: upgrade ganforge"
        )
    return state


def _check(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _flush(path: Path, data: bytes) -> None:
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
