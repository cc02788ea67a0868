"""How good a network's answers are: plain arrays in, plain numbers out."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score
from statsmodels.stats.proportion import proportion_confint


def summarize(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, top-5 accuracy (both 0..1) and mean cross-entropy (nats).

    Args:
        probabilities: float [N, classes], each row adding up to 1.
        labels: int [N], the true classes.

    With five classes or fewer, top-5 is 1 by definition.
    """
    classes = np.arange(probabilities.shape[1])
    # Rows that went through float32 add up to 1 only roughly, and log_loss is strict about it.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "top5": 1.0 if len(classes) <= 5 else float(top_k_accuracy_score(labels, exact, k=5, labels=classes)),
        "loss": float(log_loss(labels, exact, labels=classes)),
    }


def accuracy_interval(accuracy: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for an accuracy measured on `count` images (Wilson 1927), as (low, high) in 0..1."""
    low, high = proportion_confint(round(accuracy * count), count, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int [classes, classes]: how many images of the row's class were called the column's."""
    return confusion_matrix(labels, predicted, labels=np.arange(classes))
