"""The parameters of the window: the section `occlusion` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from graybox.schema import Fraction, Section


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("should be odd (9, 11, ...), so that the window has a pixel at its centre")
    return value


Window = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class OcclusionParams(Section):
    """The section `occlusion`: which windows slide over which images."""

    key: ClassVar[str] = "occlusion"

    window: Window = Field(11, description="N of the N x N window, in pixels; odd")
    stride: Annotated[int, Field(ge=1)] = Field(1, description="pixels between window centres")
    other_windows: list[Window] = Field([5, 15, 21], description="further N, side by side with the first; [] = none")
    other_stride: Annotated[int, Field(ge=1)] = Field(3, description="pixels between their centres")
    fill: Literal["gray", "mean", "blur", "noise"] = Field(
        "gray", description="what the window shows: gray | mean (the image's colour) | blur | noise (its own pixels)"
    )
    gray: Fraction = Field(0.5, description="0 = black, 1 = white")
    images: int | list[str] = Field(
        10, description="a number of test images (over different classes), or a list of their files"
    )

    def positions(self, size: int) -> int:
        """How many windows slide over a size x size image, all N together."""
        main, other = (len(range(0, size, stride)) ** 2 for stride in (self.stride, self.other_stride))
        return main + len({*self.other_windows} - {self.window}) * other

    @field_validator("images", mode="plain")
    @classmethod
    def _number_or_files(cls, value: Any) -> int | list[str]:
        if type(value) is int and value >= 1:
            return value
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return value
        raise ValueError("should be a number of test images of at least 1, or a list of their files")
