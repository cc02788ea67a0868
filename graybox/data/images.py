"""ImageSet: the images, labels, boxes and names that every stage works on, saved so that they can be memory-mapped."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
BOX_COLUMNS = ["x0", "y0", "x1", "y1"]


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set.

    Attributes:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N], each in 0..len(class_names) - 1.
        class_names: one readable name for each label.
        files: N names, as the source calls the images.
        boxes: float32 [N, 4], the object boxes as x0, y0, x1, y1 in pixels of `images`, half-open;
            a row of NaN where an image has no box.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    @property
    def has_box(self) -> np.ndarray:
        """bool [N]: whether the image's object box is known."""
        known: np.ndarray = ~np.isnan(self.boxes).any(axis=1)
        return known


def new_images(folder: Path, count: int, size: int) -> np.memmap:
    """A writable, memory-mapped uint8 [count, size, size, 3] array in `folder`, to be filled and then `save_table`d."""
    folder.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, 3))


def save_table(folder: Path, table: pd.DataFrame, class_names: list[str]) -> None:
    """Write what the images are, beside images.npy.

    Args:
        table: columns split, row (in images.npy), label, class, file, x0, y0, x1, y1; each split's rows follow
            one another, so that a split is one slice of images.npy.
        class_names: one readable name for each label.
    """
    table.to_csv(folder / "table.csv", index=False, lineterminator="\n")
    (folder / "classes.json").write_text(json.dumps(list(class_names), indent=1, ensure_ascii=False) + "\n", "utf-8")


def load(folder: Path | str, split: str) -> ImageSet:
    """One split ("train", "validation" or "test") of a prepared folder; its images stay memory-mapped."""
    folder = Path(folder)
    # Not by pandas, which takes half a second to load: every stage reads this table.
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    places = [int(row["row"]) for row in rows]
    first, last = min(places), max(places) + 1
    if len(rows) != last - first:
        raise ValueError(f"{folder}/table.csv: the rows of split {split} are not one slice of images.npy")
    return ImageSet(
        images=np.load(folder / "images.npy", mmap_mode="r")[first:last],
        labels=np.array([int(row["label"]) for row in rows], np.int64),
        class_names=tuple(json.loads((folder / "classes.json").read_text("utf-8"))),
        files=tuple(row["file"] for row in rows),
        boxes=np.array([[float(row[edge] or "nan") for edge in BOX_COLUMNS] for row in rows], np.float32),
    )
