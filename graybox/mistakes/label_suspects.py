"""Labels that confident learning suspects, and whether there are more of them than mistakes alone would explain."""

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
    """What confident learning says about N labels (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating
    uncertainty in dataset labels", JAIR 70, section 3).

    Attributes:
        quality: float [N], 0..1: the probability that the network gives the label (self-confidence); low = doubtful.
        suspect: bool [N], the confident joint's off-diagonal: the network gives another class at least the probability
            that it gives that class's own images on average, and the label gets less; and the image is usual.
        expected: how many suspects to expect if no label is wrong and the calibrated probabilities are exact.
        p_value: the probability of at least as many suspects as were found, in that case.
    """

    quality: np.ndarray
    suspect: np.ndarray
    expected: float
    p_value: float


def suspects(
    probabilities: np.ndarray, labels: np.ndarray, calibrated: np.ndarray, usual: np.ndarray | None = None
) -> LabelSuspects:
    """Judge the labels of images that the network was not trained on.

    Confident learning suspects every label that differs from a confident answer, but some of these answers are
    confident mistakes. Their expected number comes from the calibrated probabilities: with the thresholds fixed, an
    image with a confident class is a suspect with the probability that this class is not the true one.

    Args:
        probabilities: float [N, classes], the network's own. `labels`: int [N].
        calibrated: float [N, classes], from `recalibrated`.
        usual: bool [N], the images that may be suspects; None = all. On pictures unlike its training images a network
            is often sure and wrong, and calibration does not help. `usual` must not depend on the labels.
    """
    usual = np.ones(len(labels), bool) if usual is None else usual
    present = np.unique(labels)
    if len(present) < 2:
        return LabelSuspects(probabilities[np.arange(len(labels)), labels], np.zeros(len(labels), bool), 0.0, 1.0)
    # A class without images has no threshold; its probability is shared among the others.
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
    """The number to divide the logits by so that confidence matches accuracy, 0.05 to 20.

    It minimises the cross-entropy on images that the network was not trained on (Guo et al. 2017, "On calibration of
    modern neural networks", section 4.2).

    Args:
        probabilities: float [N, classes]. `labels`: int [N].
        greatest: give the upper end of the 95% interval (by the likelihood ratio) instead of the best fit. It makes
            the network as unsure as these images allow.
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
