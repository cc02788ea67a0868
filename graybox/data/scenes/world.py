"""The scenes' rules: what a picture shows, and which random stream decides what.

Every picture has its own random streams, one for each thing that varies, so a picture can be drawn again with
another object or another background and nothing else changed. No stream's draws depend on another's outcome, and
what is drawn about an object's pose and look does not depend on which object it is.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum
from numbers import Integral, Real
from typing import Any

import numpy as np

from graybox.arguments import shown
from graybox.data.scenes.backgrounds import BACKGROUNDS, GROUNDS, plain
from graybox.data.scenes.objects import OBJECTS, PAINTERS, blob
from graybox.data.scenes.render import (
    box_of,
    draw_light,
    draw_look,
    draw_occluder,
    draw_pose,
    expose,
    lay,
    paint_ground,
    paint_thing,
)

NEUTRAL = -1

Limits = dict[str, tuple[float, float]]  # what World allows: from, to
_WHOLE: Limits = {"image_size": (32, 160), "classes": (2, len(OBJECTS)), "seed": (0, 2**63 - 1)}
_REAL: Limits = {"object_signal": (0, 1), "context_bias": (0, 1), "rotation": (0, 180), "hidden": (0, 1)}
_RANGES: Limits = {
    "object_size": (0.05, 1),
    "contrast": (0, 1),
    "clutter": (0, 50),
    "hidden_share": (0, 1),
    "noise": (0, 1),
}


@dataclass(frozen=True)
class World:
    """What the pictures of a data set have in common. A range is (least, greatest); a list will do for it.

    Raises ValueError, in one sentence, for a value that is not allowed.
    """

    image_size: int = 48
    """Width and height in pixels, 32 to 160. Lengths below are relative, so it changes the sharpness only."""
    classes: int = 10
    """How many classes there are, 2 to 10: the first so many of OBJECTS."""
    object_signal: float = 1.0
    """Probability that the object is the label's own; else any of the classes', the label's own among them."""
    context_bias: float = 0.0
    """Probability that the background is the label's own; else any of the classes', likewise."""
    seed: int = 0
    """Another seed, other pictures; 0 or more."""
    object_size: tuple[float, float] = (0.5, 0.75)
    """The object's longer side, as a fraction of the picture's; within 0.05 to 1."""
    rotation: float = 25.0
    """The object is turned by up to so many degrees either way, 0 to 180."""
    contrast: tuple[float, float] = (1.0, 1.0)
    """How much of the object's difference from what is behind it is kept: 1 all, 0 none (it cannot be seen).
    Below 1 the background shines through, and then another background changes the object's pixels too."""
    clutter: tuple[int, int] = (0, 4)
    """How many small shapes lie about, behind the object; within 0 to 50."""
    hidden: float = 0.15
    """Probability that something stands in front of the object."""
    hidden_share: tuple[float, float] = (0.05, 0.15)
    """About how large that thing is, as a share of the square around the object; within 0 to 1."""
    noise: tuple[float, float] = (0.01, 0.04)
    """Standard deviation of the sensor's noise, as a fraction of full brightness; within 0 to 1."""

    def __post_init__(self) -> None:
        for key, (low, high) in _WHOLE.items():
            _check(key, getattr(self, key), low, high, Integral)
        for key, (low, high) in _REAL.items():
            _check(key, getattr(self, key), low, high, Real)
        for key, (low, high) in _RANGES.items():
            pair = _checked_pair(key, getattr(self, key), low, high, Integral if key == "clutter" else Real)
            object.__setattr__(self, key, pair)


@dataclass(frozen=True)
class Scene:
    """One picture, and the truth about it."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels, half-open: tight around every pixel that the object touches, as if nothing stood
    in front of it, and without its shadow. Inside the image."""
    object: int
    """Index into OBJECTS, or NEUTRAL."""
    background: int
    """Index into BACKGROUNDS, or NEUTRAL."""
    covered: float
    """How much of the object's own pixels the thing in front of it covers, 0..1; its shadow does not count. 0 if there
    is no such thing, or none of it lies over the object."""
    uncovered: np.ndarray
    """uint8 [H, W, 3]: the same picture without the thing in front; `image` itself if there is none."""


class Stream(IntEnum):
    """What varies from picture to picture, each by a random stream of its own."""

    CHOICE = 0
    POSE = 1
    LOOK = 2
    GROUND = 3
    CLUTTER = 4
    OCCLUDER = 5
    LIGHT = 6
    NOISE = 7


def draw(
    world: World,
    split: str,
    index: int,
    label: int,
    *,
    object: int | None = None,
    background: int | None = None,
) -> Scene:
    """Draw picture `index` of a split, for a label in 0..classes-1.

    `object` and `background` are None for what the world's knobs and this picture's own stream choose. If given,
    the picture is the same but for that object (an index into OBJECTS, or NEUTRAL for a blob without identity) or
    that background (an index into BACKGROUNDS, or NEUTRAL for a plain smooth ground):

    - with another object, no pixel changes but those under either object and their shadows, which reach no
      farther beyond an object's box than a third of its size;
    - with another background, no pixel changes that the object fills; nor do the light and the noise.

    Same arguments, same bytes. A split is any name; different names share no picture. The label decides nothing
    but the choice of object and background, so give each picture an index of its own. Worlds that differ only in
    their probabilities show the same things in the same places, and so can be compared picture by picture.

    Raises ValueError for a label, object, background or index out of range.
    """
    _check("label", label, 0, world.classes - 1, Integral)
    _check("index", index, 0, 2**63 - 1, Integral)
    shown, ground = _choose(world, _stream(world, split, index, Stream.CHOICE), label)
    if object is not None:
        _check("object", object, NEUTRAL, len(OBJECTS) - 1, Integral)
        shown = int(object)
    if background is not None:
        _check("background", background, NEUTRAL, len(BACKGROUNDS) - 1, Integral)
        ground = int(background)

    rng = {stream: _stream(world, split, index, stream) for stream in Stream}
    light = draw_light(rng[Stream.LIGHT])
    pose = draw_pose(rng[Stream.POSE], world.object_size, world.rotation)
    opacity = rng[Stream.POSE].uniform(*world.contrast)
    look = draw_look(rng[Stream.LOOK])

    size = world.image_size
    paint_background = plain if ground == NEUTRAL else GROUNDS[ground]
    picture = paint_ground(paint_background, size, rng[Stream.GROUND], world.clutter, rng[Stream.CLUTTER], light)
    thing = paint_thing(blob if shown == NEUTRAL else PAINTERS[shown], size, pose, look, light)
    picture = lay(picture, thing, pose, light, opacity)
    uncovered = image = expose(picture, light, world.noise, rng[Stream.NOISE])
    covered = 0.0
    if rng[Stream.OCCLUDER].random() < world.hidden:
        front_pose, front = draw_occluder(rng[Stream.OCCLUDER], pose, world.hidden_share, size, light)
        picture = lay(picture, front, front_pose, light)
        # The same noise in both pictures: they differ in the thing and its shadow alone.
        image = expose(picture, light, world.noise, _stream(world, split, index, Stream.NOISE))
        covered = float((thing.cover * front.cover).sum() / max(thing.cover.sum(), 1e-6))
    return Scene(image, box_of(thing.cover), shown, ground, covered, uncovered)


def _choose(world: World, rng: np.random.Generator, label: int) -> tuple[int, int]:
    """The object and the background that the knobs and chance give a label."""
    # All four are always drawn, so that one knob does not move what the other one chooses.
    object_chance, background_chance = rng.random(2)
    any_object, any_background = rng.integers(world.classes, size=2)
    shown = label if object_chance < world.object_signal else int(any_object)
    ground = label if background_chance < world.context_bias else int(any_background)
    return int(shown), int(ground)


def _stream(world: World, split: str, index: int, stream: Stream) -> np.random.Generator:
    # The seed is the entropy, the rest the key: neither can be mistaken for a part of the other.
    key = (zlib.crc32(split.encode()), int(index), int(stream))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(world.seed), spawn_key=key)))


def _check(key: str, value: Any, low: float, high: float, kind: Any) -> None:
    """Raise ValueError unless the value is of the kind (Integral or Real) and within low..high."""
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        number = "a whole number" if kind is Integral else "a number"
        raise ValueError(f"{key} is {shown(value)}, but must be {number} from {low} to {high}.")


def _checked_pair(key: str, value: Any, low: float, high: float, kind: Any) -> tuple[Any, Any]:
    """The value as a tuple (least, greatest), or ValueError."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{key} is {shown(value)}, but must be a pair: [least, greatest].")
    for end in value:
        _check(key, end, low, high, kind)
    if value[0] > value[1]:
        raise ValueError(f"{key} is {list(value)!r}, but the first number must not be greater than the second.")
    return value[0], value[1]
