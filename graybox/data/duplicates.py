"""Find duplicate images: a network could memorise a test image that is also among the training images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from graybox.data.images import SPLITS


@dataclass(frozen=True)
class Duplicates:
    """Which rows of a table are exact copies of other rows, pixel for pixel.

    Attributes:
        dropped: row -> the row that it copies, which lies in a later split.
        counts: "in train and test" (and "in train and validation", "in validation and test") -> number of images
            dropped, each from the split named first; "within train" (and so on) -> number of images kept in the split
            that copy another image of the same split. Zero counts are left out.
    """

    dropped: dict[int, int]
    counts: dict[str, int]


def find(table: pd.DataFrame, digests: list[bytes]) -> Duplicates:
    """Find copies of a later split's images in train and validation, and copies within a split.

    A copy between splits is dropped from the earlier split (train, validation, test), so never from test.

    Args:
        table: N rows with the column split.
        digests: N hashes of the images' pixels.
    """
    dropped: dict[int, int] = {}
    counts: Counter[str] = Counter()
    first_seen: dict[bytes, tuple[int, str]] = {}
    rows_of = table.groupby("split").indices
    for split in reversed(SPLITS):
        kept: dict[bytes, int] = {}
        for row in rows_of.get(split, ()):
            digest = digests[row]
            if digest in first_seen:
                dropped[int(row)], other = first_seen[digest]
                counts[f"in {split} and {other}"] += 1
            elif digest in kept:
                counts[f"within {split}"] += 1
            else:
                kept[digest] = int(row)
        first_seen |= {digest: (row, split) for digest, row in kept.items()}
    return Duplicates(dict(sorted(dropped.items())), dict(sorted(counts.items())))
