"""mini-ImageNet: 100 classes with 600 photographs each, from the Hugging Face hub or from the classic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graybox.data.params import MiniImagenetParams
from graybox.data.sources import boxes, classic, hub
from graybox.data.sources.catalogue import Catalogue
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
    return found if options.boxes is None else boxes.attached(found, raw)
