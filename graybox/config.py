"""params.yaml as validated objects; a bad value is one sentence that names the key, the value and what is allowed."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from graybox.errors import UserError


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


# Lax, because YAML 1.1 reads `1e-3` (no dot) as text; but not so lax as to take `true` for 1.
Real = Annotated[float, BeforeValidator(_no_bool), Field(strict=False, allow_inf_nan=False)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
ImageSize = Annotated[int, Field(ge=8, le=1024)]
SourceName = Literal["scenes", "mini_imagenet", "tiny_imagenet", "cifar10", "cifar100", "fashion_mnist", "folder"]
DIGEST, COMMIT, DEVICE = r"^[0-9a-f]{64}$", r"^[0-9a-f]{40}$", r"^(auto|cpu|mps|cuda(:\d+)?)$"
# What pydantic says of a value, in the words of somebody who writes params.yaml.
PLAINER = {
    "Input should be": "should be",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "unable to parse string as an integer": "written in digits",
    f"String should match pattern '{DEVICE}'": "should be one of auto, cpu, mps, cuda, cuda:0, cuda:1, ...",
    f"String should match pattern '{DIGEST}'": "should be null or 64 hexadecimal digits",
    f"String should match pattern '{COMMIT}'": "should be a commit, 40 hexadecimal digits",
}
# DVC reads a dot as nesting and silently drops a key that is a number.
VARIANT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# The variant that no one writes: each parameter's best level, put together by the stage `combine`.
COMBINED = "combined"
TAKEN = {"data": "metrics/data.json is about the images", COMBINED: "stage combine makes the variant of that name"}


class Section(BaseModel):
    """A group of parameters: unknown keys and values of another type are refused, and it never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataParams(Section):
    source: SourceName
    validation_fraction: Annotated[Real, Field(gt=0, lt=1)]
    test_fraction: Annotated[Real, Field(gt=0, lt=1)]
    classes: int | list[str] | None
    images_per_class: Annotated[int, Field(ge=3)] | None
    max_unreadable: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]

    @field_validator("classes", mode="plain")
    @classmethod
    def _number_or_names(cls, value: Any) -> int | list[str] | None:
        if value is None or (type(value) is int and value >= 2):
            return value
        if isinstance(value, list) and len(set(map(str, value))) >= 2 and all(isinstance(v, str) for v in value):
            return value
        raise ValueError("should be null, a number of classes of at least 2, or a list of at least 2 class names")


class ScenesParams(Section):
    image_size: Annotated[int, Field(ge=32, le=160)]
    classes: Annotated[int, Field(ge=2, le=10)]
    train_per_class: Annotated[int, Field(ge=2)]
    test_per_class: Annotated[int, Field(ge=1)]
    object_signal: Fraction
    context_bias: Fraction
    object_size: list[Annotated[Real, Field(ge=0.05, le=1)]]

    @field_validator("object_size")
    @classmethod
    def _range(cls, value: list[float]) -> list[float]:
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError("should be two numbers, the least and the greatest")
        return value


class TinyImagenetParams(Section):
    image_size: ImageSize
    archive: str
    sha256: Annotated[str, Field(pattern=DIGEST)] | None


class MiniImagenetParams(Section):
    image_size: ImageSize
    path: str | None
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=COMMIT)]
    boxes: str | None


class TorchvisionParams(Section):
    image_size: ImageSize
    path: str | None


class FolderParams(Section):
    image_size: ImageSize
    path: str | None
    boxes: str | None


class SourcesParams(Section):
    scenes: ScenesParams
    mini_imagenet: MiniImagenetParams
    tiny_imagenet: TinyImagenetParams
    cifar10: TorchvisionParams
    cifar100: TorchvisionParams
    fashion_mnist: TorchvisionParams
    folder: FolderParams


class ModelParams(Section):
    conv_layers: Annotated[int, Field(ge=1, le=64)]
    filters: int | list[int]
    filter_growth: Annotated[Real, Field(gt=0, le=16)]
    kernel_size: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    stride_layers: Literal["first", "all"]
    max_pool: Annotated[int, Field(ge=2)] | None
    pool_stride: Annotated[int, Field(ge=1)] | None
    pool_every: int | list[int]
    fc_layers: Annotated[int, Field(ge=1)]
    fc_units: Annotated[int, Field(ge=1)]
    batch_norm: bool
    residual: bool
    dropout: Annotated[Real, Field(ge=0, lt=1)]
    global_average_pool: bool

    @field_validator("filters", "pool_every", mode="plain")
    @classmethod
    def _number_or_list(cls, value: Any, info: ValidationInfo) -> int | list[int]:
        values = value if isinstance(value, list) else [value]
        if values and all(type(v) is int and v >= 1 for v in values):
            return value
        each = {"filters": "one for each conv layer", "pool_every": "the conv layers before each pooling"}
        raise ValueError(f"should be an integer of at least 1, or a list of them, {each[info.field_name]}")

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
                f"filters and filter_growth give a conv layer {max(self.filters_per_layer):,} filters; "
                f"they should give at most 65,536"
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
        """The conv layers, counted from 1, that end a block of `pool_every`: after them comes pooling, and growth."""
        if isinstance(self.pool_every, list):
            return list(accumulate(self.pool_every))
        return list(range(self.pool_every, self.conv_layers + 1, self.pool_every))


class TrainParams(Section):
    epochs: Annotated[int, Field(ge=1)]
    epochs_factor: Annotated[Real, Field(gt=0, le=1000)]
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["sgd", "muon"]
    learning_rate: Annotated[Real, Field(gt=0)]
    momentum: Annotated[Real, Field(ge=0, lt=1)]
    weight_decay: Annotated[Real, Field(ge=0)]
    muon_learning_rate: Annotated[Real, Field(gt=0)]
    muon_weight_decay: Annotated[Real, Field(ge=0)]
    warmup_fraction: Annotated[Real, Field(gt=0, lt=1)]
    gradient_clip: Annotated[Real, Field(gt=0)] | None
    schedule: Literal["one_cycle", "constant"]
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)]
    weight_average: Annotated[Real, Field(ge=0)]
    flip: bool
    shift: Annotated[int, Field(ge=0)]
    zoom: Annotated[Real, Field(ge=1, le=4)]
    color_jitter: Annotated[Real, Field(ge=0, le=1)]
    cutout: Annotated[Real, Field(ge=0, lt=1)]
    mixup: Annotated[Real, Field(ge=0)]
    start_size: Annotated[Real, Field(gt=0, le=1)]
    full_size_from: Annotated[Real, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]
    seeds: Annotated[int, Field(ge=1, le=100)]
    device: Annotated[str, Field(pattern=DEVICE)]
    precision: Literal["auto", "fp32", "bf16"]

    @property
    def total_epochs(self) -> int:
        """Epochs actually trained: `epochs` times `epochs_factor`, at least 1."""
        return max(1, round(self.epochs * self.epochs_factor))

    @property
    def all_seeds(self) -> range:
        """The seeds of the networks that each variant is trained as: `seed`, `seed` + 1, ..."""
        return range(self.seed, self.seed + self.seeds)

    def size_at(self, progress: float, size: int) -> int:
        """Pixels of the training images' sides after a share of training, 0..1, from `start_size` up to `size`."""
        grown = 1.0 if progress >= self.full_size_from else progress / self.full_size_from
        share = self.start_size + (1 - self.start_size) * grown
        # Even sizes, so that poolings divide them as they do the whole.
        return min(size, 4 * max(1, round(share * size / 4))) if share < 1 else size


class EvaluateParams(Section):
    flip: bool
    shift: Annotated[int, Field(ge=0)]


class SelectParams(Section):
    split: Literal["test", "validation"]


class MistakesParams(Section):
    gallery: Annotated[int, Field(ge=1, le=200)]
    per_reason: Annotated[int, Field(ge=1, le=200)]
    pairs: Annotated[int, Field(ge=1)]


def _odd_window(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("should be odd (9, 11, ...), so that the window has a pixel at its centre")
    return value


Window = Annotated[int, Field(ge=1), AfterValidator(_odd_window)]


class OcclusionParams(Section):
    window: Window
    stride: Annotated[int, Field(ge=1)]
    other_windows: list[Window]
    other_stride: Annotated[int, Field(ge=1)]
    fill: Literal["gray", "mean", "blur", "noise"]
    gray: Fraction
    images: int | list[str]

    @field_validator("images", mode="plain")
    @classmethod
    def _number_or_files(cls, value: Any) -> int | list[str]:
        if type(value) is int and value >= 1:
            return value
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            return value
        raise ValueError("should be a number of test images of at least 1, or a list of their files")


class RelianceParams(Section):
    maps: Annotated[int, Field(ge=1)]
    map_stride: Annotated[int, Field(ge=1)]


class CorrespondenceParams(Section):
    images_per_class: Annotated[int, Field(ge=2)]
    random_draws: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams
    sources: SourcesParams
    model: ModelParams
    train: TrainParams
    variants: dict[str, Any]
    evaluate: EvaluateParams
    select: SelectParams
    mistakes: MistakesParams
    occlusion: OcclusionParams
    reliance: RelianceParams
    correspondence: CorrespondenceParams

    @property
    def source(self) -> Section:
        """The chosen source's parameters."""
        return getattr(self.sources, self.data.source)

    @property
    def image_size(self) -> int:
        """Height and width of the prepared images, in pixels."""
        return self.source.image_size

    def with_variant(self, name: str, overrides: dict[str, Any]) -> Params:
        """The same with one variant more, as the last."""
        return self.model_copy(update={"variants": {**self.variants, name: overrides}})

    def variant(self, name: str) -> tuple[ModelParams, TrainParams]:
        """The model and training parameters of one variant: the baseline's with the variant's overrides."""
        if name not in self.variants:
            raise UserError(f"params.yaml: variants has no {name!r}; allowed: {', '.join(self.variants)}")
        overrides = self.variants[name]
        where = f"variants.{name}"
        if not isinstance(overrides, dict):
            raise UserError(f"params.yaml: {where} is {_shown(overrides)}; it should be {{}} or overrides")
        for key, values in overrides.items():
            if key not in ("model", "train"):
                raise UserError(f"params.yaml: {where}.{key} is not a known key; allowed: model, train")
            if not isinstance(values, dict):
                raise UserError(f"params.yaml: {where}.{key} is {_shown(values)}; it should hold parameters")
            if "seeds" in values:
                raise UserError(
                    f"params.yaml: {where}.{key}.seeds is {_shown(values['seeds'])}; "
                    f"it should be the same for all variants: set train.seeds"
                )
        model = _merged(self.model, overrides.get("model", {}), f"{where}.model")
        train = _merged(self.train, overrides.get("train", {}), f"{where}.train")
        if train.start_size < 1 and not model.global_average_pool:
            raise UserError(
                f"params.yaml: {where}: train.start_size is {train.start_size:g}, and small images fit only a network "
                f"that averages its last maps; allowed: start_size 1, or model.global_average_pool true"
            )
        return model, train


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params.yaml, every variant included.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or missing, or a value is not allowed.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} should hold the sections {', '.join(Params.model_fields)}")
    params = _validated(Params, raw, "")
    if not params.variants:
        raise UserError("params.yaml: variants is empty; it should name at least one, such as `baseline: {}`")
    for name in params.variants:
        if not VARIANT_NAME.fullmatch(name):
            raise UserError(
                f"params.yaml: variants.{name} is not a usable name; allowed: a letter, then letters, digits, - and _"
            )
        if name in TAKEN:
            raise UserError(f"params.yaml: variants.{name} is taken: {TAKEN[name]}; rename it")
        params.variant(name)
    windows = {"window": params.occlusion.window}
    windows |= {f"other_windows.{place}": window for place, window in enumerate(params.occlusion.other_windows)}
    for key, window in windows.items():
        if window > params.image_size:
            raise UserError(
                f"params.yaml: occlusion.{key} is {window}; it should be at most the image size, "
                f"sources.{params.data.source}.image_size = {params.image_size}"
            )
    return params


def load_with_combined(path: Path | str = "params.yaml", choice: Path | str = "report/combined.json") -> Params:
    """params.yaml with one variant more, the last: `combined`, with the overrides that stage combine chose.

    Raises:
        UserError: as `load`; or the choice is missing, is not what combine writes, or does not fit params.yaml.
    """
    params = load(path)
    try:
        overrides = json.loads(Path(choice).read_text(encoding="utf-8"))["overrides"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{choice}: not a readable choice ({type(error).__name__}); run `dvc repro combine`") from error
    params = params.with_variant(COMBINED, overrides)
    params.variant(COMBINED)
    return params


def _merged(base: Section, overrides: dict[str, Any], where: str) -> Any:
    return _validated(type(base), {**base.model_dump(), **overrides}, where)


def _validated(section: type[Section], values: dict[str, Any], where: str) -> Any:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        _fail(section, error.errors()[0], where)


def _fail(section: type[Section], error: dict[str, Any], where: str) -> NoReturn:
    """Say pydantic's first complaint in one sentence."""
    location = [str(part) for part in error["loc"]]
    key = ".".join([where] * bool(where) + location)
    if error["type"] == "extra_forbidden":
        for part in location[:-1]:
            section = _subsection(section, part)
        raise UserError(f"params.yaml: {key} is not a known key; allowed: {', '.join(section.model_fields)}")
    if error["type"] == "missing":
        raise UserError(f"params.yaml: {key} is missing")
    message = error["msg"].removeprefix("Value error, ")
    for theirs, ours in PLAINER.items():
        message = message.replace(theirs, ours)
    if isinstance(error["input"], dict) and error["type"] == "value_error":
        raise UserError(f"params.yaml: {key}: {message}")
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        message = "should hold parameters and their values"
    if message.startswith("should"):
        message = f"it {message}"
    raise UserError(f"params.yaml: {key} is {_shown(error['input'])}; {message}")


def _subsection(section: type[Section], key: str) -> type[Section]:
    annotation = section.model_fields[key].annotation
    return next(t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Section))


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
