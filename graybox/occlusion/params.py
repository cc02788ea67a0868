"""The parameters of the window: the section `occlusion` of params.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from graybox.errors import ParameterError
from graybox.schema import MANY, Fraction, Section


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("should be odd (9, 11, ...), so that the window has a pixel at its centre")
    return value


Window = Annotated[int, Field(ge=1, le=1023), AfterValidator(_odd)]


def never_hidden(size: Sequence[int], centres: Sequence[Iterable[int]], window: int) -> float:
    """The share of an image's pixels that lie under no window, 0..1.

    It is 0 where the stride is at most half of the window, rounded up; above, pixels at the end of a row or column may
    be left out, and with a stride larger than the window pixels between the windows.

    Args:
        size: the image's height and width. `centres`: the rows and the columns of the window centres.
        window: N of the N x N window, odd, in pixels.
    """
    half = window // 2
    hidden = [
        {pixel for centre in axis for pixel in range(max(0, centre - half), min(length, centre + half + 1))}
        for length, axis in zip(size, centres)
    ]
    return 1 - math.prod(map(len, hidden)) / math.prod(size)


class OcclusionParams(Section):
    """The section `occlusion`: which windows slide over which images."""

    key: ClassVar[str] = "occlusion"

    window: Window = Field(11, description="N of the N x N window, in pixels; odd")
    stride: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="pixels between window centres")
    other_windows: list[Window] = Field(
        [5, 15, 21], max_length=20, description="further N, side by side with the first; [] = none"
    )
    other_stride: Annotated[int, Field(ge=1, le=1024)] = Field(3, description="pixels between their centres")
    fill: Literal["gray", "mean", "blur", "noise"] = Field(
        "gray", description="what the window shows: gray | mean (the image's colour) | blur | noise (its own pixels)"
    )
    second_fill: Literal["gray", "mean", "blur", "noise"] | None = Field(
        "mean", description="a second map of each image, beside the first, with this in the window; null = none"
    )
    gray: Fraction = Field(0.5, description="0 = black, 1 = white")
    images: int | list[str] = Field(
        10, description="a number of test images (over different classes), or a list of their files"
    )

    @property
    def beside(self) -> Literal["gray", "mean", "blur", "noise"] | None:
        """The second map's fill; None if it is the first one's too."""
        return None if self.second_fill == self.fill else self.second_fill

    @property
    def beside_stride(self) -> int:
        """Pixels between the second map's window centres: other_stride, or less where that would leave pixels out."""
        return max(self.stride, min(self.other_stride, (self.window + 1) // 2))

    def positions(self, size: int) -> int:
        """How many windows slide over a size x size image, all N and fills together."""
        main, other, beside = (
            len(range(0, size, stride)) ** 2 for stride in (self.stride, self.other_stride, self.beside_stride)
        )
        return main + len({*self.other_windows} - {self.window}) * other + (beside if self.beside else 0)

    def check_fits(self, size: int, said: str = "the image size") -> None:
        """Raise a ParameterError if a window or a stride does not go with size x size images.

        Args:
            said: what the size is, for the message.
        """
        windows = {"window": self.window} | {f"other_windows.{place}": N for place, N in enumerate(self.other_windows)}
        for key, window in windows.items():
            if window > size:
                raise ParameterError(f"{key} is {window}; it should be at most {said} = {size}")
        strides = {"stride": self.stride} | ({"other_stride": self.other_stride} if self.other_windows else {})
        for key, stride in strides.items():
            if stride >= size:
                raise ParameterError(f"{key} is {stride}; it should be below {said} = {size}: else there is one window")

    def gaps(self, size: int) -> list[str]:
        """A sentence for each N whose windows leave pixels of a size x size image unhidden; mostly none."""
        pairs = [("stride", self.stride, self.window)]
        pairs += [("other_stride", self.other_stride, window) for window in sorted({*self.other_windows})]
        said = []
        for key, stride, window in pairs:
            share = never_hidden((size, size), [range(0, size, stride)] * 2, window)
            if share and (key == "stride" or window != self.window):
                said.append(
                    f"{key} is {stride}, and the window {window} x {window}: {share:.0%} of the pixels are never "
                    f"hidden, so the map says nothing about them; with at most {window // 2 + 1} all are hidden"
                )
        return said

    @field_validator("images", mode="plain")
    @classmethod
    def _number_or_files(cls, value: Any) -> int | list[str]:
        if type(value) is int and 1 <= value <= MANY:
            return value
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return value
        raise ValueError(f"should be a number of test images from 1 to {MANY:,}, or a list of their files")
