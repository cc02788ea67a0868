"""The parameters of the correspondence experiment: the section `correspondence` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from graybox.schema import MANY, Section, Seed


class CorrespondenceParams(Section):
    """The section `correspondence`: does hiding the same part have the same effect in every image of a class?"""

    key: ClassVar[str] = "correspondence"

    images_per_class: Annotated[int, Field(ge=2, le=MANY)] = Field(
        20, description="at most so many correctly classified test images; classes with fewer than 5 are left out"
    )
    random_draws: Annotated[int, Field(ge=1, le=200)] = Field(
        10, description="random parts of each object to compare with"
    )
    seed: Seed = Field(0, description="for the choice of images and of the random parts")
