"""Correspondence: does hiding the same part of an object change a network's features in the same way in every image?

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.3, figure 8 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from graybox.data.images import ImageSet
from graybox.features.consistency import EXCHANGED, OWN, RANDOM, distances, reading, summarize
from graybox.network.classifier import Classifier
from graybox.occlusion.fills import Fill, fill_picture

# Parts of the object box, each a third of its width and height: small like the paper's eyes and noses, all of one size,
# and none chosen by hand. The numbers are the vertical and horizontal place in the box: 0 = top or left, 1 = bottom or
# right.
PARTS = {
    "top left": (0, 0), "top": (0, 0.5), "top right": (0, 1),
    "left": (0.5, 0), "centre": (0.5, 0.5), "right": (0.5, 1),
    "bottom left": (1, 0), "bottom": (1, 0.5), "bottom right": (1, 1),
}  # fmt: skip
ROUNDING = 1e-5  # of a layer's largest feature: a smaller change counts as none
LEAST_IMAGES = 5  # of a class, as in the paper
LEAST_SIDE = 3  # pixels of a box, so that a third of it is at least one pixel
LAST_CONV, LAST_MAPS = "last conv layer", "last conv layer's map totals"
LAST_FC, SCORES = "last hidden fc layer", "class scores"
WITHOUT_MAPS = (
    "Correspondence is not measured: this network has no last maps whose places belong to places of the image."
)

# The network is Any, as each such function accepts its own kind.
Features = Callable[[Any, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Correspondence:
    """How consistently hiding the same part changes the features, compared with hiding random parts.

    Attributes:
        measures: a row per class, boxes ("own" or "exchanged"), region, draw and layer. Region is one of PARTS, with
            draw 0, or "random". Distances are mean normalised Hamming distances over the pairs of images, 0 (always
            the same change) to 1: `distance` over all features, as in the paper, and `distance_of_changed` over those
            that change in at least one image of the pair. `changed` is the mean share of features that change, 0..1.
        summary: means over the classes and their intervals, as `graybox.features.consistency.summarize` gives them.
        sentence: what the figures show, in words.
    """

    measures: pd.DataFrame
    summary: pd.DataFrame
    sentence: str


@torch.inference_mode()
def layer_features(model: Classifier, pixels: Tensor) -> dict[str, Tensor]:
    """The features that are compared, by layer, float [B, features], on the CPU.

    The paper's layers 5 and 7 are the last conv layer (after pooling and ReLU) and the last hidden fully connected
    one (after ReLU). A network without a hidden one gives its class scores. The features of the last conv layer also
    depend on where in the image something changes; the total of each map does not, and only shows which maps change.

    Args:
        model: in evaluation mode, and with maps.
        pixels: float [B, 3, H, W] in 0..1.
    """
    maps = model.last_maps(pixels.to(model.mean.device))
    called: list[tuple[nn.Module, Tensor]] = []  # the fully connected layers of the head, and what enters them

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        called.append((layer, inputs[0]))

    hooks = [layer.register_forward_pre_hook(note) for layer in model.modules() if isinstance(layer, nn.Linear)]
    try:
        scores = model.head(maps)  # type: ignore[operator]  # a method or a module
    finally:
        for hook in hooks:
            hook.remove()
    hidden = len(called) > 1 and called[-1][1].ndim == 2
    name, last = (LAST_FC, called[-1][1]) if hidden else (SCORES, scores)
    layers = {LAST_CONV: maps.flatten(1), LAST_MAPS: maps.sum((2, 3)), name: last}
    return {name: values.float().cpu() for name, values in layers.items()}


def measure(
    model: nn.Module,
    images: ImageSet,
    predicted: np.ndarray,
    *,
    images_per_class: int = 20,
    random_draws: int = 10,
    fill: Fill = "gray",
    gray: float = 0.5,
    seed: int = 0,
    features: Features = layer_features,
) -> Correspondence:
    """Hide the same part of the object in several images of a class and compare how the features change.

    For image i the change is eps_i = x_i - x~_i, the features of the original minus those of the occluded image. The
    paper's Delta is the sum of H(sign(eps_i), sign(eps_j)) over all pairs i != j of a class's images, with H the
    Hamming distance. Here it is the mean of H divided by the number of features. A low value means that hiding this
    part has the same effect in each image. The comparison is with regions of the same size at random places of the
    same objects ("random parts of the object").

    Two effects lower Delta without correspondence, and on small networks they are most of it:

    - Most features are 0 before and after (ReLU), so most signs agree because nothing changed, and an unimportant part
      gets a low Delta. So `distance_of_changed` counts only the features that change in at least one image of the pair.
    - A conv layer's features belong to places, and the same part of a box is at about the same place in each image.
      There even an untrained network's features change together. So everything is measured again with the boxes
      exchanged between the class's images: the same places, but other parts of the objects. The effect with exchanged
      boxes is not correspondence. If all objects have the same box, it equals the whole effect.

    One caveat remains: random regions hit important and unimportant places, so any fixed part is somewhat more
    consistent than they are. Compare the parts with each other, too.

    Args:
        model: in evaluation mode.
        images: the test split, N images. `predicted`: int [N], the network's answers.
        images_per_class: how many images of each class at most, drawn from the correctly classified ones whose object
            box lies in the image and is at least 3 pixels wide and high. A class with fewer than 5 (or than this) is
            left out.
        random_draws: random regions for each image.
        fill: what hides a region, as for `graybox.occlusion.fills.fill_picture`. `gray`: the gray level, 0..1.
        seed: of the images drawn and of the random regions.
        features: gives the features to compare, by layer.
    """
    columns = ["class", "boxes", "region", "draw", "layer", "distance", "distance_of_changed", "changed"]
    if features is layer_features and isinstance(model, Classifier) and not model.has_maps:
        none = pd.DataFrame(columns=columns)
        return Correspondence(none, summarize(none), WITHOUT_MAPS)
    regions = [(part, 0) for part in PARTS] + [(RANDOM, draw) for draw in range(random_draws)]
    usable, rows = correct_with_box(images, predicted), []
    for label in np.unique(images.labels[usable]):
        own = usable[images.labels[usable] == label]
        if len(own) < min(LEAST_IMAGES, images_per_class):
            continue
        rng = np.random.default_rng((seed, int(label)))  # each class's own, so that no class changes another's draw
        chosen = rng.choice(own, min(images_per_class, len(own)), replace=False)
        places = np.concatenate([np.tile(list(PARTS.values()), (len(chosen), 1, 1)),
                                 rng.random((len(chosen), random_draws, 2))], axis=1)  # fmt: skip
        for whose, boxes in ((OWN, images.boxes[chosen]), (EXCHANGED, images.boxes[np.roll(chosen, 1)])):
            signs = []
            for row, box, at in zip(chosen, boxes, places):
                hidden = _hidden(images.images[row], [part_box(box, *place) for place in at], fill, gray)
                signs.append(_change_signs(features(model, hidden)))
            for layer in signs[0]:
                for region, changes in zip(regions, np.stack([image[layer] for image in signs], axis=1)):
                    rows.append((images.class_names[label], whose, *region, layer, *distances(changes)))
    measures = pd.DataFrame(rows, columns=columns)
    summary = summarize(measures)
    return Correspondence(measures, summary, reading(summary) if rows else _why_not(images, images_per_class))


def correct_with_box(images: ImageSet, predicted: np.ndarray) -> np.ndarray:
    """Rows of the correctly classified images with a usable object box: large enough, and inside the image.

    If a box leaves the image, the thirds of its visible part are not the thirds of the object.
    """
    x0, y0, x1, y1 = images.boxes.T  # NaN without a box: every comparison is then false
    height, width = images.images.shape[1:3]
    inside = (x0 > -0.5) & (y0 > -0.5) & (x1 < width + 0.5) & (y1 < height + 0.5)
    large = (x1 - x0 >= LEAST_SIDE) & (y1 - y0 >= LEAST_SIDE)
    return np.flatnonzero(inside & large & (predicted == images.labels))


def part_box(box: np.ndarray, place_y: float, place_x: float) -> tuple[int, int, int, int]:
    """A region inside the object box, a third as wide and high; its size does not depend on its place.

    Args:
        box: x0, y0, x1, y1 in pixels, half-open.
        place_y, place_x: 0..1, where it lies in the box: 0 at the top or left, 1 at the bottom or right.

    Returns:
        x0, y0, x1, y1 in whole pixels, half-open.
    """
    x0, y0, x1, y1 = np.rint(box).astype(int)
    width, height = round((x1 - x0) / 3), round((y1 - y0) / 3)
    left, top = x0 + round(place_x * (x1 - x0 - width)), y0 + round(place_y * (y1 - y0 - height))
    return int(left), int(top), int(left + width), int(top + height)


def _hidden(image: np.ndarray, boxes: list[tuple[int, int, int, int]], fill: Fill, gray: float) -> Tensor:
    """The image as it is, then with each region hidden: float [1 + regions, 3, H, W] in 0..1."""
    shown = fill_picture(image, fill, gray)
    pictures = np.repeat(image[None].astype(np.float32) / 255, 1 + len(boxes), axis=0)
    for picture, (x0, y0, x1, y1) in zip(pictures[1:], boxes):
        picture[y0:y1, x0:x1] = shown[y0:y1, x0:x1]
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _change_signs(layers: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Signs of original minus occluded, int8 [regions, features] by layer; row 0 of each layer is the original."""
    signs = {}
    for layer, values in layers.items():
        change = values[:1] - values[1:]
        # A feature that sees no hidden pixel may still differ in its last bits, as the order of summation varies.
        change[change.abs() <= ROUNDING * values.abs().max()] = 0
        signs[layer] = change.sign().to(torch.int8).numpy()
    return signs


def _why_not(images: ImageSet, images_per_class: int) -> str:
    if not images.has_box.any():
        return "Correspondence cannot be measured without object boxes: none of the test images has one."
    least = min(LEAST_IMAGES, images_per_class)
    return (
        f"Correspondence cannot be measured: no class has {least} correctly classified test images "
        f"with an object box that lies in the image and is at least {LEAST_SIDE} pixels wide and high."
    )
