"""Figures with 95% intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95% confidence interval; all NaN without any cases."""

    value: float
    low: float
    high: float

    def percent(self) -> str:
        """In words, as "74% (95% CI 70 to 78)"."""
        # Round before printing: a tiny negative figure would read "-0%".
        value, low, high = (int(np.rint(100 * x)) for x in (self.value, self.low, self.high))
        return f"{value}% (95% CI {low} to {high})"


def percent(share: float) -> str:
    """A share in whole percent; "under 1%" or "over 99%" where rounding would give a false 0% or 100%."""
    if 0 < share < 0.005:
        return "under 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{int(np.rint(100 * share))}%"


def share(count: float, total: int) -> Estimate:
    """A share of independent cases with Wilson's interval (Wilson 1927).

    `count` may be a fraction, if a case counts as the mean of several tries. The interval is then too wide.
    """
    if not total:
        return Estimate(np.nan, np.nan, np.nan)
    low, high = wilson(count, total)
    value = float(count / total)
    # At 0 and 1 rounding may put an end on the wrong side of the figure.
    return Estimate(value, min(float(low), value), max(float(high), value))


def wilson(count: ArrayLike, total: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95% interval of a share of independent cases (Wilson 1927), 0..1.

    Own code, because scipy's takes only whole counts, one at a time, and statsmodels takes two seconds to load.

    Args:
        count: number of cases that count, may be a fraction; any shape. `total`: number of all cases, above 0.
    """
    p, n, z = np.asarray(count, float) / total, np.asarray(total, float), ndtri(0.975)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def mean(values: np.ndarray) -> Estimate:
    """A mean of independent cases, float [N], with its t interval; the interval is NaN for fewer than two cases."""
    from scipy.stats import t  # takes a second to load, and not every stage needs it

    value, count = float(np.mean(values)), len(values)
    if count < 2:
        return Estimate(value, np.nan, np.nan)
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return Estimate(value, value - half, value + half)


def minus(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two figures of independent samples.

    Its interval joins theirs: the distances from figure to end are added in squares (Zou and Donner 2008). Of two
    shares with Wilson's intervals it is Newcombe's hybrid score interval (Newcombe 1998, method 10).
    """
    value = first.value - second.value
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(low), float(high))


def resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The columns' means in bootstrap resamples of the rows (Efron 1979), float [resamples, columns].

    It draws whole rows, so that all values of one case stay together (paired).

    Args:
        values: float [cases, columns], at least one case.
    """
    random, count = np.random.default_rng(seed), len(values)
    return np.stack([values[random.integers(count, size=count)].mean(axis=0) for _ in range(resamples)])


def percentiles(value: float, resampled: np.ndarray) -> Estimate:
    """A figure with the middle 95% of its bootstrap resamples."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))
