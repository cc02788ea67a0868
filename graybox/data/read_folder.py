"""Read a folder of class-named folders for a network that exists already, with its own numbering of classes."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from graybox import arguments
from graybox.data import sources, transforms
from graybox.data.class_names import labels_of
from graybox.data.images import ImageSet
from graybox.data.params import FolderParams
from graybox.data.sources import decode
from graybox.data.sources.catalogue import Catalogue, UnreadableError
from graybox.data.transforms import Geometry
from graybox.errors import ParameterError, UserError
from graybox.schema import validated

MOST_BYTES = 2**34
"""Of all pictures together, which are kept in memory."""


def read_folder(
    path: Path | str,
    class_names: Sequence[str],
    *,
    boxes: Path | str | None = None,
    preprocess: object = None,
    image_size: int | None = None,
    on_image: Callable[[int], object] = lambda count: None,
) -> ImageSet:
    """Read all pictures of class-named folders as a network sees them, for `intervene` and `probabilities`.

    A folder is called as its class, or has the WordNet id of one of ImageNet's classes as its name.

    Args:
        path: a folder, zip or tar with cat/1.jpg, dog/2.jpg, ...; train/, val/ and test/ above them are read together.
        class_names: the network's, in the order of its scores; folders of some of them are enough.
        boxes: object boxes: a CSV file (file, x0, y0, x1, y1, in pixels, half-open), or a folder, zip or tar of PASCAL
            VOC's XML files; None = no boxes.
        preprocess: torchvision's `weights.transforms()`, or a Compose with its resizing and cropping, which are applied
            to each picture; the normalisation is left to `intervene(..., preprocess=...)`.
        image_size: where `preprocess` crops nothing: height and width, 8 to 1024 pixels; the largest central square is
            resized to it.
        on_image: called with 1 for each picture, for a progress bar.

    Raises:
        TypeError, ValueError: an argument is not allowed.
        UserError: the folder has another layout, no picture can be read, a folder is called as none of the classes, or
            the boxes can't be read or are not in their pictures.

    Warns:
        UserWarning: some pictures can't be read, and are left out.
    """
    for name, given in {"path": path, **({} if boxes is None else {"boxes": boxes})}.items():
        arguments.path(name, given)
    names, geometry = arguments.names("class_names", class_names), None
    arguments.function("on_image", on_image)
    if preprocess is not None:
        geometry = transforms.parts(preprocess).geometry
    size = None if image_size is None else arguments.integer("image_size", image_size, 8, 1024)
    if (geometry is None) == (size is None):
        said = "crops the pictures, so it should be None" if geometry else "crops nothing, so it should be 8 to 1024"
        raise ValueError(f"image_size is {size}, and preprocess {said}")
    options = {"image_size": size or 224, "path": str(path), "boxes": None if boxes is None else str(boxes)}
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch)
        try:
            folder = validated(FolderParams, options)
            sources.download("folder", folder, raw / "raw", raw / "partial")
            catalogue = sources.open("folder", folder, raw / "raw", 0)
        except ParameterError as error:
            raise UserError(str(error).replace("sources.folder.", "")) from error
        return _read(catalogue, names, str(path), geometry, size, on_image)


def _read(
    catalogue: Catalogue,
    class_names: tuple[str, ...],
    where: str,
    geometry: Geometry | None,
    size: int | None,
    on_image: Callable[[int], object],
) -> ImageSet:
    label_of = labels_of(catalogue.class_keys, catalogue.class_names, class_names, where)
    found: list[tuple[np.ndarray, np.ndarray, int, str]] = []
    unreadable: dict[str, str] = {}
    total = 0
    for index, (name, key) in enumerate(zip(catalogue.files, catalogue.labels.tolist())):
        on_image(1)
        try:
            picture, box = prepared(*catalogue.load(index), geometry, size)
        except UnreadableError as error:
            unreadable[name] = str(error)
            continue
        found.append((picture, box, label_of[key], name))
        total += picture.nbytes
        if total > MOST_BYTES:
            raise UserError(f"{where} has more than {MOST_BYTES >> 30} GB of pictures; allowed: a part of them")
    if unreadable:
        name, why = next(iter(unreadable.items()))
        said = f"{len(unreadable)} of {len(catalogue.files)} files can't be read, such as {name} ({why})"
        if not found:
            raise UserError(f"{where}: {said}")
        warnings.warn(f"{said}; they are left out", stacklevel=3)
    shapes = {picture.shape[:2] for picture, *_ in found}
    if len(shapes) > 1:
        raise ValueError(f"preprocess makes pictures of {len(shapes)} sizes; it should have a crop at its end")
    pictures, boxes, labels, files = zip(*found)
    return ImageSet.from_arrays(np.stack(pictures), list(labels), class_names, boxes=np.stack(boxes), files=list(files))


def prepared(
    image: Image.Image, box: np.ndarray, geometry: Geometry | None, size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees of a picture as stored, uint8 [H, W, 3], and its box there, float32 [4]."""
    if geometry is None:
        assert size is not None
        return decode.square(image, box, size)
    upright, box = decode.upright(image, box)
    return geometry.picture(upright), geometry.box(box, upright.height, upright.width)
