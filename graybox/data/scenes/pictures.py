"""Generated pictures as an ImageSet: images with a known truth, to try things out."""

from __future__ import annotations

import numpy as np

from graybox import arguments
from graybox.data.images import ImageSet
from graybox.data.scenes.objects import OBJECTS
from graybox.data.scenes.world import World, draw


def draw_scenes(
    count: int,
    *,
    split: str = "train",
    classes: int = 10,
    image_size: int = 48,
    object_signal: float = 1.0,
    context_bias: float = 0.0,
    object_size: tuple[float, float] = (0.6, 0.85),
    seed: int = 0,
) -> ImageSet:
    """Draw pictures of everyday objects on backgrounds, with the objects' boxes; the same arguments, the same pictures.

    Args:
        count: how many pictures, at least 1; the classes take turns.
        split: any name; pictures of different names have nothing in common but their classes.
        classes: 2 to 10.
        image_size: height and width in pixels, 32 to 160.
        object_signal: probability (0..1) that the object is the label's own, else a random one.
        context_bias: probability (0..1) that the background is the label's own, else a random one.
        object_size: the object's longer side as a share of the picture's, from and to, within 0.05 to 1.
        seed: of the world; another seed, other pictures.

    Returns:
        Images uint8 [count, image_size, image_size, 3] with the objects' boxes in pixels, and the share of each object
        that something in front of it covers (above 0 in about 15% of the pictures).

    Raises:
        TypeError: `count` is no integer, or `split` no text.
        ValueError: an argument is not allowed.
    """
    count = arguments.integer("count", count, 1)
    arguments.instance("split", split, str, "text")
    world = World(
        image_size=image_size, classes=classes, object_signal=object_signal, context_bias=context_bias,
        object_size=object_size, seed=seed,
    )  # fmt: skip
    scenes = [draw(world, split, index, index % classes) for index in range(count)]
    names = OBJECTS[:classes]
    return ImageSet.from_arrays(
        np.stack([scene.image for scene in scenes]),
        np.arange(count) % classes,
        names,
        boxes=np.array([scene.box for scene in scenes], np.float32),
        files=[f"{split}/{names[index % classes]}/{index:05d}.png" for index in range(count)],
        covered=np.array([scene.covered for scene in scenes], np.float32),
    )
