"""Any folder, zip or tar whose images lie in folders named after their classes.

cat/1.jpg, dog/2.jpg, ... or the same inside train/, val/ and test/, whatever they are called (see `splits`), or
cat/train/1.jpg, cat/test/2.jpg. Images may lie deeper in their class's folder. A folder that merely holds all the rest
is left out of the names. Names are in Unicode's composed form, so that a class is one class on every system.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from graybox.data.params import FolderParams
from graybox.data.sources import boxes, fetch, splits
from graybox.data.sources.catalogue import Catalogue
from graybox.data.sources.decode import EXTENSIONS, FORMATS, FileLoader, is_image
from graybox.data.sources.files import Files
from graybox.data.sources.names import composed, is_hidden
from graybox.data.sources.wordnet import readable_names
from graybox.errors import ParameterError

MAX_SHOWN = 20  # folders in a remark


def download(options: FolderParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Bring the archive, or note where the folder is, and bring the boxes."""
    facts = fetch.fetch(options.path, "sources.folder.path", raw, partial)
    return facts | boxes.download(options.boxes, "sources.folder.boxes", raw, partial)


def open(options: FolderParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought."""
    return boxes.attached(catalogue(fetch.opened(raw)), raw)


def catalogue(files: Files) -> Catalogue:
    """Find classes and splits in the names of files.

    A file is an image if its name says so, or else its first bytes.

    Raises:
        UserError: there are no images in class-named folders, or it isn't clear which folders are splits.
    """
    ignored: Counter[str] = Counter()
    names, others = [], []
    for name in files.names:
        if is_hidden(name):
            ignored["hidden or system"] += 1
        elif name.lower().endswith(EXTENSIONS) or is_image(name, files.first(name)):
            names.append(name)
        else:
            ignored[_kind(name)] += 1
            others.append(name)
    whole = [composed(name).split("/") for name in names]
    top = splits.lone_folders(whole)
    split_of = splits.top_splits([path[top:] for path in whole])
    depth = 1 if split_of else 0  # of the class's folder in the path
    inner = splits.inner_folders([path[top:] for path in whole]) if split_of else 0

    def stripped(path: list[str]) -> list[str]:
        return path[top : top + depth] + path[top + depth + inner :]

    def inside(names: Iterable[str]) -> splits.Paths:
        return [path for path in (composed(name).split("/") for name in names) if path[:top] == whole[0][:top]]

    placed = [(name, path) for name, path in zip(names, map(stripped, whole), strict=True) if len(path) > depth + 1]
    paths = [path for _, path in placed]
    ignored["not in a class's folder"] = len(names) - len(placed)
    if not placed:
        raise ParameterError(
            f"sources.folder.path has no images in folders named after their classes, such as "
            f"{'train/' if split_of else ''}cat/1.jpg; allowed: {', '.join(FORMATS)}"
        )
    within = {} if split_of else splits.splits_within_classes(paths)
    if not within:
        splits.check_classes(paths, depth)
    classes = sorted({path[depth] for path in paths})
    label_of = {name: label for label, name in enumerate(classes)}
    left_out = {composed(name): why for name, why in files.left_out.items() if not is_hidden(name)}
    ignored["links to folders that are listed already"] = sum("already" in why for why in left_out.values())
    # Two files can have one name in composed form; they keep their own.
    uses = Counter("/".join(path) for path in paths)
    return Catalogue(
        class_names=readable_names(classes),
        class_keys=classes,
        files=["/".join(path if uses["/".join(path)] == 1 else stripped(name.split("/"))) for name, path in placed],
        labels=np.array([label_of[path[depth]] for path in paths], np.int64),
        splits=[within[path[1]] if within else split_of.get(path[0]) for path in paths],
        load=FileLoader(files, [name for name, _ in placed]),
        ignored={reason: count for reason, count in sorted(ignored.items()) if count},
        remarks=_without_images(
            {tuple(path[: depth + 1]) for path in paths},
            [stripped(path) for path in inside(others)],
            {tuple(stripped(path)): left_out["/".join(path)] for path in inside(left_out)},
            depth + 1,
        ),
    )


def _kind(name: str) -> str:
    return Path(name).suffix.lower() or "no extension"


def _without_images(
    have: set[tuple[str, ...]], others: splits.Paths, left_out: dict[tuple[str, ...], str], depth: int
) -> list[str]:
    """A sentence on the folders that may be meant as classes and have no image, if there are any.

    Args:
        have: the folders that are classes, within their split.
        others: paths of the files that are no images.
        left_out: path -> why there is no file; see Files.left_out.
        depth: number of folders in the path of a class.
    """
    kinds: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for path in others:
        if len(path) > depth:
            kinds[tuple(path[:depth])][_kind(path[-1])] += 1
    why = {path: reason for path, reason in left_out.items() if 1 <= len(path) <= depth}
    why |= {path: ", ".join(f"{n:,} {kind}" for kind, n in found.most_common(3)) for path, found in kinds.items()}
    parents = {path[:-1] for path in have}
    lost = [f"{'/'.join(path)} ({why[path]})" for path in sorted(why) if path not in have | parents]
    if not lost:
        return []
    more = f" and {len(lost) - MAX_SHOWN} more" * (len(lost) > MAX_SHOWN)
    return [
        f"Without a usable image, and so no class: {', '.join(lost[:MAX_SHOWN])}{more}; usable: {', '.join(FORMATS)}."
    ]
