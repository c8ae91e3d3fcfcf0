"""What judging keeps between calls: weights, and features under the content they came from.

Everything is safetensors or JSON in the cache folder; any of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ganforge.data.store import cache_folder
from ganforge.run import write_whole

CHUNK = 1000
"""Samples of one file: what an interruption costs at most."""

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


def cache(*parts: str) -> Path:
    """A path in the cache.

    Raises:
        UserError: the cache cannot be written.
    """
    return cache_folder().joinpath("judging", *parts)


def digest(*parts: object) -> str:
    """16 hexadecimal digits that stand for the parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def digest_of(tensors: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that stand for the tensors' names, shapes and contents."""
    h = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        h.update(f"{name}{tuple(t.shape)}{t.dtype}".encode())
        h.update(t.numpy().tobytes())
    return h.hexdigest()[:16]


def keep(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors, whole or not at all. A full disk only costs the cache's use."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({k: v.contiguous() for k, v in tensors.items()}))


def kept(path: Path) -> dict[str, Tensor] | None:
    """What `keep` wrote, or None if there is nothing whole."""
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError):
        return None


def remembered(key: str | None, make: Callable[[], Any]) -> Any:
    """Plain data under `key`, made by `make` where they are not kept yet."""
    if key is None:
        return make()
    path = cache("statistics", f"{key}.json")
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    found = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(found).encode())
    return found


def in_chunks(
    make: Callable[[int, int], Tensor],
    n: int,
    key: str | None = None,
    say: Progress | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """`make(start, count)` over n samples, in chunks that are kept under `key`: what an
    interrupted call has done is not done again.

    Returns:
        (n, ...), the chunks in order.
    """
    parts: list[Tensor] = []
    for start in range(0, n, chunk):
        count = min(chunk, n - start)
        path = cache("features", key, f"{start:08d}-{count}.safetensors") if key else None
        found = kept(path) if path else None
        if found is None:
            part = make(start, count)
            if path:
                keep(path, {"features": part})
        else:
            part = found["features"]
        parts.append(part)
        if say is not None:
            say(start + count, n)
    return torch.cat(parts)
