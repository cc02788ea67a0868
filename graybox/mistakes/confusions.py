"""Which classes are confused, and whether the network's confidence matches its accuracy (calibration)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from graybox.data.images import ImageSet
from graybox.statistics import scores


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
