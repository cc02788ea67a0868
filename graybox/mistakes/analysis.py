"""From a network and its images to the evidence, the reasons and the neighbours of its mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd

from graybox.data.images import ImageSet
from graybox.mistakes.evidence import agreement, each_network, gather, pictures, without, without_cover
from graybox.mistakes.label_suspects import LabelSuspects, recalibrated, suspects, temperature
from graybox.mistakes.neighbours import Neighbours, answers_and_features, nearest
from graybox.mistakes.reasons import explain
from graybox.network.classifier import Classifier
from graybox.network.inference import Views
from graybox.network.inference import probabilities as probabilities_of

NEIGHBOURS = 10
UNUSUAL, AGREEING = 0.25, 0.5
"""A label may be suspect only if three things hold: the training images are nearer than they are for this share of the
validation images, no measure of the picture is extreme, and this share of the other networks gives the same answer."""


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        probabilities: float32 [N, classes], the network's answers to the test images.
        evidence: a row per test image, from `evidence.gather`.
        mistakes, reasons: from `reasons.explain`; mistakes has one more column, `nearest`: the nearest training
            images in words.
        neighbours: the nearest training images of every test image.
        labels: which labels of the test images are suspect.
    """

    probabilities: np.ndarray
    evidence: pd.DataFrame
    mistakes: pd.DataFrame
    reasons: pd.DataFrame
    neighbours: Neighbours
    labels: LabelSuspects


def analyse(
    model: Classifier,
    splits: Mapping[str, ImageSet],
    networks: Mapping[str, np.ndarray],
    reliance: pd.DataFrame,
    explained: str | None = None,
    uncovered: Mapping[int, np.ndarray] | None = None,
    **views: Unpack[Views],
) -> Analysis:
    """Explain a network's mistakes on the test split.

    Args:
        splits: "train", "validation" and "test".
        networks: every network's answers to the test images, each float [N, classes], or [trainings, N, classes] for a
            variant that was trained several times; `model` may be among them, if `explained` names it.
        reliance: the true class's probability with the object or the context hidden; see `evidence.gather`.
        explained: the name of `model` in `networks`, followed by a space and the number of its training (0, 1, ...) if
            the variant has several; None = it is not among them.
        uncovered: row in the test split -> the picture without the thing in front of its object, uint8 [H, W, 3]; see
            `images.load_uncovered`. None = no such pictures.
        views: `flip` and `shift`, as for `inference.probabilities`.
    """
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    _, known = answers_and_features(model, train.images)
    probabilities, features = answers_and_features(model, test.images, **views)
    doubt, usual_features = answers_and_features(model, validation.images, **views)
    neighbours = nearest(features, known, train.labels, NEIGHBOURS)
    usually = nearest(usual_features, known, train.labels, NEIGHBOURS).similarity.mean(axis=1)
    near = neighbours.similarity.mean(axis=1) >= np.quantile(usually, UNUSUAL)
    others = without(each_network(networks), explained)
    agreeing = agreement(probabilities, others, test)
    measures = pictures(test, train, probabilities.argmax(axis=1) == test.labels)
    calibrated = recalibrated(probabilities, temperature(doubt, validation.labels, greatest=True))
    agree = agreeing["others_agree"].fillna(1.0).to_numpy() >= AGREEING
    usual = near & agree & measures["ordinary"].to_numpy()
    labels = suspects(probabilities, test.labels, calibrated, usual)
    clear = None
    if uncovered:
        clear = without_cover(test, uncovered, probabilities_of(model, np.stack(list(uncovered.values())), **views))
    evidence = gather(test, probabilities, agreeing, neighbours, labels, measures, reliance, clear)
    mistakes, reasons = explain(evidence, labels)
    mistakes["nearest"] = [_nearest(train, neighbours, row) for row in mistakes["row"]]
    return Analysis(probabilities, evidence, mistakes, reasons, neighbours, labels)


def _nearest(train: ImageSet, neighbours: Neighbours, row: int, count: int = 3) -> str:
    found = zip(neighbours.rows[row][:count], neighbours.similarity[row])
    return "; ".join(f"{train.files[n]} ({train.class_names[train.labels[n]]}, {like:.2f})" for n, like in found)
