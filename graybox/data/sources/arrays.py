"""Pictures that come as arrays: kept as one uint8 array in a source's folder, memory-mapped when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graybox.data.sources.catalogue import Catalogue
from graybox.errors import UserError
from graybox.files import replacing, write_json

IMAGES, PICTURES = "images.npy", "pictures.json"


@dataclass
class ArrayLoader:
    """A catalogue's `load` for the pictures of an array, uint8 [N, H, W, 3] or, for gray ones, [N, H, W].

    Attributes:
        path: of the array's .npy file.
    """

    path: Path
    _images: np.ndarray | None = field(default=None, repr=False)

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        if self._images is None:
            self._images = np.load(self.path, mmap_mode="r")
        return Image.fromarray(self._images[index]).convert("RGB"), np.full(4, np.nan, np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_images": None}  # a mapped array would be sent to a worker with all its pixels


def save(
    raw: Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, ...],
    *,
    class_keys: list[str],
    files: list[str],
    labels: list[int],
    splits: list[str | None],
    ignored: dict[str, int] | None = None,
) -> None:
    """Keep pictures in `raw`, for `opened`.

    Args:
        blocks: of the pictures, uint8 [n, *shape], in the order of `files`, N in all.
        shape: of one picture: H, W, 3, or H, W for a gray one.
        class_keys, files, labels, splits, ignored: as a Catalogue has them.

    Raises:
        UserError: they can't be written, for lack of space, say.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
    about = {"class_keys": class_keys, "files": files, "labels": labels, "splits": splits, "ignored": ignored or {}}
    # Written, not mapped: a full disk is then an error rather than the process's end.
    with replacing(raw / IMAGES) as part, part.open("wb") as file:
        (raw / PICTURES).unlink(missing_ok=True)  # an old one must not describe the new array
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
    write_json(raw / PICTURES, about, indent=None)


def opened(raw: Path) -> Catalogue:
    """The pictures that `save` kept in `raw`; the classes' names are their keys.

    Raises:
        UserError: files are missing or damaged.
    """
    try:
        about = json.loads((raw / PICTURES).read_text("utf-8"))
        about["labels"] = np.array(about["labels"], np.int64)
        whole = len(np.load(raw / IMAGES, mmap_mode="r")) == len(about["files"])
        catalogue = Catalogue(class_names=about["class_keys"], load=ArrayLoader(raw / IMAGES), **about)
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{raw} lacks {IMAGES} or {PICTURES}, or they are damaged; run `dvc repro -f download`")
    return catalogue
