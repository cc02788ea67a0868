"""How good a network's answers are: plain arrays in, plain numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_TRAINING = 1000
"""Of the training images, so many at most are scored, for the generalisation gap; no more than validation images."""


def right(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each answer names the true class: bool [..., N]. An answer that is not finite names none.

    Args:
        probabilities: float [..., N, classes]. `labels`: int [N], the true classes.
    """
    named: np.ndarray = (probabilities.argmax(axis=-1) == labels) & np.isfinite(probabilities).all(axis=-1)
    return named


def losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The cross-entropy of each answer in nats: float [..., N], NaN for an answer that is not finite.

    Args:
        probabilities: float [..., N, classes]. `labels`: int [N], the true classes.
    """
    places = np.broadcast_to(labels[:, None], (*probabilities.shape[:-1], 1))
    true = np.take_along_axis(probabilities, places, axis=-1)[..., 0]
    smallest = np.finfo(probabilities.dtype).tiny  # keeps the loss finite at a probability of 0
    found: np.ndarray = -np.log(np.maximum(true, smallest))
    return found


def summarize(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, top-5 accuracy (both 0..1) and mean cross-entropy (nats).

    An answer that is not finite, from a network that diverged, is wrong, and makes the cross-entropy NaN.

    Args:
        probabilities: float [N, classes], each row adding up to 1.
        labels: int [N], the true classes.
    """
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)
    # Rank 0 is the most probable; a tie counts against the network.
    rank = (probabilities >= true).sum(axis=1) - 1
    return {
        "accuracy": float(right(probabilities, labels).mean()),
        "top5": float(((rank < 5) & np.isfinite(probabilities).all(axis=1)).mean()),
        "loss": float(losses(probabilities, labels).mean()),
    }


def constant_accuracy(labels: np.ndarray) -> float:
    """The accuracy of the best constant answer: the most frequent class's share, 0..1; NaN without images.

    Args:
        labels: int [N], the true classes.
    """
    return float(np.bincount(labels).max() / len(labels)) if len(labels) else float("nan")


def balanced_accuracy(correct: np.ndarray, labels: np.ndarray) -> float:
    """The mean, over the classes that have images, of the share of their images that is right, 0..1.

    As scikit-learn's balanced_accuracy_score defines it. Any constant answer gets 1 / number of these classes.

    Args:
        correct: bool [N], which answers are right.
        labels: int [N], the true classes.
    """
    images = np.bincount(labels)
    found = np.bincount(labels, weights=correct)
    return float((found[images > 0] / images[images > 0]).mean())


def over_seeds(by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, float | int]:
    """One row for a variant: the mean of each figure over its seeds.

    Args:
        by_seed: the same figures for each seed, including test_accuracy, validation_accuracy and validation_loss.

    Returns:
        The means. With several seeds also test_accuracy_sd (sample standard deviation), seeds (their number) and
        best_seed: the seed with the best validation accuracy; a tie goes to the lower validation loss. The test images
        play no part in this choice, so that later figures on them are not biased by it.
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


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What `dvc metrics show` has of a variant's row: rounded, so that it reads at a glance.

    Args:
        row: the means of `over_seeds`, the network's "macs" (multiply-accumulates for one image), and "diverged", why
            it is no result, if it is none.

    Returns:
        test_accuracy and validation_accuracy (0..1) and test_loss, with 3 digits; macs_millions; and diverged, if so.
    """
    names = ("test_accuracy", "validation_accuracy", "test_loss")
    found: dict[str, Any] = {name: None if row[name] is None else round(row[name], 3) for name in names}
    found["macs_millions"] = round(row["macs"] / 1e6, 3)
    return found | ({"diverged": row["diverged"]} if row.get("diverged") else {})


def faults(by_seed: Mapping[int, str]) -> str:
    """Why networks of a variant are no result: in words, of several networks each with its seed; "" if all may be."""
    named = {seed: why for seed, why in by_seed.items() if why}
    return "; ".join(f"with seed {seed} {why}" if len(by_seed) > 1 else why for seed, why in named.items())


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int [classes, classes]: number of images with the row's true class and the column's predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
