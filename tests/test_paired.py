"""Paired comparisons: known answers, and what they promise when there is nothing to find."""

import numpy as np
import pytest
from scipy.stats import binomtest

from graybox import paired


def test_only_the_images_on_which_they_disagree_count():
    baseline = np.array([True] * 60 + [False] * 40)
    better = baseline.copy()
    better[[0, 1]] = False
    better[60:72] = True
    found = paired.compare(better, baseline)
    assert found.difference == pytest.approx(0.10)
    assert found.p_value == pytest.approx(binomtest(2, 14, 0.5).pvalue)
    # The standard error of the mean of 12 ones, 2 minus ones and 86 zeros, by hand; t with 99 degrees of freedom.
    half = 1.9842 * np.sqrt((14 - 100 * 0.1**2) / 99 / 100)
    assert (found.low, found.high) == pytest.approx((0.10 - half, 0.10 + half), abs=1e-4)
    turned = paired.compare(baseline, better)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-0.10, -found.high, -found.low))
    assert turned.p_value == found.p_value


def test_a_network_is_no_better_than_itself():
    correct = np.arange(50) % 3 > 0
    assert paired.compare(correct, correct) == paired.Paired(0.0, 0.0, 0.0, 1.0)


def test_two_networks_of_the_same_skill_are_rarely_told_apart():
    random = np.random.default_rng(0)
    answers = random.random((2, 400, 300)) < 0.7
    found = [paired.compare(*pair) for pair in answers.swapaxes(0, 1)]
    assert np.mean([one.p_value < 0.05 for one in found]) < 0.07
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.92 < covered < 0.98


def test_different_images_can_not_be_compared():
    with pytest.raises(ValueError, match="3 and 4 images"):
        paired.compare(np.ones(3, bool), np.ones(4, bool))


def test_holm_corrects_the_smallest_the_most():
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.holm([]) == []
