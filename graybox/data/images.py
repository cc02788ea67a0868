"""ImageSet: the images, labels, boxes and names that every stage uses, stored for memory-mapping."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graybox import arguments, files
from graybox.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
TABLE = "table.csv"  # a prepared folder without it is not whole
BOX_COLUMNS = ["x0", "y0", "x1", "y1"]
UNCOVERED = "uncovered.npz"
UNEQUAL = 1.5  # classes are called unequal if the largest has more than so many times the smallest's test images


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set.

    Attributes:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N], each in 0..len(class_names) - 1.
        class_names: one readable name for each label.
        files: N file names, as in the source.
        boxes: float32 [N, 4], the object boxes as x0, y0, x1, y1 in pixels of `images`, half-open;
            a row of NaN where an image has no box.
        covered: float32 [N], the share (0..1) of the object's own pixels that a thing in front of it covers; NaN where
            that is not known, as on photographs. Left out: unknown for all.

    Raises:
        ValueError: `covered` has known values, but not one for each image.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    boxes: np.ndarray
    covered: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        if self.covered.shape == (len(self.labels),):
            return
        if not np.isnan(self.covered).all():
            raise ValueError(
                f"covered has the shape {list(self.covered.shape)}; allowed with these labels: [{len(self.labels)}]"
            )
        object.__setattr__(self, "covered", np.full(len(self.labels), np.nan, np.float32))

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray | Sequence[int],
        class_names: Sequence[str],
        *,
        boxes: np.ndarray | None = None,
        files: Sequence[str] | None = None,
        covered: np.ndarray | None = None,
    ) -> ImageSet:
        """Make an ImageSet of arrays in memory; an array with the right type is not copied.

        Args:
            images: uint8 [N, H, W, 3], RGB, N of at least 1.
            labels: N integers, each in 0..len(class_names) - 1.
            class_names: one readable name for each label, at least 2.
            boxes: [N, 4], the object boxes as x0, y0, x1, y1 in pixels, half-open; a row of NaN for an image without
                a box. None = no image has a box.
            files: N names of the images; None = their numbers.
            covered: [N], the share (0..1) of the object that a thing in front of it covers, NaN where unknown. None =
                unknown for all.

        Raises:
            TypeError: the images are not uint8, the labels no integers, boxes or covered no numbers, or class_names or
                files no list.
            ValueError: a shape is wrong, the lengths differ, there are fewer than 2 class_names, a label has no class
                name, a box has an infinite edge, or covered has a value outside 0 to 1.
        """
        images, labels = _array("images", images, "uint8 [N, H, W, 3]"), _array("labels", labels, "integers [N]")
        arguments.pictures("images", images)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels is of {labels.dtype}; allowed: integers [N]")
        count, names = len(images), arguments.names("class_names", class_names)
        boxes = _array("boxes", np.full((count, 4), np.nan) if boxes is None else boxes, "numbers [N, 4]")
        if boxes.dtype.kind not in "fiu":
            raise TypeError(f"boxes is of {boxes.dtype}; allowed: numbers [N, 4]")
        if np.isinf(boxes).any():
            raise ValueError("boxes has infinite values; allowed: pixels, or NaN where an image has no box")
        boxes = boxes.astype(np.float32, copy=False)
        files = tuple(map(str, range(count))) if files is None else arguments.names("files", files, 1)
        covered = _array("covered", np.full(count, np.nan) if covered is None else covered, "numbers [N]")
        if covered.dtype.kind not in "fiu":
            raise TypeError(f"covered is of {covered.dtype}; allowed: numbers [N]")
        if (covered < 0).any() or (covered > 1).any():
            raise ValueError("covered has values outside 0 to 1; allowed: 0 to 1, or NaN where it is unknown")
        covered = covered.astype(np.float32, copy=False)
        shapes = {"labels": labels.shape, "boxes": boxes.shape, "files": (len(files),), "covered": covered.shape}
        for name, shape in shapes.items():
            allowed = (count, 4) if name == "boxes" else (count,)
            if shape != allowed:
                raise ValueError(f"{name} has the shape {list(shape)}; allowed with these images: {list(allowed)}")
        if not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(
                f"labels has values from {labels.min()} to {labels.max()}; allowed with {len(names)} class_names: "
                f"0 to {len(names) - 1}"
            )
        return cls(images, labels.astype(np.int64), names, files, boxes, covered)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images, labels and class names: of all that a training sees. Computed once."""
        found = hashlib.sha256(json.dumps([self.images.shape, self.class_names]).encode())
        for first in range(0, len(self), 256):  # in parts, as a memory-mapped array may be larger than the memory
            found.update(np.ascontiguousarray(self.images[first : first + 256]).data)
        found.update(np.ascontiguousarray(self.labels).data)
        return found.hexdigest()

    @property
    def size(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.images.shape[1])

    @property
    def has_box(self) -> np.ndarray:
        """bool [N]: which images have a known object box."""
        known: np.ndarray = ~np.isnan(self.boxes).any(axis=1)
        return known


def _array(name: str, values: Any, allowed: str) -> np.ndarray:
    """The values as an array, not copied if they are one."""
    try:
        return np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal lengths; a tensor on a GPU
        raise TypeError(f"{name} is {arguments.shown(values)}; allowed: {allowed}") from error


def spread(labels: np.ndarray, most: int) -> np.ndarray:
    """The places of a fixed sample of images, int64 [min(most, N)], ascending.

    Each class has the same share of it as of all, to within one image, and its images are evenly spaced.

    Args:
        labels: int [N], N of at least 1. `most`: number of images, at least 1.
    """
    count = min(most, len(labels))
    even = ((np.arange(count) + 0.5) * len(labels) / count).astype(np.int64)
    places: np.ndarray = np.sort(np.argsort(labels, kind="stable")[even])
    return places


def new_images(folder: Path, count: int, size: int) -> int:
    """Begin images.npy, uint8 [count, size, size, 3], in `folder`. Write the images, then call `save_table`.

    Write, don't map: on a full disk, writing to a mapped file kills the process.

    Returns:
        Where in the file the first image's size x size x 3 bytes go; the others follow.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + count * size * size * 3)
    return start


def save_table(folder: Path, table: pd.DataFrame, class_names: list[str]) -> None:
    """Write table.csv and classes.json beside images.npy.

    Args:
        table: columns split, row (in images.npy), label, class, file, x0, y0, x1, y1, and optionally covered (0..1,
            NaN = unknown). The rows of a split must be contiguous, so that a split is one slice of images.npy.
        class_names: one readable name for each label.
    """
    files.write_table(folder / TABLE, table)
    files.write_json(folder / "classes.json", list(class_names))


def load(folder: Path | str, split: str) -> ImageSet:
    """Load one split of a prepared folder; its images stay memory-mapped, so only the used ones are read.

    Args:
        folder: a folder that `graybox.prepare_folder` or the stage `prepare` wrote.
        split: "train", "validation" or "test".

    Raises:
        TypeError: `folder` is no path.
        ValueError: `split` has another name.
        UserError: the folder holds no prepared images, or none of that split.
    """
    folder = arguments.path("folder", folder)
    arguments.choice("split", split, SPLITS)
    # Without pandas, which takes half a second to load, because every stage reads this table.
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        pixels = np.load(folder / "images.npy", mmap_mode="r")
        class_names = tuple(json.loads((folder / "classes.json").read_text("utf-8")))
    except OSError as error:
        missing = Path(error.filename or folder).name
        raise UserError(f"{folder} holds no prepared images ({missing}: {error.strerror}); prepare them") from error
    if not rows:
        raise UserError(f"{folder} holds no {split} images; prepare them")
    places = [int(row["row"]) for row in rows]
    first, last = min(places), max(places) + 1
    if len(rows) != last - first:
        raise ValueError(f"{folder}/table.csv: the rows of split {split} are not one slice of images.npy")
    return ImageSet(
        images=pixels[first:last],
        labels=np.array([int(row["label"]) for row in rows], np.int64),
        class_names=class_names,
        files=tuple(row["file"] for row in rows),
        boxes=np.array([[float(row[edge] or "nan") for edge in BOX_COLUMNS] for row in rows], np.float32),
        covered=np.array([float(row.get("covered") or "nan") for row in rows], np.float32),
    )


def load_uncovered(folder: Path | str) -> dict[int, np.ndarray]:
    """The test images whose objects are partly covered, without what covers them.

    Returns:
        Row in the test split -> uint8 [H, W, 3], the same picture without the thing in front. Empty where it is not
        known what stands in front, as on photographs.
    """
    path = Path(folder) / UNCOVERED
    if not path.exists():
        return {}
    with np.load(path) as file:
        return dict(zip(file["rows"].tolist(), file["images"], strict=True))
