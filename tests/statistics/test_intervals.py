"""Intervals: equal to statsmodels', which takes two seconds to load and so is not used."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from graybox.statistics.intervals import share, wilson


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
