"""Two networks on the same test images: by how much one is better, how sure that is, and over many comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests


@dataclass(frozen=True)
class Paired:
    """One network's accuracy less another's, on the same images.

    Attributes:
        difference: -1..1; above 0 the first is better.
        low, high: its 95% interval, from the images' own differences (paired t). It is about these two networks on
            other test images; another training run of either is not in it.
        p_value: of McNemar's exact test (McNemar 1947), two-sided: only images on which they disagree count.
    """

    difference: float
    low: float
    high: float
    p_value: float


def compare(correct: np.ndarray, baseline: np.ndarray) -> Paired:
    """Compare two networks by which images they are right on.

    Args:
        correct, baseline: bool [N], N of at least 2, in the same order of images.

    Raises:
        ValueError: they are not about the same number of images.
    """
    if correct.shape != baseline.shape:
        raise ValueError(f"the networks answered {correct.size} and {baseline.size} images; they should be the same")
    difference = float(correct.mean() - baseline.mean())
    low = high = difference
    if len(np.unique(correct.astype(int) - baseline.astype(int))) > 1:  # else there is no spread to reckon with
        interval = ttest_rel(correct.astype(float), baseline.astype(float)).confidence_interval(0.95)
        low, high = float(interval.low), float(interval.high)
    table = [[((correct == a) & (baseline == b)).sum() for b in (True, False)] for a in (True, False)]
    return Paired(difference, low, high, float(mcnemar(table, exact=True).pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), so that 0.05 is the chance of any false alarm among them."""
    return multipletests(p_values, method="holm")[1].tolist() if len(p_values) else []
