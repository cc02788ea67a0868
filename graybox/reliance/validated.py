"""On which images a verdict is given: those whose object has a size on which the rule was checked.

`docs/verdict.md` has the check. Outside this range the figures are reported, and no verdict.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from graybox import arguments

Sizes = tuple[float, float]

VALIDATED_SIZES: Sizes = (0.5, 0.75)
"""From and to: the longer side of the object's box as a share of the picture's. They come from `benchmarks.verdict` on
fresh seeds, with `--object-size` from the default outwards until the rule was wrong: with objects of 0.35 to 0.5, and
of 0.7 to 0.9, it was right about 3 networks of 5 each."""
LEAST_IMAGES = 50
"""With fewer images in the range there is no verdict. A share's 95% interval reaches up to 0.98 / ((A - c) sqrt(n)) to
either side, for n images, accuracy A and chance c: with 50 images 0.20 at A - c = 0.7. And 0.20 is the distance between
an object that is enough alone (0.50) and one that is not used (0.30): with fewer, one interval covers both."""


def object_sizes(boxes: NDArray[np.floating], height: int, width: int) -> NDArray[np.float64]:
    """The longer side of each box as a share of the picture's side, float64 [N]; NaN without a box.

    Args:
        boxes: float [N, 4], x0, y0, x1, y1 in pixels. `height`, `width`: of the picture.
    """
    x0, y0, x1, y1 = np.clip(np.asarray(boxes, np.float64), 0, [width, height, width, height]).T
    return np.asarray(np.maximum((x1 - x0) / width, (y1 - y0) / height), np.float64)


def within(sizes: NDArray[np.float64], allowed: Sizes | None) -> NDArray[np.bool_]:
    """Which sizes are allowed, bool [N]: a NaN is not. `allowed`: from and to; None = every size."""
    low, high = allowed or (0, math.inf)
    return (sizes >= low) & (sizes <= high)


def judged(sizes: NDArray[np.float64], allowed: Sizes | None) -> tuple[NDArray[np.bool_], bool]:
    """Which images the figures are about, bool [N], and whether there is a verdict on them.

    Those of an allowed size; or, if these are fewer than LEAST_IMAGES, all of them, without a verdict.

    Args:
        sizes: from `object_sizes`. `allowed`: from and to; None = every size, and any number of images.
    """
    inside = within(sizes, allowed)
    if allowed is None or inside.sum() >= LEAST_IMAGES:
        return inside, True
    return np.ones(len(sizes), bool), False


def words(allowed: Sizes = VALIDATED_SIZES) -> str:
    """The range: "35% to 85% of the picture's side"."""
    return f"{allowed[0]:.0%} to {allowed[1]:.0%} of the picture's side"


def checked(allowed: Sizes | None) -> Sizes | None:
    """The argument `sizes` as two numbers, or None.

    Raises:
        TypeError: it is not two numbers. ValueError: one is not allowed, or they are in the wrong order.
    """
    if allowed is None:
        return None
    if not isinstance(allowed, (tuple, list)) or len(allowed) != 2:
        raise TypeError(f"sizes is {arguments.shown(allowed)}; it should be two numbers from 0 to 1, or None")
    low, high = (arguments.number(f"sizes[{place}]", one, 0, 1) for place, one in enumerate(allowed))
    if low > high:
        raise ValueError(f"sizes is {arguments.shown(allowed)}; the first should be at most the second")
    return low, high
