"""Compare two networks on the same test images: difference, interval, p-value, and correction for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Paired:
    """One network's accuracy minus another's, on the same images.

    Attributes:
        difference: -1..1; above 0 the first is better.
        low, high: its 95% interval, from the differences per image (paired t). It holds for these networks on other
            test images. It does not cover another training run of either network.
        p_value: two-sided. For one network against one: McNemar's exact test (McNemar 1947), which counts only the
            images that exactly one of the two gets right. For several seeds: the paired t test, because McNemar's test
            cannot use an image that only some seeds get right.
        seeds_low, seeds_high: the 95% interval from the seeds' accuracies (Welch 1947). It holds for other training
            runs on these test images. None if either side has only one seed, as one seed shows no spread.
    """

    difference: float
    low: float
    high: float
    p_value: float
    seeds_low: float | None = None
    seeds_high: float | None = None


def p_words(p_value: float, equals: str = "") -> str:
    """A p-value as text: "< 0.001", or `equals` and three digits; empty for NaN."""
    return "" if np.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{equals}{p_value:.3f}"


def compare(correct: np.ndarray, baseline: np.ndarray) -> Paired:
    """Compare two networks, or two sets of networks with different seeds.

    Args:
        correct, baseline: bool [N] or [seeds, N], N of at least 2: which images each network gets right, in the same
            order of images.

    Raises:
        ValueError: the numbers of images differ.
    """
    from scipy.stats import binomtest, ttest_rel  # takes a second to load, and not every stage needs it

    mine, theirs = np.atleast_2d(correct), np.atleast_2d(baseline)
    if mine.shape[1] != theirs.shape[1]:
        raise ValueError(f"the networks answered {mine.shape[1]} and {theirs.shape[1]} images; they should be the same")
    difference = float(mine.mean() - theirs.mean())
    by_image = mine.mean(axis=0), theirs.mean(axis=0)
    low = high = difference
    p_value = 1.0 if difference == 0 else 0.0
    if np.ptp(by_image[0] - by_image[1]) > 1e-9:  # without spread there is no t test
        test = ttest_rel(*by_image)
        interval, p_value = test.confidence_interval(0.95), float(test.pvalue)
        low, high = float(interval.low), float(interval.high)
    if len(mine) == len(theirs) == 1:
        mine_alone, theirs_alone = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        disagreements = mine_alone + theirs_alone
        p_value = float(binomtest(mine_alone, disagreements).pvalue) if disagreements else 1.0
    return Paired(difference, low, high, p_value, *_over_seeds(mine, theirs))


def _over_seeds(correct: np.ndarray, baseline: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    from scipy.stats import ttest_1samp, ttest_ind

    if min(len(correct), len(baseline)) < 2:
        return None, None
    # Count, then divide: equal counts then give exactly equal accuracies.
    mine, theirs = (found.sum(axis=1) / found.shape[1] for found in (correct, baseline))
    if not np.ptp(mine) and not np.ptp(theirs):
        return (float(mine[0] - theirs[0]),) * 2
    if np.ptp(mine) and np.ptp(theirs):
        interval = ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    else:  # one side has no spread: Welch's interval is then the one-sample t interval, and scipy would warn
        moving = mine - theirs[0] if np.ptp(mine) else mine[0] - theirs
        interval = ttest_1samp(moving, 0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for many tests (Holm 1979): below 0.05, the chance of any false positive is at most 5%."""
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    # Multiply the smallest by the number of p-values, the next by one less, and so on; keep the order.
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = stepped.clip(max=1)
    result: list[float] = corrected.tolist()
    return result
