"""What a confidence map shows about the object: whether there is a drop, where it lies, and how concentrated it is.

The pointing game asks whether a map's highest point lies on the object (Zhang et al. 2018, "Top-down neural attention
by excitation backprop", section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graybox import arguments
from graybox.occlusion.confidence import OcclusionMap
from graybox.statistics import paired
from graybox.statistics.intervals import Estimate, percentiles, resampled_means, share

FLAT = 0.05
"""A map is flat if its largest drop of the true class's probability is below this: noise, not evaluated further."""


@dataclass(frozen=True)
class MapEvidence:
    """One confidence map in figures.

    "Drop" is by how much the window lowers the true class's probability; it counts as 0 where the window raises it.

    Attributes:
        largest_drop: 0..1; 0 if no window lowers the probability.
        flat: whether the largest drop is below FLAT. If so, all figures below are missing, except `box_share` and
            `centre_in_box`.
        concentration: the smallest share of the windows (0..0.5) that together make half of the total drop: 0.5 =
            spread evenly, near 0 = all in one place. NaN = missing.
        drop_in_box: the share of the total drop made by windows whose centres lie in the object box, 0..1. NaN =
            missing, also without a box.
        box_share: the share of the window centres that lie in the box, 0..1; NaN = there is no box.
        peak_in_box: whether the window with the largest drop has its centre in the box (the pointing game); None =
            missing.
        centre_in_box: the same for the window in the middle of the image; None = there is no box.
        never_hidden: the share of the image's pixels that lie under none of the windows, 0..1. The map, flat or not,
            says nothing about them.
    """

    largest_drop: float
    flat: bool
    concentration: float
    drop_in_box: float
    box_share: float
    peak_in_box: bool | None
    centre_in_box: bool | None
    never_hidden: float = 0.0


def map_evidence(found: OcclusionMap, box: np.ndarray | Sequence[float] | None) -> MapEvidence:
    """Measure one map.

    Args:
        found: the map.
        box: the object box, x0, y0, x1, y1 in pixels, half-open; None or NaN = no box.

    Raises:
        TypeError: `found` is no map, or the box holds no numbers. ValueError: the box is not four finite numbers, or
            NaN.
    """
    arguments.instance("found", found, OcclusionMap)
    box = None if box is None else _checked_box(box)
    drop = np.maximum(found.drop, 0).astype(np.float64)
    largest = float(drop.max())
    flat = largest < FLAT
    concentration = drop_in_box = box_share = math.nan
    peak_in_box = centre_in_box = None
    if not flat:
        held = np.cumsum(np.sort(drop, axis=None)[::-1]) / drop.sum()
        concentration = float((np.searchsorted(held, 0.5) + 1) / drop.size)
    if box is not None and not np.isnan(box).any():
        inside = centres_inside(found.rows, found.columns, box)
        box_share = float(inside.mean())
        centre_in_box = bool(inside[len(found.rows) // 2, len(found.columns) // 2])
        if not flat:
            drop_in_box = float(drop[inside].sum() / drop.sum())
            peak_in_box = bool(inside.flat[drop.argmax()])
    return MapEvidence(
        largest, flat, concentration, drop_in_box, box_share, peak_in_box, centre_in_box, found.never_hidden
    )


def _checked_box(box: np.ndarray | Sequence[float]) -> np.ndarray:
    allowed = "four numbers x0, y0, x1, y1 in pixels, or NaN"
    try:
        edges = np.asarray(box)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"box is {arguments.shown(box)}; allowed: {allowed}") from error
    if edges.dtype.kind not in "fiu":
        raise TypeError(f"box is {arguments.shown(box)}; allowed: {allowed}")
    if edges.shape != (4,) or np.isinf(edges).any():
        raise ValueError(f"box is {arguments.shown(box)}; allowed: {allowed}")
    return edges


def centres_inside(rows: np.ndarray, columns: np.ndarray, box: np.ndarray | Sequence[float]) -> np.ndarray:
    """bool [h, w]: whether the middle of the pixel (rows[i], columns[j]) lies in the box."""
    x0, y0, x1, y1 = box
    down, right = rows + 0.5, columns + 0.5
    return ((down >= y0) & (down < y1))[:, None] & ((right >= x0) & (right < x1))


@dataclass(frozen=True)
class MapFigures:
    """The figures of several maps together.

    Attributes:
        count: how many maps. `flat`: the share of flat ones.
        concentration: the median over the maps that are not flat, 0..0.5; NaN if there are none.
        largest_drop: the median over all maps. `never_hidden`: the mean over all maps.
        pointed: how many maps have a box and are not flat. The figures below are over these, NaN if there are none.
        drop_in_box, box_share: means.
        pointing: the share of largest drops in the box.
        centre: the share of image centres in the box, for the same images: the baseline of always pointing there.
        advantage: pointing minus centre, with a paired bootstrap interval.
        p_value: of pointing against centre, by McNemar's exact test (two-sided; it compares yes/no outcomes in pairs).
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
    never_hidden: float = 0.0


def summarize(evidence: Sequence[MapEvidence], *, resamples: int = 2000, seed: int = 0) -> MapFigures:
    """Summarize the maps of several images; `resamples` and `seed` are for the bootstrap."""
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
        never_hidden=_of(np.mean, [one.never_hidden for one in evidence]),
    )


def _of(figure: Callable[[list[float]], np.floating], values: list[float]) -> float:
    return float(figure(values)) if values else math.nan
