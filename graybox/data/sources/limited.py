"""Limits under the archive readers: what they read at once, and what an archive may unpack to."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from graybox.errors import UserError

MAX_RATIO = 100  # bytes unpacked for each byte of an archive; images hardly pack, bitmaps a few times
ALWAYS_ALLOWED = 1 << 30  # bytes that any archive may unpack to
BLOCK = 1 << 16


class Limited:
    """A binary file to read, in which no single read may ask for more than a limit.

    What asks for more is not a reader of files, which go in small blocks, but one that believes a broken or hostile
    header: "the name of the next file has 600 MB".

    Attributes:
        last: the bytes that were read last.
    """

    def __init__(self, file: BinaryIO, at_once: int, furthest: int | None = None) -> None:
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
        self._check_position()
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

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()

    def _check_position(self) -> None:
        if self._furthest is not None and self._file.tell() > self._furthest:
            raise TooFarError


class TooFarError(Exception):
    """More was unpacked than `furthest` allows."""


def max_unpacked(archive: Path) -> int:
    """Bytes that an archive may unpack to."""
    return max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)


def unpacks_to_too_much(archive: Path) -> UserError:
    return UserError(f"{archive} unpacks to more than {MAX_RATIO} times its size; archives of images should not")
