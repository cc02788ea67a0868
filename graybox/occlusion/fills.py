"""What the occluder window shows. Gray is the study's fill; the others check it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graybox.arguments import choice, number
from graybox.occlusion.pixels import rgb_array

Fill = Literal["gray", "mean", "blur", "noise"]
FILLS: tuple[str, ...] = get_args(Fill)


def fill_picture(image: NDArray[np.uint8] | Image.Image, fill: Fill = "gray", gray: float = 0.5) -> NDArray[np.float32]:
    """The picture that replaces the hidden part of `image`.

    Args:
        image: uint8 [H, W, 3], or a PIL image.
        fill: "gray": one gray level (Zeiler & Fergus 2014); "mean": the image's mean colour; "blur": the image itself,
            blurred with a standard deviation of a sixteenth of its longer side; "noise": the image's own pixels in
            random order, so that only its colours remain (the same order for every image of a size).
        gray: the gray level, 0..1.

    Returns:
        float32 [H, W, 3] in 0..1.

    Raises:
        TypeError: the image is not uint8, or gray is no number.
        ValueError: the image has another shape, or `fill` or `gray` is not allowed.
    """
    image, gray = rgb_array(image), number("gray", gray, 0, 1)
    choice("fill", fill, FILLS)
    pixels = image.astype(np.float32) / np.float32(255)
    height, width = image.shape[:2]
    if fill == "gray":
        return np.full_like(pixels, gray)
    if fill == "mean":
        return np.full_like(pixels, pixels.mean((0, 1)))
    if fill == "blur":
        from scipy.ndimage import gaussian_filter  # only this needs it

        sigma = max(height, width) / 16
        # The kernel must not reach beyond the picture's reflection.
        reach = min(round(3 * sigma), min(height, width) - 1)
        blurred: NDArray[np.float32] = gaussian_filter(pixels, sigma, mode="mirror", radius=reach, axes=(0, 1))
        return blurred
    order = np.random.default_rng(0).permutation(height * width)
    return pixels.reshape(-1, 3)[order].reshape(height, width, 3)
