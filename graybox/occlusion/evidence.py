"""What a confidence map says about the object: where the drop lies, how concentrated it is, and whether there is one.

The pointing game is Zhang et al. 2018's, "Top-down neural attention by excitation backprop", section 4.1: does the
map's highest point lie on the object?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graybox.statistics import paired
from graybox.statistics.intervals import Estimate, percentiles, resampled_means, share

if TYPE_CHECKING:
    from graybox.occlusion.confidence import OcclusionMap

FLAT = 0.05
"""A map whose largest drop of the true class's probability is below this is flat: noise, judged no further."""


@dataclass(frozen=True)
class MapEvidence:
    """One confidence map in figures.

    "Drop" is what the window takes from the true class's probability; where it gives some, the drop counts as 0.

    Attributes:
        largest_drop: 0..1; 0 where no window takes anything.
        flat: whether the largest drop is below FLAT. The figures below but `box_share` and `centre_in_box` are then
            missing.
        concentration: the smallest share of the windows (0..0.5) that together hold half of the total drop: 0.5 = it
            is spread evenly, near 0 = it is all in one place. NaN = missing.
        drop_in_box: the share of the total drop that windows hold whose centres lie in the object box, 0..1. NaN =
            missing, also where there is no box.
        box_share: the share of the window centres that lie in the box, 0..1; NaN = there is no box.
        peak_in_box: whether the largest drop's window has its centre in the box (the pointing game); None = missing.
        centre_in_box: whether the window in the middle of the image has; None = there is no box.
    """

    largest_drop: float
    flat: bool
    concentration: float
    drop_in_box: float
    box_share: float
    peak_in_box: bool | None
    centre_in_box: bool | None


def map_evidence(found: OcclusionMap, box: np.ndarray | Sequence[float] | None) -> MapEvidence:
    """Judge one map.

    Args:
        found: the map.
        box: the object's, x0, y0, x1, y1 in pixels, half-open; None or NaN = there is none.
    """
    drop = np.maximum(found.drop, 0).astype(np.float64)
    largest = float(drop.max())
    flat = largest < FLAT
    concentration = drop_in_box = box_share = math.nan
    peak_in_box = centre_in_box = None
    if not flat:
        held = np.cumsum(np.sort(drop, axis=None)[::-1]) / drop.sum()
        concentration = float((np.searchsorted(held, 0.5) + 1) / drop.size)
    if box is not None and not np.isnan(np.asarray(box, float)).any():
        inside = centres_inside(found.rows, found.columns, box)
        box_share = float(inside.mean())
        centre_in_box = bool(inside[len(found.rows) // 2, len(found.columns) // 2])
        if not flat:
            drop_in_box = float(drop[inside].sum() / drop.sum())
            peak_in_box = bool(inside.flat[drop.argmax()])
    return MapEvidence(largest, flat, concentration, drop_in_box, box_share, peak_in_box, centre_in_box)


def centres_inside(rows: np.ndarray, columns: np.ndarray, box: np.ndarray | Sequence[float]) -> np.ndarray:
    """bool [h, w]: whether the middle of the pixel (rows[i], columns[j]) lies in the box."""
    x0, y0, x1, y1 = box
    down, right = rows + 0.5, columns + 0.5
    return ((down >= y0) & (down < y1))[:, None] & ((right >= x0) & (right < x1))


@dataclass(frozen=True)
class MapFigures:
    """Several maps together.

    Attributes:
        count: how many. `flat`: the share of flat ones; the rest is about the others.
        concentration: its median, 0..0.5; NaN without a map that is not flat. `largest_drop`: its median over all maps.
        pointed: how many maps have both a box and a drop; the figures below are about these, NaN where there are none.
        drop_in_box, box_share: means.
        pointing: the share of largest drops in the box. `centre`: the share of image centres in the box, of the same
            images, so what a map that knew nothing but where objects tend to be would reach.
        advantage: pointing less centre, with a paired bootstrap interval.
        p_value: McNemar's exact test of pointing against centre (two-sided).
    """

    count: int
    flat: Estimate
    largest_drop: float
    concentration: float
    pointed: int
    drop_in_box: float
    box_share: float
    pointing: Estimate
    centre: Estimate
    advantage: Estimate
    p_value: float


def summarize(evidence: Sequence[MapEvidence], *, resamples: int = 2000, seed: int = 0) -> MapFigures:
    """The maps of several images in a few figures; `resamples` and `seed` are the bootstrap's."""
    sharp = [one for one in evidence if not one.flat]
    pointed = [one for one in sharp if one.peak_in_box is not None]
    hits = np.array([[one.peak_in_box, one.centre_in_box] for one in pointed], float).reshape(-1, 2)
    advantage, p_value = Estimate(math.nan, math.nan, math.nan), math.nan
    if pointed:
        means = resampled_means(hits, resamples, seed)
        advantage = percentiles(hits[:, 0].mean() - hits[:, 1].mean(), means[:, 0] - means[:, 1])
        p_value = paired.compare(hits[:, 0] > 0, hits[:, 1] > 0).p_value
    return MapFigures(
        count=len(evidence),
        flat=share(len(evidence) - len(sharp), len(evidence)),
        largest_drop=_of(np.median, [one.largest_drop for one in evidence]),
        concentration=_of(np.median, [one.concentration for one in sharp]),
        pointed=len(pointed),
        drop_in_box=_of(np.mean, [one.drop_in_box for one in pointed]),
        box_share=_of(np.mean, [one.box_share for one in pointed]),
        pointing=share(hits[:, 0].sum(), len(pointed)),
        centre=share(hits[:, 1].sum(), len(pointed)),
        advantage=advantage,
        p_value=p_value,
    )


def _of(figure: Callable[[list[float]], np.floating], values: list[float]) -> float:
    return float(figure(values)) if values else math.nan
