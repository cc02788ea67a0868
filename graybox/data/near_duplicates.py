"""Find near-duplicates: copies of a photograph that were encoded again, resized, slightly cropped or mirrored.

A picture's lowest frequencies, as in the perceptual hash pHash (Zauner, Implementation and benchmarking of perceptual
image hash functions, 2010, section 3.2), find the pairs that may be copies; `registration` confirms them on the pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.fft import dctn

from graybox import files
from graybox.data import registration
from graybox.data.images import SPLITS

SMALLEST = 32  # pixels: smaller pictures have too little detail to be told apart
HASH = 16  # pixels of the thumbnails that are hashed
FREQUENCIES = 8  # along each axis
ALIKE = 0.7  # least cosine of two hashes
ROWS, COLUMNS = 512, 1024  # pictures compared at a time: their products stay in the processor's cache
PAIRS = 256  # registered at a time
SHOWN = 5  # pairs whose pictures are kept for the figure

AVERAGED = 0.6  # compare at this share of the side at most: resizing and encoding change single pixels
# Pictures are compared at these sides, in pixels, after so many Gauss-Newton steps. To go on, a pair needs the least
# agreement and may have the largest difference (of 255). The last line decides.
LEVELS = ((HASH, 3, 0.85, 24.0), (32, 2, 0.4, 20.0), (64, 2, 0.7, 12.0))


class Pair(NamedTuple):
    """Two images of the same photograph.

    Attributes:
        row, other: their rows; `other` lies in the same split or a later one.
        similarity: agreement of their detail, up to 1; see registration.compare_detail.
        mirrored: whether one is the mirror image of the other.
    """

    row: int
    other: int
    similarity: float
    mirrored: bool


def find(pixels: np.ndarray, rows: np.ndarray, splits: Sequence[str]) -> list[Pair]:
    """Find near-duplicates; pictures with exactly the same pixels are none (see `duplicates`).

    Each image is compared with the most similar later image of each split, so of many copies of one photograph some
    pairs are listed and not all. Comparing hashes takes a time that grows with the square of the number of images:
    about 2 seconds for 30,000 on one core.

    Args:
        pixels: uint8 [N, H, H, 3], RGB; may be memory-mapped.
        rows: int [M], the rows of `pixels` that are used.
        splits: M names of splits, those of each split contiguous, in the order of SPLITS.

    Returns:
        The pairs; test images' first, then by falling similarity.
    """
    if pixels.shape[1] < SMALLEST or len(rows) < 2:
        return []
    thumbs = _thumbnails(pixels, rows)
    pairs: dict[tuple[int, int], Pair] = {}
    candidates = np.concatenate(list(_candidates(*_hashes(thumbs), np.asarray(splits))))
    for first in range(0, len(candidates), PAIRS):
        for pair in _confirmed(pixels, rows, thumbs, candidates[first : first + PAIRS]):
            known = pairs.get(pair[:2], pair)  # a symmetric picture may match both ways
            pairs[pair[:2]] = max(pair, known, key=lambda pair: pair.similarity)
    split_of = dict(zip(rows.tolist(), splits, strict=True))
    return sorted(pairs.values(), key=lambda pair: (split_of[pair.other] != "test", -pair.similarity, pair))


def counts(pairs: list[Pair], split_of: dict[int, str]) -> dict[str, int]:
    """Number of images with near-duplicates: "in train and test" -> images of train, "within test" -> images of it.

    Args:
        split_of: row -> its split.
    """
    found: Counter[str] = Counter()
    for row, split in sorted({(pair.row, split_of[pair.other]) for pair in pairs}):
        own = split_of[row]
        found[f"within {own}" if own == split else f"in {own} and {split}"] += 1
    return dict(sorted(found.items()))


def to_drop(pairs: list[Pair], split_of: dict[int, str]) -> dict[int, int]:
    """The images that leave no near-duplicates between splits: row -> its near-duplicate, which stays.

    As with exact copies, the image of the earlier split is dropped, so never a test image.
    """
    dropped: dict[int, int] = {}
    for split in reversed(SPLITS[1:]):
        for pair in pairs:
            if split_of[pair.other] == split != split_of[pair.row] and pair.other not in dropped:
                dropped.setdefault(pair.row, pair.other)
    return dropped


def write(folder: Path, pairs: list[Pair], dropped: Collection[int], table: pd.DataFrame, pixels: np.ndarray) -> None:
    """Write near_duplicates.csv, one row for each pair, and near_duplicates.npy, the pictures of the first SHOWN pairs.

    The array is uint8 [P, 2, H, W, 3]; it is there because a dropped image is not in images.npy.

    Args:
        dropped: the rows that are left out.
        table: columns file, split and class; its index has the rows.
    """
    columns = {
        f"{prefix}{name}": [table[name][pair[place]] for pair in pairs]
        for place, prefix in enumerate(("", "other_"))
        for name in ("file", "split", "class")
    }
    columns |= {name: [getattr(pair, name) for pair in pairs] for name in ("similarity", "mirrored")}
    listed = pd.DataFrame({**columns, "dropped": [pair.row in dropped for pair in pairs]})
    files.write_table(folder / "near_duplicates.csv", listed)
    shown = np.array([pair[:2] for pair in pairs[:SHOWN]], np.int64).reshape(-1, 2)
    with files.replacing(folder / "near_duplicates.npy") as part:
        np.save(part, pixels[shown])


def _thumbnails(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32 [M, HASH, HASH]"""
    every = max(1, pixels.shape[1] // 128)  # of a large picture some pixels are enough
    thumbs = np.empty((len(rows), HASH, HASH), np.float32)
    for first in range(0, len(rows), PAIRS):
        some = pixels[rows[first : first + PAIRS], ::every, ::every]
        thumbs[first : first + PAIRS] = registration.thumbnails(some, HASH)
    return thumbs


def _hashes(thumbs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest frequencies of each picture, as the two parts of a vector of length 1: float32 [M, E] and [M, O].

    The second part has the cosines that are odd along x: they have the other sign in the mirror image, while the first
    part is the same. High frequencies get more weight, as photographs have less of them.
    """
    number = np.arange(FREQUENCIES)
    weights = (1 + np.hypot(number[:, None], number)).astype(np.float32)
    waves = dctn(thumbs, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES] * weights
    waves[:, 0, 0] = 0  # the brightness
    waves /= np.linalg.norm(waves, axis=(1, 2), keepdims=True) + 1e-3
    even, odd = (waves[:, :, first::2].reshape(len(thumbs), -1) for first in (0, 1))
    return even, odd


def _candidates(even: np.ndarray, odd: np.ndarray, splits: np.ndarray) -> Iterator[np.ndarray]:
    """Each image with the most similar later image of each split, if that is ALIKE, a block of images after the other.

    Yields:
        int64 [K, 3]: the place of an image, that of a later one, and 1 if the later one is to be mirrored.
    """
    for top in range(0, len(even), ROWS):
        for split in SPLITS:
            inside = np.flatnonzero(splits == split)
            if len(inside) and inside[-1] > top:
                yield _most_similar(even, odd, top, max(top, int(inside[0])), int(inside[-1]) + 1)


def _most_similar(even: np.ndarray, odd: np.ndarray, top: int, start: int, end: int) -> np.ndarray:
    """For each of the images `top` to `top` + ROWS the most similar later one among `start` to `end`."""
    count = len(even[top : top + ROWS])
    rows = np.arange(count)
    best = np.full(count, ALIKE, np.float32)
    second = np.zeros(count, np.float32)  # the cosine if the best one is mirrored the other way
    found = np.full((count, 3), -1)
    found[:, 0] = top + rows
    for left in range(start, end, COLUMNS):
        right = slice(left, min(left + COLUMNS, end))
        upright = even[top : top + ROWS] @ even[right].T
        turned = odd[top : top + ROWS] @ odd[right].T
        cosine = np.abs(turned)
        cosine += upright
        if left < top + count:  # each pair once, and no image with itself
            cosine[np.arange(left, right.stop) <= np.arange(top, top + count)[:, None]] = -1
        column = cosine.argmax(axis=1)
        better = np.flatnonzero(cosine[rows, column] > best)
        column = column[better]
        best[better] = cosine[better, column]
        second[better] = upright[better, column] - np.abs(turned[better, column])
        found[better, 1], found[better, 2] = left + column, turned[better, column] < 0
    other_way = found[second > ALIKE] * [1, 1, -1] + [0, 0, 1]
    return np.concatenate([found[found[:, 1] >= 0], other_way])


def _confirmed(pixels: np.ndarray, rows: np.ndarray, thumbs: np.ndarray, candidates: np.ndarray) -> Iterator[Pair]:
    """The candidates [K, 3] whose pixels agree."""
    moves = np.zeros((len(candidates), 4), np.float32)
    agreement = np.zeros(0)
    for side, steps, least, most in LEVELS:
        if not len(candidates):
            return
        side = min(side, int(AVERAGED * pixels.shape[1]))
        first, second = (
            thumbs[places] if side == HASH else registration.thumbnails(pixels[rows[places]], side)
            for places in candidates[:, :2].T
        )
        second = np.where(candidates[:, 2, None, None] == 1, second[:, :, ::-1], second)
        moves, first, second = registration.register(first, second, moves, steps)
        compare = registration.compare_whole if side == HASH else registration.compare_detail
        agreement, difference = compare(first, second)
        good = (agreement >= least) & (difference <= most)
        candidates, moves, agreement = candidates[good], moves[good], agreement[good]
    for (place, later, mirrored), similarity in zip(candidates.tolist(), agreement.tolist(), strict=True):
        row, other = int(rows[place]), int(rows[later])
        if not np.array_equal(pixels[row], pixels[other]):
            yield Pair(row, other, round(similarity, 3), bool(mirrored))
