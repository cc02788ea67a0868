"""A folder or a zip as named files, read one at a time into memory; nothing is extracted to disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from graybox.data.sources import archives
from graybox.data.sources.catalogue import UnreadableError
from graybox.errors import UserError

_HEADER_BYTES = 30  # of a zip's entry, before its name


class Files(Protocol):
    """Named files; `read` works in any process that a copy is sent to."""

    names: list[str]  # sorted, with / between folders

    def read(self, name: str) -> bytes:
        """One file's bytes.

        Raises:
            UnreadableError: it can't be read, or has more than archives.MAX_FILE_BYTES bytes.
        """
        ...


class FolderFiles:
    """The regular files of a folder and its subfolders; links are followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = [name for name, _ in _walk(root)]

    def read(self, name: str) -> bytes:
        path = self.root / name
        try:
            if path.stat().st_size > archives.MAX_FILE_BYTES:
                raise UnreadableError(f"larger than {archives.MAX_FILE_BYTES >> 20} MB")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error


class ZipFiles:
    """The files of a zip archive.

    Args:
        path: of the archive.
        largest: bytes that a file in it may have; None = archives.MAX_FILE_BYTES.

    Raises:
        UserError: it is no zip, is encrypted, unpacks to far more than it holds, or has an entry that is unsafe,
            too large, packed in an unusual way, there twice, or inside another.
    """

    def __init__(self, path: Path, largest: int | None = None) -> None:
        self.path = path
        self._handle: zipfile.ZipFile | None = None
        self._process = -1
        try:
            # Unlimited, the table of contents of a large file could fill the memory.
            with path.open("rb") as file:
                limited: Any = archives.Limited(file, archives.MAX_TABLE_BYTES)
                with zipfile.ZipFile(limited) as archive:
                    entries, table_at = archive.infolist(), archive.start_dir
        except Exception as error:  # BadZipFile, struct.error, UnicodeDecodeError, NotImplementedError, OSError, ...
            raise UserError(f"{path} is not a whole zip archive ({error}); fetch or make it again") from error
        guard = archives.Guard(path, largest)
        self._entries: dict[str, str] = {}
        for entry in entries:
            mode = entry.external_attr >> 16
            if entry.flag_bits & 1:
                raise UserError(f"{path}: {entry.filename!r} is encrypted; archives should need no password")
            # The others unpack a block to any size before anyone can look at it.
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError(f"{path}: {entry.filename!r} is packed in an unusual way; allowed: stored and deflated")
            regular = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
            name = guard.admitted(entry.filename, regular, entry.is_dir(), entry.file_size)
            if name is not None:
                self._entries[name] = entry.filename
        _check_apart(path, entries, table_at)
        self.names = sorted(self._entries)

    def read(self, name: str) -> bytes:
        try:
            entry = self._archive().getinfo(self._entries[name])
            with self._archive().open(entry) as file:
                # Not read(), which unpacks everything before it looks at the size that was announced.
                data = file.read(entry.file_size + 1)
        except Exception as error:  # BadZipFile, zlib.error, EOFError, ...
            raise UnreadableError(f"damaged in the archive: {error}") from error
        if len(data) != entry.file_size:
            raise UnreadableError(f"damaged in the archive: it has {len(data):,} bytes of {entry.file_size:,}")
        return data

    def copy(self, name: str, target: Path) -> None:
        """Write one file to `target`, without holding it in memory.

        Raises:
            UserError: it is damaged, or can't be written.
        """
        try:
            with self._archive().open(self._entries[name]) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except OSError as error:  # a full disk, among others
            raise UserError(f"{target}: {name} can't be stored there ({error.strerror or error})") from error
        except Exception as error:  # as in read
            raise UserError(f"{self.path}: {name} can't be unpacked ({error}); fetch or make it again") from error

    def _archive(self) -> zipfile.ZipFile:
        # A forked worker would otherwise share its parent's place in the file.
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = zipfile.ZipFile(self.path), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_process": -1}


def _check_apart(path: Path, entries: list[zipfile.ZipInfo], table_at: int) -> None:
    """Refuse entries that share bytes, with which a small file can unpack to terabytes."""
    ends = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < ends:
            raise UserError(f"{path}: {entry.filename!r} overlaps with another entry; fetch or make the archive again")
        ends = entry.header_offset + _HEADER_BYTES + entry.compress_size
        if ends > table_at:
            raise UserError(
                f"{path} is not a whole zip archive ({entry.filename!r} has no end); fetch or make it again"
            )


def fingerprint(root: Path) -> dict[str, Any]:
    """What tells whether a folder's files have changed: number, bytes, and a hash of names, sizes and times.

    Hidden files don't count: a file manager may write them when the folder is merely looked at.
    """
    digest = hashlib.sha256()
    files = size = 0
    for name, facts in _walk(root):
        if not is_hidden(name):
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
            files, size = files + 1, size + facts.st_size
    return {"files": files, "bytes": size, "sha256": digest.hexdigest()}


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder around it, is hidden or holds macOS's shadow copies."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _walk(root: Path) -> list[tuple[str, os.stat_result]]:
    """Name and facts of each regular file under a folder, by name."""
    return sorted(_files_below(root), key=lambda found: found[0])


def _files_below(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # a link back up the tree
            subfolders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        subfolders.sort()
        for name in names:
            path = Path(folder, name)
            try:
                facts = path.stat()
            except OSError:  # a dangling link: it is listed, and later named as unreadable
                facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
                relative = path.relative_to(root).as_posix()
                if not archives.is_text(relative):
                    raise UserError(f"{root}: the name {relative!r} has unprintable characters; rename it")
                yield relative, facts
