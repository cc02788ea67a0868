"""The generated `scenes` as a source: nothing is downloaded, pictures are drawn when they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graybox.data.params import ScenesParams
from graybox.data.scenes import OBJECTS, Scene, World, draw
from graybox.data.sources.catalogue import Catalogue


@dataclass(frozen=True)
class Drawings:
    """A catalogue's `load`: draws picture `index` of a split anew each time, with the same outcome."""

    world: World
    pictures: list[tuple[str, int, int]]  # split, index within the split, label

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        scene = _drawn(self.world, *self.pictures[index])
        return Image.fromarray(scene.image), np.array(scene.box, np.float32)

    def uncover(self, index: int) -> tuple[float, Image.Image]:
        """A catalogue's `uncover`: how much of picture `index`'s object is covered, and the picture without that."""
        scene = _drawn(self.world, *self.pictures[index])
        return scene.covered, Image.fromarray(scene.uncovered)


@lru_cache(maxsize=1)  # a picture is asked for twice in a row: as it is, and without what is in front
def _drawn(world: World, split: str, index: int, label: int) -> Scene:
    return draw(world, split, index, label)


def made(world: World) -> str:
    """How a world's pictures are made, in sentences."""
    least, greatest = world.clutter
    return (
        f"The pictures are generated. Each shows {_whose(world.object_signal, 'an object')} and "
        f"{_whose(world.context_bias, 'a background')}. {least} to {greatest} small shapes lie behind the object. "
        f"Something stands in front of {world.hidden:.0%} of the objects and covers a part of them."
    )


def _whose(probability: float, what: str) -> str:
    """How often a part is that of the picture's class."""
    if probability == 1:
        return f"{what} of its class"
    if not probability:
        return f"{what} that says nothing of its class"
    return f"{what} (of its class with probability {probability:g}, else of a random one)"


def download(options: ScenesParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Nothing to bring; the facts to remember are the options themselves."""
    return options.model_dump()


def open(options: ScenesParams, raw: Path, seed: int) -> Catalogue:
    """The pictures of the world that `options` and `seed` describe.

    Each is named split/class/index.png, and `draw(world, split, index, label)` draws it again. The classes
    take turns, so that asking for more pictures leaves the first ones as they were.
    """
    world = World(**options.model_dump(exclude={"train_per_class", "test_per_class"}), seed=seed)
    names = list(OBJECTS[: options.classes])
    pictures = [
        (split, index, index % options.classes)
        for split, per_class in (("train", options.train_per_class), ("test", options.test_per_class))
        for index in range(per_class * options.classes)
    ]
    drawings = Drawings(world, pictures)
    return Catalogue(
        class_names=names,
        class_keys=names,
        files=[f"{split}/{names[label]}/{index:05d}.png" for split, index, label in pictures],
        labels=np.array([label for _, _, label in pictures], np.int64),
        splits=[split for split, _, _ in pictures],
        load=drawings,
        uncover=drawings.uncover,
        made=made(world),
    )
