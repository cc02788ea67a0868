"""Which classes are confused, and whether the network's confidence matches its accuracy (calibration)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from graybox.data.images import ImageSet
from graybox.statistics import scores

MOST_CLASSES, CLUSTERED_FROM = 40, 30
"""A confusion matrix of more classes cannot be read; it shows so many, those of the most confused pairs. From the
second number on, the classes are ordered by what they are taken for."""


def shown_classes(matrix: np.ndarray, most: int = MOST_CLASSES) -> np.ndarray:
    """The labels to show in a confusion matrix, ascending: all, or those of the pairs that are confused most often.

    Args:
        matrix: int [classes, classes], numbers of images by true (row) and predicted class. `most`: how many labels.
    """
    if len(matrix) <= most:
        return np.arange(len(matrix))
    a, b = np.triu_indices(len(matrix), k=1)
    order = np.argsort(-(matrix + matrix.T)[a, b], kind="stable")
    by_pair = np.stack([a[order], b[order]], axis=1).ravel()
    _, first = np.unique(by_pair, return_index=True)
    return np.sort(by_pair[np.sort(first)[:most]])


def shown_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """The part of a confusion matrix that can be read: a row for each true class of `shown_classes`.

    Args:
        matrix: int [classes, classes], numbers of images by true (row) and predicted class.

    Returns:
        Numbers of images. The columns are the same classes; if some are left out, the last one counts the answers that
        name them. So each row adds up to all images of its class. From CLUSTERED_FROM on, the classes stand in the
        order of `clustered`.
    """
    labels = shown_classes(matrix)
    if len(matrix) >= CLUSTERED_FROM:
        labels = labels[clustered(matrix[np.ix_(labels, labels)])]
    names = [class_names[label] for label in labels]
    shown = pd.DataFrame(matrix[np.ix_(labels, labels)], index=names, columns=names)
    if len(labels) < len(matrix):
        shown[f"{len(matrix) - len(labels)} other classes"] = matrix[labels].sum(axis=1) - shown.to_numpy().sum(axis=1)
    return shown


def clustered(matrix: np.ndarray) -> list[int]:
    """An order of the classes in which those that are confused with each other are neighbours (average linkage).

    Args:
        matrix: int [classes, classes], numbers of images, of at least two classes.
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    alike = shares + shares.T
    np.fill_diagonal(alike, 0)
    distance = alike.max() - alike
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [int(place) for place in hierarchy.leaves_list(tree)]


def confusion_counts(matrix: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """`shown_matrix` for `dvc plots`: true class, predicted class, images; a row for each pair with images."""
    shown = shown_matrix(matrix, class_names)
    # DVC writes the names into a script of its page, which `</script>` would end. The word joiner is invisible.
    names = [name.replace("<", "<\u2060") for name in shown.columns]
    wanted = shown.to_numpy() > 0
    wanted[:1] = True  # the page orders the classes as they first appear
    rows, columns = np.nonzero(wanted)
    return pd.DataFrame(
        {
            "true class": [names[row] for row in rows],
            "predicted class": [names[column] for column in columns],
            "images": shown.to_numpy()[rows, columns],
        }
    )


def confused_pairs(images: ImageSet, predicted: np.ndarray, count: int) -> pd.DataFrame:
    """The `count` pairs of classes that are most often confused with each other.

    Args:
        predicted: int [N], the network's answers.

    Returns:
        Columns class_a, class_b, a_as_b, b_as_a (numbers of images), together; the most confused first.
    """
    matrix = scores.confusion(images.labels, predicted, len(images.class_names))
    pairs = [
        (images.class_names[a], images.class_names[b], int(matrix[a, b]), int(matrix[b, a]))
        for a in range(len(matrix))
        for b in range(a + 1, len(matrix))
    ]
    frame = pd.DataFrame(pairs, columns=["class_a", "class_b", "a_as_b", "b_as_a"])
    frame["together"] = frame["a_as_b"] + frame["b_as_a"]
    frame = frame[frame["together"] > 0].sort_values("together", ascending=False, kind="stable")
    return frame.head(count).reset_index(drop=True)


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> tuple[pd.DataFrame, float]:
    """Confidence against accuracy, bin by bin (Guo et al. 2017, "On calibration of modern neural networks").

    Args:
        probabilities: float [N, classes], each row adding up to 1. `labels`: int [N].
        bins: how many; of equal width, by the predicted class's probability. A bin includes its upper end.

    Returns:
        Columns low, high, count, confidence and accuracy (means, 0..1; NaN in an empty bin), and the expected
        calibration error: the mean of |accuracy - confidence| over the images, 0..1.
    """
    sure, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    found = pd.DataFrame({"low": edges[:-1], "high": edges[1:]})
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    by_bin = pd.DataFrame({"confidence": sure, "accuracy": correct}).groupby(place).mean().reindex(range(bins))
    found = found.assign(count=np.bincount(place, minlength=bins), **by_bin)
    gaps = (found["accuracy"] - found["confidence"]).abs() * found["count"]
    return found, float(gaps.sum() / len(labels))
