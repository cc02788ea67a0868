"""Read untrusted archives within limits, and convert a tar to a zip.

The standard library's readers do the work. `Guard` decides which entries may be read. `Limited` is the file that the
readers get; it refuses reads that are larger than a valid archive needs. Nothing is extracted to disk.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from graybox.errors import UserError

MAX_FILE_BYTES = 64 << 20
MAX_ENTRIES = 2_000_000
MAX_RATIO = 100  # bytes unpacked for each byte of an archive; images hardly pack, bitmaps a few times
ALWAYS_ALLOWED = 1 << 30  # bytes that any archive may unpack to
MAX_TABLE_BYTES = 256 << 20  # of a zip's table of contents
MAX_HEADER_BYTES = 1 << 20  # of a long name or other extended header of a tar
BLOCK = 1 << 16
_OPENERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def kind(path: Path) -> str | None:
    """What a file is by its content: "zip", "tar" (compressed or not), or None for anything else."""
    with path.open("rb") as file:
        # Not zipfile.is_zipfile: it also finds a zip that lies at the end of a tar.
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            return "zip"
    try:
        # Not tarfile.is_tarfile, which reads a long name of any length into memory.
        with _unpacked(path) as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    except Exception:  # InvalidHeaderError, OSError, EOFError, zlib.error, LZMAError, ...
        return None
    return "tar"


# --- limits -------------------------------------------------------------------------------------------------------


class Guard:
    """Decides which entries of one archive may be read."""

    def __init__(self, archive: Path, largest: int | None = None) -> None:
        self.archive = archive
        self.largest = MAX_FILE_BYTES if largest is None else largest
        self.entries = 0
        self.bytes = 0
        self.allowed_bytes = _max_unpacked(archive)
        self.names: set[str] = set()

    def admitted(self, name: str, regular: bool, folder: bool, size: int) -> str | None:
        """The entry's clean name, None for a folder.

        Args:
            name: as the archive has it.
            regular: whether it is a regular file or a folder, and no link or device.
            folder: whether it is a folder.
            size: its bytes when unpacked.
        """
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise UserError(f"{self.archive} has more entries than the {MAX_ENTRIES:,} allowed")
        clean = _clean(name)
        if clean is None:
            raise UserError(
                f"{self.archive}: the entry {name!r} is not allowed; "
                "names should be printable, relative and lead to no folder outside the archive"
            )
        if not regular:
            raise UserError(f"{self.archive}: {name!r} is a link or a device; allowed: files and folders")
        if not 0 <= size <= self.largest:
            raise UserError(f"{self.archive}: {name!r} has more than the {self.largest >> 20} MB allowed")
        self.bytes += size
        if self.bytes > self.allowed_bytes:
            raise _unpacks_to_too_much(self.archive)
        if folder or not clean:
            return None
        if clean in self.names:
            raise UserError(f"{self.archive} has {name!r} twice; each name is allowed once")
        self.names.add(clean)
        return clean


def _clean(name: str) -> str | None:
    """The name with / between its parts and no empty ones; None if it is unsafe or can't be written down."""
    # macOS gives folders with a picture of their own a file of this name, which is no reason to refuse the archive.
    name = re.sub("Icon\r$", "Icon", name.replace("\\", "/"))
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts or not is_text(name):
        return None
    return "/".join(parts)


def is_text(name: str) -> bool:
    """Whether a name has no control characters, and no lone surrogates, which stand for undecodable bytes."""
    return not re.search("[\x00-\x1f\x7f\ud800-\udfff]", name)


def _max_unpacked(archive: Path) -> int:
    """Bytes that an archive may unpack to."""
    return max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)


def _unpacks_to_too_much(archive: Path) -> UserError:
    return UserError(f"{archive} unpacks to more than {MAX_RATIO} times its size; archives of images should not")


class TooFarError(Exception):
    """More was unpacked than `Limited` allows."""


class Limited:
    """A binary file to read, in which no single read may ask for more than a limit.

    File contents are read in small blocks. A larger read comes from a broken or hostile header, such as "the next
    file's name has 600 MB".

    Attributes:
        last: the bytes that were read last.
    """

    def __init__(self, file: IO[bytes], at_once: int, furthest: int | None = None) -> None:
        """Args:
        file: that reads the bytes.
        at_once: bytes that a read may ask for.
        furthest: position that must not be passed; None = none.
        """
        self._file = file
        self._at_once = at_once
        self._furthest = furthest
        self._reads_at_end = 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        # To read "the rest" is fine where that is short, such as a zip's last bytes.
        rest = size is None or size < 0
        if not rest and size > self._at_once:
            raise ValueError(f"a header of more than {self._at_once:,} bytes")
        wanted = self._at_once + 1 if rest else size
        blocks = []
        # In blocks, because a file makes room for all that is asked for before it looks what there is.
        while wanted > 0 and (block := self._file.read(min(wanted, BLOCK))):
            blocks.append(block)
            wanted -= len(block)
        self.last = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        if len(self.last) > self._at_once:
            raise ValueError(f"a header of more than {self._at_once:,} bytes")
        self._reads_at_end = 0 if self.last or size == 0 else self._reads_at_end + 1
        if self._reads_at_end > 100:  # tarfile looks for the end of a sparse file's map forever
            raise ValueError("a header without an end")
        if self._furthest is not None and self._file.tell() > self._furthest:
            raise TooFarError
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._furthest is not None and whence == 0:
            if offset < self._file.tell():
                raise ValueError("a header that points back")
            if offset > self._furthest:
                raise TooFarError
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


# --- tars ---------------------------------------------------------------------------------------------------------


def tar_to_zip(path: Path, target: Path, largest: int | None = None) -> None:
    """Copy the files of a tar into an uncompressed zip: it can be read by name, and is one file to track.

    Args:
        largest: bytes that a file in the tar may have; None = MAX_FILE_BYTES.

    Raises:
        UserError: the tar is damaged, unpacks to far more than it holds, or has an entry that is unsafe, too
            large or there twice.
        OSError: the zip can't be written.
    """
    guard = Guard(path, largest)
    with zipfile.ZipFile(target, "w") as archive:
        for member, copy in tar_members(path):
            regular = member.isreg() or member.isdir()
            name = guard.admitted(member.name, regular, member.isdir(), member.size)
            if name is not None:
                # A bare ZipInfo has a fixed date, so that the same tar gives the same bytes.
                info = zipfile.ZipInfo(name)
                info.file_size = member.size
                with archive.open(info, "w") as file:
                    copy(file)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[IO[bytes]], None]]]:
    """Each entry of a tar, and what copies its bytes to a file before the next one is asked for.

    Raises:
        UserError: the archive is damaged or unpacks to far more than it holds; also from the calls that copy.
    """
    with _unpacked(path) as file:
        limited: Any = Limited(file, MAX_HEADER_BYTES, _max_unpacked(path))
        with _reading(path):
            archive: Any = tarfile.TarFile(fileobj=limited)
        while True:
            with _reading(path):
                member = archive.next()
                if len(archive.pax_headers) > 1000:
                    raise ValueError("too many global headers")
            if member is None:
                break
            archive.members.clear()  # tarfile would keep all of them

            def copy(target: IO[bytes], member: tarfile.TarInfo = member) -> None:
                copied = 0
                with _reading(path):
                    source = archive.extractfile(member)
                while True:
                    with _reading(path):
                        # In blocks, because the file below refuses more at once.
                        block = source.read(BLOCK)
                        if not block and copied != member.size:
                            raise EOFError(f"{member.name!r} has {copied:,} bytes of {member.size:,}")
                    if not block:
                        break
                    target.write(block)  # not among the errors of reading: a full disk is no damaged archive
                    copied += len(block)

            yield member, copy
        with _reading(path):
            _check_end(limited)


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        first = file.read(6)
    for magic, opened in _OPENERS.items():
        if first.startswith(magic):
            unpacked: IO[bytes] = opened(path)
            return unpacked
    return path.open("rb")


def _check_end(file: Limited) -> None:
    """Check that the archive really ends where tarfile stopped: tarfile takes a damaged header for the end, too."""
    if len(file.last) < tarfile.BLOCKSIZE:
        raise EOFError("it breaks off")
    if any(file.last):
        raise ValueError("a damaged header")
    # Reading to the end has a compressed file's checksum checked.
    while block := file.read(BLOCK):
        if any(block):
            raise ValueError("it goes on after its end mark")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading a tar into one sentence."""
    try:
        yield
    except TooFarError as error:
        raise _unpacks_to_too_much(path) from error
    except Exception as error:  # TarError, EOFError, zlib.error, LZMAError, OSError, ValueError, ...
        raise UserError(f"{path} is not a whole tar archive ({error}); fetch or make it again") from error
