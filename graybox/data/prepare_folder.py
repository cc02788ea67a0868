"""Prepare a folder of class-named folders in one call: it gives the three splits."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

from graybox import arguments
from graybox.data import images, sources
from graybox.data.images import ImageSet
from graybox.data.params import DataParams, FolderParams
from graybox.data.prepare import prepare
from graybox.errors import ParameterError, UserError
from graybox.schema import validated


class Splits(NamedTuple):
    """The training, validation and test images."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


def prepare_folder(
    path: Path | str,
    into: Path | str,
    *,
    image_size: int = 64,
    boxes: Path | str | None = None,
    classes: int | list[str] | None = None,
    images_per_class: int | None = None,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.2,
    max_unreadable: int = 20,
    drop_near_duplicates: bool = False,
    seed: int = 0,
    workers: int | None = 1,
) -> Splits:
    """Decode, crop to squares, resize and split the images of class-named folders.

    What its user should know, such as folders without images, and classes of unequal size, comes as a warning.
    Training images with exactly the pixels of a validation or test image are left out. Besides the prepared images,
    `into` gets summary.json (counts), unreadable.txt (which files were left out, and why), duplicates.txt (exact
    copies) and near_duplicates.csv.
    `graybox.load_images(into, "test")` loads a split again.

    Args:
        path: a folder, zip or tar with cat/1.jpg, dog/2.jpg, ..., or the same inside train/, val/ and test/.
        into: the folder for the prepared images; those of an earlier call are replaced.
        image_size: height and width of the prepared images, 8 to 1024 pixels.
        boxes: object boxes: a CSV file (file, x0, y0, x1, y1, in pixels, half-open), or a folder, zip or tar of PASCAL
            VOC's XML files; None = no boxes.
        classes: None = all; n = the first n; or a list of names.
        images_per_class: None = all; n (at least 3) = at most n in each split.
        validation_fraction, test_fraction: share of each class, 0..1, for a split that `path` lacks.
        max_unreadable: largest allowed number of unreadable files.
        drop_near_duplicates: leave out training and validation images that are nearly a later split's image (encoded
            again, resized, slightly cropped or mirrored); False = only list them.
        seed: random seed of the splits.
        workers: number of processes that decode; 1 = this process; None = one per core (in a script only under
            `if __name__ == "__main__":`).

    Raises:
        TypeError, ValueError: `path`, `into` or `boxes` is no path, or `workers` no integer of at least 1.
        UserError: an argument is not allowed, the folder has another layout, a class has too few images, too many files
            can't be decoded, or the disk is full.
    """
    workers = None if workers is None else arguments.integer("workers", workers, 1)
    into = arguments.path("into", into)
    for name, given in {"path": path, **({} if boxes is None else {"boxes": boxes})}.items():
        arguments.path(name, given)
    options = validated(
        FolderParams, {"image_size": image_size, "path": str(path), "boxes": None if boxes is None else str(boxes)}
    )
    data = validated(
        DataParams,
        {
            "source": "folder", "classes": classes, "images_per_class": images_per_class,
            "validation_fraction": validation_fraction, "test_fraction": test_fraction,
            "max_unreadable": max_unreadable, "drop_near_duplicates": drop_near_duplicates, "seed": seed,
        },
    )  # fmt: skip
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            raw = Path(scratch)
            sources.download("folder", options, raw / "raw", raw / "partial")
            catalogue = sources.open("folder", options, raw / "raw", seed)
            prepared = prepare(catalogue, data, image_size, into, workers=workers)
    except ParameterError as error:
        raise UserError(str(error).removeprefix("sources.folder.").removeprefix("data.")) from error
    except OSError as error:
        raise UserError(f"into is {str(into)!r}, which can't be written ({error.strerror or error})") from error
    for remark in prepared.remarks:
        warnings.warn(remark, stacklevel=2)
    return Splits(*(images.load(into, split) for split in images.SPLITS))
