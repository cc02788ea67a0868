"""Any folder, zip or tar whose images lie in folders named after their classes.

cat/1.jpg, dog/2.jpg, ... or the same inside train/, val/ (valid/, validation/) and test/, in any case. Images
may lie deeper in their class's folder. A folder that merely holds all the rest is left out of the names.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from graybox.data.params import FolderParams
from graybox.data.sources import boxes, fetch
from graybox.data.sources.catalogue import Catalogue
from graybox.data.sources.decode import EXTENSIONS, FileLoader
from graybox.data.sources.files import Files, is_hidden
from graybox.data.sources.wordnet import readable_names
from graybox.errors import ParameterError

SPLIT_FOLDERS = {"train": "train", "test": "test"} | dict.fromkeys(("val", "valid", "validation"), "validation")


def download(options: FolderParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the archive, or note where the folder is, and bring the boxes."""
    facts = fetch.fetch(options.path, "sources.folder.path", raw, partial)
    return facts | boxes.download(options.boxes, "sources.folder.boxes", raw, partial)


def open(options: FolderParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought."""
    return boxes.attached(catalogue(fetch.opened(raw)), raw)


def catalogue(files: Files) -> Catalogue:
    """Find classes and splits in the names of files.

    Raises:
        UserError: there are no images in class-named folders, or it isn't clear which folders are splits.
    """
    ignored: Counter[str] = Counter()
    names = []
    for name in files.names:
        if is_hidden(name):
            ignored["hidden"] += 1
        elif not name.lower().endswith(EXTENSIONS):
            ignored[Path(name).suffix.lower() or "no extension"] += 1
        else:
            names.append(name)
    top = _lone_folders([name.split("/") for name in names])
    paths = [name.split("/")[top:] for name in names]
    split_of = _split_folders(paths)
    depth = 1 if split_of else 0  # of the class's folder in the path

    placed = [(name, path) for name, path in zip(names, paths, strict=True) if len(path) > depth + 1]
    ignored["not in a class's folder"] = len(names) - len(placed)
    if not placed:
        raise ParameterError(
            f"sources.folder.path has no images in folders named after their classes, such as "
            f"{'train/' if split_of else ''}cat/1.jpg; allowed: {', '.join(EXTENSIONS)}"
        )
    classes = sorted({path[depth] for _, path in placed})
    label_of = {name: label for label, name in enumerate(classes)}
    return Catalogue(
        class_names=readable_names(classes),
        class_keys=classes,
        files=["/".join(path) for _, path in placed],
        labels=np.array([label_of[path[depth]] for _, path in placed], np.int64),
        splits=[split_of.get(path[0]) for _, path in placed],
        load=FileLoader(files, [name for name, _ in placed]),
        ignored={reason: count for reason, count in sorted(ignored.items()) if count},
    )


def _lone_folders(paths: list[list[str]]) -> int:
    """How many folders are around everything and say nothing; a split's folder does."""
    top = 0
    while len({path[top] for path in paths}) == 1 and all(len(path) > top + 2 for path in paths):
        if paths[0][top].lower() in SPLIT_FOLDERS:
            break
        top += 1
    return top


def _split_folders(paths: list[list[str]]) -> dict[str, str]:
    """Top folder -> split; empty if the top folders are classes."""
    tops = {path[0] for path in paths if len(path) > 1}
    splits = {top: SPLIT_FOLDERS[top.lower()] for top in sorted(tops) if top.lower() in SPLIT_FOLDERS}
    if "train" not in splits.values() or (len(splits) == 1 and len(tops) > 1):
        return {}  # such as the classes train, bus and car
    if others := sorted(tops - set(splits)):
        raise ParameterError(
            f"sources.folder.path has the folders {', '.join(splits)} and also {', '.join(others)}; "
            "either every folder should be a split or every folder a class"
        )
    return splits
