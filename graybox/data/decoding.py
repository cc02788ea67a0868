"""Decode the chosen pictures in parallel, and write them into one array of uint8."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Generator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from graybox import parallel
from graybox.data.sources.catalogue import Load, Uncover, UnreadableError
from graybox.data.sources.decode import is_16_bit, square
from graybox.errors import UserError

CHUNK = 64  # images for a worker at a time


class Decoded(NamedTuple):
    """A worker's facts about an image that it has written.

    Attributes:
        box: float32 [4], in pixels of the prepared image.
        digest: a hash of the prepared pixels.
        colour_sum: int64 [3], the sums of the prepared pixels' red, green and blue.
        original_size: width and height as stored.
        deep_peak: the largest prepared value, 0..255, of an image stored with 16 bits a channel; None for others.
        covered: the share of the object that a thing in front of it covers, 0..1; NaN where unknown.
        uncovered: uint8 [size, size, 3], a partly covered test image without that thing; None for others.
    """

    box: np.ndarray
    digest: bytes
    colour_sum: np.ndarray
    original_size: tuple[int, int]
    deep_peak: int | None
    covered: float
    uncovered: np.ndarray | None


class Source(NamedTuple):
    """What a worker needs of the catalogue.

    Attributes:
        load, uncover: the catalogue's.
        test_from: the first row of a test image; those of the other splits come before it.
    """

    load: Load
    uncover: Uncover | None
    test_from: int


@dataclass(frozen=True)
class Array:
    """images.npy while it is filled.

    Attributes:
        folder: where it lies.
        start: place of the first image in the file, in bytes.
        size: height and width of the images, in pixels.
    """

    folder: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """The file, for `write`."""
        return (self.folder / "images.npy").open("rb+")

    def write(self, file: BinaryIO, row: int, pixels: np.ndarray) -> None:
        """Write an image, uint8 [size, size, 3], to its row."""
        file.seek(self.start + row * pixels.nbytes)
        file.write(np.ascontiguousarray(pixels).data)


def decode(
    source: Source, indexes: list[int], array: Array, workers: int | None, start_method: str | None
) -> Generator[tuple[int, Decoded | str]]:
    """Fill images.npy. Worker processes write into the file themselves, so no pixels are sent between processes.

    Pictures are loaded in the catalogue's order, not by class, so that a source of large files is read forwards.

    Yields:
        The row, and the facts about its image, or why it can't be decoded.
    """
    order = np.argsort(indexes, kind="stable").tolist()
    rows = [order[first : first + CHUNK] for first in range(0, len(order), CHUNK)]
    chunks = [[indexes[row] for row in chunk] for chunk in rows]
    pool = parallel.pool(
        len(chunks), workers=workers, start_method=start_method, initializer=_start_worker, initargs=(source, array)
    )
    if pool is None:
        yield from _decode_here(source, array, rows, chunks)
        return
    try:
        for chunk, outcomes in zip(rows, pool.map(_decode_chunk, rows, chunks), strict=True):
            yield from zip(chunk, outcomes, strict=True)
    except BrokenProcessPool as error:
        raise UserError("a process that decodes images was stopped; is memory or disk space short?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_here(
    source: Source, array: Array, rows: list[list[int]], chunks: list[list[int]]
) -> Generator[tuple[int, Decoded | str]]:
    """`decode` without workers: a notebook, or a script on a platform that spawns, can't always start workers."""
    global _source, _array
    with warnings.catch_warnings():
        _start_worker(source, array)
        try:
            for chunk, indexes in zip(rows, chunks, strict=True):
                yield from zip(chunk, _decode_chunk(chunk, indexes), strict=True)
        finally:
            del _source, _array


# What a worker process keeps between its chunks.
_source: Source
_array: Array


def _start_worker(source: Source, array: Array) -> None:
    """Set up a worker process."""
    global _source, _array
    _source, _array = source, array
    # Pillow warns about broken EXIF blocks, for example, which would break the progress bar.
    warnings.filterwarnings("ignore", module="PIL")


def _decode_chunk(rows: list[int], indexes: list[int]) -> list[Decoded | str]:
    """Decode the catalogue's pictures `indexes` into `rows`.

    Returns:
        For each picture its facts, or why it can't be decoded.
    """
    with _array.open() as file:
        return [_decode_one(row, index, file) for row, index in zip(rows, indexes, strict=True)]


def _decode_one(row: int, index: int, file: BinaryIO) -> Decoded | str:
    try:
        image, box = _source.load(index)
        original_size, deep = image.size, is_16_bit(image)  # decoding may change them
        pixels, box = square(image, box, _array.size)
    except UnreadableError as error:
        return str(error)
    _array.write(file, row, pixels)
    covered, uncovered = np.nan, None
    if _source.uncover:
        share, without = _source.uncover(index)
        covered = round(share, 4)
        if covered > 0 and row >= _source.test_from:
            uncovered = square(without, box, _array.size)[0]
    # Sum over whole rows first: this adds neighbours in memory and takes a tenth of the time.
    by_column = pixels.reshape(len(pixels), -1).sum(axis=0, dtype=np.uint32)
    colour_sum = by_column.reshape(-1, 3).sum(axis=0, dtype=np.int64)
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    peak = int(pixels.max()) if deep else None
    return Decoded(box, digest, colour_sum, original_size, peak, covered, uncovered)
