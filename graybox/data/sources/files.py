"""A folder or a zip as named files, read one at a time into memory; nothing is extracted to disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from graybox.data.sources import archives
from graybox.data.sources.catalogue import UnreadableError
from graybox.data.sources.names import is_hidden
from graybox.errors import UserError

FIRST_BYTES = 16  # enough to tell what is in a file
_HEADER_BYTES = 30  # of a zip's entry, before its name


class Files(Protocol):
    """Named files; `read` works in any process that a copy is sent to."""

    names: list[str]  # sorted, with / between folders
    left_out: dict[str, str]  # folder or link that gives no file -> why; such as "empty" or "a link that leads nowhere"

    def read(self, name: str) -> bytes:
        """One file's bytes.

        Raises:
            UnreadableError: it can't be read, or has more than archives.MAX_FILE_BYTES bytes.
        """
        ...

    def first(self, name: str) -> bytes:
        """A file's first FIRST_BYTES bytes, fewer if it has no more; none if it can't be read."""
        ...


class FolderFiles:
    """The regular files of a folder and its subfolders.

    Links are followed, but each folder is listed once: by its own name rather than by a link's.

    Raises:
        UserError: a folder can't be read, or a name has unprintable characters.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        found, self.left_out = _walk(root)
        self.names = [name for name, _ in found]

    def read(self, name: str) -> bytes:
        path = self.root / name
        try:
            if path.stat().st_size > archives.MAX_FILE_BYTES:
                raise UnreadableError(f"larger than {archives.MAX_FILE_BYTES >> 20} MB")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error

    def first(self, name: str) -> bytes:
        try:
            with (self.root / name).open("rb") as file:
                return file.read(FIRST_BYTES)
        except OSError:
            return b""


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
        folders = set()
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
            elif entry.is_dir():
                folders.add("/".join(part for part in entry.filename.split("/") if part not in ("", ".")))
        _check_apart(path, entries, table_at)
        self.names = sorted(self._entries)
        self.left_out = _empty(folders, self.names)

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

    def first(self, name: str) -> bytes:
        try:
            with self._archive().open(self._entries[name]) as file:
                return file.read(FIRST_BYTES)
        except Exception:  # as in read
            return b""

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

    Hidden files and those of the system don't count: they may be written when the folder is merely looked at.
    """
    digest = hashlib.sha256()
    files = size = 0
    for name, facts in _walk(root)[0]:
        if not is_hidden(name):
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
            files, size = files + 1, size + facts.st_size
    return {"files": files, "bytes": size, "sha256": digest.hexdigest()}


def _walk(root: Path) -> tuple[list[tuple[str, os.stat_result]], dict[str, str]]:
    """Name and facts of each regular file under a folder, by name; and Files.left_out."""
    found: list[tuple[str, os.stat_result]] = []
    left_out: dict[str, str] = {}
    names: dict[tuple[int, int], str] = {}  # which folders are listed, and as what
    folders = set()
    waiting, links = deque([""]), deque[str]()
    while waiting or links:
        # All folders before any link, so that a folder's own name is the one that counts.
        linked = not waiting
        name = links.popleft() if linked else waiting.popleft()
        here = os.stat(root / name)
        other = names.setdefault((here.st_dev, here.st_ino), name)
        if other != name:  # perhaps back up the tree
            left_out[name] = f"a link to {other or 'the folder around all'}, which is listed already"
            continue
        folders.add(name)
        for entry, facts in _entries(root, name):
            path = f"{name}/{entry.name}" if name else entry.name
            if facts is None:
                facts = entry.stat(follow_symlinks=False)
                left_out[path] = "a link that leads nowhere"
            if stat.S_ISDIR(facts.st_mode):
                (links if linked or entry.is_symlink() else waiting).append(path)
            elif stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):  # such a link is later named as unreadable
                if not archives.is_text(path) and not is_hidden(path):
                    raise UserError(f"{root}: the name {path!r} has unprintable characters; rename it")
                found.append((path, facts))
    found.sort(key=lambda one: one[0])
    return found, _empty(folders - {""}, [name for name, _ in found]) | left_out


def _entries(root: Path, folder: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result | None]]:
    """What lies in a folder, by name, and the facts about it; None for a link that leads nowhere."""
    try:
        with os.scandir(root / folder) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except PermissionError as error:
        if is_hidden(folder):  # lost+found is the administrator's
            return
        raise UserError(f"{root / folder} can't be read ({error.strerror}); allowed: folders that can") from error
    for entry in entries:
        try:
            yield entry, entry.stat()
        except OSError:
            yield entry, None


def _empty(folders: set[str], names: list[str]) -> dict[str, str]:
    """Files.left_out of the folders that have no files, not even in folders inside."""
    used = {"/".join(parts[:end]) for name in names for parts in [name.split("/")] for end in range(1, len(parts))}
    return dict.fromkeys(sorted(folders - used), "empty")
