"""The confidence map: the network's answer for each position of the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graybox import arguments

LEADING = 5
"""Classes whose probabilities a map keeps for every window centre; of all classes they would fill the memory."""


def leading_classes(probabilities: NDArray[np.float32], label: int) -> NDArray[np.int64]:
    """The LEADING classes with the highest probability at any window centre, the class `label` among them.

    Args:
        probabilities: float [h, w, classes], 0..1.

    Returns:
        int64 [k], by class number; all classes where there are no more.
    """
    highest = probabilities.max(axis=(0, 1)).astype(np.float64)
    highest[label] = np.inf
    return np.sort(np.argsort(-highest, kind="stable")[:LEADING])


@dataclass(frozen=True)
class OcclusionMap:
    """The network's answer for each centre of the occluder window.

    Attributes:
        confidence: float32 [h, w], the probability (0..1) of the class `label` with the window centred at
            (rows[i], columns[j]); with stride 1, h x w is the image's own size.
        predicted: int64 [h, w], the most probable class there.
        rows, columns: int [h] and [w], the window centres in pixels.
        unoccluded: float32 [classes], the probabilities for the image as it is.
        label: the class whose probability is recorded, usually the true one.
        window: N of the N x N window, in pixels.
        activation: float32 [h, w], the total activation of one feature map of the last conv layer (after pooling and
            ReLU) with the window there, as in figure 7b; None if it was not asked for.
        unoccluded_activation: the same for the image as it is, or None.
        never_hidden: the share of the image's pixels that lie under none of the windows, 0..1. The map says
            nothing about them. See `graybox.occlusion.params.never_hidden`.
        image: uint8 [H, W, 3], what the network sees: the image after the resizing and cropping of `preprocess`. None
            in maps that were made by hand.
        engine: "plain" or "incremental", what computed it; "" in maps that were made by hand.
        leading: int64 [k], the at most LEADING classes that are most probable at any of the centres, the class `label`
            among them, by class number; None in maps that were made by hand.
        leading_probabilities: float32 [h, w, k], their probabilities (0..1) with the window centred there, or None.
        remark: what keeps the incremental engine from computing only what the window changes in this network, and from
            which operation on: a sentence; "" if nothing does, or if it was not asked to.
    """

    confidence: NDArray[np.float32]
    predicted: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    unoccluded: NDArray[np.float32]
    label: int
    window: int
    activation: NDArray[np.float32] | None = None
    unoccluded_activation: float | None = None
    never_hidden: float = 0.0
    image: NDArray[np.uint8] | None = None
    engine: str = ""
    remark: str = ""
    leading: NDArray[np.int64] | None = None
    leading_probabilities: NDArray[np.float32] | None = None

    @property
    def drop(self) -> NDArray[np.float32]:
        """float32 [h, w]: by how much the window lowers the true class's probability (negative: it raises it)."""
        drop: NDArray[np.float32] = self.unoccluded[self.label] - self.confidence
        return drop

    @property
    def lowest(self) -> tuple[int, int]:
        """Row and column, in pixels, of the window centre with the lowest probability of the true class."""
        row, column = np.unravel_index(self.confidence.argmin(), self.confidence.shape)
        return int(self.rows[row]), int(self.columns[column])

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes as arrays, by name; without those that are None."""
        return {name: np.asarray(value) for name, value in vars(self).items() if value is not None}

    def summary(self, class_names: Sequence[str], *, labelled: bool = True) -> dict[str, object]:
        """The map in a few figures: probabilities 0..1, positions in pixels.

        Args:
            class_names: one for each label.
            labelled: whether `label` is known to be the true class. If False it is only the class that was followed,
                and no figure is named after the truth.

        Raises:
            TypeError: class_names is no list of names. ValueError: it has fewer names than the network has classes.
        """
        class_names = arguments.names("class_names", class_names, len(self.unoccluded))
        row, column = self.lowest
        followed = class_names[self.label], float(self.unoccluded[self.label])
        known = {"true_class": followed[0], "predicted_class": class_names[int(self.unoccluded.argmax())],
                 "true_probability": followed[1]}  # fmt: skip
        share = float((self.predicted != self.label).mean())
        return {
            **(known if labelled else {"followed_class": followed[0], "followed_probability": followed[1]}),
            "lowest_probability": float(self.confidence.min()),
            "lowest_row": row,
            "lowest_column": column,
            "class_there": class_names[int(self.predicted.flat[self.confidence.argmin()])],
            "share_of_windows_misclassified" if labelled else "share_of_windows_with_another_answer": share,
        }
