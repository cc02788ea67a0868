"""Check a caller's image or fill and convert it to one form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from graybox.arguments import shown

if TYPE_CHECKING:
    from torch import Tensor

    from graybox.data.transforms import Geometry


def rgb_array(image: np.ndarray | Image.Image) -> np.ndarray:
    """The image as uint8 [H, W, 3]; nothing is rotated, cropped or resized.

    Args:
        image: uint8 [H, W, 3], RGB; or a PIL image of 8 bits a channel; transparent pixels become white.

    Raises:
        TypeError: it is neither, or its values are not uint8.
        ValueError: its shape or mode is not allowed, or it has no pixels.
    """
    if isinstance(image, Image.Image):
        if image.mode[0] in "IF":
            raise ValueError(f"image has the mode {image.mode}; allowed: 8 bits a channel, such as the modes RGB and L")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))
    try:
        pixels = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal lengths; a tensor on a GPU
        raise TypeError(f"image is {shown(image)}; allowed: uint8 [H, W, 3] or a PIL image") from error
    if pixels.dtype != np.uint8:
        raise TypeError(f"image is {type(image).__name__} of {pixels.dtype}; allowed: uint8 [H, W, 3] or a PIL image")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"image has the shape {list(pixels.shape)}; allowed: [H, W, 3], H and W of at least 1")
    return pixels


def seen(image: np.ndarray | Image.Image, geometry: Geometry | None) -> np.ndarray:
    """What the network sees of the image, uint8 [H, W, 3]: a copy.

    Args:
        image: as for `rgb_array`.
        geometry: the resizing and cropping, None = none. An array that has the size already which comes out of it is
            taken as it is; a PIL image never is.

    Raises:
        TypeError, ValueError: as `rgb_array`.
    """
    pixels = rgb_array(image)
    if geometry is None:
        return np.array(pixels)
    height, width = pixels.shape[:2]
    if not isinstance(image, Image.Image) and geometry.size(height, width) == (height, width):
        return np.array(pixels)
    return geometry.picture(Image.fromarray(pixels))


def fill_tensor(fill: float | np.ndarray, like: Tensor) -> Tensor:
    """The fill as a tensor that broadcasts to [3, H, W], with the device and the type of `like`.

    Args:
        fill: one gray level, or a float picture [H, W, 3], in 0..1. `like`: the image, float [3, H, W].

    Raises:
        TypeError: it holds no numbers.
        ValueError: its shape is not allowed, or a value is outside 0..1.
    """
    import torch  # not above, as a figure checks its picture here and needs no torch

    allowed = list(like.permute(1, 2, 0).shape)
    try:
        values = np.array(fill)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal lengths; a tensor on a GPU
        raise TypeError(f"fill is {shown(fill)}; allowed: one number, or a picture {allowed}") from error
    if values.dtype.kind not in "fiu":
        raise TypeError(
            f"fill is {shown(fill)}; allowed: one number, or a picture {allowed}, as graybox.fill_picture makes it"
        )
    if values.ndim and values.shape != tuple(allowed):
        raise ValueError(f"fill has the shape {list(values.shape)}; allowed: one number, or a picture {allowed}")
    picture = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    picture = picture.permute(2, 0, 1) if values.ndim else picture
    low, high = (float(value) for value in picture.aminmax())
    if not (math.isfinite(low) and low >= 0 and high <= 1):
        raise ValueError(f"fill has values from {low:g} to {high:g}; allowed: 0 (black) to 1 (white)")
    return picture
