"""Two networks on the same test images: by how much one is better, how sure that is, and over many comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Paired:
    """One network's accuracy less another's, on the same images.

    Attributes:
        difference: -1..1; above 0 the first is better.
        low, high: its 95% interval, from the images' own differences (paired t). It is about these networks on other
            test images; another training run of either is not in it.
        p_value: two-sided. Of one network against one it is McNemar's exact test's (McNemar 1947): only images on
            which they disagree count. Of several seeds' networks it is the paired t test's, as an image is then right
            by some share of the seeds, of which McNemar's test knows nothing.
        seeds_low, seeds_high: the 95% interval from the seeds' accuracies (Welch 1947), which is about other training
            runs on these test images; None where either side has one seed only, as that shows no spread.
    """

    difference: float
    low: float
    high: float
    p_value: float
    seeds_low: float | None = None
    seeds_high: float | None = None


def p_words(p_value: float, equals: str = "") -> str:
    """A p-value to read: "< 0.001", or with three digits after `equals`; empty where there is none (NaN)."""
    return "" if np.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{equals}{p_value:.3f}"


def compare(correct: np.ndarray, baseline: np.ndarray) -> Paired:
    """Compare two networks, or two sets of networks that differ in their seeds, by which images they are right on.

    Args:
        correct, baseline: bool [N] or [seeds, N], N of at least 2, in the same order of images.

    Raises:
        ValueError: they are not about the same number of images.
    """
    from scipy.stats import binomtest, ttest_rel  # a second to load, which not every stage that is here needs

    mine, theirs = np.atleast_2d(correct), np.atleast_2d(baseline)
    if mine.shape[1] != theirs.shape[1]:
        raise ValueError(f"the networks answered {mine.shape[1]} and {theirs.shape[1]} images; they should be the same")
    difference = float(mine.mean() - theirs.mean())
    by_image = mine.mean(axis=0), theirs.mean(axis=0)
    low = high = difference
    p_value = 1.0 if difference == 0 else 0.0
    if np.ptp(by_image[0] - by_image[1]) > 1e-9:  # else there is no spread to reckon with
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
    # Counted and then divided, so that the same number of right answers is the very same accuracy.
    mine, theirs = (found.sum(axis=1) / found.shape[1] for found in (correct, baseline))
    if not np.ptp(mine) and not np.ptp(theirs):
        return (float(mine[0] - theirs[0]),) * 2
    if np.ptp(mine) and np.ptp(theirs):
        interval = ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    else:  # Welch's interval is then the one-sample t's, and scipy complains of the side without spread
        moving = mine - theirs[0] if np.ptp(mine) else mine[0] - theirs
        interval = ttest_1samp(moving, 0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), so that 0.05 is the chance of any false alarm among them."""
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    # The smallest counts as often as there are p-values, the next once less; none may fall below the one before.
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = stepped.clip(max=1)
    result: list[float] = corrected.tolist()
    return result
