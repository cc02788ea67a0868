"""Which of a network's classes a folder's name means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from graybox.data.imagenet import IDS
from graybox.errors import UserError

SHOWN = 5


def labels_of(folders: Sequence[str], readable: Sequence[str], class_names: Sequence[str], where: str) -> list[int]:
    """The label of each folder: by its name, by the readable name of its WordNet id, or by ImageNet's numbering of ids.

    Upper and lower case, spaces, underscores and hyphens make no difference.

    Args:
        folders: names of folders. `readable`: the same, or the readable name of the WordNet id that a folder is called.
        class_names: the network's, in the order of its scores.
        where: what has the folders, for the message.

    Raises:
        UserError: a folder means none of the classes, or more than one.
    """
    known: dict[str, list[int]] = {}
    for label, name in enumerate(class_names):
        known.setdefault(_plain(name), []).append(label)
    numbered = {key: label for label, key in enumerate(IDS)} if is_imagenet(class_names) else {}
    found = []
    for folder, name in zip(folders, readable):
        if folder in numbered:
            found.append(numbered[folder])
            continue
        exact = [label for label, known_name in enumerate(class_names) if known_name == folder]
        labels = exact or known.get(_plain(folder)) or known.get(_plain(name)) or []
        if len(labels) != 1:
            raise UserError(f"{where}: the folder {folder} {_why(folder, name, labels, class_names)}")
        found.append(labels[0])
    return found


def is_imagenet(class_names: Sequence[str]) -> bool:
    """Whether these are ImageNet's 1,000 classes in their usual order."""
    return len(class_names) == len(IDS) and _plain(class_names[0]).startswith("tench")


def label_of(name: str, class_names: Sequence[str], where: str) -> int:
    """The label of a class's name, or of its number.

    Raises:
        UserError: there is no such class, or there are several.
    """
    exact = [label for label, known in enumerate(class_names) if known == name]
    labels = exact or [label for label, known in enumerate(class_names) if _plain(known) == _plain(name)]
    if not labels and name.isdecimal() and int(name) < len(class_names):
        return int(name)
    if len(labels) != 1:
        raise UserError(f"{where} is {name!r}, which {_why(name, name, labels, class_names)}")
    return labels[0]


def _why(folder: str, name: str, labels: Sequence[int], class_names: Sequence[str]) -> str:
    if labels:
        return f"is the name of the model's classes {', '.join(map(str, labels))}; allowed: a name or number of one"
    lower = {known.lower(): known for known in class_names}
    close = [lower[one] for one in get_close_matches(name.lower(), lower, 3, 0.6)]
    if len(class_names) <= 20:
        return f"the model does not know; allowed: {', '.join(class_names)}"
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    first = ", ".join(class_names[:SHOWN])
    return f"the model does not know; {meant}allowed: one of its {len(class_names)} classes ({first}, ...)"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
