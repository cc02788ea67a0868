"""Labels that confident learning suspects, and whether there are more of them than honest doubt would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cleanlab.count import get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import softmax
from scipy.stats import chi2, poisson_binom


@dataclass(frozen=True)
class LabelSuspects:
    """What confident learning says of N labels (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating
    uncertainty in dataset labels", JAIR 70, section 3).

    Attributes:
        quality: float [N], 0..1: the probability that the network gives the label (self-confidence); low = doubtful.
        suspect: bool [N], the confident joint's off-diagonal: the network gives another class at least the probability
            that it gives that class's own images on average, and the label less; and the image is a usual one.
        expected: how many suspects there would be if no label were wrong and the network as often right as the
            calibrated probabilities say.
        p_value: the chance of as many as there are, or more, in that case.
    """

    quality: np.ndarray
    suspect: np.ndarray
    expected: float
    p_value: float


def suspects(
    probabilities: np.ndarray, labels: np.ndarray, calibrated: np.ndarray, usual: np.ndarray | None = None
) -> LabelSuspects:
    """Judge the labels of images that the network was not trained on.

    Confident learning takes every confident answer that differs from the label for a wrong label, though some are
    confident mistakes. How many is reckoned from the calibrated probabilities: with the thresholds held fixed, each
    image with a confident class would be a suspect with the probability that this class is not the true one.

    Args:
        probabilities: float [N, classes], the network's own. `labels`: int [N].
        calibrated: float [N, classes], from `recalibrated`: as often right as they say.
        usual: bool [N], the images that may be suspects; None = all. On pictures unlike any that it knows a network is
            sure without a right to it, and no calibration helps. What is usual must not depend on the labels.
    """
    usual = np.ones(len(labels), bool) if usual is None else usual
    present = np.unique(labels)
    if len(present) < 2:
        return LabelSuspects(probabilities[np.arange(len(labels)), labels], np.zeros(len(labels), bool), 0.0, 1.0)
    # Of a class without images there is no threshold; what is left of the probabilities is shared among the others.
    own = probabilities[:, present] / np.maximum(probabilities[:, present].sum(axis=1, keepdims=True), 1e-12)
    numbers = np.searchsorted(present, labels)
    suspect = np.asarray(find_label_issues(numbers, own, filter_by="confident_learning", n_jobs=1)) & usual
    confident = np.where(own >= get_confident_thresholds(numbers, own), own, -1.0)
    sure = (confident.max(axis=1) >= 0) & usual
    chances = 1 - calibrated[np.flatnonzero(sure), present[confident[sure].argmax(axis=1)]]
    chances = np.clip(chances.astype(np.float64), 0, 1)
    p_value = float(poisson_binom.sf(suspect.sum() - 1, chances)) if len(chances) else 1.0
    quality = get_label_quality_scores(numbers, own, method="self_confidence")
    return LabelSuspects(quality, suspect, float(chances.sum()), min(1.0, max(0.0, p_value)))


def temperature(probabilities: np.ndarray, labels: np.ndarray, *, greatest: bool = False) -> float:
    """What the logits are to be divided by so that the network is as often right as it is sure, 0.05 to 20.

    Guo et al. 2017, "On calibration of modern neural networks", section 4.2: the least cross-entropy on images that
    it was not trained on.

    Args:
        probabilities: float [N, classes]. `labels`: int [N].
        greatest: not the likeliest one, but the upper end of its 95% interval (by the likelihood ratio): the least sure
            network that these images allow.
    """

    def loss(log_temperature: float) -> float:
        scaled = recalibrated(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(scaled[np.arange(len(labels)), labels], 1e-12)).sum())

    low, high = float(np.log(0.05)), float(np.log(20))
    best = float(minimize_scalar(loss, bounds=(low, high), method="bounded").x)
    if greatest:
        rejected = loss(best) + chi2.ppf(0.95, df=1) / 2
        best = brentq(lambda x: loss(x) - rejected, best, high) if loss(high) > rejected else high
    return float(np.exp(best))


def recalibrated(probabilities: np.ndarray, by: float) -> NDArray[np.float64]:
    """The probabilities with their logits divided by a temperature, float64 [N, classes]."""
    logits: NDArray[np.float64] = np.log(np.maximum(probabilities, 1e-12, dtype=np.float64))
    return softmax(logits / by, axis=1)
