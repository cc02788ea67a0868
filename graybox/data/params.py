"""The parameters of the images: the sections `data` and `sources` of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from graybox import schema
from graybox.schema import MANY, PLAINER, Fraction, Real, Section, Seed, Text

ImageSize = Annotated[int, Field(ge=8, le=1024)]
SourceName = Literal["scenes", "mini_imagenet", "tiny_imagenet", "cifar10", "cifar100", "fashion_mnist", "folder"]
DIGEST, COMMIT = r"^[0-9a-f]{64}$", r"^[0-9a-f]{40}$"
PLAINER[f"String should match pattern '{DIGEST}'"] = "should be null or 64 hexadecimal digits"
PLAINER[f"String should match pattern '{COMMIT}'"] = "should be a commit, 40 hexadecimal digits"
BOXES = "object boxes, if you have them: a folder or archive of VOC's XML files, or a CSV file"


class DataParams(Section):
    """The section `data`: which images, and how they are split."""

    key: ClassVar[str] = "data"

    source: SourceName = Field("scenes", description="scenes (generated, no download) or another key of `sources`")
    validation_fraction: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.15, description="share of each class's training images held out for validation"
    )
    test_fraction: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.2, description="share of each class's images used for testing, if the source has no test split"
    )
    classes: int | list[str] | None = Field(None, description="null = all; n = the first n; or a list of names")
    images_per_class: Annotated[int, Field(ge=3, le=MANY)] | None = Field(
        None, description="null = all; n = at most n in each split, for a quick look"
    )
    max_unreadable: Annotated[int, Field(ge=0, le=MANY)] = Field(
        20, description="stop if more image files than this can't be decoded"
    )
    drop_near_duplicates: bool = Field(
        False, description="leave out training and validation images that are nearly a later split's image"
    )
    seed: Seed = Field(0, description="random seed of the splits and of the generated scenes")

    @field_validator("classes", mode="plain")
    @classmethod
    def _number_or_names(cls, value: Any) -> int | list[str] | None:
        if value is None or (type(value) is int and 2 <= value <= MANY):
            return value
        # YAML reads an unquoted 5, true or null in a list as no text.
        if isinstance(value, list) and all(isinstance(v, str) for v in value) and len(set(value)) >= 2:
            return value
        raise ValueError(
            f"should be null, a number of classes from 2 to {MANY:,}, or a list of at least 2 class names, "
            f"those that look like numbers in quotes"
        )


class ScenesParams(Section):
    """The generated pictures."""

    image_size: Annotated[int, Field(ge=32, le=160)] = Field(48, description="pixels; the images are square")
    classes: Annotated[int, Field(ge=2, le=10)] = Field(10, description="2 to 10")
    train_per_class: Annotated[int, Field(ge=2, le=100_000)] = Field(
        140, description="training images of each class; validation images are taken from these"
    )
    test_per_class: Annotated[int, Field(ge=1, le=100_000)] = Field(100, description="test images of each class")
    object_signal: Fraction = Field(
        1.0, description="probability that the picture shows the object of its class, else a random one"
    )
    context_bias: Fraction = Field(
        0.0, description="probability that the picture shows the background of its class, else a random one"
    )
    object_size: list[Annotated[Real, Field(ge=0.05, le=1)]] = Field(
        [0.6, 0.85], description="the object's longer side as a share of the picture's side: from, to"
    )

    @field_validator("object_size")
    @classmethod
    def _range(cls, value: list[float]) -> list[float]:
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError("should be two numbers, the least and the greatest")
        return value


class MiniImagenetParams(Section):
    """mini-ImageNet, from the hub or from files."""

    image_size: ImageSize = Field(84, description="pixels; the images are square")
    path: Text | None = Field(
        None, description="null = from the Hugging Face hub; or a folder with the classic CSV files or pickles"
    )
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] = Field(
        "timm/mini-imagenet", description="the data set's name on the hub"
    )
    revision: Annotated[str, Field(pattern=COMMIT)] = Field(
        "bd8779f9d33c061ea6e75fdd3bce4e43dd679060", description="the data set's commit on the hub"
    )
    boxes: Text | None = Field(None, description=BOXES)


class TinyImagenetParams(Section):
    """The Tiny-ImageNet layout."""

    image_size: ImageSize = Field(64, description="pixels; the images are square")
    archive: Text = Field(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        description="the URL or path of the zip, or the path of the unpacked folder",
    )
    sha256: Annotated[str, Field(pattern=DIGEST)] | None = Field(
        None, description="the archive's SHA-256; null = not checked"
    )


class TorchvisionParams(Section):
    """A data set that torchvision downloads."""

    image_size: ImageSize = Field(32, description="pixels; the images are square")
    path: Text | None = Field(
        None, description="null = download; or a folder with the files as torchvision stores them"
    )


class FolderParams(Section):
    """Class-named folders."""

    image_size: ImageSize = Field(64, description="pixels; the images are square")
    path: Text | None = Field(
        None, description="a folder, zip or tar of class-named folders, with or without train/val/test above them"
    )
    boxes: Text | None = Field(None, description=f"{BOXES} (file, x0, y0, x1, y1)")


class SourcesParams(Section):
    """The section `sources`: each source's own parameters. Only those of the chosen source are used."""

    key: ClassVar[str] = "sources"

    scenes: ScenesParams = ScenesParams()
    mini_imagenet: MiniImagenetParams = MiniImagenetParams()
    tiny_imagenet: TinyImagenetParams = TinyImagenetParams()
    cifar10: TorchvisionParams = TorchvisionParams()
    cifar100: TorchvisionParams = TorchvisionParams()
    fashion_mnist: TorchvisionParams = TorchvisionParams()
    folder: FolderParams = FolderParams()

    def of(self, source: SourceName) -> SourceParams:
        """One source's own parameters."""
        found: SourceParams = getattr(self, source)
        return found


# What `data.source` may choose.
SourceParams = ScenesParams | MiniImagenetParams | TinyImagenetParams | TorchvisionParams | FolderParams


def load(path: Path | str = "params.yaml") -> tuple[DataParams, SourceParams]:
    """The section `data`, and the chosen source's own parameters.

    Raises:
        UserError: as `schema.load`.
    """
    data, sources = schema.load(DataParams, path), schema.load(SourcesParams, path)
    return data, sources.of(data.source)
