"""summary.json: the counts and sizes of a prepared folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graybox import files
from graybox.data import remarks as sentences
from graybox.data.images import BOX_COLUMNS, SPLITS


def write(
    folder: Path,
    table: pd.DataFrame,
    class_names: list[str],
    size: int,
    *,
    colour_sums: np.ndarray,
    original_sizes: np.ndarray,
    unreadable: int,
    ignored: dict[str, int],
    duplicates: dict[str, int],
    two_labels: int,
    near_duplicates: dict[str, int],
    near_duplicates_dropped: int,
    remarks: list[str],
    made: str = "",
) -> None:
    """Write summary.json; the same images always give the same bytes.

    Its keys:
        images: number of images.
        image_size: their height and width, in pixels.
        images_per_split: {"train": n, "validation": n, "test": n}.
        images_per_class: {class name: {"train": n, "validation": n, "test": n}}, in the order of the labels.
        with_box: {"train": n, "validation": n, "test": n}, number of images with a known object box.
        covered: {"train": n, "validation": n, "test": n}, number of images in which a thing covers a part of the
            object, or null where that is not known.
        made: how the pictures are made, if they are generated; else "".
        unreadable: number of files that can't be decoded.
        ignored: {reason: n}, number of skipped files of the source.
        duplicates: {"in train and test": n, ..., "within test": n, ...}; see duplicates.Duplicates.counts.
        two_labels: number of duplicates with another label than the image that they copy.
        near_duplicates: {"in train and test": n, ..., "within test": n, ...}; see near_duplicates.counts.
        near_duplicates_dropped: number of images left out because they are near-duplicates.
        mean_colour: {"red": x, "green": x, "blue": x}, each 0..1, over all images.
        original_size: {"smallest": [width, height], "median": ..., "largest": ...}, by area, in pixels of the images
            as stored; the median is the size of a real image (the lower of the middle two).
        constant_answer: what answering one class always gets; see remarks.constant_answer.
        remarks: sentences on what the user should know.

    Args:
        table: N rows, as for images.save_table.
        size: height and width of the images, in pixels.
        colour_sums: int64 [N, 3], the sum of each image's red, green and blue, 0..255 each.
        original_sizes: int64 [N, 2], width and height of each image as stored.
        unreadable, ignored, duplicates, two_labels, near_duplicates, near_duplicates_dropped, remarks, made: as above.
    """
    counts = table.groupby(["label", "split"]).size()
    boxes = table[BOX_COLUMNS].notna().all(axis=1)
    covered = table["covered"] if "covered" in table else pd.Series(np.nan, table.index)
    in_front = {split: int((covered[table["split"] == split] > 0).sum()) for split in SPLITS}
    mean = colour_sums.sum(axis=0) / (255 * size * size * len(table))
    widths, heights = original_sizes.T
    by_area = original_sizes[np.lexsort((heights, widths, widths * heights))]
    summary: dict[str, Any] = {
        "images": len(table),
        "image_size": size,
        "images_per_split": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "images_per_class": {
            name: {split: int(counts.get((label, split), 0)) for split in SPLITS}
            for label, name in enumerate(class_names)
        },
        "with_box": {split: int(boxes[table["split"] == split].sum()) for split in SPLITS},
        "covered": in_front if covered.notna().any() else None,
        "made": made,
        "unreadable": unreadable,
        "ignored": dict(sorted(ignored.items())),
        "duplicates": duplicates,
        "two_labels": two_labels,
        "near_duplicates": near_duplicates,
        "near_duplicates_dropped": near_duplicates_dropped,
        "mean_colour": {name: round(float(x), 6) for name, x in zip(("red", "green", "blue"), mean, strict=True)},
        "original_size": {
            name: by_area[place].tolist()
            for name, place in (("smallest", 0), ("median", (len(by_area) - 1) // 2), ("largest", -1))
        },
        "constant_answer": sentences.constant_answer(table, class_names),
        "remarks": remarks,
    }
    files.write_json(folder / "summary.json", summary, indent=2)
