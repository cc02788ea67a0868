"""A network together with the preprocessing of its pixels' values, so that all else gives it values in 0..1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from graybox import arguments
from graybox.network.classifier import Classifier
from graybox.network.inference import device_of

if TYPE_CHECKING:
    from graybox.data.transforms import Geometry, Parts


class Normalise(nn.Module):
    """(values - mean) / std for each channel, as torchvision's Normalize; made of operations that can be traced."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Applied(nn.Module):
    """A function of the user's own before a network."""

    def __init__(self, function: Callable[[Any], Any], network: nn.Module) -> None:
        super().__init__()
        self.function, self.network = function, network

    def forward(self, images: Tensor) -> Tensor:
        given = self.function(images)
        if not isinstance(given, Tensor) or given.ndim != 4 or len(given) != len(images):
            raise TypeError(
                f"preprocess gives {arguments.shown(given)} for {arguments.shown(images)}; it should give as many "
                f"images, float [B, C, H, W]"
            )
        scores: Tensor = self.network(given)
        return scores


def preprocessed(model: nn.Module, preprocess: object) -> tuple[nn.Module, Geometry | None]:
    """The network that takes values in 0..1 where `model` takes preprocessed ones, and what happens to the picture.

    A `Classifier` normalises its values itself, so it stays as it is.

    Raises:
        TypeError, ValueError: as `graybox.data.transforms.parts`; or the model is a `Classifier` that normalises its
            values in another way.
    """
    if preprocess is None:
        return model, None
    from graybox.data.transforms import parts  # which a study does not need

    found = parts(preprocess)
    if isinstance(model, Classifier):
        _check_agrees(model, found)
    elif found.function is not None:
        model = Applied(found.function, model)
    elif found.mean is not None and found.std is not None:
        weight = next((weight for weight in model.parameters() if weight.is_floating_point()), None)
        kind = torch.float32 if weight is None else weight.dtype
        model = nn.Sequential(Normalise(found.mean, found.std).to(device_of(model), kind), model)
    return model, found.geometry


def _check_agrees(model: Classifier, found: Parts) -> None:
    if found.function is not None:
        raise ValueError("preprocess is a function, and this model normalises its values itself; it should be None")
    if found.mean is None or found.std is None:
        return
    for name, ours, theirs in (("mean", model.mean, found.mean), ("std", model.std, found.std)):
        own = [round(float(value), 4) for value in ours.flatten()]
        if not np.allclose(own, theirs, atol=1e-3):
            raise ValueError(
                f"preprocess has {name} {[round(value, 4) for value in theirs]}, and this model normalises its values "
                f"itself with {own}; the two should be the same"
            )


def check_prepared(geometry: Geometry | None, height: int, width: int) -> None:
    """Raise a ValueError if images of this size are not what comes out of this resizing and cropping."""
    if geometry is not None and (size := geometry.size(height, width)) != (height, width):
        raise ValueError(
            f"images has {height} x {width} pixels, and preprocess makes {size[0]} x {size[1]} of them; it should have "
            f"what the network sees, as graybox.read_folder(..., preprocess=...) reads it"
        )
