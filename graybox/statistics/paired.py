"""Compare two networks on the same test images: difference, interval, p-value, and correction for many comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graybox.statistics.intervals import Estimate

FEWEST = 20  # images; with fewer, a difference is too uncertain to claim anything


@dataclass(frozen=True)
class Paired:
    """One network's accuracy minus another's, on the same images.

    Attributes:
        difference: -1..1; above 0 the first is better.
        low, high: its 95% interval, within -1..1 and never empty.
        p_value: two-sided. For one network against one: McNemar's exact test (McNemar 1947), which counts only the
            images that exactly one of the two gets right. If either side has several seeds: the interval's own, so that
            below 0.05 the interval excludes 0.
        images: number of images. With fewer than FEWEST nothing should be claimed.
        covers_seeds: whether interval and p-value hold for other training runs too, and not only for other images:
            if both sides have several seeds, as one seed shows no spread.
    """

    difference: float
    low: float
    high: float
    p_value: float
    images: int
    covers_seeds: bool = False


def p_words(p_value: float, equals: str = "") -> str:
    """A p-value as text: "< 0.001", or `equals` and three digits; empty for NaN."""
    return "" if np.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{equals}{p_value:.3f}"


def compare(correct: np.ndarray, baseline: np.ndarray) -> Paired:
    """Compare two networks, or two sets of networks with different seeds.

    The interval over images is the paired t interval after two images are added, one that only the first network gets
    right and one that only the second does (after Bonett and Price 2012, who take the normal quantile; Fagerland,
    Lydersen and Laake 2014 recommend it). It has some width even where the two agree on every image.

    If both have several seeds, two components vary: the images and the training runs. Each has its own t quantile, and
    their half-widths are added in squares (Burdick and Graybill 1992; Zou and Donner 2008). What the images' component
    has of the seeds' noise is counted once.

    Args:
        correct, baseline: bool [N] or [seeds, N], N of at least 1: which images each network gets right, in the same
            order of images.

    Raises:
        ValueError: the numbers of images differ.
    """
    from scipy.stats import binomtest  # takes a second to load, and not every stage needs it

    mine, theirs = _same_images(correct, baseline)
    by_image = np.concatenate([mine.mean(axis=0) - theirs.mean(axis=0), [1.0, -1.0]])
    found = _interval(by_image, mine, theirs)
    if len(mine) == len(theirs) == 1:
        mine_alone, theirs_alone = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        tries = mine_alone + theirs_alone
        p_value = float(binomtest(mine_alone, tries).pvalue) if tries else 1.0
    else:
        p_value = found.p_value
    difference = float(mine.mean() - theirs.mean())
    low, high = max(-1.0, found.low), min(1.0, found.high)
    return Paired(difference, low, high, p_value, mine.shape[1], found.covers_seeds)


def compare_values(values: np.ndarray, baseline: np.ndarray, unit: float) -> Paired:
    """Compare the means of any figure of two networks, or of two sets of networks, as `compare` does.

    The p-value is the interval's own, and the interval has no bounds.

    Args:
        values, baseline: float [N] or [seeds, N], N of at least 1: the figure of each image, in the same order.
        unit: by how much one image's figure can differ, above 0: the two added images have `unit` and -`unit`.

    Raises:
        ValueError: the numbers of images differ.
    """
    mine, theirs = _same_images(values, baseline)
    by_image = np.concatenate([mine.mean(axis=0) - theirs.mean(axis=0), [unit, -unit]])
    found = _interval(by_image, mine, theirs)
    difference = float(mine.mean() - theirs.mean())
    return Paired(difference, found.low, found.high, found.p_value, mine.shape[1], found.covers_seeds)


def mean_of(values: np.ndarray, unit: float) -> Estimate:
    """The mean of a figure with its 95% interval: over images, and with several seeds over training runs too.

    Args:
        values: float [N] or [seeds, N], N of at least 1. `unit`: as for `compare_values`; the two added images lie that
            far above and below the mean.
    """
    mine = np.atleast_2d(values)
    middle = float(mine.mean())
    found = _interval(np.concatenate([mine.mean(axis=0), [middle + unit, middle - unit]]), mine)
    return Estimate(middle, found.low, found.high)


def kept_values(as_is: np.ndarray, hidden: np.ndarray, chance: float) -> tuple[np.ndarray, float]:
    """The share of an accuracy above chance that is left, as a figure of each image whose mean it is.

    For accuracies A and H, and chance c, the share is R = (H - c) / (A - c), a ratio. An image's figure is its linear
    form R + ((h - c) - R (a - c)) / (A - c), where a and h are 1 for a right answer and else 0 (the delta method;
    Cochran 1977, Sampling Techniques, section 6.3).

    Args:
        as_is, hidden: float [N] or [seeds, N] of 0 and 1, with a mean of `as_is` above `chance`.

    Returns:
        The figures, of the same shape, and what one answer h weighs: the `unit` of `compare_values` and `mean_of`.
    """
    above = float(as_is.mean()) - chance
    ratio = (float(hidden.mean()) - chance) / above
    return ratio + ((hidden - chance) - ratio * (as_is - chance)) / above, 1 / above


def _same_images(correct: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mine, theirs = np.atleast_2d(correct), np.atleast_2d(baseline)
    if theirs.shape[1] != mine.shape[1]:
        raise ValueError(f"the networks answered {mine.shape[1]} and {theirs.shape[1]} images; they should be the same")
    return mine, theirs


@dataclass(frozen=True)
class _Interval:
    middle: float
    half_width: Callable[[float], float]
    covers_seeds: bool

    @property
    def low(self) -> float:
        return self.middle - self.half_width(0.05)

    @property
    def high(self) -> float:
        return self.middle + self.half_width(0.05)

    @property
    def p_value(self) -> float:
        """The p at which the interval touches 0."""
        return _where_it_reaches(abs(self.middle), self.half_width)


def _interval(by_image: np.ndarray, *sides: np.ndarray) -> _Interval:
    """The interval around the mean of `by_image`.

    Args:
        by_image: float [N], the figure of each image. `sides`: [seeds, N] each, of which it is made.
    """
    from scipy.stats import t  # takes a second to load, and not every stage needs it

    of_images = float(by_image.var(ddof=1)) / len(by_image)
    spread = _of_seeds(*sides)

    def half_width(p: float) -> float:
        over_images = float(t.isf(p / 2, len(by_image) - 1)) ** 2
        if spread is None:
            return float(np.sqrt(over_images * of_images))
        over_seeds = float(t.isf(p / 2, spread.degrees)) ** 2
        both = over_images * max(0.0, of_images - spread.noise) + over_seeds * spread.variance
        return float(np.sqrt(max(both, over_images * of_images)))

    return _Interval(float(by_image.mean()), half_width, spread is not None)


class _Spread(NamedTuple):
    """How far the difference varies between training runs.

    Attributes:
        variance: of the difference. `degrees`: of freedom, with which it is known (Welch 1947).
        noise: the part of `variance` that the images' component has too: each run's luck with each image.
    """

    variance: float
    degrees: float
    noise: float


def _of_seeds(*sides: np.ndarray) -> _Spread | None:
    if min(map(len, sides)) == 1:
        return None
    variances, noises = [], []
    for side in sides:
        rest = side - side.mean(axis=0) - side.mean(axis=1, keepdims=True) + side.mean()
        variances.append(float(side.mean(axis=1).var(ddof=1)) / len(side))
        noises.append(float((rest**2).sum()) / (len(side) - 1) / max(1, side.shape[1] - 1) / side.size)
    weights = sum(variance**2 / (len(side) - 1) for variance, side in zip(variances, sides))
    degrees = sum(variances) ** 2 / weights if weights else float(min(map(len, sides)) - 1)
    return _Spread(sum(variances), degrees, sum(noises))


def _where_it_reaches(distance: float, half_width: Callable[[float], float]) -> float:
    """The p at which the interval's half-width is `distance`."""
    from scipy.optimize import brentq

    if not distance:
        return 1.0
    smallest = 1e-12
    if half_width(smallest) <= distance:
        return smallest
    return float(brentq(lambda p: half_width(p) - distance, smallest, 1.0))


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
