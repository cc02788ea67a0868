"""Tar archives, read from front to back once, by a tarfile module that is kept on a short lead."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from graybox.data.sources.limited import Limited, TooFarError, max_unpacked, unpacks_to_too_much
from graybox.errors import UserError

MAX_HEADER_BYTES = 1 << 20  # of a long name or other extended header
BLOCK = 1 << 16

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar does, compressed or not."""
    try:
        with _unpacked(path) as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    except Exception:  # InvalidHeaderError, OSError, EOFError, zlib.error, LZMAError, ...
        return False
    return True


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[BinaryIO], None]]]:
    """Each entry of a tar, and what copies its bytes to a file before the next one is asked for.

    Raises:
        UserError: the archive is damaged or unpacks to far more than it holds; also from the calls that copy.
    """
    with _unpacked(path) as file:
        limited = Limited(file, MAX_HEADER_BYTES, max_unpacked(path))
        reading = _Errors(path)
        with reading:
            archive = tarfile.TarFile(fileobj=limited)
        while True:
            with reading:
                member = archive.next()
                if len(archive.pax_headers) > 1000:
                    raise ValueError("too many global headers")
            if member is None:
                break
            archive.members.clear()  # tarfile would keep all of them

            def copy(target: BinaryIO, member: tarfile.TarInfo = member) -> None:
                copied = 0
                with reading:
                    source = archive.extractfile(member)
                while True:
                    with reading:
                        # In blocks, because the file below refuses more at once.
                        block = source.read(BLOCK)
                        if not block and copied != member.size:
                            raise EOFError(f"{member.name!r} has {copied:,} bytes of {member.size:,}")
                    if not block:
                        break
                    target.write(block)  # not among the errors of reading: a full disk is no damaged archive
                    copied += len(block)

            yield member, copy
        with reading:
            _check_end(limited)


def _unpacked(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        first = file.read(6)
    for magic, opened in _OPENERS.items():
        if first.startswith(magic):
            return opened(path)
    return path.open("rb")


def _check_end(file: Limited) -> None:
    """Hold the archive's end against what tarfile stopped at: to tarfile, a damaged header is the end, too."""
    if len(file.last) < tarfile.BLOCKSIZE:
        raise EOFError("it breaks off")
    if any(file.last):
        raise ValueError("a damaged header")
    # Reading to the end has a compressed file's checksum checked.
    while block := file.read(BLOCK):
        if any(block):
            raise ValueError("it goes on after its end mark")


class _Errors:
    """Turns whatever goes wrong in reading a tar into one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TooFarError):
            raise unpacks_to_too_much(self.path) from error
        if isinstance(error, Exception):  # TarError, EOFError, zlib.error, LZMAError, OSError, ValueError, ...
            raise UserError(f"{self.path} is not a whole tar archive ({error}); fetch or make it again") from error
