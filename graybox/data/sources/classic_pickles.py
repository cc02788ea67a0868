"""The pickles of mini-ImageNet: {"image_data": uint8 [N, H, W, 3], "class_dict": {wnid: [row, ...]}} in each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graybox.data.sources import archives, arrays, pickles
from graybox.errors import UserError


class Class(NamedTuple):
    """One class of one pickle."""

    wnid: str
    part: str
    images: np.ndarray  # uint8 [N, H, W, 3], of all classes of the pickle
    rows: np.ndarray  # int64 [n], this class's


def convert(files: archives.Files, pickled: dict[str, str], raw: Path, partial: Path) -> None:
    """Keep the pictures of the pickles in `raw`, as graybox.data.sources.arrays has them.

    Args:
        pickled: part ("train", "val", "test") -> its file.
        partial: folder for the unpacked pickles, which are removed again.

    Raises:
        UserError: a pickle is damaged or holds something else, its rows don't fit its images, or two have the same
            class or images of different sizes.
    """
    unpacked = partial / "pickles"
    try:
        classes: dict[str, Class] = {}
        ignored = 0
        shapes: dict[tuple[int, ...], str] = {}
        for part, name in pickled.items():
            images, rows_of = _read(_path(files, name, unpacked / f"{part}.pkl"), name)
            shapes.setdefault(images.shape[1:], name)
            for wnid, rows in rows_of.items():
                if wnid in classes:
                    raise UserError(
                        f"{name} has the class {wnid}, which {pickled[classes[wnid].part]} has too; "
                        "a class should be in one of them"
                    )
                classes[wnid] = Class(wnid, part, images, rows)
            ignored += len(images) - sum(map(len, rows_of.values()))
        if len(shapes) > 1:
            told = " and ".join(f"{name} {shape[0]} x {shape[1]}" for shape, name in shapes.items())
            raise UserError(f"the images of the pickles should have one size; {told} pixels")
        ordered = [classes[wnid] for wnid in sorted(classes)]
        arrays.save(
            raw,
            (found.images[found.rows] for found in ordered),
            next(iter(shapes)),
            class_keys=[found.wnid for found in ordered],
            files=[f"{found.part}/{found.wnid}/{row:05d}" for found in ordered for row in found.rows],
            labels=[label for label, found in enumerate(ordered) for _ in found.rows],
            splits=[None] * sum(len(found.rows) for found in ordered),
            ignored={"in a pickle, but of no class": ignored} if ignored else {},
        )
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _path(files: archives.Files, name: str, target: Path) -> Path:
    """Where a file lies on disk, to be mapped: out of an archive it is copied to `target`."""
    if isinstance(files, archives.FolderFiles):
        return files.root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    files.copy(name, target)
    return target


def _read(path: Path, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One pickle's images, uint8 [N, H, W, 3], and WordNet id -> rows, int64 [n]."""
    value = pickles.dictionary(pickles.load(path, name), name)
    images, classes = value.get("image_data"), value.get("class_dict")
    if not isinstance(images, np.ndarray) or not isinstance(classes, dict) or not classes:
        found = ", ".join(map(repr, list(value)[:5]))
        raise UserError(f"{name} should hold the array image_data and the dictionary class_dict; it holds {found}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise UserError(f"{name}: image_data is {images.dtype} {list(images.shape)}; it should be uint8 [N, H, W, 3]")
    rows_of = {wnid: _rows(rows, f"{name}: class_dict[{wnid!r}]") for wnid, rows in _texts(classes, name)}
    owner = np.full(len(images), -1)
    for label, (wnid, rows) in enumerate(rows_of.items()):
        for row in rows:
            if not 0 <= row < len(images):
                raise UserError(f"{name}: class {wnid} has row {row}; 0 to {len(images) - 1} are allowed")
            if owner[row] >= 0:
                other = list(rows_of)[owner[row]]
                raise UserError(f"{name}: row {row} is in class {other} and in {wnid}; each should be listed once")
            owner[row] = label
    return images, rows_of


def _texts(classes: dict, name: str) -> Iterator[tuple[str, Any]]:
    return iter(pickles.dictionary(classes, f"{name}: class_dict").items())


def _rows(rows: Any, where: str) -> np.ndarray:
    if isinstance(rows, list | tuple) and all(type(row) is int and abs(row) < 1 << 62 for row in rows):
        rows = np.array(rows, np.int64)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
        raise UserError(f"{where} should be a list of row numbers")
    return rows.astype(np.int64)
