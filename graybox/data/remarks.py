"""What a user should know of prepared images, in sentences: values too dark, names that look alike, unequal classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from graybox.data.images import SPLITS, UNEQUAL
from graybox.data.sources.names import look_alikes

DARK = 64  # 16-bit images without a value of so many of 255 use 14 bits or fewer


def too_dark(peaks: list[int]) -> list[str]:
    """A sentence on 16-bit images that come out nearly black; none if there are none.

    65,535 is white. Cameras, scanners and microscopes give 10 to 14 bits, which many programs store without scaling
    them; nothing in the file says so, and a dark image looks the same. So they are not scaled here.

    Args:
        peaks: the largest value, 0..255, of each image that was stored with more than 8 bits a channel.
    """
    dark = [peak for peak in peaks if peak < DARK]
    if not dark:
        return []
    bits = 8 + max(dark).bit_length()
    return [
        f"{len(dark):,} of {len(peaks):,} images with 16 bits a channel come out nearly black, with values up to "
        f"{max(dark)} of 255, because 65,535 is white; if they hold {bits}-bit values (0 to {2**bits - 1:,}), multiply "
        f"these by {2 ** (16 - bits)}."
    ]


def alike_classes(class_names: list[str]) -> list[str]:
    """A sentence on classes whose names are easily taken for each other; none if there are none."""
    groups = {tuple(sorted([name, *others])) for name in class_names if (others := look_alikes(name, class_names))}
    if not groups:
        return []
    shown = "; ".join(" and ".join(map(repr, group)) for group in sorted(groups))
    return [f"Classes whose names look alike, and which may be meant as one: {shown}."]


def constant_answer(table: pd.DataFrame, class_names: list[str]) -> dict[str, Any]:
    """What answering the same class always gets: the class that has the most test images.

    Args:
        table: as for images.save_table.

    Returns:
        "class": its name; "train", "validation" and "test": the accuracy on each split, 0..1; "balanced": the balanced
        accuracy, 1 / number of classes on every split.
    """
    test = table.loc[table["split"] == "test", "label"]
    label = int(np.bincount(test).argmax())  # of several the first
    shares = {split: float((table.loc[table["split"] == split, "label"] == label).mean()) for split in SPLITS}
    accuracies = {split: round(share, 6) for split, share in shares.items()}
    return {"class": class_names[label], **accuracies, "balanced": round(1 / len(class_names), 6)}


def unequal(table: pd.DataFrame, class_names: list[str]) -> list[str]:
    """A sentence on classes with unequal numbers of test images; none if the largest is at most 1.5 times the smallest.

    Args:
        table: as for images.save_table.
    """
    counts = table.loc[table["split"] == "test", "label"].value_counts()
    if counts.max() <= UNEQUAL * counts.min():
        return []
    found = constant_answer(table, class_names)
    return [
        f"The classes are of unequal size, {counts.min():,} to {counts.max():,} test images: always answering "
        f"{found['class']!r} gets {found['test']:.1%} of them right (balanced accuracy {found['balanced']:.1%})."
    ]
