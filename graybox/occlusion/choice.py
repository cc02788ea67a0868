"""Which test images to occlude."""

from __future__ import annotations

import numpy as np

from graybox.data.images import ImageSet
from graybox.errors import UserError


def choose_images(images: ImageSet, predicted: np.ndarray, wanted: int | list[str]) -> np.ndarray:
    """Rows of the test images to occlude: those whose files are listed, or a number spread over the classes.

    A number takes the first correctly classified image of each class; a misclassified image has little of the true
    class's probability to lose, so its map shows little. A class without (further) correct images gives misclassified
    ones. With more images than classes each class gives a second one, and so on; with fewer, evenly spaced classes are
    taken.

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
    classes = np.unique(images.labels)
    if wanted < len(classes):
        classes = classes[np.linspace(0, len(classes) - 1, wanted).round().astype(int)]
    queues = []
    for label in classes:
        rows = np.flatnonzero(images.labels == label)
        queues.append(rows[np.argsort(predicted[rows] != label, kind="stable")])
    rounds = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return np.array(rounds[:wanted], dtype=np.int64)
