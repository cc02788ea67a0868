"""Which test images to occlude."""

from __future__ import annotations

import numpy as np

from graybox.data.images import ImageSet
from graybox.errors import UserError

MISTAKES, LEAST_FOR_MISTAKES = 2, 5
"""Of how many images, at the least, so many are misclassified ones."""


def choose_images(images: ImageSet, predicted: np.ndarray, wanted: int | list[str]) -> np.ndarray:
    """Rows of the test images to occlude: those whose files are listed, or a number spread over the classes.

    A number takes the first correctly classified image of each class; a misclassified image has little of the true
    class's probability to lose, so its map shows little. A class without (further) correct images gives misclassified
    ones. With more images than classes each class gives a second one, and so on; with fewer, evenly spaced classes are
    taken. Of LEAST_FOR_MISTAKES images or more, at least MISTAKES are misclassified, if so many are: the last of the
    chosen whose classes have mistakes give way to the first mistake of their class.

    Images with an object box come first, as only their maps can say whether the drop is on the object: others are taken
    only after all of these.

    Args:
        images: the test split, N images. `predicted`: int [N], the network's answers.
        wanted: a number (at most N are given), or a list of files.

    Raises:
        UserError: a listed file is not among the test images.
    """
    if isinstance(wanted, list):
        missing = sorted(set(wanted) - set(images.files))
        if missing:
            raise UserError(
                f"images lists {missing[0]!r}, which is not a test image; "
                f"allowed: the files of the test images, such as {images.files[0]!r}"
            )
        return np.array([images.files.index(file) for file in wanted])
    chosen: list[int] = []
    for rows in (np.flatnonzero(images.has_box), np.flatnonzero(~images.has_box)):
        if len(rows) and len(chosen) < wanted:
            chosen += _spread(rows, images.labels, predicted, wanted - len(chosen))
    return _with_mistakes(np.array(chosen, dtype=np.int64), images, predicted)


def _spread(rows: np.ndarray, labels: np.ndarray, predicted: np.ndarray, wanted: int) -> list[int]:
    """At most so many of the rows, the classes taking turns, correct ones first."""
    classes = np.unique(labels[rows])
    if wanted < len(classes):
        classes = classes[np.linspace(0, len(classes) - 1, wanted).round().astype(int)]
    queues = []
    for label in classes:
        own = rows[labels[rows] == label]
        queues.append(own[np.argsort(predicted[own] != label, kind="stable")].tolist())
    return [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)][:wanted]


def _with_mistakes(chosen: np.ndarray, images: ImageSet, predicted: np.ndarray) -> np.ndarray:
    """The chosen rows, with mistakes in the place of the last correct ones until there are MISTAKES."""
    chosen, labels, wrong = chosen.copy(), images.labels, np.flatnonzero(predicted != images.labels)
    if len(chosen) < LEAST_FOR_MISTAKES:
        return chosen
    boxed = wrong[images.has_box[wrong]]
    # From other classes only if their own have none; without a box only if no class has one with a box.
    for pool, own_class in ((boxed, True), (boxed, False), (wrong, True), (wrong, False)):
        for place in range(len(chosen) - 1, -1, -1):
            if np.isin(chosen, wrong).sum() >= MISTAKES:
                return chosen
            if chosen[place] in wrong:
                continue
            left = pool[~np.isin(pool, chosen)]
            left = left[labels[left] == labels[chosen[place]]] if own_class else left
            if len(left):
                chosen[place] = left[0]
    return chosen
