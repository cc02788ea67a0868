"""Find duplicate images: a network could memorise a test image that is also among the training images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from graybox.data.images import SPLITS


@dataclass(frozen=True)
class Duplicates:
    """Which rows of a table are exact copies of other rows, pixel for pixel.

    Attributes:
        dropped: row -> the row that it copies, which lies in a later split.
        within: row -> the earlier row of the same split that it copies; both are kept.
        two_labels: the rows of `dropped` and `within` whose label differs from that of the row that they copy.
        counts: "in train and test" (and "in train and validation", "in validation and test") -> number of images
            dropped, each from the split named first; "within train" (and so on) -> number of images kept in the split
            that copy another image of the same split. Zero counts are left out.
    """

    dropped: dict[int, int]
    within: dict[int, int]
    two_labels: frozenset[int]
    counts: dict[str, int]

    def lines(self, files: Sequence[str], splits: Sequence[str], classes: Sequence[str]) -> list[str]:
        """One line for each copy.

        Args:
            files, splits, classes: of the N rows.
        """
        listed = []
        for row, other in {**self.dropped, **self.within}.items():
            kept = ", kept" * (row in self.within)
            labels = f"; two labels: {classes[row]} and {classes[other]}" * (row in self.two_labels)
            listed.append(f"{files[row]} ({splits[row]}): as {files[other]} ({splits[other]}){kept}{labels}")
        return listed


def find(table: pd.DataFrame, digests: list[bytes]) -> Duplicates:
    """Find copies of a later split's images in train and validation, and copies within a split.

    A copy between splits is dropped from the earlier split (train, validation, test), so never from test.

    Args:
        table: N rows with the columns split and label.
        digests: N hashes of the images' pixels.
    """
    dropped: dict[int, int] = {}
    within: dict[int, int] = {}
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
                within[int(row)] = kept[digest]
                counts[f"within {split}"] += 1
            else:
                kept[digest] = int(row)
        first_seen |= {digest: (row, split) for digest, row in kept.items()}
    labels = table["label"].tolist()
    two_labels = frozenset(row for row, other in {**dropped, **within}.items() if labels[row] != labels[other])
    return Duplicates(
        dict(sorted(dropped.items())), dict(sorted(within.items())), two_labels, dict(sorted(counts.items()))
    )
