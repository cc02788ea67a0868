"""Names of files and folders: one spelling for each, which are of the system, and which look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What systems, network drives and editors leave between people's files, in lower case. Names that begin with a dot,
# such as .Trash-1000, .thumbnails and .ipynb_checkpoints, are hidden anyhow.
_OF_SYSTEMS = frozenset(
    {
        "__macosx", "network trash folder", "temporary items", "icon\r",  # macOS
        "$recycle.bin", "recycler", "recycled", "system volume information",  # Windows
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
        "@eadir", "#recycle", "#snapshot", "@recycle", "@__thumb", "@recently-snapshot", "@tmp",  # Synology, QNAP
        "~snapshot",  # NetApp
        "lost+found", "_gsdata_", "__pycache__",
    }
)  # fmt: skip
_SYNOLOGY = ("@synoresource", "@synoeastream")  # what follows the name of the file that it belongs to


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder around it, is hidden, or is thumbnails, trash or the like that a system left.

    Args:
        name: with / between folders.
    """
    return any(
        part.startswith(".") or part in _OF_SYSTEMS or part.endswith(_SYNOLOGY) for part in name.lower().split("/")
    )


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): macOS stores "ü" as "u" and an accent, other systems as one letter."""
    return unicodedata.normalize("NFC", name)


def by_composed(names: Iterable[str]) -> dict[str, str]:
    """Composed form -> name; a name that is composed itself comes before one that isn't."""
    return {composed(name): name for name in sorted(names, key=lambda name: name == composed(name))}


def alike(name: str) -> str:
    """What names have in common that differ only in case, in spaces, _ or -, or in the form of their letters."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def look_alikes(name: str, names: Iterable[str]) -> list[str]:
    """Other names that are easily taken for a name, in their order."""
    return [other for other in names if other != name and alike(other) == alike(name)]
