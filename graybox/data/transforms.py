"""What `preprocess` may be: it is taken apart into what happens to the picture and what happens to the pixels' values.

A network's preprocessing first cuts the picture to size and then changes the values, mostly by `(value - mean) / std`.
The window must slide between the two: over the picture that the network sees. So torchvision's `weights.transforms()`,
or a `Compose` of its transforms such as timm's, is applied in two parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from graybox.arguments import shown

ALLOWED = (
    "torchvision's weights.transforms(), a torchvision Compose of Resize, CenterCrop, a conversion to a tensor and "
    "Normalize, or a function of float images [B, 3, H, W] in 0..1"
)
INTEGERS = ("PILToTensor", "MaybePILToTensor", "ToImage")  # give values in 0..255, until a step scales them
CONVERSIONS = ("ToTensor", "MaybeToTensor", "PILToTensor", "MaybePILToTensor", "ToImage", "ToDtype", "ToPureTensor",
               "ConvertImageDtype", "RGB")  # fmt: skip


class Step(NamedTuple):
    """One step of a `Geometry`.

    Attributes:
        kind: "resize", "crop" or "neither" (the size and the places stay).
        apply: PIL image -> PIL image.
    """

    kind: str
    apply: Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Geometry:
    """What makes the network's picture of a photograph: resizing and central crops, as torchvision does them."""

    steps: tuple[Step, ...]

    def picture(self, image: Image.Image) -> np.ndarray:
        """uint8 [H, W, 3] of an RGB image: what the network sees, before its values are normalised."""
        for step in self.steps:
            image = step.apply(image)
        return np.array(image)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the picture of an image of this size."""
        image = Image.new("L", (width, height))
        for step in self.steps:
            image = step.apply(image)
        return image.height, image.width

    def box(self, box: np.ndarray | Sequence[float], height: int, width: int) -> np.ndarray:
        """A box of an image of this size in the pixels of its picture, float32 [4].

        It is clipped at the picture's border; NaN if it is NaN or nothing of it is left.

        Args:
            box: x0, y0, x1, y1 in pixels of the image, half-open.
        """
        edges, image = np.asarray(box, np.float64).reshape(2, 2), Image.new("L", (width, height))
        for kind, apply in self.steps:
            before = image.size
            image = apply(image)
            if kind == "resize":
                edges = edges * np.array(image.size) / before
            elif kind == "crop":
                edges = edges - [_cut(*lengths) for lengths in zip(before, image.size)]
        (x0, y0), (x1, y1) = np.clip(edges, 0, image.size)
        # NaN compares false, so a missing box stays missing.
        return np.array([x0, y0, x1, y1] if x0 < x1 and y0 < y1 else [np.nan] * 4, np.float32)


def _cut(before: int, after: int) -> int:
    """How many pixels torchvision's central crop leaves out on the left or on top; negative where it adds some."""
    return round((before - after) / 2) if before >= after else -((after - before) // 2)


@dataclass(frozen=True)
class Parts:
    """`preprocess`, taken apart.

    Attributes:
        geometry: what happens to the picture; None = it is taken as it is.
        mean, std: of the normalisation, one number for each channel; None = the values stay.
        function: a function of the user's own on float [B, 3, H, W] in 0..1, in place of all that; or None.
    """

    geometry: Geometry | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    function: Callable[[Any], Any] | None = None


def parts(preprocess: object) -> Parts:
    """Take `preprocess` apart; see ALLOWED.

    Raises:
        TypeError: it is nothing of this, or `weights.transforms` was not called.
        ValueError: a Compose has a step that can't be applied to a picture or to values.
    """
    if isinstance(preprocess, functools.partial) and _name(preprocess.func) == "ImageClassification":
        raise TypeError("preprocess is weights.transforms; it should be weights.transforms(), with parentheses")
    if not callable(preprocess) or isinstance(preprocess, type):
        raise TypeError(f"preprocess is {shown(preprocess)}; it should be {ALLOWED}")
    kind = _name(type(preprocess))
    if kind == "ImageClassification":
        return _of_a_preset(preprocess)
    if kind == "Normalize":
        return Parts(None, *_mean_and_std(preprocess))
    if kind == "Compose":
        return _of_a_compose(list(preprocess.transforms))  # type: ignore[attr-defined]  # it is torchvision's
    return Parts(function=preprocess)


def _name(kind: Any) -> str:
    """The name of one of torchvision's or timm's classes; "" for any other."""
    place = getattr(kind, "__module__", "")
    return getattr(kind, "__name__", "") if str(place).startswith(("torchvision.transforms", "timm.data")) else ""


def _of_a_preset(preset: Any) -> Parts:
    from torchvision.transforms import functional  # loaded already, as the preset is its own

    resize = functools.partial(
        functional.resize, size=preset.resize_size, interpolation=preset.interpolation, antialias=preset.antialias
    )
    crop = functools.partial(functional.center_crop, output_size=preset.crop_size)
    mean, std = _mean_and_std(preset)
    return Parts(Geometry((Step("resize", resize), Step("crop", crop))), mean, std)


def _of_a_compose(steps: list[Any]) -> Parts:
    kinds = {"Resize": "resize", "CenterCrop": "crop"}
    geometry: list[Step] = []
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scaled = True
    for step in steps:
        name = _name(type(step))
        if name in INTEGERS:
            scaled = False
        elif getattr(getattr(step, "dtype", None), "is_floating_point", hasattr(step, "dtype")):  # or a dict of them
            scaled = True
        if name in kinds and mean is None:
            geometry.append(Step(kinds[name], step))
        elif name == "Normalize" and mean is None:
            mean, std = _mean_and_std(step)
        elif name not in CONVERSIONS or not getattr(step, "scale", True):  # ToDtype without scale leaves 0..255
            said = name or type(step).__name__
            raise ValueError(f"preprocess is a Compose with {said} where it can't be applied; it should be {ALLOWED}")
    if not scaled:
        raise ValueError(
            "preprocess is a Compose that leaves the values in 0..255; it should have ToDtype(torch.float32, "
            "scale=True) after the conversion to a tensor, as networks are given values in 0..1"
        )
    return Parts(Geometry(tuple(geometry)) if geometry else None, mean, std)


def _mean_and_std(normalize: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean = tuple(float(value) for value in normalize.mean)
        std = tuple(float(value) for value in normalize.std)
    except TypeError:  # a single number for all channels
        mean, std = (float(normalize.mean),) * 3, (float(normalize.std),) * 3
    if not all(map(math.isfinite, (*mean, *std))) or not all(std):
        raise ValueError(f"preprocess has mean {mean} and std {std}; allowed: finite numbers, and no std of 0")
    return mean, std
