"""How good a network's answers are: plain arrays in, plain numbers out."""

from __future__ import annotations

import numpy as np


def summarize(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, top-5 accuracy (both 0..1) and mean cross-entropy (nats).

    Args:
        probabilities: float [N, classes], each row adding up to 1.
        labels: int [N], the true classes.
    """
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)
    # Rank 0 is the most probable; a tie counts against the network.
    rank = (probabilities >= true).sum(axis=1) - 1
    smallest = np.finfo(probabilities.dtype).tiny  # so that a probability of 0 costs much, not infinitely much
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "top5": float((rank < 5).mean()),
        "loss": float(-np.log(np.maximum(true, smallest)).mean()),
    }


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int [classes, classes]: how many images of the row's class were called the column's."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
