"""Where images come from: each source is a module with `download` and `open`, and yields a Catalogue."""

from __future__ import annotations

import json
from pathlib import Path

from graybox.data.sources import folder, generated, mini_imagenet, tiny_imagenet, torchvision_sets
from graybox.data.sources.catalogue import Catalogue, UnreadableError
from graybox.errors import UserError
from graybox.schema import Section

__all__ = ["Catalogue", "UnreadableError", "download", "open"]

_SOURCES = {
    "scenes": generated,
    "mini_imagenet": mini_imagenet,
    "tiny_imagenet": tiny_imagenet,
    "folder": folder,
    **torchvision_sets.SOURCES,
}


def download(name: str, options: Section, raw: Path, partial: Path) -> dict:
    """Bring what a source needs.

    Args:
        name: of the source, a key of `sources` in params.yaml.
        options: that key's parameters.
        raw: folder that gets the source's files, and source.json, which says what they are.
        partial: folder for unfinished downloads, where a later call can take them up again.

    Returns:
        What source.json says: "source", the name, and facts such as the archive's size and sha256.

    Raises:
        UserError: what the parameters name isn't there, or isn't usable.
    """
    try:
        raw.mkdir(parents=True, exist_ok=True)
        # It is there only while what it describes is: an earlier one doesn't describe half of something new.
        (raw / "source.json").unlink(missing_ok=True)
        facts = {"source": name, **_SOURCES[name].download(options, raw, partial)}
        unfinished = raw / "source.json.part"
        unfinished.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        unfinished.replace(raw / "source.json")
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
    return _SOURCES[name].open(options, raw, seed)
