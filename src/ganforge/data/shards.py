"""Shards: files of many samples each, as published samples that can be packed.

WebDataset   a tar of KEY.png, KEY.cls, KEY.json, KEY.npy (Aizman, Maltby and Breuel 2019,
             arXiv 2001.01858); what has one KEY is one sample
parquet      a table with a column of pictures, as Hugging Face's `datasets` writes them
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ganforge.data.arrays import ArraySamples, held
from ganforge.data.decode import EXTENSIONS
from ganforge.data.files import UNREADABLE, Broken, Tar, read_whole
from ganforge.data.packing import Raw
from ganforge.data.picturefiles import PictureSamples
from ganforge.data.store import UNSPLIT
from ganforge.errors import Lacking, UserError

PARQUET = (".parquet",)
_LABEL = ("label", "cls", "class")


class Labelled(PictureSamples):
    """Pictures whose labels another file or column gives.

    Args:
        labels: (n,) of the chosen files, or None.
        classes: their names, if the shard has them.
    """

    def __init__(
        self, files: Any, chosen: np.ndarray, labels: np.ndarray | None, classes: list[str]
    ) -> None:
        self.files, self.name, self._numbers = files, files.name, chosen
        self._splits = np.full(len(chosen), UNSPLIT, np.uint8)
        self._labels, self.classes = labels, classes


def shard_samples(path: Path, name: str) -> Raw:
    """The samples of one shard that lies on this machine.

    Args:
        name: what to call it; its ending says what it is.

    Raises:
        UserError, Broken: it is damaged, or has no samples.
    """
    if name.lower().endswith(PARQUET):
        table = Table(path, name)
        return Labelled(table, np.arange(len(table.names)), table.labels(), table.classes)
    try:
        files = Tar(path)
    except UserError as e:
        raise Broken("it is no tar, cut short or damaged") from e
    files.name = name
    return web_samples(files, name)


def web_samples(files: Tar, name: str) -> Raw:
    """The samples of a WebDataset's tar."""
    keys: dict[str, dict[str, int]] = {}
    for i, file in enumerate(files.names):
        folder, slash, last = file.rpartition("/")
        stem, _, ending = last.partition(".")
        keys.setdefault(folder + slash + stem, {})[f".{ending.lower()}"] = i
    pictures = [next((i for e, i in k.items() if e in EXTENSIONS), -1) for k in keys.values()]
    arrays = [k.get(".npy", -1) for k in keys.values()]
    chosen = pictures if max(pictures, default=-1) >= 0 else arrays
    have = [(k, i) for k, i in zip(keys.values(), chosen, strict=True) if i >= 0]
    if not have:
        raise Broken("it has no KEY.png, KEY.jpg or KEY.npy")
    have.sort(key=lambda pair: pair[1])
    beside = [next((k[e] for e in (".cls", ".json") if e in k), -1) for k, _ in have]
    labels = _labels(files, beside)
    numbers = np.array([i for _, i in have], np.int64)
    if chosen is pictures:
        return Labelled(files, numbers, labels, [])
    x = np.stack([_array(d) for d in _whole(files, numbers.tolist())])
    return ArraySamples(name, [held(x, labels)])


def _labels(files: Tar, which: list[int]) -> np.ndarray | None:
    """(n,) classes from .cls or .json files, or None where a sample has none."""
    if min(which) < 0:
        return None
    read = dict(zip(sorted(which), _whole(files, sorted(which)), strict=True))
    found = [_label(read[i], files.names[i]) for i in which]
    return None if None in found else np.array(found, np.int32)


def _whole(files: Tar, numbers: list[int]) -> Iterator[bytes]:
    for data in files.read(numbers):
        if isinstance(data, Broken):
            raise data
        yield data


def _label(data: bytes, name: str) -> int | None:
    try:
        value: Any = json.loads(data)
    except ValueError:
        raise Broken(f"{name} is no number and no JSON") from None
    if isinstance(value, dict):
        value = next((value[k] for k in _LABEL if k in value), None)
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 100_000:
        raise Broken(f"{name} has no class number: {str(value)[:40]}")
    return value


def _array(data: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(data))  # by default without objects
    except ValueError as e:
        raise Broken(str(e)[:120]) from None


class Table:
    """The rows of a parquet file as picture files.

    Attributes:
        names: of the rows.
        classes: names of the labels, where the file's own description has them.
    """

    def __init__(self, path: Path | IO[bytes], name: str) -> None:
        """Raises: Broken: it is damaged, or has no pictures. Lacking: no pyarrow."""
        self.name = name
        try:
            import pyarrow.parquet as pq
        except ImportError:
            raise Lacking(
                f"{name} needs pyarrow; install it with: pip install 'ganforge[stream]'"
            ) from None
        try:
            self._file = pq.ParquetFile(path)
            schema = self._file.schema_arrow
            about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        except Exception as e:  # pyarrow's errors are of many kinds
            raise Broken(str(e).splitlines()[0][:120]) from None
        features = about.get("info", {}).get("features", {})
        kinds = {f.name: str(f.type) for f in schema}
        self._picture = next(
            (n for n in kinds if features.get(n, {}).get("_type") == "Image"),
            next((n for n, t in kinds.items() if t == "binary" or "bytes: binary" in t), ""),
        )
        if not self._picture:
            raise Broken(f"no column has pictures, only {', '.join(kinds)[:100]}")
        self._label = next((n for n in kinds if n in _LABEL and "int" in kinds[n]), "")
        self.classes = list(features.get(self._label, {}).get("names") or [])
        self.names = [f"row{i:07}.png" for i in range(self._file.metadata.num_rows)]

    def labels(self) -> np.ndarray | None:
        if not self._label:
            return None
        found = self._file.read([self._label]).column(0).to_pylist()
        return None if None in found else np.array(found, np.int32)

    def open(self, number: int) -> IO[bytes]:
        data = next(iter(self.read([number])))
        if isinstance(data, Broken):
            raise data
        return io.BytesIO(data)

    def read(self, numbers: Iterable[int]) -> Iterator[bytes | Broken]:
        rows = enumerate(self._rows())
        for number in numbers:
            value = next(v for i, v in rows if i == number)
            value = value.get("bytes") if isinstance(value, dict) else value
            yield (
                read_whole(self.names[number], lambda v=value: io.BytesIO(v))
                if value
                else Broken("it has no bytes in this file")
            )

    def _rows(self) -> Iterator[Any]:
        try:
            for batch in self._file.iter_batches(64, columns=[self._picture]):
                yield from batch.column(0).to_pylist()
        except (OSError, *UNREADABLE) as e:
            raise Broken(str(e).splitlines()[0][:120]) from None
