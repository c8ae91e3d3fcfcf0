"""Files under one name: a folder, a zip, a tar. Archives are read in place, never unpacked."""

from __future__ import annotations

import array
import hashlib
import lzma
import mmap
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from ganforge.errors import UserError

MAX_FILE = 256 << 20  # no picture needs more; a file that unpacks to more is a bomb
_SMALL = 64 << 20  # files up to this size are identified by their content
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, NotImplementedError,
              zipfile.BadZipFile, tarfile.TarError)  # fmt: skip
"""What reading a damaged file or archive raises."""


class Broken(Exception):
    """One file cannot be used; the message is the reason."""


class Files(Protocol):
    """Named bytes.

    Attributes:
        name: of the whole.
        names: of the files, with "/" between folders, in the order of reading.
    """

    name: str
    names: list[str]

    def open(self, number: int) -> IO[bytes]:
        """The bytes of one file. Raises what `UNREADABLE` lists."""
        ...

    def read(self, numbers: Iterable[int]) -> Iterator[bytes | Broken]:
        """The whole contents of these files (ascending numbers), or why not.

        Raises:
            UserError: a file unpacks to more than `MAX_FILE` bytes.
        """
        ...


def read_whole(name: str, opener: Callable[[], IO[bytes]]) -> bytes | Broken:
    """All of one file, or why not. Raises UserError for a bomb."""
    try:
        with opener() as f:
            data = f.read(MAX_FILE + 1)
    except Broken as e:
        return e
    except UNREADABLE as e:
        return Broken(reason(e))
    if len(data) > MAX_FILE:
        raise UserError(
            f"{name} holds more than {MAX_FILE >> 20} MiB, more than any picture needs (a "
            "decompression bomb?); remove it"
        )
    return data


def reason(error: BaseException) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, FileNotFoundError):
        return "it is a link to nothing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if str(error).startswith("file could not be opened"):  # tarfile's words for every other kind
        return "not a tar archive, or cut short"
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


def unreadable(path: Path | str, error: BaseException) -> UserError:
    """The error of a source that cannot be read at all."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, PermissionError):
        return UserError(f"{path} cannot be read: no permission; make it readable (chmod +r)")
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} does not exist; check the path")
    return UserError(f"{path} is damaged or not what it seems ({reason(error)}); get it anew")


class Folder:
    """All files under a folder, by name. Links are followed, each folder is visited once.

    Args:
        path: of the folder.
        deep: with the folders in it.

    Raises:
        UserError: the folder, or one in it, cannot be read.
    """

    def __init__(self, path: Path, deep: bool = True) -> None:
        self.path, self._deep, self.name = path, deep, path.name or str(path.resolve())
        self.names: list[str] = []
        self._facts = hashlib.blake2b(digest_size=16)
        self._walk("", set())

    def _walk(self, prefix: str, seen: set[tuple[int, int]]) -> None:
        folder = self.path / prefix
        try:
            here = os.stat(folder)
            if (here.st_dev, here.st_ino) in seen:
                return
            seen.add((here.st_dev, here.st_ino))
            entries = sorted(os.listdir(folder))
        except OSError as e:
            raise unreadable(folder, e) from None
        for entry in entries:
            name = prefix + entry
            if hidden(entry):
                continue
            try:
                info = os.stat(self.path / name)
            except OSError:  # a link to nothing: reading it will say so, by name
                info = None
            if info is not None and stat.S_ISDIR(info.st_mode):
                if self._deep:
                    self._walk(f"{name}/", seen)
            elif info is None or stat.S_ISREG(info.st_mode):
                self.names.append(name)
                facts = (info.st_size, info.st_mtime_ns) if info else ()
                self._facts.update(f"{name}\0{facts}\0".encode(errors="surrogateescape"))

    def identity(self) -> Any:
        """Plain data that differ whenever a file's name, size or time of change does."""
        return [str(self.path.resolve()), len(self.names), self._facts.hexdigest()]

    def open(self, number: int) -> IO[bytes]:
        return open(self.path / self.names[number], "rb")

    def read(self, numbers: Iterable[int]) -> Iterator[bytes | Broken]:
        for i in numbers:
            yield read_whole(str(self.path / self.names[i]), lambda i=i: self.open(i))


class Zip:
    """The files of a zip archive.

    The standard library's reader holds half a kilobyte in memory for each file; this one
    keeps a name and the place of the file's directory entry, and leaves the unpacking to it.
    """

    _END = struct.Struct("<4s4H2LH")
    _END64 = struct.Struct("<4sQ2H2L4Q")
    _ENTRY = struct.Struct("<4s6H3L5H2L")

    def __init__(self, path: Path) -> None:
        """Raises: UserError: it is damaged."""
        self.path, self.name = path, path.name
        self.names: list[str] = []
        places = array.array("q")
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - open as long as this object
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            place, count, self._shift = self._directory()
            for _ in range(count):
                name, after = self._name(place)
                if not (name.endswith("/") or hidden(name)):
                    self.names.append(name)
                    places.append(place)
                place = after
        except (*UNREADABLE, struct.error, IndexError) as e:
            raise unreadable(path, e) from None
        self._places = places

    def _directory(self) -> tuple[int, int, int]:
        """The directory's place, how many entries it has, and how many bytes stand before
        the archive."""
        end = self._map.rfind(b"PK\5\6", max(0, len(self._map) - 65557))
        if end < 0:
            raise ValueError("not a zip archive, or cut short")
        *_, count, size, offset, _ = self._END.unpack_from(self._map, end)
        if self._map[max(0, end - 20) : end - 16] == b"PK\6\7":
            end = end - 20 - self._END64.size
            if self._map[end : end + 4] != b"PK\6\6":
                raise ValueError("its directory is damaged")
            *_, count, size, offset = self._END64.unpack_from(self._map, end)
        return end - size, count, end - size - offset

    def _name(self, place: int) -> tuple[str, int]:
        """The name of the entry at `place`, and the place of the next."""
        fields = self._ENTRY.unpack_from(self._map, place)
        if fields[0] != b"PK\1\2":
            raise ValueError("its directory is damaged")
        flags, (n, extra, comment) = fields[3], fields[10:13]
        start = place + self._ENTRY.size
        raw = self._map[start : start + n]
        return raw.decode("utf-8" if flags & 0x800 else "cp437"), start + n + extra + comment

    def open(self, number: int) -> IO[bytes]:
        place = self._places[number]
        info = zipfile.ZipInfo(self.names[number])
        entry = self._ENTRY.unpack_from(self._map, place)
        info.flag_bits, info.compress_type = entry[3:5]
        info.CRC, info.compress_size, info.file_size, n, extra = entry[7:12]
        offset = entry[-1]
        start = place + self._ENTRY.size + n
        large = _zip64(self._map[start : start + extra])
        for field in ("file_size", "compress_size"):
            if getattr(info, field) == 0xFFFFFFFF:
                setattr(info, field, next(large))
        offset = (next(large) if offset == 0xFFFFFFFF else offset) + self._shift
        if info.flag_bits & 1:
            raise Broken("encrypted; unpack the archive with its password first")
        if self._map[offset : offset + 4] != b"PK\3\4":
            raise ValueError("its place in the archive is damaged")
        n, extra = struct.unpack_from("<2H", self._map, offset + 26)
        data = open(self.path, "rb")  # noqa: SIM115 - the reader closes it
        data.seek(offset + 30 + n + extra)
        return zipfile.ZipExtFile(data, "r", info, None, True)  # type: ignore[call-overload]

    def read(self, numbers: Iterable[int]) -> Iterator[bytes | Broken]:
        for i in numbers:
            yield read_whole(f"{self.path}: {self.names[i]}", lambda i=i: self.open(i))


def _zip64(extra: bytes) -> Iterator[int]:
    """The 64-bit numbers that replace an entry's 32-bit ones, in their order."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            yield from struct.unpack_from(f"<{min(length, 24) // 8}Q", extra, 4)
        extra = extra[4 + length :]
    raise ValueError("its size is missing")


class Tar:
    """The regular files of a tar archive, plain or compressed, in its own order, in which
    alone a compressed one can be read at speed."""

    def __init__(self, path: Path) -> None:
        """Raises: UserError: it is damaged."""
        self.path, self.name = path, path.name
        try:
            with tarfile.open(path) as tar:
                self.names = [m.name for m in self._members(tar)]
        except UNREADABLE as e:
            raise unreadable(path, e) from None

    @staticmethod
    def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        file = tar.fileobj
        assert file is not None
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
            if member.isreg() and not hidden(member.name):
                yield member
        # The reader takes any header that it cannot read for the end, which is two empty ones.
        if file.tell() < tar.offset + 512 or any(file.read(512)):  # type: ignore[attr-defined]
            raise EOFError("it is cut short, or damaged in the middle")

    def open(self, number: int) -> IO[bytes]:
        tar = tarfile.open(self.path)  # noqa: SIM115 - lives as long as the file
        for i, member in enumerate(self._members(tar)):
            if i == number:
                file = tar.extractfile(member)
                assert file is not None
                return file
        raise KeyError(number)

    def read(self, numbers: Iterable[int]) -> Iterator[bytes | Broken]:
        wanted = iter(numbers)
        number = next(wanted, None)
        try:
            with tarfile.open(self.path) as tar:
                for i, member in enumerate(self._members(tar)):
                    if i == number:
                        yield read_whole(
                            f"{self.path}: {member.name}",
                            lambda t=tar, m=member: t.extractfile(m),  # type: ignore[arg-type, return-value]
                        )
                        number = next(wanted, None)
                        if number is None:
                            return
        except UNREADABLE as e:
            raise unreadable(self.path, e) from None


def hidden(name: str) -> bool:
    """Files that systems leave in archives, not the user's."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(p.startswith(".") and p not in (".", "..") for p in parts)


class Located(NamedTuple):
    """A source that was found but not yet read.

    Attributes:
        name: what to call it.
        identity: plain data that differ whenever its content may; None: it is not kept.
        open: reads what is there.
    """

    name: str
    identity: Any
    open: Callable[[], Any]


def identity(*paths: Path) -> list[Any]:
    """Plain data that differ whenever the files' content may: a digest of the content, or
    where that would take long the path, size and time of change.

    Raises:
        UserError: a file cannot be read.
    """
    found: list[Any] = []
    for path in paths:
        try:
            facts = path.stat()
            if facts.st_size <= _SMALL:
                with open(path, "rb") as f:
                    found.append(hashlib.file_digest(f, "blake2b").hexdigest())
            else:
                found.append([str(path.resolve()), facts.st_size, facts.st_mtime_ns])
        except OSError as e:
            raise unreadable(path, e) from None
    return found
