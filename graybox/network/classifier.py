"""What the study, the maps, the verdict and the mistakes ask of a network, and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from graybox.network.params import ModelParams


class Classifier(nn.Module):
    """A network that takes images as float [B, 3, H, W] in 0..1 and gives class scores (logits), float [B, classes].

    It normalises its input itself: `mean` and `std` are saved with the weights.

    Attributes:
        params: what it was built from. `image_size`: height and width of its images in pixels.
        class_names: in the order of the scores.
        diverged: why this network is no result, in words (`graybox.network.divergence`); "" if it may be one.
        mean, std: float [3, 1, 1], of the training images' pixels in 0..1.
        has_maps: whether `last_maps`, `head` and `receptive_fields` can be asked; if not, NotImplementedError.
    """

    mean: Tensor
    std: Tensor
    has_maps: bool = True

    def __init__(self, params: ModelParams, image_size: int, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.params, self.image_size, self.class_names = params, image_size, tuple(class_names)
        self.diverged = ""
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))
        self.register_buffer("std", torch.full((3, 1, 1), 0.25))

    def normalised(self, images: Tensor) -> Tensor:
        """(images - mean) / std, with the training images' values. `images`: float [..., 3, H, W] in 0..1."""
        return (images - self.mean) / self.std

    def last_maps(self, images: Tensor) -> Tensor:
        """The last maps that still have places, float [B, maps, h, w]: after pooling and activation. `images`: as for
        `forward`."""
        raise NotImplementedError

    # `head`, float [B, maps, h, w] -> class scores, what follows `last_maps`, is a method or a module.

    @property
    def first_layer(self) -> nn.Module:
        """The layer with weights that sees the pixels."""
        raise NotImplementedError

    @property
    def last_layer(self) -> nn.Module:
        """The layer that gives the class scores: fully connected, or a convolution whose places are averaged."""
        raise NotImplementedError

    def receptive_fields(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [h, 2] and [w, 2]: the pixels [first, end) that each row and each column of the last maps sees.

        Clipped at the image's border.
        """
        raise NotImplementedError

    @property
    def parameter_count(self) -> int:
        """Number of weights, with those that training leaves as they are."""
        return sum(weight.numel() for weight in self.parameters())

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates that the network needs for one image."""
        raise NotImplementedError
