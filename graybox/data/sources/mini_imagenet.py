"""mini-ImageNet: 100 classes with 600 photographs each, from the Hugging Face hub or from the classic files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graybox.data.params import MiniImagenetParams
from graybox.data.sources import boxes, classic, hub
from graybox.data.sources.catalogue import Catalogue, Load
from graybox.data.sources.decode import check_box
from graybox.errors import ParameterError

KEY = "sources.mini_imagenet.boxes"


def download(options: MiniImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the hub's shards, or what `options.path` names, and the boxes.

    Raises:
        UserError: as hub.download, classic.download and boxes.download; or there are boxes for the hub's images.
    """
    if options.path is not None:
        return classic.download(options, raw, partial) | boxes.download(options.boxes, KEY, raw, partial)
    if options.boxes is not None:
        raise ParameterError(
            f"{KEY} is {options.boxes!r}, but the hub's images have no file names to match; it should be "
            "null, or sources.mini_imagenet.path should name files of yours"
        )
    return hub.download(options, raw, partial)


def open(options: MiniImagenetParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought."""
    if options.path is None:
        return hub.open(options, raw, seed)
    found = classic.open(options, raw, seed)
    if options.boxes is None:
        return found
    attached = boxes.attach(found.files, [found.class_keys[label] for label in found.labels], raw)
    return replace(
        found,
        load=Boxed(found.load, attached.boxes, attached.where),
        ignored={**found.ignored, **attached.ignored},
    )


@dataclass(frozen=True)
class Boxed:
    """A catalogue's `load` with boxes from elsewhere.

    Attributes:
        load: the images'.
        boxes: float32 [N, 4]. `where`: N times what a box that isn't in its image is to be blamed on.
    """

    load: Load
    boxes: np.ndarray
    where: list[str]

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image, _ = self.load(index)
        check_box(self.boxes[index], image, self.where[index])
        return image, self.boxes[index]
