"""torchvision's classifiers as the benchmarks use them: random weights, settled batch norms, pixels in 0..1."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torchvision import models

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, which torchvision's networks want normalised."""


class Normalised(nn.Module):
    """A network that takes images in 0..1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network((images - self.mean) / self.std)
        return scores


def names() -> list[str]:
    """All of torchvision's classifiers of single images."""
    return models.list_models(module=models)


def network(name: str, pixels: int, device: torch.device | str = "cpu", classes: int = 1000) -> Normalised:
    """A classifier with random weights, in evaluation mode and channels_last.

    Its batch norms have the statistics of random pictures of this size, as after training: with those that PyTorch
    starts with, a deep network's values grow or vanish from layer to layer.
    """
    torch.manual_seed(0)
    options = {"image_size": pixels} if name.startswith("vit_") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that torchvision will draw in another way
        model = Normalised(models.get_model(name, weights=None, num_classes=classes, **options))
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():  # as of a vision transformer's head
            nn.init.normal_(module.weight, std=0.02)
    model = model.to(device, memory_format=torch.channels_last).eval()
    settle(model, torch.stack([picture(pixels, seed) for seed in range(8)]).to(device))
    return model


def picture(pixels: int, seed: int) -> Tensor:
    """A random picture, float [3, H, W] in 0..1, that is smooth in places, as photographs are."""
    draw = torch.Generator().manual_seed(seed)
    layers = [torch.rand(1, 3, side, side, generator=draw) for side in (4, 16, pixels)]
    large = [nn.functional.interpolate(layer, (pixels, pixels), mode="bilinear")[0] for layer in layers]
    return (0.5 * large[0] + 0.3 * large[1] + 0.2 * large[2]).clamp(0, 1)


def image(pixels: int, seed: int = 100) -> np.ndarray:
    """A picture as uint8 [H, W, 3]."""
    return (picture(pixels, seed) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


@torch.no_grad()
def settle(model: nn.Module, images: Tensor, modules: Sequence[nn.Module] | None = None) -> None:
    """Set the statistics of batch norms to those of these images; the rest stays in evaluation mode.

    Args:
        modules: those of the model whose batch norms are settled; None = all.
    """
    some = model.modules() if modules is None else modules
    norms = [module for module in some if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
        norm.train()
    if norms:
        model(images)
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


def folded(model: nn.Module) -> nn.Module:
    """The same network with its batch norms folded into the convolutions, as PyTorch does it."""
    return fuse(copy.deepcopy(model)).to(memory_format=torch.channels_last)
