"""What a map of the last conv layer responds to: its projection to the pixels, and the patches that excite it most.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sections 2.1 and 4.1, figures 2 and 7(c).
"""

from __future__ import annotations

import copy
import threading
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graybox.features.rectified import Maps, rectified
from graybox.network.classifier import Classifier
from graybox.network.inference import class_scores, to_float, usual_batch
from graybox.network.wrapped import Wrapped

Method = Literal["guided", "deconvnet"]
# What is ignored of warnings is one list for all threads: one that leaves would give another its warning back.
_ONE_AT_A_TIME = threading.Lock()


def _pixels(model: Classifier, images: np.ndarray) -> Tensor:
    # Copy, as PyTorch can't wrap a read-only memory map.
    return to_float(torch.from_numpy(np.array(images)).to(model.mean.device))


@torch.inference_mode()
def last_maps(model: Classifier, image: np.ndarray) -> np.ndarray:
    """The maps of the last conv layer after pooling and ReLU, float32 [maps, h, w], of one image, uint8 [H, W, 3]."""
    return model.last_maps(_pixels(model, image[None]))[0].float().cpu().numpy()


def strongest_map(maps: np.ndarray) -> int:
    """The map of the last conv layer with the largest total activation, after pooling and ReLU.

    `graybox.occlusion.maps.window_scores` records its total for each window (Zeiler & Fergus 2014, figure 7(b): "the
    layer 5 map with the strongest activation in the unoccluded image").

    Args:
        maps: float [maps, h, w], of the unoccluded image; from `last_maps`.
    """
    return int(maps.sum((1, 2)).argmax())


class _MapEnergy(nn.Module):
    """Half the sum of one map's squared activations: its gradient with respect to the map is the map itself."""

    def __init__(self, model: Classifier | Maps, feature_map: int) -> None:
        super().__init__()
        self.model, self.feature_map = model, feature_map

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.last_maps(pixels)[:, self.feature_map].square().sum((1, 2)) / 2


def project(model: Classifier, image: np.ndarray, feature_map: int, method: Method = "guided") -> np.ndarray | None:
    """Project one map of the last conv layer to the pixels: what in the image it responds to.

    Both methods set all other maps to zero and send the map's activations back, through the transposed convolutions and
    to the places of each pooling's maxima. At a ReLU the deconvnet keeps the positive part of the signal; guided
    backpropagation keeps it only where the activation was positive too.

    Args:
        model: in evaluation mode; left unchanged.
        image: uint8 [H, W, 3].
        feature_map: which map of the last conv layer.
        method: "guided": guided backpropagation (Springenberg et al. 2015, "Striving for Simplicity: The All
            Convolutional Net", section 3.4); "deconvnet": Zeiler & Fergus 2014, section 2.1. Batch normalisation,
            which neither paper has, is treated as a linear map, as in evaluation.

    Returns:
        float32 [H, W, 3], signed, without a unit: only the pattern has a meaning. All zero if the map is. None if the
        network has another activation than ReLU: both methods say what to do at a ReLU only.
    """
    from captum.attr import Deconvolution, GuidedBackprop  # only this function needs it

    methods = {"guided": GuidedBackprop, "deconvnet": Deconvolution}
    if method not in methods:
        raise ValueError(f"method is {method!r}; allowed: {', '.join(get_args(Method))}")
    with torch.inference_mode(False), torch.enable_grad(), _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
        pixels = _pixels(model, image[None]).requires_grad_()
        # Use a copy: captum adds hooks, and another thread may use the model.
        copied = rectified(model) if isinstance(model, Wrapped) else copy.deepcopy(model)
        if copied is None:
            return None
        found: Tensor = methods[method](_MapEnergy(copied, feature_map)).attribute(pixels)
    return found[0].detach().permute(1, 2, 0).float().cpu().numpy()


@dataclass(frozen=True)
class Peaks:
    """The largest activation of each map of the last conv layer in each image, and its place.

    Of a network without maps, there are 0 of them, and `predicted` alone says something.

    Attributes:
        activation: float32 [N, maps], after pooling and ReLU; 0 where the map is silent.
        row, column: int64 [N, maps], places in the map (the first of equals).
        fields: int64 [h, 2] and [w, 2], the pixels [first, end) that each row and each column of a map sees.
        predicted: int64 [N], the network's answer to each image.
    """

    activation: np.ndarray
    row: np.ndarray
    column: np.ndarray
    fields: tuple[np.ndarray, np.ndarray]
    predicted: np.ndarray


@dataclass(frozen=True)
class Patch:
    """The part of an image that excites a map of the last conv layer most.

    Attributes:
        image: its row in the images that were searched.
        activation: the map's largest value there.
        box: x0, y0, x1, y1 in pixels, half-open: the activation's receptive field, clipped at the border.
    """

    image: int
    activation: float
    box: tuple[int, int, int, int]


@torch.inference_mode()
def map_peaks(model: Classifier, images: np.ndarray, batch_size: int | None = None) -> Peaks:
    """Each map's largest activation in each image, and the network's answers, which need no second run.

    Args:
        model: in evaluation mode.
        images: uint8 [N, H, W, 3], N of at least 1; they may be memory-mapped.
        batch_size: images computed at a time; None = chosen for the device.
    """
    batch_size = batch_size or usual_batch(model.mean.device)
    if not model.has_maps:
        answers = class_scores(model, images, batch_size=batch_size).argmax(1).numpy()
        none, no_places = np.zeros((len(images), 0), np.int64), np.zeros((0, 2), np.int64)
        return Peaks(none.astype(np.float32), none, none, (no_places, no_places), answers)
    values, places, predicted = [], [], []
    for start in range(0, len(images), batch_size):
        maps = model.last_maps(_pixels(model, images[start : start + batch_size]))
        value, place = maps.flatten(2).max(2)
        predicted.append(model.head(maps).argmax(1).cpu())  # type: ignore[operator]  # a method or a module
        values.append(value.float().cpu())
        places.append(place.cpu())
    row, column = np.divmod(torch.cat(places).numpy(), maps.shape[-1])
    fields = model.receptive_fields()
    return Peaks(torch.cat(values).numpy(), row, column, fields, torch.cat(predicted).numpy())


def top_patches(peaks: Peaks, feature_map: int, count: int, exclude: int | None = None) -> list[Patch]:
    """The patches that excite one map most, the strongest first: at most one of each image (Zeiler & Fergus, figure 2).

    Args:
        feature_map: which map of the last conv layer.
        count: how many at most; there are fewer where the map is silent in the other images.
        exclude: the row of an image to leave out, such as the one to compare the patches with.
    """
    activation = peaks.activation[:, feature_map]
    order = [row for row in np.argsort(-activation, kind="stable") if activation[row] > 0 and row != exclude]
    patches = []
    for image in order[:count]:
        y0, y1 = peaks.fields[0][peaks.row[image, feature_map]]
        x0, x1 = peaks.fields[1][peaks.column[image, feature_map]]
        patches.append(Patch(int(image), float(activation[image]), (int(x0), int(y0), int(x1), int(y1))))
    return patches
