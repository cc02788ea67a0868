"""What is known about each test image that may explain the network's answer to it.

Every test image gets its evidence, also the correctly classified ones: a trait explains mistakes only if it is rarer
among those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import entropy

from graybox.data.images import ImageSet
from graybox.mistakes.picture_measures import MEASURES, measure, ordinary, place
from graybox.mistakes.traits import LEAST_COVERED

if TYPE_CHECKING:  # the evidence needs no network, only answers
    from graybox.mistakes.label_suspects import LabelSuspects
    from graybox.mistakes.neighbours import Neighbours

HIDDEN = ("p_as_is", "p_box_hidden", "p_context_hidden")
REFERENCE_PER_CLASS = 200
"""Measure at most this many training images of each class: enough to rank a picture to half a percent."""


def gather(
    test: ImageSet,
    probabilities: np.ndarray,
    others: pd.DataFrame,
    neighbours: Neighbours,
    labels: LabelSuspects,
    measures: pd.DataFrame,
    reliance: pd.DataFrame,
    uncovered: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The evidence of N test images.

    Args:
        probabilities: float [N, classes], of the network to explain.
        others: from `agreement`. `measures`: from `pictures`.
        neighbours: each test image's nearest training images, in the network's features. `labels`: which labels of
            the test images are suspect.
        reliance: a row per image with a usable box, from `graybox.reliance.rule.per_image`: row, p, p_box_hidden,
            p_context_hidden (the true class's probabilities, 0..1). May be empty.
        uncovered: from `without_cover`. None = unknown.

    Returns:
        N rows, in the order of the test images. NaN (or "") = unknown. The columns of `answers`, `agreement` and
        `surroundings`; label_quality (0..1) and label_suspect (bool); p_as_is, p_box_hidden and
        p_context_hidden (0..1); covered (the share of the object that a thing in front of it covers, 0..1),
        uncovered_class and uncovered_probability (of `uncovered`); the columns of `pictures`. p_as_is is the
        answer to the image alone, while true_probability may be the mean over several views.
    """
    frame = answers(test, probabilities)
    frame = frame.join(others).join(surroundings(neighbours, test))
    frame["label_quality"], frame["label_suspect"] = labels.quality, labels.suspect
    hidden = reliance.rename(columns={"p": "p_as_is"}).set_index("row").reindex(range(len(test)))
    frame[list(HIDDEN)] = hidden[list(HIDDEN)].astype(float)
    frame["covered"] = test.covered.astype(np.float64)
    frame = frame.join(without_cover(test, {}, np.empty((0, 0))) if uncovered is None else uncovered)
    return frame.join(measures)


def answers(images: ImageSet, probabilities: np.ndarray) -> pd.DataFrame:
    """How the true class compares with the others.

    Returns:
        Columns file, true_class, predicted_class, correct (bool), true_probability, predicted_probability, margin
        (the true class's probability minus the largest other one, -1..1; below 0 = wrong), rank (of the true class, 1 =
        the most probable; a tie counts against the network), entropy (of the probabilities, as a share of its largest
        value, 0..1: 0 = sure of one class, 1 = all classes equally probable).
    """
    rows, count = np.arange(len(images)), len(images.class_names)
    names, predicted = np.array(images.class_names), probabilities.argmax(axis=1)
    true = probabilities[rows, images.labels]
    rest = probabilities.copy()
    rest[rows, images.labels] = -1
    return pd.DataFrame(
        {
            "file": list(images.files),
            "true_class": names[images.labels],
            "predicted_class": names[predicted],
            "correct": predicted == images.labels,
            "true_probability": true,
            "predicted_probability": probabilities[rows, predicted],
            "margin": true - rest.max(axis=1),
            "rank": (probabilities >= true[:, None]).sum(axis=1),
            "entropy": entropy(probabilities.astype(np.float64), axis=1) / np.log(count),
        }
    )


def each_network(answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One entry for each network; a variant trained several times, float [trainings, N, classes], gives several.

    They are then called "NAME 0", "NAME 1", ..., in the order of their trainings.
    """
    found = {}
    for name, array in answers.items():
        for number, one in enumerate(array if array.ndim == 3 else [array]):
            found[f"{name} {number}" if array.ndim == 3 else name] = one
    return found


def without(answers: Mapping[str, np.ndarray], explained: str | None) -> dict[str, np.ndarray]:
    """The networks that can say something about the explained one: all others, however near their answers come.

    Left out are the explained network; a network with exactly its answers, which is the same training under another
    name (`combined` may have another variant's settings); and networks that diverged, whose answers are not finite.

    Args:
        answers: from `each_network`. `explained`: the explained network's name there; None = it is not among them.

    Raises:
        ValueError: there is no network of this name.
    """
    if explained is not None and explained not in answers:
        raise ValueError(f"explained is {explained!r}; allowed: {', '.join(answers)}, or None")
    same = None if explained is None else answers[explained]
    return {
        name: array
        for name, array in answers.items()
        if name != explained and not (same is not None and np.array_equal(array, same)) and np.isfinite(array).all()
    }


def agreement(probabilities: np.ndarray, others: Mapping[str, np.ndarray], images: ImageSet) -> pd.DataFrame:
    """What the other networks answer to the same images.

    Returns:
        Columns other_networks (how many), others_right (the share of them that name the true class, 0..1),
        others_wrong_class (the wrong class that most of them name, "" if none does), others_wrong_share (the share
        that name it, 0..1), others_agree (the share with the same answer as the network, 0..1). NaN without other
        networks.
    """
    frame = pd.DataFrame({"other_networks": len(others)}, index=range(len(images)))
    if not others:
        frame[["others_right", "others_wrong_share", "others_agree"]] = np.nan
        return frame.assign(others_wrong_class="")
    said = np.stack([array.argmax(axis=1) for array in others.values()])
    frame["others_right"], frame["others_wrong_class"], frame["others_wrong_share"] = _votes(said.T, images)
    return frame.assign(others_agree=(said == probabilities.argmax(axis=1)).mean(axis=0))


def without_cover(images: ImageSet, rows: Iterable[int], probabilities: np.ndarray) -> pd.DataFrame:
    """The network's answers to the images from which the thing in front of the object was taken away.

    Args:
        rows: M rows of `images`. `probabilities`: float [M, classes], the answers to these pictures without that thing.

    Returns:
        N rows. Columns uncovered_class (the answer, "" for the other images) and uncovered_probability (its
        probability, 0..1; NaN for the other images).
    """
    frame = pd.DataFrame({"uncovered_class": "", "uncovered_probability": np.nan}, index=range(len(images)))
    for row, answer in zip(rows, probabilities, strict=True):
        frame.loc[row] = [images.class_names[answer.argmax()], float(answer.max())]
    return frame


def surroundings(neighbours: Neighbours, images: ImageSet) -> pd.DataFrame:
    """The classes of the nearest training images.

    Returns:
        Columns neighbours_true (the share of the true class, 0..1), neighbours_wrong_class (the most frequent other
        class, "" if there is none), neighbours_wrong_share (its share, 0..1), neighbours_similarity (the mean cosine).
    """
    right, wrong_class, wrong = _votes(neighbours.labels, images)
    return pd.DataFrame(
        {
            "neighbours_true": right,
            "neighbours_wrong_class": wrong_class,
            "neighbours_wrong_share": wrong,
            "neighbours_similarity": neighbours.similarity.mean(axis=1),
        }
    )


def _votes(votes: np.ndarray, images: ImageSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true class's share of the votes, int [N, V]; the wrong class with most votes ("" if none); its share."""
    names, rows = np.array(images.class_names), np.arange(len(images))
    shares = np.stack([(votes == label).mean(axis=1) for label in range(len(names))], axis=1)
    right = shares[rows, images.labels]
    shares[rows, images.labels] = 0
    most = shares.max(axis=1)
    return right, np.where(most > 0, names[shares.argmax(axis=1)], ""), most


def pictures(test: ImageSet, train: ImageSet, correct: np.ndarray) -> pd.DataFrame:
    """Measures of the test images, and how unusual each is among the training images.

    Args:
        correct: bool [N], whether the network is right. If only the test images have boxes, the correctly classified
            ones replace the training images as the reference for the boxes.

    Returns:
        N rows: the columns of `picture_measures.measure`; for each measure NAME_place, its `picture_measures.place`
        (0..1); ordinary (bool), from `picture_measures.ordinary`, and nothing is known to stand in front of the object.
    """
    rows = np.concatenate([_spread(np.flatnonzero(train.labels == label)) for label in np.unique(train.labels)])
    found, reference = measure(test), measure(train, rows)
    fits = ordinary(found, reference)
    for name in MEASURES:
        usable, labels = reference[name].to_numpy(), train.labels[rows]
        if np.isnan(usable).all():
            usable, labels = found[name].where(correct).to_numpy(), test.labels
        found[f"{name}_place"] = place(found[name].to_numpy(), test.labels, usable, labels)
    # What stands in front of an object explains a confident mistake without a wrong label.
    return found.assign(ordinary=fits & ~(test.covered >= LEAST_COVERED))


def _spread(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most REFERENCE_PER_CLASS of the rows, evenly spread."""
    places: NDArray[np.intp] = np.linspace(0, len(rows) - 1, min(len(rows), REFERENCE_PER_CLASS)).round().astype(int)
    return rows[np.unique(places)]
