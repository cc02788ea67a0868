"""How much of the mistakes is shown: the section `mistakes` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from graybox.schema import MANY, Section


class MistakesParams(Section):
    """The section `mistakes`."""

    key: ClassVar[str] = "mistakes"

    gallery: Annotated[int, Field(ge=1, le=200)] = Field(24, description="misclassified test images to show")
    per_reason: Annotated[int, Field(ge=1, le=200)] = Field(
        8, description="misclassified test images on the page of each reason"
    )
    pairs: Annotated[int, Field(ge=1, le=MANY)] = Field(10, description="most confused pairs of classes to list")
