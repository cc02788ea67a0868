"""Object boxes that don't come with the images: PASCAL VOC's XML files, or a CSV file.

`download` brings them into the source's folder, and `attached` gives each image of a catalogue its own.

An XML file is of the image with its name (n01440764/n01440764_10026.xml), and may lie in a folder, a zip or a tar. Its
boxes count pixels from 1 and include the last ones, as PASCAL VOC has it. A CSV file has the columns file, x0, y0, x1,
y1 and possibly class, in pixels of the image as stored, from 0, half-open.

Where an image has several boxes, it gets the first one whose class is its own, or else the largest.
"""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from graybox.data.sources import archives, fetch
from graybox.data.sources.catalogue import Catalogue, Load, UnreadableError
from graybox.data.sources.decode import EXTENSIONS, check_box
from graybox.data.sources.files import Files
from graybox.data.sources.names import composed, is_hidden
from graybox.errors import ParameterError, UserError

ALLOWED = (
    "null, a CSV file with the columns file, x0, y0, x1, y1, or a folder, a zip or a tar of PASCAL VOC's XML files"
)
COLUMNS = ("file", "x0", "y0", "x1", "y1")
MAX_XML_BYTES = 1 << 20
MAX_CSV_BYTES = 1 << 28
FILE = "boxes.csv"  # in the source's folder, whatever they came as
WITHOUT_BOX = "images without a box"
OTHER_CASE = "boxes whose file differs from an image's in upper and lower case alone"
_SEVERAL = -1  # for the number of an image


class _Row(NamedTuple):
    """One box.

    Attributes:
        where: the row or object that it comes from, for messages.
        file: image that it belongs to, or the XML file that tells of that image.
        class_: what is in it; "" if unknown.
        box: x0, y0, x1, y1, half-open.
    """

    where: str
    file: str
    class_: str
    box: tuple[float, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes of N images.

    Attributes:
        boxes: float32 [N, 4], x0, y0, x1, y1 in pixels of the image as stored, half-open, NaN where unknown. Whether
            they lie in their images is for decode.check_box to say.
        where: N times the row that a box comes from, for messages; "" where there is none.
        ignored: why boxes are not used, or images have none -> how many.
    """

    boxes: np.ndarray
    where: list[str]
    ignored: dict[str, int]


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


def download(location: str | None, key: str, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring boxes into `raw`.

    Args:
        location: of an XML folder or archive (a path or a URL), or of a CSV file; None = there are no boxes.
        key: the parameter that `location` comes from, for messages.
        raw: the source's folder.
        partial: folder for what is unfinished.

    Returns:
        Facts for source.json, under the key "boxes"; none if there are no boxes.

    Raises:
        UserError: there is no such file, it can't be read, or a box in it is none.
    """
    target = raw / FILE
    target.unlink(missing_ok=True)
    if location is None:
        return {}
    unfinished = raw / f"{FILE}.part"
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            # All quoted: a bare carriage return in a name would otherwise end its row.
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            count = 0
            for row in _rows(location, key, partial):
                writer.writerow((row.where, row.file, row.class_, *row.box))
                count += 1
        if not count:
            raise ParameterError(f"{key} is {location!r}, which has no boxes; it should be {ALLOWED}")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return {"boxes": {"from": location, "boxes": count}}


def attached(found: Catalogue, raw: Path) -> Catalogue:
    """A catalogue with the boxes that `download` brought to `raw`; its `ignored` also counts those of no image."""
    matched = attach(found.files, [found.class_keys[label] for label in found.labels], raw)
    return replace(
        found,
        load=Boxed(found.load, matched.boxes, matched.where),
        ignored=dict(sorted((found.ignored | matched.ignored).items())),
    )


def attach(names: list[str], classes: list[str], raw: Path) -> Boxes:
    """Find each image's box among those that `download` brought to `raw`; without any, all are unknown.

    Args:
        names: N names of images, with / between folders and their class's folder, if any, before the file's name.
        classes: N names of their classes, as the boxes may call them.
        raw: the source's folder.
    """
    boxes, where = np.full((len(names), 4), np.nan, np.float32), [""] * len(names)
    if not (raw / FILE).is_file():
        return Boxes(boxes, where, {})
    rows_of: dict[str, list[_Row]] = {}
    with (raw / FILE).open(encoding="utf-8", newline="") as file:
        for row_where, name, class_, *numbers in csv.reader(file):
            row = _Row(row_where, name, class_, tuple(map(float, numbers)))
            rows_of.setdefault(name, []).append(row)
    file_of, ignored = match(list(rows_of), list(map(composed, names)))
    for index, name in file_of.items():
        best = _best(rows_of[name], composed(classes[index]))
        boxes[index], where[index] = best.box, best.where
    counts = Counter(ignored) + Counter({WITHOUT_BOX: len(names) - len(file_of)})
    return Boxes(boxes, where, dict(sorted(counts.items())))


def _best(rows: list[_Row], class_: str) -> _Row:
    own = next((row for row in rows if row.class_ == class_), None)
    return own or max(rows, key=lambda row: (row.box[2] - row.box[0]) * (row.box[3] - row.box[1]))


# --- reading ------------------------------------------------------------------------------------------------------


def _rows(location: str, key: str, partial: Path) -> Iterator[_Row]:
    on_web = location.lower().startswith(("http://", "https://"))
    path = Path(location).expanduser()
    if not on_web and (not location or not path.exists()):
        raise fetch.missing(location, key, ALLOWED)
    if not on_web and path.is_file() and archives.kind(path) is None:
        yield from _rows_of_csv(path, key)
        return
    place = partial / "boxes"
    place.mkdir(parents=True, exist_ok=True)
    try:
        facts = fetch.fetch(location, key, place, partial)
        files = fetch.brought(facts, place)
        for name in files.names:
            if name.lower().endswith(".xml") and not is_hidden(name):
                yield from _rows_of_xml(files, name, f"{location}: {name}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _rows_of_csv(path: Path, key: str) -> Iterator[_Row]:
    if path.stat().st_size > MAX_CSV_BYTES:
        raise ParameterError(f"{key}: {path} has more than the {MAX_CSV_BYTES >> 20} MB allowed")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise ParameterError(f"{key}: {path} has no column {missing[0]}; it should be {ALLOWED}")
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                name = composed((row["file"] or "").replace("\\", "/").strip().removeprefix("./"))
                if not name:
                    raise UserError(f"{where}: the column file is empty; it should name an image")
                box = _box([row[column] for column in COLUMNS[1:]], where)
                yield _Row(where, name, composed((row.get("class") or "").strip()), box)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParameterError(f"{key}: {path} is not a CSV file ({error}); it should be {ALLOWED}") from error


def _rows_of_xml(files: Files, name: str, where: str) -> Iterator[_Row]:
    try:
        data = files.read(name)
    except UnreadableError as error:
        raise UserError(f"{where} can't be read ({error})") from error
    if len(data) > MAX_XML_BYTES:
        raise UserError(f"{where} has more than the {MAX_XML_BYTES >> 20} MB allowed for an annotation")
    # Decoded here, so that no encoding hides what is looked for: definitions of entities, which can unfold to any size.
    text = data.decode("utf-8", "replace").lstrip("\ufeff")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{where} has a document type definition, which annotations should not")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{where} is not XML ({error})") from error
    for number, thing in enumerate(root.iter("object"), start=1):
        which = f"{where}, object {number}"
        corners = [thing.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        x0, y0, x1, y1 = _box(corners, which, first=1)
        class_ = composed((thing.findtext("name") or "").strip())
        yield _Row(which, composed(name), class_, (x0, y0, x1, y1))


def _box(texts: list[str | None], where: str, first: int = 0) -> tuple[float, ...]:
    """x0, y0, x1, y1, half-open, from four numbers; `first` is the number of the first column and row."""
    shown = ", ".join((text or "").strip()[:20] or "nothing" for text in texts)
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError as error:
        raise UserError(f"{where}: the box is {shown}; it should be four numbers") from error
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or re.search("[xX_]", shown):
        raise UserError(f"{where}: the box is {shown}; it should be four numbers")
    x0, y0 = x0 - first, y0 - first
    if not (x0 < x1 and y0 < y1):
        raise UserError(
            f"{where}: the box {shown} is empty or inverted; left should be less than right, top than bottom"
        )
    if min(x0, y0) < -1:  # a pixel more is a matter of counting from 0 or from 1
        raise UserError(f"{where}: the box {shown} reaches outside the image; no number should be negative")
    return max(x0, 0.0), max(y0, 0.0), x1, y1


# --- which image a box belongs to ---------------------------------------------------------------------------------


def match(files: list[str], images: list[str]) -> tuple[dict[int, str], dict[str, int]]:
    """Match names that boxes are given for to images.

    A name belongs to an image if it ends in the same folders and file name as that image and no other: the whole path,
    the path within the split's or the class's folder, or only the file's name. Extensions count only if they tell
    images apart. But cat/1 never matches dog/1.jpg: a folder that any image has must match.

    Args:
        files: distinct names of images, with or without extension, or of XML files.
        images: N names of images; both with / between folders.

    Returns:
        Image number in 0..N - 1 -> its name in `files`, and why others of `files` are not used -> how many.
    """
    index = _index(images)
    folded: tuple[dict[str, int], set[str]] | None = None
    ignored: Counter[str] = Counter()
    found: defaultdict[int, list[tuple[tuple[int, ...], str]]] = defaultdict(list)  # image -> how well, name
    for file in files:
        of, rank = _look_up(file, *index)
        if of is None:
            folded = folded or _index([image.casefold() for image in images])
            in_case = _look_up(file.casefold(), *folded)[0] is not None
            ignored[OTHER_CASE if in_case else "boxes of no image"] += 1
        elif of == _SEVERAL:
            ignored["boxes of several images"] += 1
        else:
            found[of].append((rank, file))
    file_of = {}
    for image, candidates in sorted(found.items()):
        highest = max(rank for rank, _ in candidates)
        best = [file for rank, file in candidates if rank == highest]
        if len(best) == 1:
            file_of[image] = best[0]
            ignored["boxes of no image"] += len(candidates) - 1
        else:
            ignored["boxes of one image in several files"] += len(candidates)
    return file_of, {reason: count for reason, count in ignored.items() if count}


def _index(images: list[str]) -> tuple[dict[str, int], set[str]]:
    """Ending of a name, with and without its extension -> the image's number, or _SEVERAL; and all folders."""
    image_of: dict[str, int] = {}
    for index, image in enumerate(images):
        for name in {image, _bare(image)}:
            for ending in _endings(name)[1:]:
                image_of[ending] = index if image_of.get(ending, index) == index else _SEVERAL
    # A whole path is that image's, even where it is the end of another's.
    bare = Counter(map(_bare, images))
    image_of |= {_bare(image): index if bare[_bare(image)] == 1 else _SEVERAL for index, image in enumerate(images)}
    image_of |= {image: index for index, image in enumerate(images)}
    folders = {folder for image in images for folder in image.split("/")[:-1]}
    return image_of, folders


def _look_up(file: str, image_of: dict[str, int], folders: set[str]) -> tuple[int | None, tuple[int, ...]]:
    """The image that has the longest ending of a name, or _SEVERAL, or None; and how good a match that is."""
    several = False
    for name in dict.fromkeys((file, _bare(file))):
        parts = name.split("/")
        for cut, ending in enumerate(_endings(name)):
            if cut and parts[cut - 1] in folders:
                break
            if (index := image_of.get(ending)) is not None:
                if index != _SEVERAL:
                    return index, (len(parts) - cut, -cut, name == file)
                several = True
                break
    return (_SEVERAL if several else None), ()


def _endings(name: str) -> list[str]:
    """a/b/c, b/c, c."""
    parts = name.split("/")
    return ["/".join(parts[cut:]) for cut in range(len(parts))]


def _bare(name: str) -> str:
    """The name without an image's or an annotation's extension."""
    for extension in (*EXTENSIONS, ".xml"):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name
