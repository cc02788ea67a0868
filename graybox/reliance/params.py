"""The parameters of the verdict: the section `reliance` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from graybox.schema import MANY, Section


class RelianceParams(Section):
    """The section `reliance`: object or context, over the whole test split; window and fill are occlusion's."""

    key: ClassVar[str] = "reliance"

    maps: Annotated[int, Field(ge=1, le=MANY)] = Field(
        100, description="test images with a box whose confidence maps are evaluated too, evenly spread"
    )
    map_stride: Annotated[int, Field(ge=1, le=1024)] = Field(
        4, description="pixels between window centres of those maps"
    )
    swaps: Annotated[int, Field(ge=0, le=MANY)] = Field(
        300, description="test images whose object comes before other images' backgrounds, evenly spread; 0 = none"
    )
