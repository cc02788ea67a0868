"""How faithful a map is: deletion and insertion curves (Petsiuk et al. 2018, "RISE", section 4.3, arXiv:1806.07421).

Deletion replaces the image's pixels by another picture, those first that the map calls most important: if the map is
right, the true class's probability falls fast. Insertion begins with the other picture and brings the image's pixels
back in the same order: the probability should rise fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graybox.occlusion.confidence import OcclusionMap

if TYPE_CHECKING:  # PyTorch takes a second to load, and who only reads the curves needs none
    from torch import nn

STEPS = 16


@dataclass(frozen=True)
class Curves:
    """The true class's probability (0..1) while pixels are replaced, for one image and K orders of its pixels.

    Attributes:
        deletion: float64 [K, steps + 1], with the first 0, 1/steps, ... all pixels of the order replaced.
        insertion: float64 [K, steps + 1], with the first 0, 1/steps, ... all pixels of the order shown.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    @property
    def faithfulness(self) -> NDArray[np.float64]:
        """float64 [K], -1..1: the area under insertion minus the area under deletion. About 0 for a random order."""
        return area(self.insertion) - area(self.deletion)


def area(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under curves [..., steps + 1] over the share of pixels (trapezoid rule): 0..1 for probabilities."""
    means: NDArray[np.float64] = (curve[..., 1:] + curve[..., :-1]).mean(axis=-1) / 2
    return means


def by_drop(found: OcclusionMap, height: int, width: int, every: int = 1) -> NDArray[np.float64]:
    """A map's importance of each pixel, float64 [height, width]: the drop with the window centred there.

    Between the window centres it is interpolated linearly; beyond the outermost ones it stays as it is there.

    Args:
        every: take the drop at every so many pixels only, so that a map with more window centres is no finer than the
            others that it is compared with.
    """
    importance = _between(found.drop, found.rows, found.columns, height, width)
    if every == 1:
        return importance
    rows, columns = np.arange(0, height, every), np.arange(0, width, every)
    return _between(importance[np.ix_(rows, columns)], rows, columns, height, width)


def _between(
    values: NDArray[np.floating], rows: NDArray[np.integer], columns: NDArray[np.integer], height: int, width: int
) -> NDArray[np.float64]:
    """Values [rows, columns] at these pixels, interpolated linearly: float64 [height, width]."""
    down = np.array([np.interp(np.arange(height), rows, column) for column in values.T]).T
    return np.array([np.interp(np.arange(width), columns, row) for row in down])


def by_distance(height: int, width: int) -> NDArray[np.float64]:
    """Importance without a map, float64 [height, width]: the nearer to the image's centre, the more important."""
    y, x = np.ogrid[:height, :width]
    return -np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)


def at_random(height: int, width: int, seed: int) -> NDArray[np.float64]:
    """Importance by chance, float64 [height, width]."""
    return np.random.default_rng(seed).random((height, width))


def orders(importance: NDArray[np.floating]) -> NDArray[np.int64]:
    """The numbers of the pixels of maps [K, H, W], the most important first: int64 [K, H * W].

    Equally important ones come in an order by chance, the same for every map of a size; else a flat map would be read
    from the top.
    """
    flat = importance.reshape(len(importance), -1)
    chance = np.random.default_rng(0).permutation(flat.shape[1])
    return np.array([np.lexsort((chance, -values)) for values in flat])


def curves(
    model: nn.Module,
    image: NDArray[np.uint8],
    label: int,
    importance: NDArray[np.floating],
    other: NDArray[np.float32],
    steps: int = STEPS,
) -> Curves:
    """Delete and insert an image's pixels in the orders that maps of it give.

    Args:
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores.
        image: uint8 [H, W, 3]. `label`: the class whose probability is followed.
        importance: float [K, H, W], one map for each order.
        other: float32 [H, W, 3] in 0..1, what replaces the pixels (`graybox.fill_picture`). It should not be what the
            map's window showed: a map made with gray foretells best what gray does.
        steps: how many parts the pixels are replaced in.
    """
    from graybox.network.inference import probabilities

    height, width = image.shape[:2]
    others = np.rint(other * 255).astype(np.uint8)
    counts = np.rint(np.linspace(0, height * width, steps + 1)).astype(np.int64)
    rank = np.empty((len(importance), height * width), np.int64)
    np.put_along_axis(rank, orders(importance), np.arange(height * width)[None], axis=1)
    whole, none = probabilities(model, np.stack([image, others]))[:, label]  # the ends are the same for all orders
    deletion, insertion = np.empty((2, len(importance), steps + 1))
    deletion[:, 0] = insertion[:, -1] = whole
    deletion[:, -1] = insertion[:, 0] = none
    for number, own in enumerate(rank if steps > 1 else ()):  # all orders at once would fill the memory
        first = (own < counts[1:-1, None]).reshape(-1, height, width, 1)  # the first pixels at each step
        pictures = np.concatenate([np.where(first, others, image), np.where(first, image, others)])
        answers = probabilities(model, pictures)[:, label].reshape(2, -1)
        deletion[number, 1:-1], insertion[number, 1:-1] = answers
    return Curves(deletion, insertion)
