"""How good a network's answers are: plain arrays in, plain numbers out."""

from __future__ import annotations

from collections.abc import Mapping

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


def over_seeds(by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, float | int]:
    """One row for a variant that was trained with several seeds: the mean of each figure.

    Args:
        by_seed: for each seed the same figures, test_accuracy, validation_accuracy and validation_loss among them.

    Returns:
        The means; and where there are several seeds test_accuracy_sd (the sample's standard deviation), seeds (their
        number) and best_seed: the network that is best on validation, ties going to the lower loss. The test images
        have no say in that choice, or the figures that follow about them would flatter it.
    """
    rows = list(by_seed.values())
    found: dict[str, float | int] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    if len(rows) > 1:
        found["test_accuracy_sd"] = float(np.std([row["test_accuracy"] for row in rows], ddof=1))
        found["seeds"] = len(rows)
        found["best_seed"] = min(
            by_seed, key=lambda seed: (-by_seed[seed]["validation_accuracy"], by_seed[seed]["validation_loss"])
        )
    return found


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int [classes, classes]: how many images of the row's class were called the column's."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
