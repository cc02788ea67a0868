"""How the variants are scored and chosen: the sections `evaluate` and `select` of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from graybox.schema import MANY, Section

if TYPE_CHECKING:
    from graybox.network.inference import Views


class EvaluateParams(Section):
    """The section `evaluate`: which views of an image the network answers, and what is asked of each variant."""

    key: ClassVar[str] = "evaluate"

    flip: bool = Field(False, description="average the probabilities of an image and its mirror image")
    shift: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="also average over copies moved by this many pixels towards each corner; 0 = no copies"
    )
    boxed_images: Annotated[int, Field(ge=0, le=MANY)] = Field(
        300,
        description="test images with an object box, evenly spread, that each variant also answers with the object "
        "hidden, and with everything else hidden; 0 = none",
    )

    @property
    def views(self) -> Views:
        """The views as arguments of `graybox.network.inference.probabilities`."""
        return {"flip": self.flip, "shift": self.shift}


class SelectParams(Section):
    """The section `select`: which split selects the best variant."""

    key: ClassVar[str] = "select"

    split: Literal["test", "validation"] = Field(
        "test", description="test = the study's rule; validation = the unbiased choice"
    )
    pretrained: bool = Field(
        False, description="whether a variant that starts from model.weights, which may know the test images, can win"
    )
