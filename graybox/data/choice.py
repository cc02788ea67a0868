"""Which of a catalogue's images are prepared: the classes, the images of each, and the splits."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from graybox.data.images import SPLITS
from graybox.data.params import DataParams
from graybox.data.sources.catalogue import Catalogue
from graybox.data.sources.names import composed, look_alikes
from graybox.errors import ParameterError, UserError


def choose_classes(catalogue: Catalogue, wanted: int | list[str] | None) -> list[int]:
    """The catalogue's labels of the wanted classes (data.classes); the position in this list is the new label.

    Raises:
        UserError: the source has fewer classes, or lacks a named one.
    """
    have = len(catalogue.class_names)
    if have < 2:
        raise UserError(f"the source's only class is {catalogue.class_names[0]!r}; at least 2 are needed")
    if wanted is None:
        return list(range(have))
    if isinstance(wanted, int):
        if wanted > have:
            raise ParameterError(f"data.classes is {wanted}; the source has {have}, so 2 to {have} are allowed")
        return list(range(wanted))
    wanted = [composed(name) for name in wanted]
    label_of = {composed(key): label for label, key in enumerate(catalogue.class_keys)}
    label_of |= {composed(name): label for label, name in enumerate(catalogue.class_names)}
    for name in wanted:
        if name not in label_of:
            some = ", ".join(catalogue.class_names[:20]) + ", ..." * (have > 20)
            close = " or ".join(map(repr, look_alikes(name, label_of)))
            meant = f", but {close}" if close else ""
            raise ParameterError(f"data.classes: the source has no class {name!r}{meant}; allowed: {some}")
    labels = list(dict.fromkeys(label_of[name] for name in wanted))
    if len(labels) < 2:
        raise ParameterError(f"data.classes names one class twice, {wanted}; at least 2 are needed")
    return labels


def carved(catalogue: Catalogue) -> tuple[str, ...]:
    """The splits that the source lacks; they are taken from its training images."""
    return tuple(split for split in ("validation", "test") if split not in catalogue.splits)


def choose(catalogue: Catalogue, classes: list[int], data: DataParams) -> pd.DataFrame:
    """Split the images of some classes at random; the same seed gives the same splits.

    Each class is split on its own. So all splits have the same class proportions, and another choice of classes does
    not change the split of a class. data.images_per_class limits the images per class in each of the source's own
    splits, before the missing splits are taken from them: from a source without splits it takes that many images of
    each class in total.

    Args:
        classes: labels of the catalogue.

    Returns:
        Columns split, label (position in `classes`), class, file and index (in the catalogue); sorted by split (train,
        validation, test), label and index.

    Raises:
        UserError: a class has no image in one of the splits.
    """
    own = np.array(["train" if split is None else split for split in catalogue.splits])
    of_split = {split: own == split for split in SPLITS}
    to_carve = carved(catalogue)
    parts = []
    for label, original in enumerate(classes):
        of_class = catalogue.labels == original
        rng = np.random.default_rng([data.seed, zlib.crc32(catalogue.class_keys[original].encode())])
        taken = {
            split: rng.permutation(np.flatnonzero(of_class & of_split[split]))[: data.images_per_class]
            for split in SPLITS
        }
        if "test" in to_carve:
            taken["test"], taken["train"] = _carve(taken["train"], data.test_fraction)
        if "validation" in to_carve:
            taken["validation"], taken["train"] = _carve(taken["train"], data.validation_fraction)
        parts += [pd.DataFrame({"split": split, "label": label, "index": taken[split]}) for split in SPLITS]
    rows = pd.concat(parts)
    class_names = [catalogue.class_names[label] for label in classes]
    check_every_class(rows, class_names)
    rows["class"] = [class_names[label] for label in rows["label"]]
    rows["file"] = [catalogue.files[index] for index in rows["index"]]
    order = np.lexsort((rows["index"], rows["label"], rows["split"].map(SPLITS.index)))
    return rows.iloc[order].reset_index(drop=True)


def _carve(pool: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split a shuffled pool: a fraction of it, at least one image, and the rest."""
    count = max(1, round(fraction * len(pool)))
    return pool[:count], pool[count:]


def check_every_class(
    rows: pd.DataFrame, class_names: list[str], condition: str = "", unreadable: Mapping[int, str] | None = None
) -> None:
    """Check that each class has an image in each split.

    Args:
        rows: columns label and split. `condition`: what else the images had to be, for the message.
        unreadable: label -> a file of this class, and why it can't be decoded.

    Raises:
        UserError: a class has none.
    """
    counts = rows.groupby(["label", "split"]).size()
    for label, name in enumerate(class_names):
        of_split = {split: counts.get((label, split), 0) for split in SPLITS}
        if not all(of_split.values()):
            found = ", ".join(f"{count:,} {split}" for split, count in of_split.items())
            close = " and ".join(map(repr, look_alikes(name, class_names)))
            also = f" (a class of another name is {close})" if close else ""
            why = f"; unreadable: {unreadable[label]}" if unreadable and label in unreadable else ""
            raise UserError(
                f"class {name!r} has {found} images that can be used{condition}{also}; "
                f"at least 1 is needed in each split{why}"
            )
