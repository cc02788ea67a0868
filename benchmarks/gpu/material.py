"""The images: generated scenes, and photographs if a file of them is given."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from graybox.data import images
from graybox.data.images import ImageSet
from graybox.data.params import DataParams, ScenesParams
from graybox.data.prepare import prepare
from graybox.data.sources import generated
from graybox.errors import UserError
from graybox.network.augmentation import resized


def scenes(size: int, train: int, test: int, classes: int = 10) -> dict[str, ImageSet]:
    """The splits of the generated scenes, in memory. `train`, `test`: pictures of each class."""
    options = ScenesParams(image_size=size, classes=classes, train_per_class=train, test_per_class=test)
    data = DataParams()
    with tempfile.TemporaryDirectory() as folder:
        prepare(generated.open(options, Path(folder, "raw"), data.seed), data, size, Path(folder, "prepared"))
        return {split: in_memory(images.load(Path(folder, "prepared"), split)) for split in images.SPLITS}


def in_memory(part: ImageSet) -> ImageSet:
    return ImageSet(np.array(part.images), part.labels, part.class_names, part.files, part.boxes)


def taken(part: ImageSet, rows: np.ndarray) -> ImageSet:
    files = tuple(part.files[row] for row in rows)
    return ImageSet(part.images[rows], part.labels[rows], part.class_names, files, part.boxes[rows])


def repeated(part: ImageSet, count: int) -> ImageSet:
    """`count` images, for parts where only speed matters."""
    return taken(part, np.arange(count) % len(part))


def at_size(part: ImageSet, size: int) -> ImageSet:
    """The same images, smaller or larger."""
    pixels = resized(torch.as_tensor(part.images), size).numpy()
    return ImageSet(pixels, part.labels, part.class_names, part.files, part.boxes * (size / part.size))


def photographs(path: Path | str) -> dict[str, ImageSet]:
    """The splits train and test of an .npz file.

    It holds uint8 `images` [N, S, S, 3] and integer `labels` [N], and optionally `test_images` and `test_labels`;
    otherwise every fifth image of each class is used for testing. Or it is a file of `python -m benchmarks.gpu.pack`.
    """
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
        if "jpegs" in found:
            found = _unpacked(**found)
        pixels, labels = found["images"], found["labels"].astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not an .npz file with the arrays images and labels ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] != 3:
        raise UserError(f"{path}: images is {pixels.dtype} {list(pixels.shape)}; it should be uint8 [N, S, S, 3]")
    names = tuple(f"class {label}" for label in range(labels.max() + 1))
    if "test_images" in found:
        parts = {"train": (pixels, labels), "test": (found["test_images"], found["test_labels"].astype(np.int64))}
    else:
        place = np.empty(len(labels), int)  # of each image among those of its class
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            place[rows] = np.arange(len(rows))
        held = place % 5 == 4
        parts = {"train": (pixels[~held], labels[~held]), "test": (pixels[held], labels[held])}
    return {split: _image_set(*part, names) for split, part in parts.items()}


def _unpacked(jpegs: np.ndarray, lengths: np.ndarray, labels: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    ends = np.cumsum(lengths)
    pixels = np.stack([
        np.array(Image.open(io.BytesIO(jpegs[end - length : end].tobytes()))) for end, length in zip(ends, lengths)
    ])  # fmt: skip
    return {
        "images": pixels[~test], "labels": labels[~test], "test_images": pixels[test], "test_labels": labels[test]
    }  # fmt: skip


def _image_set(pixels: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> ImageSet:
    files = tuple(f"{row:06d}" for row in range(len(labels)))
    return ImageSet(pixels, labels, names, files, np.full((len(labels), 4), np.nan, np.float32))
