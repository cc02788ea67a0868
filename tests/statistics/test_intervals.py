"""Intervals: equal to statsmodels', which takes two seconds to load and so is not used."""

import numpy as np
import pytest
from scipy.stats import ttest_ind
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from graybox.statistics.intervals import mean, minus, share, wilson


@pytest.mark.parametrize("total", [1, 7, 1000])
def test_wilsons_interval_is_statsmodels(total):
    counts = np.linspace(0, total, 15)  # fractions among them
    expected = proportion_confint(counts, total, method="wilson")
    for mine, theirs in zip(wilson(counts, total), expected):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_a_share_lies_in_its_interval_and_of_nothing_there_is_none():
    for count in (0, 3, 10):
        found = share(count, 10)
        assert found.low <= found.value == count / 10 <= found.high
    assert np.isnan(share(0, 0).value)


@pytest.mark.parametrize(("first", "second"), [((9, 10), (3, 10)), ((980, 1000), (420, 600)), ((5, 5), (0, 7))])
def test_the_difference_of_two_shares_has_statsmodels_newcombes_interval(first, second):
    found = minus(share(*first), share(*second))
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_the_difference_of_two_means_has_nearly_welchs_interval():
    """Each mean has its own t quantile, so it is at most a little wider."""
    random = np.random.default_rng(3)
    for counts in [(20, 30), (1000, 300)]:
        first, second = (random.exponential(scale, count) for scale, count in zip((1, 2), counts))
        found = minus(mean(first), mean(second))
        welch = ttest_ind(first, second, equal_var=False).confidence_interval()
        assert found.value == pytest.approx(first.mean() - second.mean())
        assert welch.low * 1.05 - 0.05 * found.value <= found.low <= welch.low < welch.high <= found.high
    alone = mean(np.array([0.3]))
    assert alone.value == 0.3 and np.isnan([alone.low, alone.high]).all()
