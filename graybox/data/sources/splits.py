"""Which folders are splits, whatever a data set calls them: train, Training, seg_train, test_set, val2017, ..."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from graybox.errors import ParameterError

Paths = list[list[str]]  # folders and file name of each image

_EVALUATION = "evaluation"  # the test split, or validation if there is another test split
_WORDS = {
    "train": "train|training|trn|trainval|traindev",
    "validation": "val|valid|validation|validate|validating|dev|development",
    "test": "test|testing|tst|holdout|heldout",
    _EVALUATION: "eval|evaluation|evaluate",
}
_FILLER = (
    "the|my|all|full|public|private|seg|set|data|dataset|split|folder|dir|part|images?|imgs?|photos?|pictures?|pics?|"
    "files?|samples?|examples?|classes|jpe?gs?|pngs?"
)
_SPLIT = re.compile("|".join(f"(?:{_FILLER})*(?P<{split}>{words})(?:{_FILLER})*" for split, words in _WORDS.items()))
_WHERE = "sources.folder.path"


def split_called(folder: str) -> str | None:
    """The split that a folder's name says: "train", "validation", "test" or "evaluation"; None if it says none."""
    found = _SPLIT.fullmatch("".join(_words(folder)))
    return found and found.lastgroup


def of_folders(folders: Iterable[str]) -> dict[str, str]:
    """Folder -> "train", "validation" or "test", for those that are called so."""
    found = {folder: split for folder in sorted(folders) if (split := split_called(folder))}
    evaluation = "validation" if "test" in found.values() else "test"
    return {folder: evaluation if split == _EVALUATION else split for folder, split in found.items()}


def lone_folders(paths: Paths) -> int:
    """How many folders are around everything and say nothing; the folder of the training images does."""
    top = 0
    while len({path[top] for path in paths}) == 1 and all(len(path) > top + 2 for path in paths):
        if split_called(paths[0][top]) == "train":
            break
        top += 1
    return top


def top_splits(paths: Paths) -> dict[str, str]:
    """Top folder -> split; empty if the top folders are classes.

    Raises:
        ParameterError: some are splits and some are not, or they look like a split and a class in one name.
    """
    tops = {path[0] for path in paths if len(path) > 1}
    found = of_folders(tops)
    if "train" not in found.values() or (len(found) == 1 and len(tops) > 1):
        _check_no_split_within_names(tops)
        return {}  # such as the classes train, bus and car
    if others := sorted(tops - set(found)):
        raise ParameterError(
            f"{_WHERE} has the folders {', '.join(found)} and also {_shown(others)}; "
            "either every folder should be a split or every folder a class"
        )
    return found


def inner_folders(paths: Paths) -> int:
    """How many folders are around everything within each split, as in train/train/cat and test/test/cat."""
    inner = 0
    while True:
        folders = defaultdict(set)
        for path in paths:
            folders[path[0]].add(path[1 + inner] if len(path) > 3 + inner else None)
        if not paths or any(len(names) > 1 or None in names for names in folders.values()):
            return inner
        inner += 1


def splits_within_classes(paths: Paths) -> dict[str, str]:
    """Folder -> split where each class has its own splits, as in cat/train and cat/test; empty elsewhere."""
    if any(len(path) < 3 for path in paths):
        return {}
    inner = {path[1] for path in paths}
    found = of_folders(inner)
    return found if set(found) == inner and "train" in found.values() and len(set(found.values())) > 1 else {}


def check_classes(paths: Paths, depth: int) -> None:
    """Refuse a "class" that holds splits, and "classes" that all hold the same folders.

    These are splits, or the folders inside are the classes.

    Args:
        depth: place of the class's folder in each path.

    Raises:
        ParameterError: there are such.
    """
    inner: Mapping[str, set[str]] = defaultdict(set)
    direct: Mapping[str, list[bool]] = defaultdict(list)
    for path in paths:
        direct[path[depth]].append(len(path) == depth + 2)
        if len(path) > depth + 2:
            inner[path[depth]].add(path[depth + 1])
    for folder, inside in sorted(inner.items()):
        found = of_folders(inside)
        if "train" in found.values() and len(set(found.values())) > 1:
            raise ParameterError(
                f"{_WHERE}: the folder {folder} would be a class, but it holds the splits {_shown(sorted(found))}; "
                "move it away, or give its path"
            )
    if len(direct) < 2 or any(10 * sum(found) > len(found) for found in direct.values()):
        return  # more than a stray image lies directly in a class's folder
    common, every = set.intersection(*inner.values()), set.union(*inner.values())
    if len(common) >= 2 and 2 * len(common) >= len(every):
        raise ParameterError(
            f"{_WHERE}: the folders {_shown(sorted(direct))} all hold the same folders, {_shown(sorted(common))}, so "
            "it isn't clear which are the classes; splits should be called train, val and test, and a class's folder "
            "should hold its images without such folders"
        )


def _check_no_split_within_names(folders: set[str]) -> None:
    """Refuse trainA, trainB, testA, testB and the like: each name is a split and a class."""
    splits_of: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for folder in sorted(folders):
        words = _words(folder)
        for place, word in enumerate(words):
            if len(words) > 1 and (split := split_called(word)):
                splits_of[(*words[:place], "", *words[place + 1 :])].setdefault(split, folder)
    for found in splits_of.values():
        if "train" in found and len(found) > 1:
            raise ParameterError(
                f"{_WHERE} has the folders {' and '.join(sorted(found.values()))}, which look like one class in two "
                "splits; the layout should be a folder for each split, and in it a folder for each class"
            )


def _words(folder: str) -> list[str]:
    """A name's words, in lower case and without numbers: "trainingSet_2" has training and set."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower())


def _shown(names: list[str]) -> str:
    return ", ".join(names[:8]) + f" and {len(names) - 8} more" * (len(names) > 8)
