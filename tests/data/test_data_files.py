"""Folders and archives, friendly and hostile."""

import contextlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_making import encoded, image, some_files, write_folder, write_tar, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.data import files as module
from ganforge.data import open_source
from ganforge.data.files import Broken, Folder, Tar, Zip, identity
from ganforge.errors import UserError

FILES = {
    "a/one.png": b"1" * 10,
    "two.png": b"22",
    "b/c/three.png": b"",
    "z": bytes(range(256)) * 99,
}


def contents(files: Folder | Zip | Tar) -> dict[str, bytes]:
    read = files.read(range(len(files.names)))
    return {n: d for n, d in zip(files.names, read, strict=True) if not isinstance(d, Broken)}


def test_every_container_gives_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", FILES)
    containers = [Folder(folder), Zip(write_zip(tmp_path / "f.zip", FILES))]
    for mode, end in (("w", "tar"), ("w:gz", "tar.gz"), ("w:bz2", "tar.bz2"), ("w:xz", "tar.xz")):
        containers.append(Tar(write_tar(tmp_path / f"f.{end}", FILES, mode)))
    for files in containers:
        assert contents(files) == FILES
        some = list(files.read([1, 3]))
        assert some == [FILES[files.names[1]], FILES[files.names[3]]]
        with files.open(2) as f:
            assert f.read() == FILES[files.names[2]]


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.text("abcäß日/", min_size=1, max_size=12).filter(
            lambda n: not n.startswith("/") and not n.endswith("/") and "//" not in n
        ),
        st.binary(max_size=300),
        max_size=8,
    ),
    kind=st.sampled_from(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    ),
    before=st.binary(max_size=50),
    comment=st.binary(max_size=50),
)
def test_our_reader_reads_what_zipfile_writes(
    tmp_path_factory: pytest.TempPathFactory, files, kind, before, comment
) -> None:
    path = tmp_path_factory.mktemp("zips") / "x.zip"
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a" if before else "w", kind) as z:
        z.comment = comment
        for name, data in files.items():
            z.writestr(name, data)
    assert contents(Zip(path)) == files


@pytest.mark.parametrize("limit", ["ZIP64_LIMIT", "ZIP_FILECOUNT_LIMIT"])
def test_large_zip_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Zips of more than 65,535 files or 4 GiB: here the writer thinks that these are large."""
    monkeypatch.setattr(zipfile, limit, 2)
    assert contents(Zip(write_zip(tmp_path / "x.zip", FILES))) == FILES
    assert b"PK\6\6" in (tmp_path / "x.zip").read_bytes()


def test_what_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    files = {"a.png": b"1", ".DS_Store": b"2", "__MACOSX/a.png": b"3", ".git/x.png": b"4"}
    for made in (Folder(write_folder(tmp_path / "f", files)), Zip(write_zip(tmp_path / "z", files)),
                 Tar(write_tar(tmp_path / "t", files))):  # fmt: skip
        assert made.names == ["a.png"]


# -- hostile --------------------------------------------------------------------------------
def test_links_in_a_circle_end(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(4))
    (folder / "again").symlink_to(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder / "sub")
    (folder / "other").symlink_to(folder / "sub")
    assert len(Folder(folder).names) == 4


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(4))
    (folder / "x.png").symlink_to(tmp_path / "nowhere")
    dataset = open_source(folder)
    assert len(dataset) == 4
    assert dataset.notes == [
        "1 of 5 files could not be read and were skipped: x.png (it is a link to nothing)"
    ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(4))
    os.mkfifo(folder / "pipe.png")
    assert len(Folder(folder).names) == 4


def test_names_that_lead_out_of_the_archive(tmp_path: Path) -> None:
    good = some_files(5)
    bad = {"../../evil.png": encoded(image()), "/etc/evil.png": encoded(image())}
    for path in (
        write_zip(tmp_path / "x.zip", good | bad),
        write_tar(tmp_path / "x.tar", good | bad),
    ):
        dataset = open_source(path)
        assert len(dataset) == 5
        assert dataset.classes == []
        assert "leads out of the archive" in dataset.notes[0]
    assert not list(tmp_path.parent.glob("**/evil.png"))


def test_a_zip_bomb_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE", 1 << 20)
    bomb = some_files(3) | {"bomb.png": b"\0" * (3 << 20)}
    for path in (write_zip(tmp_path / "x.zip", bomb), write_tar(tmp_path / "x.tar.gz", bomb)):
        assert path.stat().st_size < 1 << 16
        with pytest.raises(UserError, match=r"bomb\.png holds more than 1 MiB.*remove it"):
            open_source(path)


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", some_files(3))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as z:
        start = z.start_dir
    for _ in range(3):
        data[start + 8] |= 1  # the flag that says encrypted
        start = data.find(b"PK\1\2", start + 1)
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted; unpack the archive with its password"):
        open_source(path)


@pytest.mark.parametrize("end", ["zip", "tar", "tar.gz"])
def test_an_archive_cut_short(tmp_path: Path, end: str) -> None:
    write = write_zip if end == "zip" else write_tar
    path = write(tmp_path / f"x.{end}", some_files(8))
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(UserError, match=rf"x\.{end}") as e:
            open_source(path)
        assert "\n" not in str(e.value)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_damaged_zip_is_never_more_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    path = write_zip(tmp_path_factory.mktemp("zips") / "x.zip", FILES)
    data = bytearray(path.read_bytes())
    data[-1 - place % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        files = Zip(path)
        for found in files.read(range(len(files.names))):
            assert isinstance(found, (bytes, Broken))


def test_a_flipped_bit_in_a_zip_costs_one_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", some_files(6), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.find(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    dataset = open_source(path)
    assert len(dataset) == 5
    assert "img000.png (Bad CRC-32" in dataset.notes[0]


# -- permission: tests may run as root, for whom everything is readable ----------------------
def _deny(monkeypatch: pytest.MonkeyPatch, where: str, victim: str) -> None:
    original = getattr(os, where) if where != "open" else open

    def denied(path, *args, **more):
        if str(path).endswith(victim):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *args, **more)

    if where == "open":
        monkeypatch.setattr("builtins.open", denied)
    else:
        monkeypatch.setattr(os, where, denied)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "f", some_files(4, classes=2))
    _deny(monkeypatch, "listdir", "class1")
    with pytest.raises(UserError, match=r"class1.*no permission.*chmod"):
        open_source(folder)


def test_a_file_without_permission_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "f", some_files(4))
    _deny(monkeypatch, "open", "img002.png")
    dataset = open_source(folder)
    assert len(dataset) == 3
    assert "img002.png (no permission)" in dataset.notes[0]


def test_an_archive_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "x.zip", some_files(4))
    _deny(monkeypatch, "open", "x.zip")
    with pytest.raises(UserError, match=r"x\.zip cannot be read: no permission"):
        open_source(path)


# -- identity -------------------------------------------------------------------------------
def test_a_change_is_noticed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", some_files(4))
    seen = [Folder(folder).identity()]
    os.utime(folder / "img001.png", ns=(1, 1))
    seen.append(Folder(folder).identity())
    (folder / "img001.png").rename(folder / "img9.png")
    seen.append(Folder(folder).identity())
    (folder / "img9.png").unlink()
    seen.append(Folder(folder).identity())
    assert len({str(s) for s in seen}) == 4
    first = open_source(folder)
    (folder / "new.png").write_bytes(encoded(image(shift=99)))
    second = open_source(folder)
    assert (len(first), len(second)) == (3, 4)
    assert first.fingerprint != second.fingerprint


def test_small_files_are_known_by_their_content(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"same")
    b.write_bytes(b"same")
    assert identity(a) == identity(b)
    b.write_bytes(b"diff")
    assert identity(a) != identity(b)


def test_the_same_pictures_pack_alike_from_anything(tmp_path: Path) -> None:
    files = some_files(6, classes=2)
    prints = {
        open_source(path).fingerprint
        for path in (
            write_folder(tmp_path / "f", files),
            write_zip(tmp_path / "f.zip", dict(sorted(files.items()))),
            write_tar(tmp_path / "f.tar.gz", dict(sorted(files.items()))),
        )
    }
    assert len(prints) == 1
    assert np.asarray(open_source(tmp_path / "f").images).shape == (6, 24, 24, 3)
