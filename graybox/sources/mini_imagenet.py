"""mini-ImageNet: 100 classes with 600 photographs each, from the Hugging Face hub or from the classic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graybox.config import MiniImagenetParams
from graybox.sources import classic, hub
from graybox.sources.catalogue import Catalogue


def download(options: MiniImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the hub's shards, or what `options.path` names."""
    return (hub if options.path is None else classic).download(options, raw, partial)


def open(options: MiniImagenetParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought."""
    return (hub if options.path is None else classic).open(options, raw, seed)
