"""What can be measured of a picture and its object without asking any network, and how unusual it is for its class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import laplace

from graybox.data.images import ImageSet
from graybox.reliance.interventions import box_mask

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, section 3.2
LEVELS = np.linspace(0.03, 0.97, 17)
MEASURES = ("brightness", "contrast", "sharpness", "box_area", "box_off_centre", "object_contrast")
FEWEST, EXTREME = 20, 0.01
"""With fewer pictures of its class to compare with, a picture is compared with those of all classes only."""


def measure(images: ImageSet) -> pd.DataFrame:
    """The figures of each of N pictures.

    Whether there are several objects is not known: an ImageSet has at most one box per image, as the sources that
    find several keep one (`graybox.data.sources.boxes`).

    Returns:
        N rows. Columns, NaN where there is no box (or, in the last, nothing inside or outside it):
        brightness: mean luminance, 0..1. `contrast`: its standard deviation, 0..0.5.
        sharpness: standard deviation of the luminance's Laplacian over that of the luminance itself, so that a fainter
            picture isn't a less sharp one (the Laplacian as a measure of focus: Pech-Pacheco et al. 2000, "Diatom
            autofocusing in brightfield microscopy"); 0 in a picture of one colour. Noise counts as sharpness.
        box_area: the box's share of the picture, 0..1.
        box_off_centre: from the picture's centre to the box's, as a share of half the picture's diagonal, 0..1.
        box_at_border: 1 if the box comes within a pixel of one of the picture's sides but not of the opposite one, as
            that of an object that is cut off, else 0.
        object_contrast: how differently what is in the box is coloured from what is outside: the distance between the
            two distributions of each channel (Wasserstein's, of first order), averaged, in standard deviations of all
            the picture's values, so that a dark picture's object isn't a faint one.
    """
    rows = [_measure_one(np.asarray(image), box) for image, box in zip(images.images, images.boxes)]
    return pd.DataFrame(rows, columns=[*MEASURES, "box_at_border"], dtype=np.float64)


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
        # The distance between two distributions is that between their quantiles, averaged over the levels.
        apart = np.quantile(pixels[inside], LEVELS, axis=0) - np.quantile(pixels[~inside], LEVELS, axis=0)
        found["object_contrast"] = float(np.abs(apart).mean()) / max(float(pixels.std()), 1e-6)
    return found


def ordinary(found: pd.DataFrame, reference: pd.DataFrame) -> np.ndarray:
    """bool [N]: whether none of a picture's figures lies among the outermost EXTREME of the reference of all classes.

    Args:
        found: N rows, `reference`: M rows, both from `measure`. What isn't known on both sides doesn't count.
    """
    fits = np.ones(len(found), bool)
    for name in MEASURES:
        known = reference[name].dropna()
        if len(known) >= FEWEST:
            low, high = known.quantile([EXTREME, 1 - EXTREME])
            fits &= ~((found[name] < low) | (found[name] > high)).to_numpy()
    return fits


def place(values: np.ndarray, labels: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray) -> np.ndarray:
    """How unusual a figure is: the share of the reference that is smaller, ties by half, 0..1; 0.5 is the middle.

    Taken among the reference's images of the same class and among all of them, and the more moderate of the two given:
    what is only small for its class may have a wrong label, and what is only small beside other classes is as its class
    is. Opposite ones give 0.5.

    Args:
        values: float [N], NaN where unknown. `labels`: int [N].
        reference: float [M], NaN where unknown. `reference_labels`: int [M]. Of a class with fewer than FEWEST known
            figures, only the place among all counts.

    Returns:
        float64 [N]; NaN where the figure is unknown or there is no reference at all.
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
