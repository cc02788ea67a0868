"""Tiny ImageNet: 64 x 64 photographs in a layout of their own, in a zip, a tar or the unpacked folder.

train/WNID/images/*.JPEG and train/WNID/WNID_boxes.txt, val/images/*.JPEG and val/val_annotations.txt, and
words.txt; any part of the classes will do. The `val` images are the test split here, since those of `test` have
no labels; a validation split is to be carved out of `train`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from graybox.data.params import TinyImagenetParams
from graybox.data.sources import fetch
from graybox.data.sources.catalogue import Catalogue, UnreadableError
from graybox.data.sources.decode import FileLoader
from graybox.data.sources.files import Files
from graybox.data.sources.names import is_hidden
from graybox.data.sources.wordnet import readable_names
from graybox.errors import ParameterError

_TRAIN = re.compile(r"((?:[^/]+/)?)train/([^/]+)/images/([^/]+\.JPEG)")
_NO_BOX = (np.nan,) * 4
_WRONG = "sources.tiny_imagenet.archive isn't laid out as Tiny ImageNet"


def download(options: TinyImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the archive, or note where the folder is."""
    return fetch.fetch(options.archive, "sources.tiny_imagenet.archive", raw, partial, options.sha256)


def open(options: TinyImagenetParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought."""
    return catalogue(fetch.opened(raw))


def catalogue(files: Files) -> Catalogue:
    """Read Tiny ImageNet's layout.

    Raises:
        UserError: the files aren't laid out so.
    """
    there = {name for name in files.names if not is_hidden(name)}
    train = [match.groups() for match in map(_TRAIN.fullmatch, sorted(there)) if match]
    if not train:
        raise ParameterError(f"{_WRONG}: it has no train/WNID/images/*.JPEG")
    top = train[0][0]  # the folder that all of it lies in, or ""
    images_of = defaultdict(list)
    for folder, wnid, name in train:
        if folder == top:
            images_of[wnid].append(name)
    label_of = {wnid: label for label, wnid in enumerate(images_of)}

    pictures = []  # file, label, split, box
    for wnid, names in images_of.items():
        listing = f"{top}train/{wnid}/{wnid}_boxes.txt"
        boxes = {name: _box(numbers) for name, *numbers in _rows(files, listing)} if listing in there else {}
        for name in names:
            pictures.append((f"train/{wnid}/images/{name}", label_of[wnid], "train", boxes.get(name, _NO_BOX)))

    ignored = Counter({"hidden or system": len(files.names) - len(there)})
    for name, (wnid, *numbers) in _annotations(files, f"{top}val/val_annotations.txt").items():
        if f"{top}val/images/{name}" not in there:
            ignored["in val_annotations.txt only"] += 1
        elif wnid not in label_of:
            ignored["in val, of a class that train has not"] += 1
        else:
            pictures.append((f"val/images/{name}", label_of[wnid], "test", _box(numbers)))

    words = f"{top}words.txt"
    synonyms = {row[0]: row[-1] for row in _rows(files, words)} if words in there else {}
    return Catalogue(
        class_names=readable_names(list(label_of), synonyms),
        class_keys=list(label_of),
        files=[file for file, _, _, _ in pictures],
        labels=np.array([label for _, label, _, _ in pictures], np.int64),
        splits=[split for _, _, split, _ in pictures],
        load=FileLoader(
            files,
            names=[top + file for file, _, _, _ in pictures],
            boxes=np.array([box for _, _, _, box in pictures], np.float32),
        ),
        ignored={reason: count for reason, count in ignored.items() if count},
    )


def _annotations(files: Files, listing: str) -> dict[str, list[str]]:
    """Image -> its WordNet id and the four numbers of its box."""
    rows = _rows(files, listing)
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise ParameterError(f"{_WRONG}: line {number} of {listing} should be a file, a WordNet id and a box")
    return {name: rest for name, *rest in rows}


def _rows(files: Files, listing: str) -> list[list[str]]:
    """A text file's lines, split at the tabs."""
    try:
        text = files.read(listing).decode("utf-8", "replace")
    except UnreadableError as error:
        raise ParameterError(f"{_WRONG}: {listing} can't be read") from error
    return [line.split("\t") for line in text.splitlines() if line]


def _box(numbers: list[str]) -> tuple[float, ...]:
    """x0, y0, x1, y1, half-open: the last column and row that the file names are inside the box."""
    try:
        x0, y0, x1, y1 = map(int, numbers)
    except ValueError:
        return _NO_BOX
    return (x0, y0, x1 + 1, y1 + 1) if x0 <= x1 and y0 <= y1 else _NO_BOX
