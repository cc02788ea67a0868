"""Other maps of what an answer rests on, by Captum, and networks some of whose layers have lost what they learned."""

from __future__ import annotations

import copy

import numpy as np
import torch
from captum.attr import InputXGradient, LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.torchvision_networks import settle
from graybox.network import inference
from graybox.network.cnn import CNN

GRAD_CAM, GRADIENT = "Grad-CAM", "gradient x input"


def usual(model: CNN) -> tuple[nn.Sequential, nn.Module]:
    """The same network on normalised images, with each ReLU before its max pooling, and the last conv layer's ReLU.

    `CNN` pools first, which gives the same values. Grad-CAM is defined on the rectified maps before they are pooled.
    The weights are the model's own.
    """
    layers: list[nn.Module] = []
    for layer in model.features:
        if isinstance(layer, nn.ReLU):
            pooling = [layers.pop()] if isinstance(layers[-1], nn.MaxPool2d) else []
            layers += [rectified := nn.ReLU(), *pooling]
        else:
            layers.append(layer)
    head = [nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in model.head]
    return nn.Sequential(*layers, *head).eval(), rectified


def by_gradient(model: CNN, image: NDArray[np.uint8], label: int, window: int) -> dict[str, NDArray[np.float64]]:
    """The importance of each pixel for a class's score (logit) by gradients, float64 [H, W], by the name of the map.

    - Grad-CAM (Selvaraju et al. 2017, section 3): the last conv layer's maps, each weighted by its mean gradient,
      summed, rectified and interpolated (bilinear).
    - gradient x input (Shrikumar et al. 2016): each pixel's gradient times its normalised value, summed over the
      colours. It is signed. The normalised value is 0 where a pixel has the training images' mean.
    - the same, summed over the window around each pixel: the first-order estimate of what a window with that mean does.

    Args:
        model: in evaluation mode. `image`: uint8 [H, W, 3]. `window`: N of the N x N window, odd.
    """
    network, rectified = usual(model)
    pixels = model.normalised(inference.to_float(inference.sent(image[None], model.mean.device)))
    maps = LayerGradCam(network, rectified).attribute(pixels, label, relu_attributions=True)
    cam = LayerAttribution.interpolate(maps, image.shape[:2], "bilinear")
    product = InputXGradient(network).attribute(pixels.detach().requires_grad_(), label).sum(dim=1, keepdim=True)
    summed = nn.functional.avg_pool2d(product, window, stride=1, padding=window // 2) * window**2
    return {
        GRAD_CAM: _plain(cam), GRADIENT: _plain(product), f"{GRADIENT}, summed {window} x {window}": _plain(summed)
    }  # fmt: skip


def _plain(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values[0, 0].detach().cpu().numpy(), np.float64)


def layers_of(model: CNN) -> dict[str, list[nn.Module]]:
    """The layers with weights, from the top: the last fully connected one first. A convolution has its batch norm."""
    fully = [[layer] for layer in model.head if isinstance(layer, nn.Linear)]
    convs: list[list[nn.Module]] = []
    for layer in model.features:
        if isinstance(layer, nn.BatchNorm2d):
            convs[-1].append(layer)
        elif any(True for _ in layer.parameters()):
            convs.append([layer])
    kinds = {"conv": convs, "fc": fully}
    named = {f"{kind} {place}": layer for kind, found in kinds.items() for place, layer in enumerate(found, start=1)}
    return dict(reversed(named.items()))


def randomised(model: CNN, count: int, seed: int, images: NDArray[np.uint8]) -> CNN:
    """A copy whose `count` top layers have new first weights (Adebayo et al. 2018, cascading randomisation).

    The batch norms of new convolutions get the statistics of `images`, as after training: with those that PyTorch
    starts with, the values would shrink from layer to layer. All else stays to the bit.

    Args:
        count: 0 = none, `len(layers_of(model))` = all. `seed`: of the new weights; a layer gets the same ones for every
            `count`. `images`: uint8 [N, H, W, 3], from the training split.
    """
    new = copy.deepcopy(model)
    groups = list(layers_of(new).values())[:count]
    renewed = [module for group in groups for layer in group for module in layer.modules()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in renewed:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    settle(new, inference.to_float(inference.sent(images, new.mean.device)), renewed)
    return new


def ranks_agree(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two maps of the same size, -1..1; 0 if one of them has no order at all."""
    from scipy.stats import spearmanr

    if min(np.ptp(one), np.ptp(other)) == 0:
        return 0.0
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
