"""Data beyond a disk: shards at URLs, brought here one by one into a cache of bounded size.

    https://host/train-{000..146}.tar      a WebDataset
    s3://bucket/data/*.parquet             Hugging Face's files

When it is first opened, the shards are counted: by `sizes.json` beside them, by the ends of
parquet files, or else by reading each once. From then on position -> (epoch, shard, sample)
is arithmetic (`ganforge.data.shuffle.Windowed`), so a resume is exact and several processes
read what one would, each the shards of its own part of the batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganforge.data.dataset import Dataset
from ganforge.data.files import Broken, reason
from ganforge.data.packing import Form, Progress, Raw, Wish, pack
from ganforge.data.shards import PARQUET, Labelled, Table, shard_samples
from ganforge.data.shuffle import Windowed
from ganforge.data.store import FORMAT, Store, alone, cached, room
from ganforge.errors import Lacking, UserError

LIMIT = "GANFORGE_STREAM_GB"  # of the disk that brought shards may take, each host
_LIMIT_GB = 20.0
_MAPPED = 256
_TRIES = 3
_LEFT_AFTER = 24 * 3600  # seconds after which nobody still writes a file that was being brought
_ENDINGS = (".tar", ".tar.gz", ".tgz", *PARQUET)


def file_name(url: str) -> str:
    """The last part of a URL; signed ones have a query after it."""
    return url.partition("?")[0].rpartition("/")[2]


def is_url(text: str) -> bool:
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", text))


class Shard(NamedTuple):
    """One shard: where, how many samples, and what tells its content from another's."""

    url: str
    samples: int
    about: str


# -- what lies beyond -----------------------------------------------------------------------
class Unfit(UserError):
    """What was asked for does not fit the samples: of no shard, so the next is not tried."""


class GivenUp(Exception):
    """What was being brought is no longer wanted."""


class Remote:
    """Files at URLs, through fsspec.

    Args:
        url: one of them.
        folder: where they are brought to.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Raises: UserError: there is no reader for such URLs."""
        self.folder = folder
        try:
            import fsspec
        except ImportError:
            raise Lacking(
                f"{url} needs fsspec; install it with: pip install 'ganforge[stream]'"
            ) from None
        slow: dict[str, Any] = {}
        if url.startswith(("http://", "https://")):
            with contextlib.suppress(ImportError):
                from aiohttp import ClientTimeout

                # A large shard takes longer than aiohttp's five minutes; silence does not.
                timeout = ClientTimeout(total=None, sock_connect=30, sock_read=60)
                slow = {"client_kwargs": {"timeout": timeout}}
        try:
            self.fs, _ = fsspec.core.url_to_fs(url, **slow)
        except (ImportError, ValueError) as e:
            raise UserError(
                f"{url} cannot be read: {str(e)[:120]}; install its reader (pip install "
                "'ganforge[stream]' has http, s3fs reads s3://, gcsfs gs://, huggingface_hub hf://)"
            ) from None
        self.scheme = url.partition("://")[0]

    def ask(self, work: Callable[[], Any]) -> Any:
        """Raises: Broken: it did not work, though tried three times. Lacking: no room here."""
        for left in reversed(range(_TRIES)):
            try:
                return work()
            except FileNotFoundError:
                # A server that is asked too much looks like one that has nothing.
                if not left or self.scheme in ("file", "memory", ""):
                    raise Broken("not found") from None
                time.sleep(0.3 * (_TRIES - left))
            except Exception as e:  # each kind of storage raises errors of its own
                if isinstance(e, GivenUp):
                    raise
                if isinstance(e, OSError) and (lacking := room(e, self.folder)) is not None:
                    raise lacking from None
                if not left:
                    raise Broken(reason(e)) from None
                time.sleep(0.3 * (_TRIES - left))

    def about(self, url: str) -> str:
        """What differs when the file does: size, tag, time."""
        info = self.ask(lambda: self.fs.info(url))
        tag = next(
            (
                info[k]
                for k in ("ETag", "etag", "mtime", "LastModified", "Last-Modified")
                if k in info
            ),
            "",
        )
        return f"{info.get('size')} {tag}"

    def read(self, url: str) -> bytes:
        return self.ask(lambda: self.fs.cat_file(url))

    def fetch(self, url: str, to: Path, unwanted: threading.Event | None = None) -> None:
        """Raises: GivenUp: it became unwanted on the way."""
        from fsspec.callbacks import Callback

        class Asking(Callback):
            def relative_update(self, inc: int = 1) -> None:
                if unwanted is not None and unwanted.is_set():
                    raise GivenUp(url)

        asking = Asking()

        def get() -> None:
            asking.relative_update()  # not all storage says how far it has come
            self.fs.get_file(url, str(to), callback=asking)

        self.ask(get)

    def rows(self, url: str) -> int | None:
        """How many a parquet file has, by its end; None where storage gives no parts of files."""
        try:
            with self.fs.open(url, "rb") as f:
                return len(Table(f, url).names)
        except UserError:
            raise
        except Exception:  # reading it whole will say what is wrong
            return None

    def found(self, pattern: str) -> list[str]:
        """What a pattern with * names."""
        names = self.ask(lambda: self.fs.glob(pattern))
        return sorted(self.fs.unstrip_protocol(n) for n in names)


def braces(text: str) -> list[str]:
    """{000..146} and {a,b} as a shell reads them."""
    match = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", text)
    if match is None:
        return [text]
    low, high, names = match.groups()
    if names is None and int(high) - int(low) >= 1_000_000:
        raise UserError(f"{text} names more than a million shards; are the numbers right?")
    some = (
        names.split(",")
        if names is not None
        else [str(i).zfill(len(low)) for i in range(int(low), int(high) + 1)]
    )
    return [r for s in some for r in braces(text[: match.start()] + s + text[match.end() :])]


# -- the shards of a source -----------------------------------------------------------------
class Shards:
    """The samples of all shards as arrays that can be gathered from: `images`, `labels`.

    Args:
        shards: in order.
        remote: where they are.
        folder: of packed ones; what has not been used for longest makes room.
        wish, form: how they are packed.
        classes: how many; 0 where labels are not used.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        remote: Remote,
        folder: Path,
        wish: Wish,
        form: Form,
        classes: int = 0,
    ) -> None:
        self.shards, self.remote, self.folder = list(shards), remote, folder
        self.wish, self.form, self.classes = wish, form, classes
        self.ends = np.cumsum([s.samples for s in shards])
        self._open: OrderedDict[int, Store] = OrderedDict()
        self._coming: dict[int, Future[Store]] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._unwanted = threading.Event()  # set for what the pool was given

    def gather(self, places: np.ndarray, column: str, out: np.ndarray) -> np.ndarray:
        """Into `out` (N, ...) the column's values at these sample numbers (N,)."""
        which = np.searchsorted(self.ends, places, "right")
        for number in np.unique(which).tolist():
            these = which == number
            store, shard = self.store(number), self.shards[number]
            rows = places[these] - (self.ends[number] - shard.samples)
            if len(store) != shard.samples:  # for a sample that cannot be read, a neighbour
                rows = rows * len(store) // shard.samples
            out[these] = getattr(store, column).take(rows, axis=0)
        return out

    def store(self, number: int) -> Store:
        """A shard, packed; brought here if it is not."""
        with self._lock:
            coming = self._coming.pop(number, None)
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
        try:
            store = self.bring(number) if coming is None else coming.result()
        except (UserError, GivenUp, CancelledError):
            if coming is None:
                raise
            store = self.bring(number)  # it may be there again: that try was a window ago
        with self._lock:
            self._open[number] = store
            while len(self._open) > _MAPPED:
                self._open.popitem(last=False)
        return store

    def want(self, places: np.ndarray) -> None:
        """Begin to bring the shards of these samples."""
        with self._lock:
            for number in np.unique(np.searchsorted(self.ends, places, "right")).tolist():
                if number not in self._open and number not in self._coming:
                    self._pool = self._pool or ThreadPoolExecutor(2, "shards")
                    self._coming[number] = self._pool.submit(self.bring, number, self._unwanted)

    def rest(self) -> None:
        """Give up what was begun by `want` and is not here yet: otherwise the program's end
        would wait for all of it."""
        with self._lock:
            pool, self._pool, self._coming = self._pool, None, {}
            self._unwanted.set()
            self._unwanted = threading.Event()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def bring(self, number: int, unwanted: threading.Event | None = None) -> Store:
        """Raises: UserError: the shard can no longer be read, or has other samples."""
        shard = self.shards[number]
        try:
            store = packed(
                shard.url, shard.about, self.remote, self.folder, self.wish, self.form, unwanted
            )
        except Broken as e:
            raise UserError(
                f"shard {shard.url} cannot be read ({e}); the last checkpoint is intact: bring the "
                "shard back and resume, or start a new run without it"
            ) from None
        if not shard.samples // 2 <= len(store) <= shard.samples:
            raise UserError(
                f"shard {shard.url} has {len(store)} samples that can be read, {shard.samples} were "
                "counted; mend sizes.json or the shard"
            )
        labels = store.labels
        if self.classes and len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise UserError(
                f"shard {shard.url} has labels from {labels.min()} to {labels.max()} (-1: none), "
                f"there are {self.classes} classes; mend classes.json or the shard"
            )
        self._make_room(store.path)
        return store

    def _make_room(self, newest: Path) -> None:
        """Remove the packed shards that were not opened for longest, over the limit."""
        with contextlib.suppress(OSError):
            os.utime(newest)
        have = []
        for path in self.folder.glob("*.store"):
            with contextlib.suppress(OSError):
                info = path.stat()
                have.append((info.st_mtime_ns, info.st_size, path))
        over = sum(size for _, size, _ in have) - limit()
        gone = set()
        for _, size, path in sorted(have):
            if over <= 0 or path == newest:
                break
            path.unlink(missing_ok=True)
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
            gone.add(path)
            over -= size
        with self._lock:  # what is mapped keeps its room on the disk
            self._open = OrderedDict((k, s) for k, s in self._open.items() if s.path not in gone)


def limit() -> int:
    """Bytes that packed shards may take. Raises: UserError: it is no number."""
    said = os.environ.get(LIMIT, "")
    try:
        gb = float(said or _LIMIT_GB)
    except ValueError:
        gb = 0.0
    if not gb > 0:
        raise UserError(f"{LIMIT}={said} is no size; give gigabytes such as 20")
    return int(gb * 1e9)


def packed(
    url: str,
    about: str,
    remote: Remote,
    folder: Path,
    wish: Wish,
    form: Form | None,
    unwanted: threading.Event | None = None,
) -> Store:
    """A shard's samples in a store, brought and packed unless they are there.

    Raises:
        Broken: it cannot be read.
    """
    parts = [FORMAT, url, about, form and [form.shape, form.dtype.str], *vars(wish).values()]
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()

    def work(path: Path) -> None:
        with brought(url, remote, folder, unwanted) as raw:
            pack(raw, wish, path, form=form)

    try:
        return cached(folder, key, work)
    except Lacking:
        raise
    except UserError as e:
        raise Broken(str(e)) from None


@contextlib.contextmanager
def brought(
    url: str, remote: Remote, folder: Path, unwanted: threading.Event | None = None
) -> Iterator[Raw]:
    """A shard's samples as published, while it lies in a file here."""
    handle, name = tempfile.mkstemp(prefix=".shard-", dir=folder)
    os.close(handle)
    try:
        remote.fetch(url, Path(name), unwanted)
        yield shard_samples(Path(name), file_name(url))
    finally:
        os.unlink(name)


class Column:
    """What `Dataset` needs of an array, gathered from shards."""

    def __init__(self, shards: Shards, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shards, self.name, self.dtype = shards, name, dtype
        self.shape = (int(shards.ends[-1]), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, places: np.ndarray, axis: int = 0) -> np.ndarray:
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        return self.shards.gather(np.asarray(places, np.int64), self.name, out)


class Streamed(Dataset):
    """Samples of shards at URLs; see the module."""

    def __init__(self, shards: Shards, **more: Any) -> None:
        classes = more.get("classes")
        super().__init__(
            Column(shards, "images", shards.form.shape, shards.form.dtype),  # type: ignore[arg-type]
            Column(shards, "labels", (), np.dtype(np.int32)) if classes else None,  # type: ignore[arg-type]
            **more,
        )
        self.shards = shards

    def shuffle(self, seed: int = 0, batch_size: int = 1, end: int | None = None) -> Ahead:
        return Ahead(self.shards, seed, batch_size, end)

    def rest(self) -> None:
        self.shards.rest()


class Ahead:
    """`Windowed` order that has shards brought before they are needed."""

    def __init__(self, shards: Shards, seed: int, batch_size: int, end: int | None = None) -> None:
        self.shards, self.end = shards, end
        self.order = Windowed([s.samples for s in shards.shards], seed, batch_size)

    def at(self, start: int, count: int) -> np.ndarray:
        later = self.order.later(start)
        needed = count if self.end is None else min(count, self.end - later)
        if needed > 0:
            self.shards.want(self.order.at(later, needed))
        return self.order.at(start, count)


# -- opening --------------------------------------------------------------------------------
def open_streamed(
    text: str,
    wish: Wish,
    split: str | None,
    holdout: float | None,
    cache: Path,
    progress: Progress | None = None,
) -> Streamed:
    """The shards that a URL with {..} or * names.

    Args:
        holdout: share of the shards, at least one, that is kept for "test".

    Raises:
        UserError: there are none, more than half cannot be read, or they do not fit.
    """
    limit()
    url, at, said = text.rpartition("@")
    url = url if at and "/" not in said else text
    split = split or (said if url != text else "train")
    if split not in ("train", "test", "all"):
        raise UserError(f"split {split!r} in {text!r} is unknown; choose @train, @test, @all")
    if split == "test" and holdout is None:
        raise UserError(
            f"{url} has no test split; keep some shards with --holdout 0.1, or use @all"
        )
    if not file_name(url).lower().endswith(_ENDINGS):
        hub = url.rstrip("/").removesuffix(".git") if url.startswith("hf://datasets/") else ""
        such = f"{hub}/**/train*.parquet" if hub else "NAME-{000..146}.tar"
        raise UserError(f"{url} names no shards; end it in {', '.join(_ENDINGS)}, such as {such}")
    folder = cache / "shards"
    folder.mkdir(exist_ok=True)
    _sweep(folder)
    remote = Remote(url, folder)
    found = counted(url, wish, remote, folder, progress)
    form = Form(tuple(found["form"][0]), np.dtype(found["form"][1]))
    shards = [Shard(*s) for s in found["shards"]]
    if holdout is not None and split != "all":
        shards = _held(shards, split, holdout)
    what = json.dumps(
        [found["form"], found["classes"], [(s.samples, s.url, s.about) for s in shards]]
    )
    return Streamed(
        Shards(shards, remote, folder, wish, form, len(found["classes"])),
        classes=found["classes"],
        name=file_name(url),
        split=split,
        fingerprint=hashlib.blake2b(what.encode(), digest_size=16).hexdigest(),
        notes=found["notes"],
    )


def _sweep(folder: Path) -> None:
    """Remove what killed processes left of shards they were bringing."""
    for left in folder.glob(".shard-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_AFTER:
                left.unlink()


def _held(shards: list[Shard], split: str, holdout: float) -> list[Shard]:
    """The shards of a split; which are kept depends on their URLs alone."""
    if len(shards) < 2:
        raise UserError("--holdout keeps whole shards of a stream, and there is only one")
    ranked = sorted(shards, key=lambda s: hashlib.blake2b(s.url.encode()).digest())
    kept = set(ranked[: min(len(shards) - 1, max(1, round(holdout * len(shards))))])
    return [s for s in shards if (s in kept) == (split == "test")]


def counted(
    url: str, wish: Wish, remote: Remote, folder: Path, progress: Progress | None
) -> dict[str, Any]:
    """{"shards": [[url, count, about]], "form", "classes", "notes"}: found once and kept."""
    urls = [u for b in braces(url) for u in _matching(b, remote)]
    beside = url[: url.rindex("/") + 1] if "{" not in url.rpartition("/")[0] else ""
    about, lost = _abouts(urls, remote)
    if not about:
        first = lost[0] if lost else "no shard has such a name"
        raise UserError(f"{url} cannot be read: {first}; check the address")
    sizes = _json(remote, f"{beside}sizes.json", dict) if beside else None
    names = _json(remote, f"{beside}classes.json", list) if beside else None
    parts = [FORMAT, url, sorted(about.items()), sizes, names, *vars(wish).values()]
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
    path = folder / f"{key}.json"
    with alone(path):
        if not path.exists():
            found = _count(url, sizes, names, about, lost, wish, remote, folder, progress)
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            aside.write_text(json.dumps(found))
            os.replace(aside, path)
        return json.loads(path.read_text())


def _matching(url: str, remote: Remote) -> list[str]:
    if "*" not in url:
        return [url]
    try:
        return remote.found(url)
    except Broken as e:
        raise UserError(f"{url} cannot be listed: {e}; name the shards with {{000..146}}") from None


def _abouts(urls: Sequence[str], remote: Remote) -> tuple[dict[str, str], list[str]]:
    """What tells each shard from another, and those that are not there."""

    def one(url: str) -> str | Broken:
        try:
            return remote.about(url)
        except Broken as e:
            return e

    with ThreadPoolExecutor(16) as pool:
        found = dict(zip(urls, pool.map(one, urls), strict=True))
    lost = [f"{u} ({e})" for u, e in found.items() if isinstance(e, Broken)]
    return {u: a for u, a in found.items() if isinstance(a, str)}, lost


def _count(
    url: str,
    sizes: dict[str, Any] | None,
    names: list[Any] | None,
    about: dict[str, str],
    lost: list[str],
    wish: Wish,
    remote: Remote,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    form, classes, most, shards, lost = None, None, -1, [], list(lost)
    bare = False  # a sample has no label: none are used
    for i, (at, what) in enumerate(about.items()):
        try:
            if form is None:
                with brought(at, remote, folder) as raw:
                    try:
                        form, classes = raw.form(wish), _names(raw)
                    except UserError as e:
                        raise Unfit(str(e)) from None
            count = (sizes or {}).get(file_name(at))
            if count is None and file_name(at).lower().endswith(PARQUET):
                count = remote.rows(at)
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                store = packed(at, what, remote, folder, wish, form)
                count = len(store)
                most = max(most, int(store.labels.max(initial=-1)))
                bare = bare or int(store.labels.min(initial=0)) < 0
                Shards([Shard(at, count, what)], remote, folder, wish, form)._make_room(store.path)
            if count:
                shards.append([at, count, what])
        except (Unfit, Lacking):
            raise
        except (Broken, UserError) as e:
            lost.append(f"{at} ({e})")
        if progress is not None:
            progress(i + 1, len(about))
    total = len(shards) + len(lost)
    if form is None or not shards or len(lost) > len(shards):
        raise UserError(
            f"{len(lost)} of {total} shards of {url} cannot be read, the first being {lost[0]}"
        )
    notes = []
    if lost:
        more = f"; and {len(lost) - 3} more" if len(lost) > 3 else ""
        notes.append(
            f"{len(lost)} of {total} shards could not be read and are left out: "
            f"{'; '.join(lost[:3])}{more}"
        )
    # Of shards that were not read nobody knows how many classes they have.
    unread = bool(sizes) and names is None
    numbered = [] if unread else [str(k) for k in range(most + 1)]
    classes = [] if bare else classes or names or numbered
    if most >= len(classes) > 0:
        raise UserError(f"{url} has labels up to {most}, classes.json names {len(classes)}")
    return {"shards": shards, "form": [list(form.shape), form.dtype.str],
            "classes": [str(c) for c in classes], "notes": notes}  # fmt: skip


def _names(raw: Raw) -> list[str] | None:
    return list(raw.classes) or None if isinstance(raw, Labelled) else None


def _json(remote: Remote, url: str, kind: type) -> Any:
    try:
        value = json.loads(remote.read(url))
    except (Broken, ValueError):
        return None
    return value if isinstance(value, kind) else None
