"""Paired comparisons: known answers, and what they promise when there is nothing to find."""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from graybox.statistics import paired


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


def test_the_corrected_and_exact_p_values_are_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

    random = np.random.default_rng(1)
    for count in (1, 2, 14):
        values = random.random(count) ** 3
        assert paired.holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    for _ in range(20):
        mine, theirs = random.random((2, 60)) < random.random((2, 1))
        table = [[(mine & theirs).sum(), (mine & ~theirs).sum()], [(~mine & theirs).sum(), (~mine & ~theirs).sum()]]
        assert paired.compare(mine, theirs).p_value == pytest.approx(mcnemar(table, exact=True).pvalue)


def accuracies_of(*counts: int) -> np.ndarray:
    """bool [seeds, 100]: networks that are right on the first so many of 100 images."""
    return np.arange(100) < np.array(counts)[:, None]


def test_several_seeds_have_an_interval_over_images_and_one_over_seeds():
    mine, theirs = accuracies_of(80, 84, 82), accuracies_of(70, 78, 74)
    found = paired.compare(mine, theirs)
    assert found.difference == pytest.approx(0.08)
    # Welch, by hand: variances 4 and 16 of 3 seeds each; df = (20/3)^2 / ((4/3)^2/2 + (16/3)^2/2) = 2.941.
    half = 3.2205 * np.sqrt(20 / 3)
    assert (found.seeds_low, found.seeds_high) == pytest.approx((0.08 - half / 100, 0.08 + half / 100), abs=1e-4)
    # Over images: 15 of 100 differ, by shares of three seeds; the paired t test's own p.
    shares = mine.mean(axis=0) - theirs.mean(axis=0)
    half = 1.9842 * shares.std(ddof=1) / 10
    assert (found.low, found.high) == pytest.approx((0.08 - half, 0.08 + half), abs=1e-5)
    assert found.p_value == pytest.approx(ttest_1samp(shares, 0).pvalue)


@pytest.mark.filterwarnings("error")
def test_seeds_that_agree_leave_no_spread_and_no_warning():
    same = accuracies_of(80, 80)
    assert paired.compare(same, same) == paired.Paired(0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    found = paired.compare(accuracies_of(80, 80), accuracies_of(70, 70))
    assert (found.seeds_low, found.seeds_high) == pytest.approx((0.1, 0.1))
    one_sided = paired.compare(accuracies_of(80, 80), accuracies_of(70, 72))
    half = 12.7062 * 0.01  # t with one degree of freedom
    assert (one_sided.seeds_low, one_sided.seeds_high) == pytest.approx((0.09 - half, 0.09 + half), abs=1e-5)
    turned = paired.compare(accuracies_of(70, 72), accuracies_of(80, 80))
    assert (turned.seeds_low, turned.seeds_high) == pytest.approx((-one_sided.seeds_high, -one_sided.seeds_low))


def test_one_seed_is_what_it_was_and_says_nothing_of_seeds():
    mine, theirs = accuracies_of(80), accuracies_of(70)
    assert paired.compare(mine, theirs) == paired.compare(mine[0], theirs[0])
    assert paired.compare(mine, theirs).seeds_low is None


def test_each_interval_covers_what_it_is_about():
    """400 studies of three seeds and 300 images: seeds differ in skill, images in difficulty, variants in nothing."""
    random = np.random.default_rng(0)
    skill = 0.7 + 0.05 * random.standard_normal((400, 2, 3, 1))
    # The same images for all studies that are trained anew; drawn anew for those of other images.
    trained_anew = random.random((400, 2, 3, 300)) < skill
    found = [paired.compare(*pair) for pair in trained_anew]
    assert 0.92 < np.mean([one.seeds_low <= 0 <= one.seeds_high for one in found]) < 0.99
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.85  # the images' own knows nothing of the seeds
    other_images = random.random((400, 2, 3, 300)) < 0.7
    found = [paired.compare(*pair) for pair in other_images]
    assert 0.92 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.98
