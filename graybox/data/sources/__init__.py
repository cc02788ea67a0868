"""Where images come from: each source has `download` and `open`, and yields a `Catalogue`.

Only the chosen source's module is loaded, as some of them need libraries that take seconds.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graybox.errors import UserError

if TYPE_CHECKING:
    from graybox.data.sources.catalogue import Catalogue, UnreadableError
    from graybox.schema import Section

__all__ = ["Catalogue", "UnreadableError", "download", "open"]

# The module of each key of `sources` in params.yaml. One of several sources has them by name, in `SOURCES`.
_MODULES = {
    "scenes": "generated",
    "mini_imagenet": "mini_imagenet",
    "tiny_imagenet": "tiny_imagenet",
    "cifar10": "torchvision_sets",
    "cifar100": "torchvision_sets",
    "fashion_mnist": "torchvision_sets",
    "folder": "folder",
}


def __getattr__(name: str) -> Any:
    """`Catalogue` and `UnreadableError`, loaded on first use (PEP 562)."""
    if name in ("Catalogue", "UnreadableError"):
        return getattr(import_module("graybox.data.sources.catalogue"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Source(Protocol):
    """What a source has: a module or an object. `options` are its own parameters."""

    def download(self, options: Any, raw: Path, partial: Path) -> dict[str, Any]:
        """Bring the files to `raw`; the facts about them, JSON-ready."""
        ...

    def open(self, options: Any, raw: Path, seed: int) -> Catalogue:
        """List the pictures in `raw`."""
        ...


def _source(name: str) -> Source:
    module: Any = import_module(f"graybox.data.sources.{_MODULES[name]}")
    source: Source = module.SOURCES[name] if hasattr(module, "SOURCES") else module
    return source


def download(name: str, options: Section, raw: Path, partial: Path) -> dict[str, Any]:
    """Get a source's files.

    Args:
        name: of the source, a key of `sources` in params.yaml.
        options: that key's parameters.
        raw: folder that gets the source's files, and source.json, which says what they are.
        partial: folder for unfinished downloads, where a later call can take them up again.

    Returns:
        What source.json says: "source", the name, and facts such as the archive's size and sha256.

    Raises:
        UserError: a file that the parameters name is missing or not usable.
    """
    from graybox.files import write_json  # here, as the import of a package runs no code

    try:
        raw.mkdir(parents=True, exist_ok=True)
        # Remove it first: an old source.json must not describe half of a new download.
        (raw / "source.json").unlink(missing_ok=True)
        facts = {"source": name, **_source(name).download(options, raw, partial)}
        write_json(raw / "source.json", facts, indent=2)
    except OSError as error:  # a full disk, among others
        raise UserError(f"{raw}: {name} can't be stored there ({error.strerror or error})") from error
    return facts


def open(name: str, options: Section, raw: Path, seed: int) -> Catalogue:
    """List the pictures that `download` brought to `raw`; `seed` is that of a generated world.

    Raises:
        UserError: `raw` holds another source's files or none, or they have changed or aren't laid out well.
    """
    try:
        found = json.loads((raw / "source.json").read_text("utf-8"))["source"]
    except (OSError, ValueError, KeyError):
        found = "nothing"
    if found != name:
        raise UserError(f"{raw} holds {found} where data.source is {name}; run `dvc repro download` first")
    return _source(name).open(options, raw, seed)
