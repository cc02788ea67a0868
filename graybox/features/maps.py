"""What a map of the last conv layer answers to: the map projected to the pixels, and the patches that excite it most.

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

from graybox.network.cnn import CNN
from graybox.network.inference import to_float
from graybox.occlusion.incremental.receptive import receptive_fields

Method = Literal["guided", "deconvnet"]
# What is ignored of warnings is one list for all threads: one that leaves would give another its warning back.
_ONE_AT_A_TIME = threading.Lock()


def _pixels(model: CNN, images: np.ndarray) -> Tensor:
    # A copy, as PyTorch can't wrap what is memory-mapped read-only.
    return to_float(torch.from_numpy(np.array(images)).to(model.mean.device))


@torch.inference_mode()
def last_maps(model: CNN, image: np.ndarray) -> np.ndarray:
    """The maps of the last conv layer after pooling and ReLU, float32 [maps, h, w], of one image, uint8 [H, W, 3]."""
    return model.last_maps(_pixels(model, image[None]))[0].float().cpu().numpy()


def strongest_map(maps: np.ndarray) -> int:
    """The map of the last conv layer with the largest total activation, after pooling and ReLU.

    The one whose total `graybox.occlusion.maps.window_scores` records as the window slides (Zeiler & Fergus 2014,
    figure 7(b): "the layer 5 map with the strongest activation in the unoccluded image").

    Args:
        maps: float [maps, h, w], of the unoccluded image; from `last_maps`.
    """
    return int(maps.sum((1, 2)).argmax())


class _MapEnergy(nn.Module):
    """Half the sum of one map's squared activations: its gradient with respect to the map is the map itself."""

    def __init__(self, model: CNN, feature_map: int) -> None:
        super().__init__()
        self.model, self.feature_map = model, feature_map

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.last_maps(pixels)[:, self.feature_map].square().sum((1, 2)) / 2


def project(model: CNN, image: np.ndarray, feature_map: int, method: Method = "guided") -> np.ndarray:
    """What in the image a map of the last conv layer answers to: the map, all others set to zero, sent back down.

    Both methods start from the map's activations and go back through the convolutions transposed and to the places
    that each pooling took its maxima from. On the way back through a ReLU the deconvnet keeps what is positive of the
    signal; guided backpropagation keeps it only where the ReLU let the activation pass as well.

    Args:
        model: in evaluation mode; it is left as it was.
        image: uint8 [H, W, 3].
        feature_map: which map of the last conv layer.
        method: "guided": guided backpropagation (Springenberg et al. 2015, "Striving for Simplicity: The All
            Convolutional Net", section 3.4); "deconvnet": Zeiler & Fergus 2014, section 2.1. Batch normalisation,
            which neither paper has, is taken as the linear map that it is in evaluation.

    Returns:
        float32 [H, W, 3], signed, of no particular unit: only its pattern means something. Zero where the map is.
    """
    from captum.attr import Deconvolution, GuidedBackprop  # which all else here does not need

    methods = {"guided": GuidedBackprop, "deconvnet": Deconvolution}
    if method not in methods:
        raise ValueError(f"method is {method!r}; allowed: {', '.join(get_args(Method))}")
    with torch.inference_mode(False), torch.enable_grad(), _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
        pixels = _pixels(model, image[None]).requires_grad_()
        # Of a copy, as captum hangs hooks on it, which another thread's answers must not meet.
        found: Tensor = methods[method](_MapEnergy(copy.deepcopy(model), feature_map)).attribute(pixels)
    return found[0].detach().permute(1, 2, 0).float().cpu().numpy()


@dataclass(frozen=True)
class Peaks:
    """For each image and each map of the last conv layer the largest activation, and where it is.

    Attributes:
        activation: float32 [N, maps], after pooling and ReLU; 0 where the map is silent.
        row, column: int64 [N, maps], places in the map (the first of equals).
        fields: int64 [h, 2], the pixels [first, end) that each place of a map sees along either axis.
    """

    activation: np.ndarray
    row: np.ndarray
    column: np.ndarray
    fields: np.ndarray


@dataclass(frozen=True)
class Patch:
    """The part of an image that a map of the last conv layer answers to most.

    Attributes:
        image: its row in the images that were searched.
        activation: the map's largest value there.
        box: x0, y0, x1, y1 in pixels, half-open: all that this activation sees, clipped at the border.
    """

    image: int
    activation: float
    box: tuple[int, int, int, int]


@torch.inference_mode()
def map_peaks(model: CNN, images: np.ndarray, batch_size: int = 256) -> Peaks:
    """Each map's largest activation in each image.

    Args:
        model: in evaluation mode.
        images: uint8 [N, H, W, 3], N of at least 1; they may be memory-mapped.
        batch_size: images computed at a time.
    """
    values, places = [], []
    for start in range(0, len(images), batch_size):
        maps = model.last_maps(_pixels(model, images[start : start + batch_size]))
        value, place = maps.flatten(2).max(2)
        values.append(value.float().cpu())
        places.append(place.cpu())
    row, column = np.divmod(torch.cat(places).numpy(), maps.shape[-1])
    fields = np.array(receptive_fields(model.params, model.image_size))
    return Peaks(torch.cat(values).numpy(), row, column, fields)


def top_patches(peaks: Peaks, feature_map: int, count: int, exclude: int | None = None) -> list[Patch]:
    """The patches that excite one map most, the strongest first: at most one of each image (Zeiler & Fergus, figure 2).

    Args:
        feature_map: which map of the last conv layer.
        count: how many at most; there are fewer where the map is silent in the other images.
        exclude: the row of an image to leave out, such as the one that the patches are to be compared with.
    """
    activation = peaks.activation[:, feature_map]
    order = [row for row in np.argsort(-activation, kind="stable") if activation[row] > 0 and row != exclude]
    patches = []
    for image in order[:count]:
        y0, y1 = peaks.fields[peaks.row[image, feature_map]]
        x0, x1 = peaks.fields[peaks.column[image, feature_map]]
        patches.append(Patch(int(image), float(activation[image]), (int(x0), int(y0), int(x1), int(y1))))
    return patches
