"""How the variants are scored and chosen: the sections `evaluate` and `select` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from graybox.schema import Section


class EvaluateParams(Section):
    """The section `evaluate`: which views of an image the network answers."""

    key: ClassVar[str] = "evaluate"

    flip: bool = Field(False, description="average the probabilities of an image and its mirror image")
    shift: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="also average over copies moved by this many pixels towards each corner; 0 = no copies"
    )


class SelectParams(Section):
    """The section `select`: which split selects the best variant."""

    key: ClassVar[str] = "select"

    split: Literal["test", "validation"] = Field(
        "test", description="test = the study's rule; validation = the unbiased choice"
    )
    pretrained: bool = Field(
        False, description="whether a variant that starts from model.weights, which may know the test images, can win"
    )
