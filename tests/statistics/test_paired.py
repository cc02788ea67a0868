"""Paired comparisons: known answers, and what they promise when there is nothing to find."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_ind, ttest_rel

from graybox.statistics import paired


def test_only_the_images_on_which_they_disagree_count():
    baseline = np.array([True] * 60 + [False] * 40)
    better = baseline.copy()
    better[[0, 1]] = False
    better[60:72] = True
    found = paired.compare(better, baseline)
    assert (found.difference, found.images, found.covers_seeds) == (pytest.approx(0.10), 100, False)
    assert found.p_value == pytest.approx(binomtest(2, 14, 0.5).pvalue)
    # By hand, with one more image for each: 13 ones, 3 minus ones and 86 zeros; t with 101 degrees of freedom.
    half = 1.98373 * np.sqrt((16 - 102 * (10 / 102) ** 2) / 101 / 102)
    assert (found.low, found.high) == pytest.approx((10 / 102 - half, 10 / 102 + half), abs=1e-5)
    turned = paired.compare(baseline, better)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-0.10, -found.high, -found.low))
    assert turned.p_value == found.p_value


def test_a_network_is_no_better_than_itself():
    correct = np.arange(50) % 3 > 0
    found = paired.compare(correct, correct)
    assert (found.difference, found.p_value) == (0.0, 1.0) and found.low == -found.high < 0


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("images", [1, 2, 3, 20])
@pytest.mark.parametrize("better", [0, 1])
def test_no_interval_is_impossible_or_without_width(images, better, seeds):
    """Right in all against wrong in all, and agreement in all, of a handful of images."""
    mine, theirs = np.ones((seeds, images), bool), np.full((seeds, images), not better)
    found = paired.compare(mine, theirs)
    assert -1 <= found.low < found.difference <= found.high <= 1 and found.high - found.low > 0.05
    assert found.low < 0 or images > 3  # so few prove nothing
    assert 0 < found.p_value <= 1


def test_two_networks_of_the_same_skill_are_rarely_told_apart():
    random = np.random.default_rng(0)
    for images in (20, 300):
        answers = random.random((2, 400, images)) < 0.7
        found = [paired.compare(*pair) for pair in answers.swapaxes(0, 1)]
        assert np.mean([one.p_value < 0.05 for one in found]) < 0.07
        covered = np.mean([one.low <= 0 <= one.high for one in found])
        assert 0.92 < covered <= (0.98 if images == 300 else 1)


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


def test_several_seeds_bring_their_spread_into_the_interval():
    mine, theirs = accuracies_of(80, 84, 82), accuracies_of(70, 78, 74)
    found = paired.compare(mine, theirs)
    assert found.difference == pytest.approx(0.08) and found.covers_seeds
    # Over images: the shares of three seeds, and two more images.
    shares = np.append(mine.mean(axis=0) - theirs.mean(axis=0), [1, -1])
    over_images = shares.var(ddof=1) / 102
    # Welch, by hand: variances 4 and 16 of 3 seeds each; df = (20/3)^2 / ((4/3)^2/2 + (16/3)^2/2) = 2.941.
    over_seeds = 20 / 3 / 100**2
    # What is left without the rows' and the columns' means is in both, and counts once.
    noise = 0.0
    for side in (mine, theirs):
        rest = side - side.mean(axis=0) - side.mean(axis=1)[:, None] + side.mean()
        noise += (rest**2).sum() / (2 * 99) / 300
    half = np.sqrt(1.98373**2 * (over_images - noise) + 3.2205**2 * over_seeds)
    assert (found.low, found.high) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=1e-4)


def test_p_is_where_the_interval_touches_zero():
    random = np.random.default_rng(2)
    for seeds, images, gain in [((2, 2), 50, 0.3), ((3, 1), 300, 0.1), ((1, 3), 300, 0.1), ((5, 5), 1000, 0.03)]:
        mine, theirs = (random.random((count, images)) < 0.6 + up for count, up in zip(seeds, (gain, 0)))
        found, turned = paired.compare(mine, theirs), paired.compare(theirs, mine)
        assert (found.p_value < 0.05) == (found.low > 0)
        assert turned.p_value == pytest.approx(found.p_value)
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.filterwarnings("error")
def test_seeds_that_agree_leave_a_width_and_no_warning():
    alone = paired.compare(accuracies_of(80), accuracies_of(70))
    found = paired.compare(accuracies_of(80, 80), accuracies_of(70, 70))
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    moving = paired.compare(accuracies_of(80, 80), accuracies_of(70, 72))
    assert moving.high - moving.low > found.high - found.low


def test_one_seed_of_several_is_as_sure_of_images_only():
    mine, theirs = accuracies_of(80), accuracies_of(70)
    assert paired.compare(mine, theirs) == paired.compare(mine[0], theirs[0])
    assert not paired.compare(mine, theirs).covers_seeds
    against_three = paired.compare(mine, accuracies_of(68, 70, 72))
    assert not against_three.covers_seeds
    assert (against_three.low, against_three.high) == pytest.approx((0.037, 0.159), abs=0.01)  # the images' alone


def test_any_figure_is_compared_as_yes_and_no_are():
    random = np.random.default_rng(4)
    for seeds in ((1, 1), (3, 3), (3, 1)):
        mine, theirs = (random.random((count, 200)) < 0.7 for count in seeds)
        expected, found = (
            paired.compare(mine, theirs),
            paired.compare_values(mine.astype(float), theirs.astype(float), 1),
        )
        assert (found.difference, found.low, found.high) == pytest.approx(
            (expected.difference, expected.low, expected.high)
        )
        assert found.covers_seeds == expected.covers_seeds and (found.p_value < 0.05) == (found.low * found.high > 0)
        doubled = paired.compare_values(2.0 * mine, 2.0 * theirs, 2)
        assert (doubled.low, doubled.high, doubled.p_value) == pytest.approx(
            (2 * found.low, 2 * found.high, found.p_value)
        )


def test_the_interval_of_a_mean_is_the_t_interval_of_its_images_and_two_more():
    values = np.random.default_rng(5).normal(3, 1, 500)
    found = paired.mean_of(values, 1)
    more = [*values, values.mean() + 1, values.mean() - 1]
    expected = ttest_1samp(more, 0).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), expected.low, expected.high))
    several = paired.mean_of(values + np.array([[-1.0], [0.0], [1.0]]), 1)
    assert several.value == pytest.approx(found.value)
    assert several.high - several.value == pytest.approx(4.3027 / np.sqrt(3), rel=0.01)  # t of 2 degrees of freedom


def answers_without_a_difference(
    studies: int, seeds: int, images: int, noise: float, own: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two variants of the same expected skill, each bool [seeds, images], in many studies.

    Args:
        noise: standard deviation of the skill between training runs, in logits. `own`: of what a variant finds hard
            and another does not, per image. How hard an image is for all has a standard deviation of 1.5.
    """
    random = np.random.default_rng([studies, seeds, images])
    for _ in range(studies):
        hard = 1 + 1.5 * random.standard_normal(images)
        sides = []
        for _ in range(2):
            logits = hard + own * random.standard_normal(images) + noise * random.standard_normal((seeds, 1))
            sides.append(random.random((seeds, images)) < 1 / (1 + np.exp(-logits)))
        yield sides[0], sides[1]


def most(studies: int) -> float:
    """5%, and three standard errors of the Monte Carlo."""
    return float(0.05 + 3 * np.sqrt(0.05 * 0.95 / studies))


@pytest.mark.parametrize(("noise", "own"), [(0.0, 0.0), (0.1, 1.0), (0.3, 0.0), (0.3, 2.0)])
@pytest.mark.parametrize(
    ("seeds", "images", "studies"),
    [
        (3, 50, 300),
        *(pytest.param(seeds, images, 1000, marks=pytest.mark.slow)
          for seeds in (2, 3, 5, 20) for images in (50, 1000)),
    ],
)  # fmt: skip
def test_variants_of_the_same_skill_are_told_apart_in_at_most_5_percent(seeds, images, studies, noise, own):
    found = [paired.compare(*sides) for sides in answers_without_a_difference(studies, seeds, images, noise, own)]
    assert np.mean([one.low > 0 or one.high < 0 for one in found]) <= most(studies)


def test_two_intervals_of_which_each_leaves_out_zero_claim_too_much():
    """A planted fault, which the test above must be able to see: one interval over images, another over seeds."""
    studies, claimed = 1000, 0
    for mine, theirs in answers_without_a_difference(studies, 20, 50, 0.5, 1.5):
        over_images = ttest_rel(mine.mean(axis=0), theirs.mean(axis=0)).pvalue
        over_seeds = ttest_ind(mine.mean(axis=1), theirs.mean(axis=1), equal_var=False).pvalue
        claimed += max(over_images, over_seeds) < 0.05
    assert claimed / studies > most(studies)


def test_a_difference_beyond_all_noise_is_found():
    random = np.random.default_rng(3)
    mine, theirs = random.random((3, 500)) < 0.8, random.random((3, 500)) < 0.6
    assert paired.compare(mine, theirs).low > 0.05
