"""The network that the command line names: its code, its weights, its classes, and how its pictures are prepared."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graybox.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor, nn

    from graybox.network.classifier import Classifier
    from graybox.network.params import ModelParams
    from graybox.network.wrapped import Wrapped

BEST = Path("models/best.safetensors")
TORCHVISION, TIMM = "torchvision:", "timm:"
ALLOWED = "a model that Graybox saved (.safetensors), torchvision:NAME, timm:NAME, or package.module:function"
OWN_SIZE = 224


@dataclass(frozen=True)
class Chosen:
    """A network that is ready to be asked.

    Attributes:
        network: in evaluation mode, on its device; it normalises its values itself.
        preprocess: torchvision's or timm's transforms, whose resizing and cropping make its pictures; None = the
            largest central square is resized.
        study: whether it is a model that Graybox saved.
        said: how its pictures are prepared, in a sentence; "" for a model that Graybox saved.
    """

    network: Classifier
    preprocess: object
    study: bool
    said: str


def chosen(options: argparse.Namespace, device: torch.device) -> Chosen:
    """The network that --model names.

    Raises:
        UserError: an option is missing, does not fit the others, or names what is not there.
    """
    model = str(options.model)
    if model.endswith(".safetensors") or Path(model).is_file():
        return _saved(options, device)
    if ":" not in model:
        raise UserError(f"--model is {model}, and there is no such file; allowed: {ALLOWED}")
    with _as_options(model):
        if model.startswith(TORCHVISION):
            return _of_torchvision(options, model.removeprefix(TORCHVISION), device)
        return _of_timm(options, device) if model.startswith(TIMM) else _of_your_own(options, device)


@contextmanager
def _as_options(model: str) -> Iterator[None]:
    """The library speaks of keys of params.yaml; here they are options."""
    try:
        yield
    except UserError as error:
        name = model.removeprefix(TORCHVISION)
        told = str(error).replace(f"model.architecture is {name}", f"--model is {model}")
        told = told.replace(f"model.architecture {name}", f"--model {model}").replace("model.weights", "--weights")
        raise UserError(
            told.replace("model.architecture", "--model").replace("allowed: null, or", "allowed:")
        ) from error


def _saved(options: argparse.Namespace, device: torch.device) -> Chosen:
    from graybox.network import cnn

    for name in ("weights", "classes", "image_size", "mean", "std"):
        if getattr(options, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} does not go with {options.model}, which holds that itself; allowed: "
                f"another --model, or leave it out"
            )
    path = Path(options.model)
    if path == BEST and not path.exists():
        raise UserError(f"{path}: there is no model yet; run `dvc repro` first, or name one with --model")
    try:
        return Chosen(cnn.load(path, device), None, True, "")
    except UserError as error:
        if "not a readable Graybox model" not in str(error):
            raise
        raise UserError(
            f"--model is {path}, which Graybox did not save; allowed for a file of weights: --model torchvision:NAME, "
            f"timm:NAME or package.module:function, and --weights {path}"
        ) from error


def _of_torchvision(options: argparse.Namespace, name: str, device: torch.device) -> Chosen:
    from torchvision import models

    from graybox.network import architectures
    from graybox.network.params import ModelParams
    from graybox.network.weights import of_torchvision, read_state

    if name not in architectures.torchvision_names():
        architectures.build(_params(options, name), OWN_SIZE, ("a", "b"))  # which says what is wrong
    every = models.get_model_weights(name)
    if options.weights is None:
        raise UserError(
            f"--weights is missing: with random ones {name} has nothing to explain; allowed: a file (.pth, "
            f".safetensors), or the name of torchvision's weights: {', '.join(every.__members__)}"
        )
    named = options.weights if options.weights in every.__members__ else None
    if named is None and not Path(options.weights).is_file():
        raise UserError(
            f"--weights is {options.weights}, and there is no such file; allowed: a file (.pth, .safetensors), or the "
            f"name of torchvision's weights: {', '.join(every.__members__)}"
        )
    file = Path(options.weights).name
    entry = every[named] if named else next((one for one in every if one.url.endswith(f"/{file}")), next(iter(every)))
    names = _class_names(options, entry.meta["categories"])
    preset = entry.transforms()
    if options.image_size:
        resize = round(options.image_size * preset.resize_size[0] / preset.crop_size[0])
        preset = entry.transforms(crop_size=options.image_size, resize_size=resize)
    size = preset.crop_size[0]
    mean, std = _normalisation(options, preset.mean, preset.std)
    # torchvision's own weights, and what was trained from them, expect what `weights` brings in googlenet.
    params = ModelParams(architecture=name, weights=named or str(options.weights))
    network: Any = architectures.build(params, size, names, started=False)
    state = of_torchvision(name, named) if named else read_state(Path(options.weights))
    _load(network.network, state, options)
    where = f"as torchvision does for {name}'s {entry.name}"
    said = f"resized to {preset.resize_size[0]}, centre crop of {size} pixels, {_shown(mean, std)}, {where}"
    return _ready(network, mean, std, device, preset, said)


def _of_timm(options: argparse.Namespace, device: torch.device) -> Chosen:
    from graybox.data.transforms import parts
    from graybox.network import architectures
    from graybox.network.weights import read_state

    try:
        timm: Any = importlib.import_module("timm")  # which may not be installed
    except ModuleNotFoundError as error:
        raise UserError("--model: timm is not installed; `pip install timm` brings it") from error
    if options.weights is None:
        raise UserError("--weights is missing: with random ones a network has nothing to explain; allowed: a file")
    name = str(options.model).removeprefix(TIMM)
    config = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    names = _class_names(options, _imagenet_names() if config is not None and config.num_classes == 1000 else None)
    size = options.image_size or (config.input_size[-1] if config is not None else OWN_SIZE)
    network: Any = architectures.build(_params(options, str(options.model)), size, names)
    _load(network.network, read_state(Path(options.weights)), options)
    given = timm.data.resolve_data_config({"input_size": (3, size, size)}, model=network.network)
    mean, std = _normalisation(options, given["mean"], given["std"])
    preset = timm.data.create_transform(**{**given, "mean": mean, "std": std}, is_training=False)
    try:
        parts(preset)
    except ValueError as error:  # a few networks pad their pictures
        raise UserError(
            f"--model {options.model}: what timm does to its pictures is not known here ({error})"
        ) from error
    squeezed = "squeezed to a square, " if given["crop_mode"] == "squash" else ""
    share = f"{squeezed}the central {given['crop_pct']:.1%} resized and cropped to {size} pixels"
    return _ready(network, mean, std, device, preset, f"{share}, {_shown(mean, std)}, as timm does")


def _of_your_own(options: argparse.Namespace, device: torch.device) -> Chosen:
    from graybox.network import architectures
    from graybox.network.weights import read_state

    names = _class_names(options, None)
    size = options.image_size or OWN_SIZE
    network: Any = architectures.build(_params(options, str(options.model)), size, names)
    if options.weights is not None:
        _load(network.network, read_state(Path(options.weights)), options)
    mean, std = _normalisation(options, None, None)
    said = f"the largest central square, resized to {size} pixels, {_shown(mean, std)}"
    if options.weights is None:
        said += f"; without --weights, the network has those that {options.model} gives it"
    return _ready(network, mean, std, device, None, said)


def _params(options: argparse.Namespace, architecture: str) -> ModelParams:
    from graybox.network.params import ModelParams
    from graybox.schema import validated

    try:
        return validated(ModelParams, {"architecture": architecture})
    except UserError as error:
        raise UserError(f"--model is {options.model}; allowed: {ALLOWED}") from error


def _ready(
    network: Wrapped, mean: Sequence[float], std: Sequence[float], device: torch.device, preprocess: object, said: str
) -> Chosen:
    import torch

    from graybox.network.architectures import check_answers

    check_answers(network)
    network.mean.copy_(torch.tensor(mean).view(3, 1, 1))
    network.std.copy_(torch.tensor(std).view(3, 1, 1))
    placed: Wrapped = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not typed
    return Chosen(placed.eval(), preprocess, False, f"Pictures: {said}.")


def _class_names(options: argparse.Namespace, usual: Sequence[str] | None) -> tuple[str, ...]:
    if options.classes is None:
        if usual is None:
            raise UserError(f"--classes is missing; allowed with {options.model}: a text file with one class a line")
        return tuple(usual)
    try:
        lines = Path(options.classes).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise UserError(f"--classes is {options.classes}, which can't be read ({why})") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) < 2:
        raise UserError(
            f"--classes is {options.classes}, which has {len(names)} lines; allowed: one class a line, two or more, in "
            f"the order of the network's scores"
        )
    return names


def _imagenet_names() -> list[str]:
    from torchvision.models import ResNet50_Weights

    names: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return names


def _normalisation(
    options: argparse.Namespace, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    if (options.mean is None) != (options.std is None):
        given, missing = ("mean", "std") if options.std is None else ("std", "mean")
        raise UserError(f"--{missing} is missing; allowed: both --{given} and --{missing}, or neither")
    found = [list(options.mean or mean or (0.0,) * 3), list(options.std or std or (1.0,) * 3)]
    if not all(abs(value) < 1e6 for value in (*found[0], *found[1])) or min(found[1]) < 1e-6:
        raise UserError("--mean and --std should be three numbers each, of values in 0..1, and --std above 0")
    return found[0], found[1]


def _shown(mean: Sequence[float], std: Sequence[float]) -> str:
    if set(mean) == {0} and set(std) == {1}:
        return "values in 0..1 (--mean and --std normalise them)"
    return f"normalised with mean {' '.join(f'{v:g}' for v in mean)} and std {' '.join(f'{v:g}' for v in std)}"


def _load(network: nn.Module, state: Mapping[str, Tensor], options: argparse.Namespace) -> None:
    """Give the network all its weights; what is missing, unexpected or of another shape is one sentence."""
    from graybox.network.weights import give

    if why := give(network, state):
        raise UserError(
            f"{options.weights} does not fit {options.model}: {why}; allowed: its weights, with the --classes and "
            f"--image-size that they were trained with"
        )
