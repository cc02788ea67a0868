"""What every source of images gives: a catalogue of pictures that are not decoded yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image


class UnreadableError(Exception):
    """One image file can't be read or decoded. `prepare` records it and continues."""


# Picture number -> the image, opened but not necessarily decoded, and its object box: [4], as x0, y0, x1, y1 in pixels
# of the image as stored, half-open, NaN where unknown. It raises UnreadableError, and can be sent to other processes.
Load = Callable[[int], tuple[Image.Image, np.ndarray]]
# Picture number -> the share (0..1) of the object that a thing in front of it covers, and the same picture without that
# thing. It can be sent to other processes.
Uncover = Callable[[int], tuple[float, Image.Image]]


@dataclass(frozen=True)
class Catalogue:
    """The pictures that a source has.

    Attributes:
        class_names: one readable, unique name for each label.
        class_keys: what the source calls the classes (a WordNet id, a folder's name), one for each label.
        files: N names, as the source calls its pictures.
        labels: int64 [N], each in 0..len(class_names) - 1.
        splits: N times "train", "validation" or "test" where the source has splits of its own, else None.
        load: picture number in 0..N - 1 -> image and box.
        ignored: why files of the source were passed over -> how many.
        remarks: sentences on what its user should know.
        uncover: picture number in 0..N - 1 -> what stands in front of its object; None where that is not known, as on
            photographs.
        made: how the pictures are made, in sentences; "" if they are not generated.
    """

    class_names: list[str]
    class_keys: list[str]
    files: list[str]
    labels: np.ndarray
    splits: list[str | None]
    load: Load
    ignored: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    uncover: Uncover | None = None
    made: str = ""
