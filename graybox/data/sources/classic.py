"""The classic few-shot releases of mini-ImageNet, from files on disk or an archive of them.

Either the CSV files of Ravi & Larochelle (train.csv, val.csv, test.csv: filename,label) beside the folder images/, or
the pickles mini-imagenet-cache-train.pkl, -val and -test, whose pictures are 84 x 84. Their parts are made for
few-shot learning: each has classes of its own, so they are put together here, to be split anew within each class.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graybox.data.params import MiniImagenetParams
from graybox.data.sources import arrays, fetch, pickles
from graybox.data.sources.catalogue import Catalogue, UnreadableError
from graybox.data.sources.decode import EXTENSIONS, FileLoader
from graybox.data.sources.files import Files, FolderFiles, ZipFiles
from graybox.data.sources.names import by_composed, composed, is_hidden
from graybox.data.sources.wordnet import readable_names
from graybox.errors import ParameterError, UserError

KEY = "sources.mini_imagenet.path"
PARTS = ("train", "val", "test")
MAX_PICKLE_BYTES = 2 << 30  # the largest of the three has 0.8 GB
ALLOWED = (
    "train.csv, val.csv and test.csv beside the folder images/, "
    "or mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl"
)
_HEADER = ["filename", "label"]


def download(options: MiniImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the archive, or note where the folder is; pictures that come as pickles are kept in `raw` as one array.

    Returns:
        Facts, of which "note" says in a sentence what was made of the release's parts.

    Raises:
        UserError: `options.path` isn't what is allowed, or its files aren't laid out as one of the releases.
    """
    (raw / arrays.PICTURES).unlink(missing_ok=True)  # `open` would take another release's for this one's
    facts = fetch.fetch(options.path, KEY, raw, partial, largest=MAX_PICKLE_BYTES)
    files = fetch.brought(facts, raw, MAX_PICKLE_BYTES)
    _, tables = _found(files, ".csv")
    if not tables:
        _, pickled = _found(files, ".pkl")
        if not pickled:
            raise ParameterError(f"{KEY} has no files of mini-ImageNet; it should have {ALLOWED}")
        _convert(files, pickled, raw, partial)
        (raw / fetch.ARCHIVE).unlink(missing_ok=True)  # all of it is in the array now
        return {**facts, "form": "pickles", "note": _note(list(pickled))}
    catalogue(files)  # a look at all of it, before the pipeline goes on
    return {**facts, "form": "CSV files", "note": _note(list(tables))}


def open(options: MiniImagenetParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought; no picture has a split."""
    if (raw / arrays.PICTURES).exists():
        found = arrays.opened(raw)
        return replace(found, class_names=readable_names(found.class_keys))
    return catalogue(fetch.opened(raw, MAX_PICKLE_BYTES))


def _note(parts: list[str]) -> str:
    """What was made of the release's parts."""
    note = (
        "This release was made for few-shot learning, so its parts have different classes. Here all its classes are "
        "put together, and the images of each are split anew into training, validation and test"
    )
    if len(parts) < len(PARTS):
        note += f" (of {', '.join(PARTS)} it has only {' and '.join(parts)}, so that the others' classes are missing)"
    return note + "."


def _found(files: Files, extension: str) -> tuple[str, dict[str, str]]:
    """The release's files in the folder that has them: the folder with its /, and part -> file.

    Raises:
        UserError: more than one folder has them.
    """
    names = {part: f"mini-imagenet-cache-{part}.pkl" if extension == ".pkl" else f"{part}.csv" for part in PARTS}
    visible = [name for name in files.names if not is_hidden(name)]
    tops = {name.removesuffix(wanted) for name in visible for wanted in names.values() if _ends(name, wanted)}
    if extension == ".csv":  # lists of the pickles' classes don't matter
        tops = {top for top in tops if any(name.startswith(f"{top}images/") for name in visible)}
    if len(tops) > 1:
        shown = ", ".join(sorted(top or "./" for top in tops))
        raise ParameterError(f"{KEY} has the files of mini-ImageNet in {shown}; one folder should have them")
    top = tops.pop() if tops else None
    return top or "", {part: top + name for part, name in names.items() if top is not None and top + name in visible}


def _ends(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith("/" + wanted)


# --- CSV files ----------------------------------------------------------------------------------------------------


def catalogue(files: Files) -> Catalogue:
    """Read the CSV files: pictures by class, and in the files' order within it.

    Raises:
        UserError: a CSV file is damaged, names a picture or a class that another one has too, or no picture is there.
    """
    top, tables = _found(files, ".csv")
    label_of_file: dict[str, str] = {}
    table_of_class: dict[str, str] = {}
    for table in tables.values():
        for number, (file, wnid) in enumerate(_lines(files, table), start=2):
            where = f"{KEY}: {table}, line {number}"
            if table_of_class.setdefault(wnid, table) != table:
                raise ParameterError(
                    f"{where} has the class {wnid}, which {table_of_class[wnid]} has too; "
                    "a class should be in one of them"
                )
            if file in label_of_file:
                raise ParameterError(f"{where} has the image {file} a second time; each should be listed once")
            label_of_file[file] = wnid

    there = by_composed(name for name in files.names if not is_hidden(name))
    # Sorted, so that a class has the same place whether or not other parts are there.
    listed = sorted(label_of_file.items(), key=lambda pair: pair[1])
    pictures = [(f"images/{file}", wnid) for file, wnid in listed if f"{composed(top)}images/{file}" in there]
    if not pictures:
        raise ParameterError(f"{KEY}: none of the images that the CSV files list is in {top}images/")
    keys = sorted({wnid for _, wnid in pictures})
    label_of = {wnid: label for label, wnid in enumerate(keys)}
    names = [there[composed(top) + file] for file, _ in pictures]
    images = {name for name in there.values() if name.startswith(f"{top}images/") and name.lower().endswith(EXTENSIONS)}
    unlisted = images - set(names)
    folded = {name.casefold() for name in map(composed, unlisted)}
    lost = [name for file, _ in listed if (name := f"{composed(top)}images/{file}") not in there]
    in_case = sum(name.casefold() in folded for name in lost)
    ignored = Counter(
        {
            "listed in a CSV file, but missing": len(lost) - in_case,
            "listed in a CSV file, but with other upper and lower case in images/": in_case,
            "in images/, but in no CSV file": len(unlisted),
        }
    )
    return Catalogue(
        class_names=readable_names(keys),
        class_keys=keys,
        files=[name for name, _ in pictures],
        labels=np.array([label_of[wnid] for _, wnid in pictures], np.int64),
        splits=[None] * len(pictures),
        load=FileLoader(files, names),
        ignored=dict(+ignored),
    )


def _lines(files: Files, table: str) -> list[list[str]]:
    """A CSV file's rows without the header: file and WordNet id."""
    where = f"{KEY}: {table}"
    try:
        text = composed(files.read(table).decode("utf-8-sig"))
        header, *rows = csv.reader(io.StringIO(text))
    except (UnreadableError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ParameterError(
            f"{where} can't be read as a CSV file; it should have the columns filename,label"
        ) from error
    if header != _HEADER:
        shown = ",".join(header)[:60]
        raise ParameterError(f"{where} begins with {shown!r}; its first line should be {','.join(_HEADER)}")
    for number, row in enumerate(rows, start=2):
        if row and (len(row) != 2 or not all(row)):
            raise ParameterError(
                f"{where}, line {number} should be a file's name and its class, with a comma between them"
            )
    return [row for row in rows if row]


# --- pickles: {"image_data": uint8 [N, H, W, 3], "class_dict": {wnid: [row, ...]}} in each ------------------------


class _Class(NamedTuple):
    """One class of one pickle."""

    wnid: str
    part: str
    images: np.ndarray  # uint8 [N, H, W, 3], of all classes of the pickle
    rows: np.ndarray  # int64 [n], this class's


def _convert(files: FolderFiles | ZipFiles, pickled: dict[str, str], raw: Path, partial: Path) -> None:
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
        classes: dict[str, _Class] = {}
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
                classes[wnid] = _Class(wnid, part, images, rows)
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


def _path(files: FolderFiles | ZipFiles, name: str, target: Path) -> Path:
    """Where a file lies on disk, to be mapped: out of an archive it is copied to `target`."""
    if isinstance(files, FolderFiles):
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
    wnids = pickles.dictionary(classes, f"{name}: class_dict")
    rows_of = {wnid: _rows(rows, f"{name}: class_dict[{wnid!r}]") for wnid, rows in wnids.items()}
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


def _rows(rows: Any, where: str) -> np.ndarray:
    if isinstance(rows, list | tuple) and all(type(row) is int and abs(row) < 1 << 62 for row in rows):
        rows = np.array(rows, np.int64)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
        raise ParameterError(f"{where} should be a list of row numbers")
    return rows.astype(np.int64)
