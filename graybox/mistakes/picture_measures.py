"""Measures of a picture and its object that need no network, and how unusual they are for the picture's class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import laplace

from graybox.data.images import ImageSet
from graybox.reliance.interventions import box_mask

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, section 3.2
LEVELS = np.linspace(0.03, 0.97, 17)
MEASURES = ("brightness", "contrast", "sharpness", "box_area", "box_off_centre", "object_contrast")
FEWEST, EXTREME = 20, 0.01
"""With fewer pictures of its class to compare with, a picture is compared with those of all classes only."""


def measure(images: ImageSet, rows: NDArray[np.intp] | None = None) -> pd.DataFrame:
    """The figures of each of N pictures.

    Args:
        rows: those of `images` to measure, int [N]; None = all. Each is read alone, as the images may be memory-mapped.

    The number of objects is unknown: an ImageSet has at most one box per image, and a source with several boxes keeps
    one (`graybox.data.sources.boxes`).

    Returns:
        N rows. Columns, NaN without a box (the last also if nothing is inside or outside the box):
        brightness: mean luminance, 0..1. `contrast`: its standard deviation, 0..0.5.
        sharpness: standard deviation of the luminance's Laplacian, divided by that of the luminance, so that low
            contrast does not count as blur (the Laplacian as a measure of focus: Pech-Pacheco et al. 2000, "Diatom
            autofocusing in brightfield microscopy"); 0 in a picture of one colour. Noise counts as sharpness.
        box_area: the box's share of the picture, 0..1.
        box_off_centre: from the picture's centre to the box's, as a share of half the picture's diagonal, 0..1.
        box_at_border: 1 if the box comes within a pixel of one side of the picture but not of the opposite side (the
            object may be cut off), else 0.
        object_contrast: how much the colours inside the box differ from those outside: the first-order Wasserstein
            distance between the two distributions, averaged over the channels, in standard deviations of all the
            picture's values, so that dark pictures do not count as faint objects.
    """
    chosen = range(len(images)) if rows is None else rows
    found = [_measure_one(np.asarray(images.images[row]), images.boxes[row]) for row in chosen]
    return pd.DataFrame(found, columns=[*MEASURES, "box_at_border"], dtype=np.float64)


def _measure_one(image: np.ndarray, box: np.ndarray) -> dict[str, float]:
    pixels = image.astype(np.float32) / 255
    height, width = image.shape[:2]
    light = pixels @ LUMA
    spread = float(light.std())
    found = {
        "brightness": float(light.mean()),
        "contrast": spread,
        "sharpness": float(laplace(light, mode="nearest").std()) / spread if spread > 1e-6 else 0.0,
    }
    if np.isnan(box).any():
        return found
    x0, y0, x1, y1 = (float(value) for value in box)
    across, down = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    left, top, right, bottom = x0 <= 1, y0 <= 1, x1 >= width - 1, y1 >= height - 1
    found |= {
        "box_area": (x1 - x0) * (y1 - y0) / (width * height),
        "box_off_centre": float(np.hypot(across, down) / np.hypot(width / 2, height / 2)),
        "box_at_border": float(left != right or top != bottom),
    }
    inside = box_mask(box, height, width)
    if 0 < inside.sum() < inside.size:
        # The Wasserstein distance is the distance between quantiles, averaged over the levels.
        apart = np.quantile(pixels[inside], LEVELS, axis=0) - np.quantile(pixels[~inside], LEVELS, axis=0)
        found["object_contrast"] = float(np.abs(apart).mean()) / max(float(pixels.std()), 1e-6)
    return found


def ordinary(found: pd.DataFrame, reference: pd.DataFrame) -> np.ndarray:
    """bool [N]: whether all of a picture's figures lie inside the outermost EXTREME of the reference, over all classes.

    Args:
        found: N rows, `reference`: M rows, both from `measure`. A figure that either side lacks is ignored.
    """
    fits = np.ones(len(found), bool)
    for name in MEASURES:
        known = reference[name].dropna()
        if len(known) >= FEWEST:
            low, high = known.quantile([EXTREME, 1 - EXTREME])
            fits &= ~((found[name] < low) | (found[name] > high)).to_numpy()
    return fits


def place(values: np.ndarray, labels: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray) -> np.ndarray:
    """How unusual a figure is: the share of the reference that is smaller, 0..1; ties count half, 0.5 is the middle.

    The place is computed among the reference's images of the same class and among all of them; the more moderate one
    is given. A picture that is small only for its class may have a wrong label; one that is small only beside other
    classes is normal for its class. If the two are on opposite sides of the middle, the place is 0.5.

    Args:
        values: float [N], NaN where unknown. `labels`: int [N].
        reference: float [M], NaN where unknown. `reference_labels`: int [M]. For a class with fewer than FEWEST known
            figures only the place among all classes counts.

    Returns:
        float64 [N]; NaN where the figure is unknown or the reference is empty.
    """
    known = ~np.isnan(reference)
    overall = _place_among(values, reference[known])
    found = overall.copy()
    for label in np.unique(labels):
        own = reference[known & (reference_labels == label)]
        if len(own) >= FEWEST:
            rows = np.flatnonzero(labels == label)
            both = np.stack([_place_among(values[rows], own), overall[rows]]) - 0.5
            opposite = both.prod(axis=0) <= 0
            moderate = np.take_along_axis(both, np.abs(both).argmin(axis=0)[None], axis=0)[0]
            found[rows] = 0.5 + np.where(opposite, 0.0, moderate)
    found[np.isnan(values)] = np.nan
    return found


def _place_among(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    if not len(reference):
        return np.full(len(values), np.nan)
    ordered = np.sort(reference)
    smaller, no_larger = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (smaller + no_larger) / (2 * len(ordered))
