"""Images that are there twice: a copy of a test image among the training images would be answered by heart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from graybox.data.images import SPLITS


@dataclass(frozen=True)
class Duplicates:
    """Which rows of a table are copies, pixel for pixel, of others.

    Attributes:
        dropped: row -> the row that it is a copy of, which lies in a later split.
        counts: "in train and test" (and "in train and validation", "in validation and test") -> how many images
            were dropped, each from the split named first; "within train" (and so on) -> how many of the images
            kept there are further copies of another one there. Only what there is.
    """

    dropped: dict[int, int]
    counts: dict[str, int]


def find(table: pd.DataFrame, digests: list[bytes]) -> Duplicates:
    """Find the copies that train and validation have of later splits' images, and those within a split.

    A copy is dropped from the side of training: from train rather than validation, and never from test.

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
