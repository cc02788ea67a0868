"""The parameters of a network and its training: the sections `model` and `train`, and a variant's `Recipe` of both."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from graybox import files, schema
from graybox.errors import within
from graybox.schema import Real, Section, Seed, Text

MOST_EPOCHS = 100_000


PARAMETRIC = "cnn"
"""The architecture whose layers the other keys of the section set."""
_WORD = "[A-Za-z_][A-Za-z0-9_]{0,59}"
ARCHITECTURE = rf"^([a-z][a-z0-9_]{{0,59}}|timm:[A-Za-z0-9_.\-/]{{1,99}}|{_WORD}(\.{_WORD}){{0,5}}:{_WORD})$"
schema.PLAINER[f"String should match pattern '{ARCHITECTURE}'"] = (
    "should be cnn, a classifier of torchvision.models such as resnet18, timm:NAME, or package.module:function"
)


class ModelParams(Section):
    """The section `model`: the layers of the network."""

    key: ClassVar[str] = "model"

    architecture: Annotated[str, Field(pattern=ARCHITECTURE)] = Field(
        PARAMETRIC,
        description="cnn, whose layers the keys below set; or a classifier of torchvision.models, as resnet18; "
        "timm:NAME; or your own function, networks.FILE:FUNCTION",
    )
    weights: Text | None = Field(
        None,
        description="null = random initial weights; or a name of torchvision's, as IMAGENET1K_V1; or a file in "
        "networks/ (not for cnn)",
    )
    conv_layers: Annotated[int, Field(ge=1, le=64)] = Field(4, description="convolutional layers")
    filters: int | list[int] = Field(
        16, description="filters of the first conv layer; or a list with one number for each layer"
    )
    filter_growth: Annotated[Real, Field(gt=0, le=16)] = Field(
        2, description="after each block (pool_every), the next conv layers have this many times the filters"
    )
    kernel_size: Annotated[int, Field(ge=1, le=1023)] = Field(3, description="height and width of each filter; odd")
    stride: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="stride of the conv layers that stride_layers names; the others have stride 1"
    )
    stride_layers: Literal["first", "all"] = Field("first", description="the conv layers with this stride: first | all")
    max_pool: Annotated[int, Field(ge=2, le=1024)] | None = Field(
        2, description="window of the max pooling after each conv layer; null = none"
    )
    pool_stride: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="null = max_pool, so windows don't overlap"
    )
    pool_every: int | list[int] = Field(
        1,
        description="conv layers per block, which ends with pooling and growth; or [1, 1, 2] = after layers 1, 2 and 4",
    )
    fc_layers: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="fully connected layers, including the one that gives the class scores"
    )
    fc_units: Annotated[int, Field(ge=1, le=65_536)] = Field(
        256, description="units of each fully connected layer except the last"
    )
    batch_norm: bool = Field(True, description="after each convolution")
    residual: Annotated[int, Field(ge=0, le=64)] = Field(
        0,
        description="conv layers that each shortcut spans, counted from the end of a block (pool_every); 0 = none",
    )
    dropout: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the inputs of each fully connected layer that is dropped"
    )
    global_average_pool: bool = Field(
        False, description="average the last feature maps before the fully connected layers"
    )

    @property
    def parametric(self) -> bool:
        """Whether the network is the parametric CNN, of which the other keys set the layers."""
        return self.architecture == PARAMETRIC

    def used(self) -> dict[str, Any]:
        """The parameters that the network is built from: the others say nothing about one of this architecture."""
        others = {"architecture", "weights"}
        return self.model_dump(exclude=others) if self.parametric else self.model_dump(include=others)

    @model_validator(mode="after")
    def _weights_of_an_architecture(self) -> ModelParams:
        if self.weights is not None and self.parametric:
            raise ValueError(
                f"weights is {schema.shown(self.weights)} and architecture is cnn, which starts from random weights; "
                f"allowed: weights null, or another architecture"
            )
        return self

    @field_validator("filters", "pool_every", mode="plain")
    @classmethod
    def _number_or_list(cls, value: Any, info: ValidationInfo) -> int | list[int]:
        values = value if isinstance(value, list) else [value]
        if values and all(type(v) is int and 1 <= v <= 65_536 for v in values):
            checked: int | list[int] = value
            return checked
        each = {"filters": "one for each conv layer", "pool_every": "the conv layers before each pooling"}
        raise ValueError(f"should be an integer from 1 to 65536, or a list of them, {each[str(info.field_name)]}")

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("should be odd (1, 3, 5, ...), so that a window has a centre")
        return value

    @model_validator(mode="after")
    def _blocks_within_the_layers(self) -> ModelParams:
        if isinstance(self.pool_every, list) and sum(self.pool_every) > self.conv_layers:
            raise ValueError(
                f"pool_every lists blocks of {sum(self.pool_every)} conv layers and conv_layers is {self.conv_layers}; "
                f"they should be at most as many"
            )
        return self

    @model_validator(mode="after")
    def _one_number_of_filters_per_layer(self) -> ModelParams:
        if isinstance(self.filters, list) and len(self.filters) != self.conv_layers:
            raise ValueError(
                f"filters lists {len(self.filters)} layers and conv_layers is {self.conv_layers}; they should agree"
            )
        if max(self.filters_per_layer) > 65_536:
            raise ValueError(
                f"filters, filter_growth and conv_layers give a conv layer {max(self.filters_per_layer):,} filters; "
                f"they should give at most 65,536"
            )
        return self

    @field_validator("residual", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        return int(value) if isinstance(value, bool) else value  # what it was before: a shortcut around each layer

    @model_validator(mode="after")
    def _shortcuts_within_the_blocks(self) -> ModelParams:
        longest = max(end - start for start, end in self._blocks)
        if self.residual > longest:
            raise ValueError(
                f"residual is {self.residual} and the longest block has {longest} of the {self.conv_layers} conv "
                f"layers (pool_every is {self.pool_every}); allowed: a residual up to that, or a larger pool_every"
            )
        return self

    @property
    def filters_per_layer(self) -> list[int]:
        """Filters of each conv layer: the list, or `filters` grown by `filter_growth` after each block."""
        if isinstance(self.filters, list):
            return list(self.filters)
        growths = [sum(end <= layer for end in self.block_ends) for layer in range(self.conv_layers)]
        return [max(1, round(self.filters * self.filter_growth**times)) for times in growths]

    @property
    def block_ends(self) -> list[int]:
        """The conv layers, counted from 1, that end a block of `pool_every`; pooling and growth follow them."""
        if isinstance(self.pool_every, list):
            return list(accumulate(self.pool_every))
        return list(range(self.pool_every, self.conv_layers + 1, self.pool_every))

    @property
    def _blocks(self) -> list[tuple[int, int]]:
        """The conv layers (first - 1, last) of each block, also of those after the last pooling."""
        return list(pairwise([0, *self.block_ends, self.conv_layers]))

    @property
    def shortcut_spans(self) -> list[range]:
        """The conv layers, counted from 1, that each shortcut spans: `residual` of them, counted from a block's end.

        The layers of a block that are left before them have none.
        """
        if not (many := self.residual):
            return []
        lasts = [last for start, end in self._blocks for last in range(end, start + many - 1, -many)]
        return [range(last - many + 1, last + 1) for last in sorted(lasts)]


class TrainParams(Section):
    """The section `train`: how a network is trained."""

    key: ClassVar[str] = "train"

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = Field(8, description="passes over the training images")
    epochs_factor: Annotated[Real, Field(gt=0, le=1000)] = Field(
        1, description='multiplies epochs, so that a variant can say "half" (0.5) or "double" (2)'
    )
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = Field(64, description="images per step")
    optimizer: Literal["sgd", "muon"] = Field(
        "sgd", description="sgd | muon (orthogonalised steps; slower per step, so use larger batches)"
    )
    learning_rate: Annotated[Real, Field(gt=0)] = Field(0.03, description="the schedule's peak")
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.9, description="of sgd and of muon")
    weight_decay: Annotated[Real, Field(ge=0)] = Field(0.0005, description="of sgd")
    muon_learning_rate: Annotated[Real, Field(gt=0)] = Field(
        0.03, description="muon's own peak; sgd updates the first and the last layer, muon the others"
    )
    muon_weight_decay: Annotated[Real, Field(ge=0)] = Field(
        0.08, description="muon's own decay: each step shrinks its weights by this share times the learning rate"
    )
    schedule: Literal["one_cycle", "constant"] = Field("one_cycle", description="one_cycle | constant")
    warmup_fraction: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.25, description="share of one_cycle's steps in which the learning rate climbs to its peak"
    )
    gradient_clip: Annotated[Real, Field(gt=0)] | None = Field(
        2.0, description="largest norm of the gradient; null = no limit"
    )
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.1, description="share of each target that is spread evenly over all classes"
    )
    weight_average: Annotated[Real, Field(ge=0, le=MOST_EPOCHS)] = Field(
        0.0, description="use an exponential mean of the weights over about this many epochs; 0 = the last weights"
    )
    flip: bool = Field(True, description="mirror half of the training images")
    shift: Annotated[int, Field(ge=0, le=1024)] = Field(
        4, description="move training images by up to this many pixels in each direction"
    )
    zoom: Annotated[Real, Field(ge=1, le=4)] = Field(
        1.0, description="enlarge, shrink and stretch training images by up to this factor; 1 = no"
    )
    color_jitter: Annotated[Real, Field(ge=0, le=1)] = Field(
        0.0, description="change brightness, contrast and saturation by up to this share each; 0 = no"
    )
    cutout: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.0, description="cover a random square; its side as a share of the image's side; 0 = no"
    )
    mixup: Annotated[Real, Field(ge=0, le=1000)] = Field(
        0.0, description="blend pairs of images, with weights from Beta(mixup, mixup); 0 = no"
    )
    start_size: Annotated[Real, Field(gt=0, le=1)] = Field(
        1.0, description="start with images of this share of their size (below 1 needs model.global_average_pool)"
    )
    full_size_from: Annotated[Real, Field(ge=0, le=1)] = Field(
        0.7, description="share of training after which start_size has grown to the full size"
    )
    seed: Seed = Field(
        0, description="random seed of the initial weights, the order of the images and the augmentation"
    )
    seeds: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="networks per variant, with seeds seed, seed + 1, ...: shows the spread between training runs"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto = bf16 if the hardware runs it fast, else fp32"
    )

    @property
    def total_epochs(self) -> int:
        """Epochs actually trained: `epochs` times `epochs_factor`, at least 1."""
        return max(1, round(self.epochs * self.epochs_factor))

    @property
    def all_seeds(self) -> range:
        """The seeds of each variant's networks: `seed`, `seed` + 1, ..."""
        return range(self.seed, self.seed + self.seeds)

    def size_at(self, progress: float, size: int) -> int:
        """Height and width of the training images, in pixels, at `progress` (0..1): from `start_size` up to `size`."""
        grown = 1.0 if progress >= self.full_size_from else progress / self.full_size_from
        share = self.start_size + (1 - self.start_size) * grown
        # Multiples of 4, so that the first two 2 x 2 poolings divide them evenly.
        return min(size, 4 * max(1, round(share * size / 4))) if share < 1 else size


class Recipe(Section):
    """All parameters of one network: its layers, its training, and the files of the user that it is made of."""

    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    files: dict[str, str] = Field(
        {}, description="the SHA-256 of the user's code and weights that the network is made of"
    )

    @model_validator(mode="after")
    def _epochs_that_end(self) -> Recipe:
        if self.train.total_epochs > MOST_EPOCHS:
            raise ValueError(
                f"train.epochs times train.epochs_factor is {self.train.total_epochs:,} epochs; "
                f"allowed: at most {MOST_EPOCHS:,}"
            )
        return self

    @model_validator(mode="after")
    def _small_images_need_an_average(self) -> Recipe:
        if self.train.start_size < 1 and self.model.parametric and not self.model.global_average_pool:
            raise ValueError(
                f"train.start_size is {self.train.start_size:g}, which needs a network that averages its last maps; "
                f"allowed: start_size 1, or model.global_average_pool true"
            )
        return self

    def with_files(self) -> Recipe:
        """The same, with the hashes of the files of the user that its network is made of, as they are now.

        Raises:
            UserError: one can't be read.
        """
        if self.model.parametric:
            return self
        from graybox.network.architectures import files_of  # which needs torch

        return self.model_copy(update={"files": files_of(self.model)})

    def save(self, path: Path | str) -> None:
        """Write every parameter that it uses, including defaults: the file changes if and only if the network would."""
        import yaml

        values = {"model": self.model.used(), "train": self.train.model_dump()} | (
            {"files": self.files} if self.files else {}
        )
        files.write_text(path, yaml.safe_dump(values, sort_keys=False))


def load(path: Path | str) -> Recipe:
    """The parameters that `Recipe.save` wrote.

    Raises:
        UserError: the file can't be read or a value is not allowed.
    """
    values = schema.read(path)
    with within(f"{path}: "):
        return schema.validated(Recipe, values)
