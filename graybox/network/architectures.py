"""Networks by name: the parametric CNN, torchvision's classifiers, timm's, and the user's own functions."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graybox import arguments, errors, schema
from graybox.errors import UserError
from graybox.network import tracing, user_code
from graybox.network import weights as weights_of
from graybox.network.classifier import Classifier
from graybox.network.cnn import CNN
from graybox.network.inference import evaluating
from graybox.network.params import ModelParams, TrainParams
from graybox.network.wrapped import IMAGENET_MEAN, IMAGENET_STD, Wrapped, classes_of

TIMM = "timm:"


def build(
    params: ModelParams,
    image_size: int,
    class_names: Sequence[str],
    *,
    started: bool = True,
    recorded: Mapping[str, str] | None = None,
) -> Classifier:
    """The network that `params.architecture` names.

    Args:
        params: "cnn" is a `CNN` of the other parameters; a name of `torchvision.models`, "timm:NAME", or
            "package.module:function" of a module in the current folder, which is given the number of classes and gives
            an `nn.Module`, is a `Wrapped`.
        image_size: height and width of the images in pixels. `class_names`: in the order of the scores.
        started: whether to begin with `params.weights`; False leaves the initial weights random.
        recorded: the hashes that the files of the user's function must have (`user_code.hashes`); None = any.

    Raises:
        TypeError, ValueError: an argument is not allowed.
        UserError: there is no such network; it can't be built; it takes no images of this size, or gives no class
            scores; or the weights are not there, or not of this network.
    """
    arguments.instance("params", params, ModelParams)
    size = arguments.integer("image_size", image_size, 1, 2**16)
    names = arguments.names("class_names", class_names)
    if params.parametric:
        return CNN(params, size, names)
    code = user_code.hashes(params.architecture) if user_code.is_function(params.architecture) else {}
    network = _module(params, size, len(names), recorded)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if params.weights else ((0.5,) * 3, (0.25,) * 3)
    wrapped = Wrapped(network, size, names, mean, std, params)
    wrapped.code = code
    if started:
        check_answers(wrapped)
        if params.weights:
            start(wrapped, params.weights)
    return wrapped


def check_fits(params: ModelParams, schedule: TrainParams, image_size: int) -> None:
    """Check that a network of another architecture than cnn can be built and takes the training images of each size.

    Raises:
        UserError: it can't be built, does not take the images, or has nothing to train; or its initial weights are not
            there, or not its own.
    """
    with torch.random.fork_rng([]):
        model = None
        _imported(params.architecture)
        if not params.weights:
            try:  # without memory or time for the weights
                with torch.device("meta"):
                    model = build(params, image_size, ("a", "b"))
            except Exception:  # what a network does at its making may need numbers, as RegNet's does
                model = None
        model = model or build(params, image_size, ("a", "b"))
    assert isinstance(model, Wrapped)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError(f"model.architecture {params.architecture} has no weights to train; allowed: one that has")
    smallest = schedule.size_at(0, image_size)
    if smallest != image_size:
        with errors.within(f"train.start_size {schedule.start_size:g}: "):
            check_answers(model, smallest)


def check_answers(model: Wrapped, size: int | None = None) -> None:
    """Run one image through a network.

    Args:
        size: its height and width in pixels; None = the network's.

    Raises:
        UserError: the network does not take it, or does not give one score for each class.
    """
    size, name = size or model.image_size, model.params.architecture
    try:
        with torch.no_grad(), evaluating(model):
            scores = model.network(tracing.zeros(model.network, size))
    except Exception as error:
        raise UserError(
            f"model.architecture {name} takes no images of {size} x {size} pixels ({user_code.where(error)}); "
            f"allowed: another architecture, or another image size"
        ) from error
    classes = len(model.class_names)
    if not isinstance(scores, Tensor) or scores.shape != (1, classes):
        given = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(
            f"model.architecture {name} gives {given} for one image and {classes} classes; allowed: a network that "
            f"gives class scores, [1, {classes}]"
        )


def versions(params: ModelParams) -> str:
    """The library that builds a network, with its version; "" if it is none but PyTorch."""
    if params.parametric or user_code.is_function(params.architecture):
        return ""
    library: Any = _timm() if params.architecture.startswith(TIMM) else __import__("torchvision")
    return f"{library.__name__} {library.__version__}"


def files_of(params: ModelParams) -> dict[str, str]:
    """The SHA-256 of each file that a network is made of besides: the user's code and the initial weights."""
    found = user_code.hashes(params.architecture) if user_code.is_function(params.architecture) else {}
    if params.weights and (file := weights_file(params.weights)):
        found[file.as_posix()] = _sha256(file)
    return found


def weights_file(weights: str) -> Path | None:
    """The file that `model.weights` names; None if it is a name of torchvision's."""
    return None if weights.isidentifier() else Path(weights)


def _module(params: ModelParams, size: int, classes: int, recorded: Mapping[str, str] | None) -> nn.Module:
    name = params.architecture
    if user_code.is_function(name):
        make: Callable[[], Any] = lambda: user_code.function(name, recorded)(classes)  # noqa: E731
    elif name.startswith(TIMM):
        make = lambda: _of_timm(name.removeprefix(TIMM), size, classes)  # noqa: E731
    else:
        make = lambda: torchvision_network(name, size, classes, params.weights is not None)  # noqa: E731
    try:
        made = make()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"model.architecture {name} can't be built for {size} x {size} images and {classes} classes "
            f"({user_code.where(error)})"
        ) from error
    if not isinstance(made, nn.Module):
        raise UserError(f"model.architecture {name} gives a {type(made).__name__}; allowed: a torch.nn.Module")
    return made


def _imported(architecture: str) -> None:
    """Import what builds a network before it is built without numbers: a module's own tensors must have theirs."""
    if user_code.is_function(architecture):
        user_code.function(architecture)
    elif architecture.startswith(TIMM):
        _timm()
    else:
        torchvision_names()


def torchvision_names() -> list[str]:
    """The classifiers of torchvision.models."""
    from torchvision import models

    found: list[str] = models.list_models(module=models)
    return found


def torchvision_network(name: str, size: int, classes: int, pretrained: bool = False) -> nn.Module:
    """A classifier of torchvision.models with random weights.

    Args:
        pretrained: whether weights of torchvision follow, which some networks must know.

    Raises:
        UserError: there is none of this name.
    """
    from torchvision import models

    if name not in torchvision_names():
        from difflib import get_close_matches

        close = get_close_matches(name, torchvision_names(), 1, 0.6)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            f"model.architecture is {name}, which torchvision.models lacks; {hint}"
            f"allowed: cnn, one of torchvision.models.list_models(module=torchvision.models), timm:NAME, or "
            f"package.module:function"
        )
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their weights were trained on other pixels than ImageNet's usual ones; they change them back themselves.
        options = {"aux_logits": False, "init_weights": not pretrained, "transform_input": pretrained}
    elif name.startswith("vit_"):
        options = {"image_size": size}
    elif name.startswith("maxvit"):
        options = {"input_size": (size, size)}
    made: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return made


def _timm() -> Any:
    try:
        import timm  # which may not be installed
    except ModuleNotFoundError as error:
        raise UserError("model.architecture: timm is not installed; `pip install timm` brings it") from error
    return timm


def _of_timm(name: str, size: int, classes: int) -> nn.Module:
    timm = _timm()
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        hint = f"; allowed: such as {', '.join(close)}" if close else ""
        raise UserError(f"model.architecture is timm:{name}, which timm {timm.__version__} lacks{hint}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, img_size=size)
        except TypeError:  # of a network that takes any size
            made = timm.create_model(name, pretrained=False, num_classes=classes)
    return made


def start(model: Wrapped, weights: str) -> None:
    """Load initial weights, a name of torchvision's or a file; a last layer of other classes stays random.

    Raises:
        UserError: they are not there, or not of this network.
    """
    file, name, network = weights_file(weights), model.params.architecture, model.network
    state = weights_of.read_state(file) if file else weights_of.of_torchvision(name, weights)
    named = {layer: prefix for prefix, layer in network.named_modules()}
    last = _last(model)
    new = set() if last is None else set(last.state_dict(prefix=f"{named[last]}."))
    if why := weights_of.give(network, state, new):
        raise UserError(
            f"model.weights {schema.shown(weights)} does not fit {name}: {why}; allowed: the weights of a {name}"
        )


def _last(model: Wrapped) -> nn.Module | None:
    layers = [layer for layer in model.network.modules() if classes_of(layer) == len(model.class_names)]
    return layers[-1] if layers else None


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"model.weights is {file}, which can't be read ({error.strerror})") from error
