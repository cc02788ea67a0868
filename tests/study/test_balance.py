"""Unequal classes: balanced accuracy is scikit-learn's, and what a constant answer gets stands beside the table."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from graybox.statistics.scores import balanced_accuracy
from graybox.study import balance


@pytest.mark.parametrize("seed", range(20))
def test_balanced_accuracy_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 12))
    labels = rng.choice(classes, int(rng.integers(1, 300)), p=rng.dirichlet(np.full(classes, 0.5)))
    predicted = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, classes, len(labels)))
    with warnings.catch_warnings():  # answers of a class without images
        warnings.simplefilter("ignore")
        assert balanced_accuracy(predicted == labels, labels) == pytest.approx(
            balanced_accuracy_score(labels, predicted)
        )


def test_the_sentence_has_the_constant_answer_and_each_variants_balanced_accuracy():
    labels = np.repeat([0, 1], [1, 99])
    right = labels.copy()
    constant = np.ones_like(labels)
    half = np.where(np.arange(100) < 50, 0, 1)  # all of the small class, 50 of the large one's 99
    answers = {"a": constant, "b": np.stack([right, constant]), "c": half}
    correct = {name: answer == labels for name, answer in answers.items()}
    said = balance.sentences(labels, ["cat", "dog"], correct)
    assert "always answering dog gets 99.0% of them right, and a balanced accuracy of 50.0%" in said[0]
    assert said[0].endswith(f": a 50.0%, b 75.0%, c {(1 + 50 / 99) / 2:.1%}.")
    assert said[1] == "Not more accurate than that constant answer: a, c."


@pytest.mark.parametrize("counts", [(10, 10), (10, 15)])
def test_nothing_is_said_of_equal_classes(counts):
    labels = np.repeat([0, 1], counts)
    assert balance.sentences(labels, ["cat", "dog"], {"a": labels >= 0}) == []


def test_a_variant_above_the_constant_answer_is_not_named_below_it():
    labels = np.repeat([0, 1, 2], [2, 2, 8])
    assert len(balance.sentences(labels, list("abc"), {"good": labels >= 0})) == 1
