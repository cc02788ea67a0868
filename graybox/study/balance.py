"""Where classes are of unequal size: what answering one class always gets, and each variant's balanced accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graybox.data.images import UNEQUAL
from graybox.statistics.scores import balanced_accuracy, constant_accuracy


def sentences(labels: np.ndarray, class_names: Sequence[str], correct: Mapping[str, np.ndarray]) -> list[str]:
    """What to read beside the accuracies; empty if the largest class has at most UNEQUAL times the smallest's images.

    Args:
        labels: int [N], the true classes of the test images.
        class_names: one name for each class.
        correct: for each variant bool [seeds, N] (or [N]), which images its networks get right.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.max() <= UNEQUAL * counts.min():
        return []
    constant = constant_accuracy(labels)
    balanced = {
        name: np.mean([balanced_accuracy(one, labels) for one in np.atleast_2d(found)])
        for name, found in correct.items()
    }
    no_better = [name for name, found in correct.items() if found.mean() <= constant]
    said = [
        f"The classes have {counts.min():,} to {counts.max():,} test images: always answering "
        f"{class_names[int(counts.argmax())]} gets {constant:.1%} of them right, and a balanced accuracy of "
        f"{1 / np.count_nonzero(counts):.1%}. Balanced accuracy is the mean of the classes' own accuracies: "
        + ", ".join(f"{name} {value:.1%}" for name, value in balanced.items())
        + "."
    ]
    if no_better:
        said.append(f"Not more accurate than that constant answer: {', '.join(no_better)}.")
    return said
