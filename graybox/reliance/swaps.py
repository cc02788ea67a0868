"""The network's answers to objects in front of other images' backgrounds: nothing in these pictures is gray.

The object box's content, with soft edges, stays at its place and size, and comes in front of another image of the same
class or of another class, whose own box is filled from what surrounds it (Xiao et al. 2021, "Noise or signal: the role
of image backgrounds in object recognition", their Mixed-Same and Mixed-Rand). They cut objects out along their outline;
here a box is all that is known, so a little of the object's own background comes along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from graybox.data.images import ImageSet
from graybox.reliance.interventions import ask, box_mask, some_boxed
from graybox.reliance.validated import VALIDATED_SIZES, Sizes, object_sizes
from graybox.statistics.scores import constant_accuracy

if TYPE_CHECKING:  # PyTorch takes a second to load, and who only reads the results needs none
    from torch import nn

    from graybox.network.inference import Options

KINDS = ("as_is", "same", "other", "blend", "removed")
"""What is shown: the image; its object before a background of its class, of another class, and before the mean of
several classes' backgrounds; the image with its object box filled from what surrounds it."""
BLENDED = 8
"""So many classes' backgrounds are in a blend, if there are so many classes."""
REACH = 3
"""How far around a pixel the filling looks, in pixels."""
SOFT = 1 / 24
"""How wide the soft edge inside the box is, as a share of the image's side."""


@dataclass(frozen=True)
class Swaps:
    """Class probabilities of N images with other backgrounds.

    Attributes:
        rows: int64 [N], the rows of these images in the ImageSet. `labels`: int64 [N], their true classes.
        others: int64 [N], the class of the background in `other`; never the image's own.
        object_size: float64 [N], the longer side of the object's box as a share of the picture's side.
        as_is, same, other, blend, removed: float32 [N, classes], 0..1; see KINDS.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    others: NDArray[np.int64]
    object_size: NDArray[np.float64]
    as_is: NDArray[np.float32]
    same: NDArray[np.float32]
    other: NDArray[np.float32]
    blend: NDArray[np.float32]
    removed: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def chance(self) -> float:
        """The accuracy of the best constant answer: the most frequent class's share of the images."""
        return constant_accuracy(self.labels)

    def correct(self) -> dict[str, NDArray[np.bool_]]:
        """Whether the answer is the object's class, bool [N], for each of KINDS."""
        return {name: getattr(self, name).argmax(axis=1) == self.labels for name in KINDS}

    def follows(self) -> NDArray[np.bool_]:
        """Whether the answer to `other` is the background's class, bool [N]."""
        found: NDArray[np.bool_] = self.other.argmax(axis=1) == self.others
        return found


def swap(
    model: nn.Module,
    images: ImageSet,
    most: int,
    *,
    sizes: Sizes | None = VALIDATED_SIZES,
    seed: int = 0,
    **options: Unpack[Options],
) -> Swaps:
    """Ask about at most `most` images, evenly spread, of those with a box that leaves some context.

    Images are left out whose class has no other such image. If there are fewer than two classes, none is left.

    Args:
        model: takes float [B, 3, H, W] in 0..1 and gives class scores; computed on its own device.
        sizes: of the objects, as for `graybox.reliance.interventions.some_boxed`.
        seed: of the choice of backgrounds, which come from these images too.
        options: batch_size and precision, as for `graybox.network.inference.class_scores`.
    """
    rows = some_boxed(images, most, sizes)
    counts = np.bincount(images.labels[rows], minlength=len(images.class_names))
    rows = rows[counts[images.labels[rows]] > 1]
    labels = np.array(images.labels[rows], np.int64)
    if len(np.unique(labels)) < 2:
        rows, labels = rows[:0], labels[:0]
    partners = Partners.drawn(labels, seed)
    answers = ask(model, images, len(rows), _pictures(images, rows, partners), len(KINDS), **options)
    by_kind = {name: answers[:, place] for place, name in enumerate(KINDS)}
    sizes_asked = object_sizes(images.boxes[rows], *images.images.shape[1:3])
    return Swaps(rows, labels, labels[partners.other], sizes_asked, **by_kind)


@dataclass(frozen=True)
class Partners:
    """Whose background each image gets, as places among N images.

    Attributes:
        same: int64 [N], another image of the same class. `other`: int64 [N], an image of another class, the classes
            equally likely.
        blend: int64 [N, up to BLENDED], images of different classes, drawn without regard to the image's own class.
    """

    same: NDArray[np.int64]
    other: NDArray[np.int64]
    blend: NDArray[np.int64]

    @classmethod
    def drawn(cls, labels: NDArray[np.int64], seed: int) -> Partners:
        """For each of N images; each class that occurs has at least two, and there are at least two classes, or none.

        Args:
            labels: int64 [N].
        """
        random, classes = np.random.default_rng(seed), np.unique(labels)
        members = {label: np.flatnonzero(labels == label) for label in classes}
        same, other, blend = [], [], []
        for place, label in enumerate(labels):
            same.append(random.choice(members[label][members[label] != place]))
            other.append(random.choice(members[random.choice(classes[classes != label])]))
            some = random.permutation(classes)[:BLENDED]
            blend.append([random.choice(members[each][members[each] != place]) for each in some])
        count = min(BLENDED, len(classes))
        return cls(
            np.array(same, np.int64), np.array(other, np.int64), np.array(blend, np.int64).reshape(len(labels), count)
        )


def filled(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with the masked part filled from what surrounds it (Telea 2004, by OpenCV): uint8 [H, W, 3]."""
    import cv2  # only this needs it

    return np.asarray(cv2.inpaint(image, mask.astype(np.uint8), REACH, cv2.INPAINT_TELEA), np.uint8)


def softness(box: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """How much of the object's picture shows, float32 [H, W, 1]: 0 outside the box, 1 inside, rising at its edge.

    The rise lies inside the box, so that nothing from outside comes along; not where the box ends with the image.
    """
    mask = box_mask(box, height, width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    wide = max(1.0, SOFT * min(height, width))
    sides = []
    for inside, length in ((rows, height), (columns, width)):
        places = np.arange(length)
        below = places - inside[0] + 1.0 if inside[0] > 0 else np.full(length, np.inf)
        above = inside[-1] - places + 1.0 if inside[-1] < length - 1 else np.full(length, np.inf)
        sides.append(np.minimum(below, above))
    distance = np.minimum(sides[0][:, None], sides[1][None])
    rising: NDArray[np.float32] = np.where(mask, np.clip(distance / (wide + 1), 0, 1), 0).astype(np.float32)
    return rising[..., None]


def _pictures(images: ImageSet, rows: NDArray[np.int64], partners: Partners) -> Callable[[int], NDArray[np.uint8]]:
    """What gives the pictures of the image at a place among the rows: uint8 [5, H, W, 3], in the order of KINDS."""
    height, width = images.images.shape[1:3]
    emptied = np.empty((len(rows), height, width, 3), np.uint8)
    for place, row in enumerate(rows):
        emptied[place] = filled(np.array(images.images[row]), box_mask(images.boxes[row], height, width))

    def pictures_of(place: int) -> NDArray[np.uint8]:
        image = np.array(images.images[rows[place]])
        shows = softness(images.boxes[rows[place]], height, width)
        backgrounds = (
            emptied[partners.same[place]],
            emptied[partners.other[place]],
            emptied[partners.blend[place]].mean(axis=0),
        )
        put = [np.rint(shows * image + (1 - shows) * each).astype(np.uint8) for each in backgrounds]
        return np.stack([image, *put, emptied[place]])

    return pictures_of
