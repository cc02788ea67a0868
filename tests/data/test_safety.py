"""Hostile and broken archives, and downloads that go wrong: one sentence, nothing astray, and a good try afterwards."""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from graybox.data import sources
from graybox.data.params import FolderParams
from graybox.data.sources import UnreadableError, archives, downloads
from graybox.data.sources.files import ZipFiles
from graybox.errors import UserError
from tests.data import test_sources
from tests.data.test_sources import CONTENTS, download, everything, make_tar, make_zip

archive_bytes, raw, server = test_sources.archive_bytes, test_sources.raw, test_sources.server


def refused(archive: Path, raw: Path, told: str) -> None:
    """An archive is refused in one sentence that names it, and leaves nothing behind."""
    before = everything(archive.parent)
    with pytest.raises(UserError, match=told) as error:
        download(archive, raw)
    assert archive.name in str(error.value) and "\n" not in str(error.value)
    assert everything(archive.parent) == before


# --- zips ---------------------------------------------------------------------------------------------------------


def patched(path: Path, at: int, layout: str, value: int, *, central: bool = True) -> Path:
    """Change a number in the first entry's record in the table of contents, or in its local header."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(b"PK\x01\x02" if central else b"PK\x03\x04") + at, value)
    path.write_bytes(data)
    return path


def test_entries_that_share_bytes_are_refused(tmp_path, raw):
    path = make_zip(tmp_path / "a.zip", {"cat/1.png": b"1" * 999, "cat/2.png": b"2"})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, second + 42, 0)  # its local header is said to be the first one's
    path.write_bytes(data)
    refused(path, raw, "'cat/.*.png' overlaps with another entry")


def test_one_entry_inside_another_is_refused(tmp_path, raw):
    inner = make_zip(tmp_path / "inner", {"cat/2.png": b"22"}).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/1.png", inner)
        hidden = zipfile.ZipInfo("cat/2.png")
        hidden.header_offset, hidden.file_size, hidden.compress_size, hidden.CRC = 30 + len("cat/1.png"), 2, 2, 0
        archive.filelist.append(hidden)
        archive.NameToInfo["cat/2.png"] = hidden
    refused(tmp_path / "a.zip", raw, "overlaps with another entry")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_archives_that_unpack_to_far_more_than_they_hold_are_refused(tmp_path, raw, monkeypatch, make):
    archive = make(tmp_path / "a", {f"cat/{number}.png": bytes(200_000) for number in range(3)})
    download(archive, raw)
    (raw / "archive.zip").unlink()
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 500_000)
    refused(archive, raw, "unpacks to more than 100 times its size")


def test_what_a_tar_would_skip_counts_too(tmp_path, raw, monkeypatch):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for number in range(5000):
            archive.addfile(tarfile.TarInfo(f"cat/{number}.png"))
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 500_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 10)
    refused(tmp_path / "a.tar.gz", raw, "unpacks to more than 10 times its size")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path, raw, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("cat/1.png", bytes(100))
    refused(tmp_path / "a.zip", raw, "packed in an unusual way; allowed: stored and deflated")


def test_an_entry_that_lies_about_its_size_fills_no_memory(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"cat/1.png": bytes(60 << 20)})
    patched(path, 24, "<L", 100)
    files = ZipFiles(path)
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="damaged in the archive"):
        files.read("cat/1.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_an_entry_of_another_size_is_unreadable(tmp_path, size):
    files = ZipFiles(patched(make_zip(tmp_path / "a.zip", {"cat/1.png": b"x" * 99}), 24, "<L", size))
    with pytest.raises(UnreadableError, match="damaged in the archive"):
        files.read("cat/1.png")


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [(0, "<L", 7), (6, "<H", 999), (20, "<L", 1 << 30), (28, "<H", 60000), (42, "<L", 1 << 31)],
    ids=["magic", "version", "packed size", "name", "place"],
)
def test_a_damaged_table_of_contents_is_refused(tmp_path, raw, at, layout, value):
    archive = make_zip(tmp_path / "a.zip", {"cat/1.png": b"1", "cat/2.png": b"2"})
    refused(patched(archive, at, layout, value), raw, "not a whole zip archive|overlaps|is not allowed")


def test_a_name_that_is_no_text_is_refused(tmp_path, raw):
    archive = make_zip(tmp_path / "a.zip", {"cat/é.png": b"1"})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xff"))
    refused(archive, raw, "not a whole zip archive")


def test_a_huge_table_of_contents_is_refused(tmp_path, raw, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TABLE_BYTES", 1 << 17)
    archive = make_zip(tmp_path / "a.zip", {f"cat/{number:0200d}.png": b"" for number in range(1000)})
    refused(archive, raw, "more than 131,072 bytes")


# --- tars ---------------------------------------------------------------------------------------------------------


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_huge_name_fills_no_memory(tmp_path, raw, kind):
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as file:
        file.write(header("@LongLink", kind, 64 << 20))
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    refused(tmp_path / "a.tar.gz", raw, "a header of more than 1,048,576 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z"])
@pytest.mark.parametrize("size", [-1, -512, -(1 << 40), 1 << 50])
def test_impossible_sizes_are_refused(tmp_path, raw, kind, size):
    end = bytes(1024)
    (tmp_path / "a.tar").write_bytes(header("cat/1.png", tarfile.REGTYPE, 0) + header("x", kind, size) + end)
    refused(tmp_path / "a.tar", raw, "not a whole tar|more than|link or a device")


def test_a_sparse_files_endless_map_is_refused(tmp_path, raw):
    member = tarfile.TarInfo("cat/1.png")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.PAX_FORMAT) + b"999999999\n" + b"1\n" * 251)
    refused(tmp_path / "a.tar", raw, "not a whole tar archive")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_damaged_header_between_others_is_not_taken_for_the_end(tmp_path, raw, mode):
    plain = bytearray(make_tar(tmp_path / "plain", CONTENTS, mode="w").read_bytes())
    (tmp_path / "plain").unlink()
    plain[plain.index(b"a/1.png") + 1] ^= 1  # in the second entry's name
    with {"w": open, "w:gz": gzip.open}.get(mode, archives._OPENERS.get(b"BZh" if "bz2" in mode else b"\xfd7zXZ\0"))(
        tmp_path / "a.tar", "wb"
    ) as file:
        file.write(plain)
    refused(tmp_path / "a.tar", raw, r"not a whole tar archive \(a damaged header\)")


def test_a_tar_without_its_end_is_refused(tmp_path, raw):
    data = make_tar(tmp_path / "a.tar", {"cat/1.png": b"x" * 512}, mode="w").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:1024])
    refused(tmp_path / "a.tar", raw, "it breaks off")


def test_a_second_tar_behind_the_first_is_not_lost_silently(tmp_path, raw):
    data = make_tar(tmp_path / "a.tar", {"cat/1.png": b"x"}, mode="w").read_bytes()
    (tmp_path / "a.tar").write_bytes(data * 2)
    refused(tmp_path / "a.tar", raw, "goes on after its end mark")


def test_a_wrong_checksum_is_refused(tmp_path, raw):
    data = bytearray(make_tar(tmp_path / "a.tar.gz", CONTENTS).read_bytes())
    data[-6] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(data)
    refused(tmp_path / "a.tar.gz", raw, "CRC check failed")


def test_many_files_take_no_memory_of_their_own(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(3000):
            archive.addfile(tarfile.TarInfo(f"cat/{number}.png"))
    kept = [len(read.__defaults__) for _, read in archives.tar_members(tmp_path / "a.tar")]
    assert len(kept) == 3000


# --- what breaks off ----------------------------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, "No space left on device")


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data) -> int:
        if len(data) > self.room:
            raise FULL
        self.room -= len(data)
        return self.file.write(data)

    def fileno(self) -> int:
        raise OSError("nobody should go around write()")

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *details) -> None:
        self.file.close()


def fill_disk(monkeypatch, room: int, suffix: str) -> None:
    """From now on, files whose names end so find no more room."""
    opened = io.open

    def limited_open(path, mode="r", *arguments, **options):
        file = opened(path, mode, *arguments, **options)
        full = str(path).endswith(suffix) and ("w" in mode or "a" in mode)
        return FullDisk(file, room) if full else file

    monkeypatch.setattr(io, "open", limited_open)  # what Path.open and zipfile call
    monkeypatch.setattr(shutil, "open", limited_open, raising=False)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_full_disk_leaves_no_archive_that_looks_whole(tmp_path, raw, monkeypatch, make):
    noise = np.random.default_rng(0).bytes(100_000)
    archive = make(tmp_path / "a", {"cat/1.png": noise, "cat/2.png": noise[::-1]})
    with monkeypatch.context() as patch:
        fill_disk(patch, 120_000, ".zip.part")
        with pytest.raises(UserError, match=r"can't be read or stored \(No space left on device\)"):
            download(archive, raw)
    assert everything(raw) == set()
    download(archive, raw)
    assert ZipFiles(raw / "archive.zip").read("cat/2.png") == noise[::-1]


def test_a_full_disk_is_no_damaged_archive(tmp_path, monkeypatch):
    files = ZipFiles(make_zip(tmp_path / "a.zip", {"cat/1.png": np.random.default_rng(0).bytes(100_000)}))
    with monkeypatch.context() as patch:
        fill_disk(patch, 1000, "unpacked")
        with pytest.raises(UserError, match=r"cat/1.png can't be stored there \(No space left on device\)"):
            files.copy("cat/1.png", tmp_path / "unpacked")


def test_a_download_that_fills_the_disk_is_taken_up_again(server, raw, archive_bytes, monkeypatch):
    server.body = archive_bytes
    with monkeypatch.context() as patch:
        fill_disk(patch, 100_000, ".part")
        with pytest.raises(UserError, match="No space left on device"):
            download(f"{server.url}/a.zip", raw)
    assert everything(raw) == set()
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes
    assert server.asked == [None, f"bytes={downloads.BLOCK}-"]


def test_a_whole_download_outlives_a_disk_that_is_full_later(server, raw, archive_bytes, monkeypatch):
    server.body = archive_bytes
    with monkeypatch.context() as patch:
        fill_disk(patch, 100_000, ".zip.part")
        with pytest.raises(UserError, match="No space left on device"):
            download(f"{server.url}/a.zip", raw)
    assert everything(raw) == set() and len(everything(raw.parent / "partial")) == 2
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes


def test_what_an_interrupted_download_leaves_is_not_opened(tmp_path, raw):
    options = FolderParams(image_size=32, path=str(make_zip(tmp_path / "a.zip", CONTENTS)), boxes=None)
    sources.download("folder", options, raw, tmp_path / "partial")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="not a whole zip archive"):
        sources.download("folder", options, raw, tmp_path / "partial")
    with pytest.raises(UserError, match=r"holds nothing where data\.source is folder"):
        sources.open("folder", options, raw, 0)


# --- the web ------------------------------------------------------------------------------------------------------


def broken_off(server, raw, body: bytes) -> None:
    server.body, server.cut = body, 2 * downloads.BLOCK + 100
    with pytest.raises(UserError, match="try again"):
        download(f"{server.url}/a.zip", raw)
    server.cut = None


@pytest.mark.parametrize("careful", [True, False])
def test_another_version_of_a_file_is_not_glued_on(server, tmp_path, raw, archive_bytes, careful):
    broken_off(server, raw, archive_bytes)
    other = make_zip(tmp_path / "b.zip", {"dog/1.png": np.random.default_rng(1).bytes(200_000)}).read_bytes()
    server.body, server.careful = other, careful
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == other


def test_a_file_without_a_version_is_downloaded_anew(server, raw, archive_bytes):
    server.tags = False
    broken_off(server, raw, archive_bytes)
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes and server.asked == [None, None]


def test_a_range_from_elsewhere_is_not_glued_on(server, raw, archive_bytes):
    broken_off(server, raw, archive_bytes)
    server.off_by = 1
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes
    assert server.asked[1] is not None and server.asked[2] is None


def test_redirects_are_followed_but_not_in_circles(server, raw, archive_bytes):
    server.body = archive_bytes
    assert download(f"{server.url}/moved-here.zip", raw)["archive"] == "moved-here.zip"
    with pytest.raises(UserError, match="the server redirects in circles"):
        download(f"{server.url}/moved", raw)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://a b/", "http://.", "http://:99999/a.zip", "http://%"])
def test_urls_that_are_none_are_named(raw, url):
    with pytest.raises(UserError, match=r"sources\.folder\.path"):
        download(url, raw)
