"""The parametric CNN: its layers and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from graybox import arguments, files
from graybox.errors import UserError
from graybox.network import sizes
from graybox.network.classifier import Classifier
from graybox.network.geometry import receptive_fields
from graybox.network.inference import pick_device
from graybox.network.params import ModelParams
from graybox.network.sizes import conv_stride, layer_sizes, pools_after, shortcuts
from graybox.network.weights import load as load_weights

FORMAT = 3
"""The newest version of a model file's layout: its tensors and its metadata. A file without a version has 1.

1 is a parametric CNN, 2 a network of another architecture, 3 a parametric CNN with shortcuts around several layers.
A new parameter of `ModelParams` needs no new version if its default is the earlier behaviour.
"""


class Residual(nn.Module):
    """Convolutions with a shortcut around them: what they are given is added to what they give.

    The shortcut is the identity if the shape stays, else a 1 x 1 convolution (He et al. 2016, "Deep residual learning
    for image recognition", section 3.2). One that spans a single convolution (Ding et al. 2021, "RepVGG: making
    VGG-style ConvNets great again", section 3.3) can be folded into it after training.
    """

    def __init__(self, conv: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        # These names stand in saved models: `conv` has the norms and activations between the convolutions, too.
        self.conv, self.shortcut = nn.Sequential(*conv), nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.conv(x) + self.shortcut(x)
        return added


class CNN(Classifier):
    """Conv layers (convolution, batch norm, max pooling, ReLU), then fully connected layers.

    `forward` takes images as float [B, 3, H, W] in 0..1 and gives class scores (logits), float [B, classes].
    The network normalises its input itself: `mean` and `std` are saved with the weights.

    Attributes:
        params, image_size, class_names: what the network was built from; saved with it.
        features: the conv layers. `head`: the pooling and fully connected layers after them.
        mean, std: float [3, 1, 1], of the training images' pixels in 0..1.
        diverged: why this network is no result, in words (`graybox.network.divergence`), saved with it; "" if it may be
            one.

    Raises:
        TypeError: params is no ModelParams, image_size no integer, or class_names no list of names.
        ValueError: image_size is outside 1 to 65,536, or there are fewer than 2 class_names.
        UserError: a layer would leave nothing of the image.
    """

    def __init__(self, params: ModelParams, image_size: int, class_names: tuple[str, ...]) -> None:
        arguments.instance("params", params, ModelParams)
        image_size = arguments.integer("image_size", image_size, 1, 2**16)
        class_names = arguments.names("class_names", class_names)
        layer_sizes(params, image_size, len(class_names))  # raises if a layer has no pixels left
        super().__init__(params, image_size, tuple(class_names))
        # PyTorch's default initial weights. He's are larger, which makes batch norm's effective step smaller and
        # training slower (accuracy on `scenes` 0.76 instead of 0.85).
        self.features = nn.Sequential(*self._conv_layers())
        self.head = nn.Sequential(*self._fc_layers())

    def _conv_layers(self) -> list[nn.Module]:
        p, channels = self.params, 3
        layers: list[nn.Module] = []
        around = shortcuts(p)
        begins: dict[int, int] = {}  # where each conv layer stands in `layers`
        for number, filters in enumerate(p.filters_per_layer, start=1):
            begins[number] = len(layers)
            layers += _convolution(channels, filters, p.kernel_size, conv_stride(p, number), p.batch_norm)
            if shortcut := around.get(number):
                begin = begins[shortcut.layers[0]]
                ways = shortcut.inputs, filters, 1, shortcut.stride, p.batch_norm
                layers[begin:] = [Residual(layers[begin:], _convolution(*ways) if shortcut.projects else [])]
            # Max pooling and ReLU commute. Pooling first leaves ReLU a quarter of the work (saves a tenth of training).
            if p.max_pool and pools_after(p, number):
                layers.append(nn.MaxPool2d(p.max_pool, p.pool_stride))
            layers.append(nn.ReLU(inplace=True))
            channels = filters
        return layers

    def _fc_layers(self) -> list[nn.Module]:
        p, layer = self.params, layer_sizes(self.params, self.image_size, len(self.class_names))
        last_map = layer[-p.fc_layers - 1]
        inputs = last_map.channels * last_map.size**2
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if p.global_average_pool else []
        layers.append(nn.Flatten())
        for fc in layer[-p.fc_layers :]:
            layers += [nn.Dropout(p.dropout)] if p.dropout else []
            layers += [nn.Linear(inputs, fc.channels), nn.ReLU(inplace=True)]
            inputs = fc.channels
        return layers[:-1]  # no ReLU after the class scores

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.last_maps(images))
        return scores

    def last_maps(self, images: Tensor) -> Tensor:
        """The last conv layer's maps after pooling and ReLU, float [B, maps, h, w]. `images`: as for `forward`."""
        maps: Tensor = self.features(self.normalised(images))
        return maps

    @property
    def first_layer(self) -> nn.Module:
        """What sees the pixels: the first convolution, and the shortcut beside it if there is one."""
        first = self.features[0]
        return nn.ModuleList([first.conv[0], first.shortcut]) if isinstance(first, Residual) else first

    @property
    def last_layer(self) -> nn.Linear:
        """The fully connected layer that gives the class scores."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        return last

    def receptive_fields(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [h, 2] twice: the pixels [first, end) that each row and each column of the last maps sees, clipped."""
        fields = np.array(receptive_fields(self.params, self.image_size))
        return fields, fields

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates that the network needs for one image."""
        return sizes.multiply_accumulates(self.params, self.image_size, len(self.class_names))


def _convolution(inputs: int, filters: int, kernel: int, stride: int, batch_norm: bool) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(filters)] if batch_norm else [conv]


def save(model: Classifier, path: Path | str) -> None:
    """Write the weights as safetensors; the file's metadata holds all that is needed to rebuild the network.

    Args:
        model: from `load`, `graybox.network.training.fit`, `graybox.network.architectures.build` or `CNN(...)`. The
            file keeps its weights, parameters, image size and class names only, and the hashes of your code that it was
            built from: if you replaced layers by hand, `load` gives the original layers or fails.
        path: the file; an existing one is replaced. Missing folders are made.

    Raises:
        TypeError: the model is no `Classifier`, or `path` no path.
        ValueError: `path` names no file, or the model was wrapped by hand, so that nothing says how to build it.
        UserError: the file can't be written.
    """
    arguments.instance("model", model, Classifier)
    path = arguments.path("path", path)
    if not path.name:
        raise ValueError(f"path is {str(path)!r}; it should be the path of a file")
    if model.params.parametric and not isinstance(model, CNN):
        raise ValueError("model was wrapped by hand, and nothing says how to build it; it should be from build or fit")
    code = getattr(model, "code", {})
    layout, settings = _layout(model.params), model.params.used()
    if layout == 1:
        settings["residual"] = bool(settings["residual"])  # which is all that an older Graybox can read
    network = {
        "format": layout,
        "model": settings,
        "image_size": model.image_size,
        "class_names": list(model.class_names),
        **({"files": code} if code else {}),
        **({"diverged": model.diverged} if model.diverged else {}),
    }
    metadata = {"graybox": json.dumps(network, sort_keys=True)}
    content = safetensors.torch.save(_apart(model.state_dict()), metadata=metadata)
    with files.replacing(path) as part:  # written here, as the library's own errors of writing are no OSError
        part.write_bytes(content)


def _layout(params: ModelParams) -> int:
    """The oldest version of the file's layout that can hold the network."""
    if not params.parametric:
        return 2
    return 3 if params.residual > 1 else 1


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, none of which shares its memory with another: safetensors refuses those."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        own = tensor.detach().cpu().contiguous()
        found[name] = own.clone() if own.data_ptr() in seen else own
        seen.add(own.data_ptr())
    return found


def load(path: Path | str, device: torch.device | str = "cpu") -> Classifier:
    """Build the network that `save` wrote, in evaluation mode. Nothing is unpickled.

    A parameter that an older file lacks gets its default. A network of your own function is built by it again: only a
    module in the current folder is imported, and only if its files are those that the model was saved with.

    Args:
        path: the file.
        device: where the network goes: "cpu", "cuda", "cuda:1", "mps", or "auto" (CUDA, else MPS, else the CPU).

    Raises:
        TypeError: `path` is no path.
        UserError: the device is not there, or the file is missing, is not safetensors, was not written by `save`, or
            has a newer format; or the function that builds it is not here, or not the same.
    """
    path, place = arguments.path("path", path), pick_device(device)
    try:
        with safe_open(path, framework="pt", device=str(place)) as file:
            network = json.loads((file.metadata() or {})["graybox"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        written = int(network.get("format", 1))
        model = _built(network, weights) if written <= FORMAT else None
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file; allowed: a model that was saved (.safetensors)") from error
    except torch.OutOfMemoryError:
        raise  # the file is fine
    except _Unbuildable as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        raise UserError(f"{path}: not a readable Graybox model ({type(error).__name__}); train it again") from error
    if model is None:
        raise UserError(f"{path} has format {written}, and this Graybox reads formats up to {FORMAT}; update Graybox")
    return placed(model, place).eval()


def placed(model: Classifier, device: torch.device | str) -> Classifier:
    """The same network on a device, with its weights in channels_last, the fastest memory layout for convolutions."""
    moved: Classifier = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its types
    return moved


class _Unbuildable(Exception):
    """Why a sound file's network of another architecture can't be built here."""


def _built(network: dict[str, Any], weights: dict[str, Tensor]) -> Classifier:
    params, size, names = ModelParams(**network["model"]), network["image_size"], tuple(network["class_names"])
    model: Classifier
    if params.parametric:
        model = CNN(params, size, names)
    else:
        from graybox.network.architectures import build  # which imports this module

        try:
            model = build(params, size, names, started=False, recorded=network.get("files", {}))
        except UserError as error:
            raise _Unbuildable(str(error)) from error
    load_weights(model, weights)
    model.diverged = str(network.get("diverged", ""))
    return model
