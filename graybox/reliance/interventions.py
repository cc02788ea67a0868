"""The network's answers to images with the object, or the context, hidden.

A window shows where the network looks, but not what it would do without that place: the same evidence may be in
another place too. So hide the whole object box, then the whole context (everything outside the box), as Xiao et al.
2021 remove foreground and background ("Noise or signal: the role of image backgrounds in object recognition"). Gray
areas are also new to the network, so an equal area of context is hidden as a control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from graybox import arguments
from graybox.data.images import ImageSet, spread
from graybox.occlusion.fills import FILLS, Fill, fill_picture
from graybox.reliance.validated import VALIDATED_SIZES, Sizes, judged, object_sizes
from graybox.statistics.scores import constant_accuracy

if TYPE_CHECKING:  # PyTorch takes a second to load, and who only reads the results needs none
    from torch import nn

    from graybox.network.inference import Options, Views

NAMES = ("as_is", "box_hidden", "context_hidden", "control")
"""The interventions; "as_is" hides nothing."""
SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True)
class Interventions:
    """Class probabilities of N images under each intervention.

    Attributes:
        rows: int64 [N], the rows of these images in the ImageSet: those with a box that leaves some context.
        labels: int64 [N], their true classes.
        as_is, box_hidden, context_hidden: float32 [N, classes], 0..1: of the image as it is, with the object box
            hidden, with everything but the box hidden.
        control: float32 [N, 4, classes], with as many pixels of the context hidden as the box has: those nearest to
            the top, bottom, left and right.
        box_share: float64 [N], the box's share of the image's pixels.
        equal_area: bool [N], False where the context has fewer pixels than the box: the control then hides all of it,
            as `context_hidden` does.
        object_size: float64 [N], the longer side of the object's box as a share of the picture's side.
        left_out: how many images have no box, or a box that covers no pixel or all of them.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    as_is: NDArray[np.float32]
    box_hidden: NDArray[np.float32]
    context_hidden: NDArray[np.float32]
    control: NDArray[np.float32]
    box_share: NDArray[np.float64]
    equal_area: NDArray[np.bool_]
    object_size: NDArray[np.float64]
    left_out: int

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, some: NDArray[np.bool_]) -> Interventions:
        """The same of some of the images, bool [N]."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: of[some] for name, of in own.items() if isinstance(of, np.ndarray)}
        return replace(self, **chosen)

    @property
    def classes(self) -> int:
        return int(self.as_is.shape[1])

    @property
    def chance(self) -> float:
        """The accuracy of the best constant answer: the most frequent class's share of the images."""
        return constant_accuracy(self.labels)

    def true_probabilities(self) -> dict[str, NDArray[np.float64]]:
        """The true class's probability under each of NAMES, float64 [N]; for the control the mean over its sides."""
        return {name: _over_sides(np.take_along_axis(p, label, -1)[..., 0]) for name, p, label in self._with_labels()}

    def baselines(self) -> dict[str, NDArray[np.float64]]:
        """The mean probability that images of other classes give the image's class under each of NAMES: float64 [N].

        With parts hidden many networks give one and the same class to every image; this baseline corrects for that. If
        all images are of one class, it is 1 / classes.
        """
        own = np.eye(self.classes)[self.labels]  # [N, classes]
        others = (1 - own).sum(axis=0)
        found = {}
        for name in NAMES:
            mean = getattr(self, name).reshape(len(self), -1, self.classes).mean(axis=1) if len(self) else own
            given = ((1 - own) * mean).sum(axis=0) / np.maximum(others, 1)
            found[name] = np.where(others > 0, given, 1 / self.classes)[self.labels]
        return found

    def correct(self) -> dict[str, NDArray[np.float64]]:
        """Whether the answer is right, float64 [N] of 0 and 1; for the control the share of its sides."""
        return {name: _over_sides(p.argmax(-1) == label[..., 0]) for name, p, label in self._with_labels()}

    def _with_labels(self) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.int64]]]:
        for name in NAMES:
            probabilities: NDArray[np.float32] = getattr(self, name)
            yield name, probabilities, self.labels.reshape(-1, *[1] * (probabilities.ndim - 1))


def _over_sides(values: np.ndarray) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = values.mean(axis=tuple(range(1, values.ndim)), dtype=np.float64)
    return mean


def box_mask(box: np.ndarray, height: int, width: int) -> NDArray[np.bool_]:
    """bool [height, width]: the pixels that a box x0, y0, x1, y1 (half-open, in pixels) touches; none for NaN."""
    mask = np.zeros((height, width), dtype=bool)
    if not np.isnan(box).any():
        # Less than a thousandth of a pixel is a rounding error and does not touch the pixel.
        x0, y0 = (max(0, math.floor(value + 1e-3)) for value in box[:2])
        x1, y1 = (max(0, math.ceil(value - 1e-3)) for value in box[2:])
        mask[y0:y1, x0:x1] = True
    return mask


def context_masks(mask: NDArray[np.bool_], sides: Sequence[int] = range(len(SIDES))) -> NDArray[np.bool_]:
    """The context pixels nearest to each side, as many as the box has: bool [4, H, W], in the order of SIDES.

    They are whole rows (or columns) of the context, starting at the side. The last row gives only as many pixels as
    are needed, half from each end. If the context has fewer pixels than the box, all of it is taken.

    Args:
        mask: bool [H, W], the box's pixels. `sides`: places in SIDES; bool [sides, H, W] for them alone.
    """
    rows, columns = np.indices(mask.shape)
    height, width = mask.shape
    from_end = {"rows": np.minimum(rows, height - 1 - rows), "columns": np.minimum(columns, width - 1 - columns)}
    nearest = {
        "top": (rows, from_end["columns"]),
        "bottom": (height - 1 - rows, from_end["columns"]),
        "left": (columns, from_end["rows"]),
        "right": (width - 1 - columns, from_end["rows"]),
    }
    context = np.flatnonzero(~mask)
    found = np.zeros((len(sides), mask.size), dtype=bool)
    for number, side in enumerate(sides):
        first, second = (distance.ravel()[context] for distance in nearest[SIDES[side]])
        found[number, context[np.lexsort((second, first))[: mask.sum()]]] = True
    return found.reshape(len(sides), height, width)


def hide(image: NDArray[np.uint8], mask: NDArray[np.bool_], picture: np.ndarray) -> NDArray[np.uint8]:
    """The image, with another picture where the mask is set.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [..., H, W].
        picture: float [H, W, 3] in 0..1; rounded to 8 bits, as the image is.

    Returns:
        uint8 [..., H, W, 3].
    """
    return np.where(mask[..., None], np.rint(picture * 255).astype(np.uint8), image)


def intervene(
    model: nn.Module,
    images: ImageSet,
    *,
    fill: Fill = "gray",
    gray: float = 0.5,
    preprocess: object = None,
    **options: Unpack[Options],
) -> Interventions:
    """Hide the object box, everything else, and an equal area of context in every image that has a box.

    Args:
        model: takes float [B, 3, H, W] in 0..1 and gives class scores; computed on its own device.
        images: a split; its images may be memory-mapped.
        fill, gray: what the hidden part shows, as for `graybox.occlusion.fills.fill_picture`.
        preprocess: as for `graybox.probabilities`.
        options: batch_size and precision, as for `graybox.network.inference.class_scores`.

    Raises:
        TypeError: the model is no module or gives no class scores, images is no ImageSet, or gray is no number.
        ValueError: `fill`, `gray`, `preprocess` or an option is not allowed, a `CNN` can't take images of this size, or
            the model has another number of classes than the images.
    """
    from torch import nn

    arguments.instance("model", model, nn.Module, "a torch.nn.Module")
    arguments.instance("images", images, ImageSet)
    arguments.number("gray", gray, 0, 1)
    arguments.choice("fill", fill, FILLS)
    height, width = images.images.shape[1:3]
    rows, inside = _usable(images)
    # Seven pictures for each image: as it is, object hidden, context hidden, and the control's four.
    sides = range(len(SIDES))
    answers = ask(
        model, images, len(rows), lambda place: _pictures(images, rows[place], fill, gray, sides), 3 + len(SIDES),
        preprocess=preprocess, **options,
    )  # fmt: skip
    return Interventions(
        rows=rows,
        labels=np.array(images.labels[rows], np.int64),
        as_is=answers[:, 0],
        box_hidden=answers[:, 1],
        context_hidden=answers[:, 2],
        control=answers[:, 3:],
        box_share=inside / (height * width),
        equal_area=2 * inside <= height * width,
        object_size=object_sizes(images.boxes[rows], height, width),
        left_out=len(images) - len(rows),
    )


def some_boxed(images: ImageSet, most: int, sizes: Sizes | None = VALIDATED_SIZES) -> NDArray[np.int64]:
    """The rows of some images with a box that leaves some context, int64 [at most `most`], ascending.

    They are evenly spread, and each class has its share (`graybox.data.images.spread`).

    Args:
        sizes: of the objects (`graybox.reliance.validated.judged`): if too few have an allowed size, any will do.
    """
    rows = _usable(images)[0]
    rows = rows[judged(object_sizes(images.boxes[rows], *images.images.shape[1:3]), sizes)[0]]
    return rows[spread(images.labels[rows], most)] if most and len(rows) else rows[:0]


def hidden_answers(
    model: nn.Module,
    images: ImageSet,
    rows: NDArray[np.int64],
    fill: Fill = "gray",
    gray: float = 0.5,
    **views: Unpack[Views],
) -> NDArray[np.float32]:
    """Class probabilities of the images in these rows with a part hidden, float32 [3, rows, classes].

    In the order of NAMES, without the first. The same as `intervene`, but the control hides one side of each image: the
    sides take turns. It takes 3 pictures of an image and not 7.

    Args:
        rows: from `some_boxed`. `fill`, `gray`: as for `intervene`. `views`: as for `inference.probabilities`.
    """

    def hidden(place: int) -> NDArray[np.uint8]:
        return _pictures(images, rows[place], fill, gray, [place % len(SIDES)])[1:]

    return ask(model, images, len(rows), hidden, len(NAMES) - 1, **views).swapaxes(0, 1)


def ask(
    model: nn.Module,
    images: ImageSet,
    count: int,
    pictures_of: Callable[[int], NDArray[np.uint8]],
    each: int,
    most: int = 2**28,
    **options: Any,
) -> NDArray[np.float32]:
    """Class probabilities of pictures that are made from images: float32 [count, each, classes].

    Args:
        images: whose classes they are. `count`: how many images are asked about.
        pictures_of: gives the pictures of the image at a place, 0 to count - 1: uint8 [each, H, W, 3].
        most: bytes of pictures to hold at a time, about; they are of 256 images at most.
        options: as for `graybox.network.inference.probabilities`.

    Raises:
        ValueError: the model has another number of classes than the images.
    """
    from graybox.network import inference

    found = [np.zeros((0, len(images.class_names)), np.float32)]
    at_once = max(1, min(256, most // (each * images.images[0].nbytes))) if count else 1
    for start in range(0, count, at_once):
        pictures = np.concatenate([pictures_of(place) for place in range(start, min(count, start + at_once))])
        found.append(inference.probabilities(model, pictures, **options))
        if found[-1].shape[1] != len(images.class_names):
            raise ValueError(
                f"images has {len(images.class_names)} class_names; it should have one for each of this model's "
                f"{found[-1].shape[1]} classes"
            )
    return np.concatenate(found).reshape(count, each, len(images.class_names))


def _usable(images: ImageSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of the images with a box that leaves some context, and how many pixels their boxes touch."""
    height, width = images.images.shape[1:3]
    inside = np.array([box_mask(box, height, width).sum() for box in images.boxes], dtype=np.int64)
    rows = np.flatnonzero((inside > 0) & (inside < height * width))
    return rows, inside[rows]


def _pictures(images: ImageSet, row: int, fill: Fill, gray: float, sides: Sequence[int]) -> NDArray[np.uint8]:
    """An image as it is, with the object hidden, with the context hidden, and the control on some of SIDES.

    uint8 [3 + sides, H, W, 3]. `sides`: places in SIDES.
    """
    image = np.array(images.images[row])
    mask = box_mask(images.boxes[row], *image.shape[:2])
    hidden = np.stack([np.zeros_like(mask), mask, ~mask, *context_masks(mask, sides)])
    return hide(image, hidden, fill_picture(image, fill, gray))
