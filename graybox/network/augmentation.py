"""Augmented training batches: every image is changed at random, in batched operations on one tensor of all images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graybox.data.images import ImageSet
from graybox.network import streams
from graybox.network.checkpoint import State
from graybox.network.inference import sent, to_float
from graybox.network.params import TrainParams

LUMA = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in the brightness (ITU-R BT.601)."""


class Batches:
    """Shuffled, augmented batches from images that stay on the device as one uint8 tensor [N, H, W, 3].

    Attributes:
        size: height and width of the next epoch's images, in pixels.
        order: int64 [N], the images' order in this epoch. `given`: its batches so far.
    """

    def __init__(self, images: ImageSet, params: TrainParams, device: torch.device) -> None:
        self._full = torch.as_tensor(np.array(images.images)).to(device)
        self.images, self.size = self._full, images.size
        self.labels, self.classes = torch.as_tensor(images.labels).to(device), len(images.class_names)
        self.params, self.device = params, device
        self.batch_size = min(params.batch_size, len(images))
        # A last, smaller batch is dropped: batch norm can't learn from a single image.
        self.steps_per_epoch = len(images) // self.batch_size
        # On the CPU, once for each epoch, so that the order is the same on every device.
        self.shuffling = streams.generator(params.seed, "order")
        # Drawn on the device: random numbers from the host would make a GPU wait for each batch.
        self.random = streams.generator(params.seed, "augmentation", device)
        # For Beta: torch's Beta takes no generator.
        self.shares = np.random.default_rng(streams.sequence(params.seed, "mixup"))
        self.order, self.given = torch.empty(0, dtype=torch.int64), 0
        self._goes_on = False

    def state(self) -> State:
        """All that the next batches depend on, but for the images and their size: tensors and plain values."""
        return {
            "order": self.order,
            "given": self.given,
            "shuffling": self.shuffling.get_state(),
            "random": self.random.get_state(),
            "shares": self.shares.bit_generator.state,
        }

    def restore(self, state: State) -> None:
        """Go on where `state` was taken: the next `epoch` gives the batches that were left of that one."""
        self.order, self.given, self._goes_on = state["order"], state["given"], True
        self.shuffling.set_state(state["shuffling"])
        self.random.set_state(state["random"])
        self.shares.bit_generator.state = state["shares"]

    def resize(self, size: int) -> None:
        """From the next epoch on, give images of `size` x `size` pixels."""
        if size != self.size:
            self.size = size
            self.images = self._full if size == self._full.shape[1] else resized(self._full, size)

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in a new order; the last batch is dropped if it is smaller than the others.

        Yields float images [B, 3, H, W] in 0..1 (channels_last) and labels int64 [B], B always the same. With
        `train.mixup` the labels are shares of the classes instead, float [B, classes].
        """
        p, shift = self.params, round(self.params.shift * self.size / self._full.shape[1])
        if not self._goes_on:
            self.order, self.given = torch.randperm(len(self.labels), generator=self.shuffling), 0
        self._goes_on = False
        order = sent(self.order, self.device)
        for step in range(self.given, self.steps_per_epoch):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            pixels = to_float(moved(self.images, rows, shift, p.flip, p.zoom, self.random))
            labels = self.labels[rows]
            if p.color_jitter:
                factors = 1 + p.color_jitter * (2 * uniform((3, len(rows)), self.random) - 1)
                pixels = recoloured(pixels, *factors)
            if p.cutout:
                side = round(p.cutout * self.size)
                pixels = blanked(pixels, uniform((2, len(rows)), self.random), side)
            if p.mixup:
                pixels, labels = mixed(
                    pixels, labels, self.classes, float(self.shares.beta(p.mixup, p.mixup)), self.random
                )
            self.given = step + 1
            yield pixels, labels


def moved(images: Tensor, rows: Tensor, shift: int, flip: bool, zoom: float, random: torch.Generator) -> Tensor:
    """Take `rows` of uint8 images [N, H, W, 3]; shift, mirror (half of them) and zoom each at random.

    Pixels from outside the image come from its mirror image at the border. All of it is one gather of existing pixels,
    without interpolation: that would blur the training images, while test images are sharp (docs/recipe.md).

    Args:
        shift: largest shift in each direction, in pixels. `flip`: whether to mirror.
        zoom: largest factor by which images grow, shrink and are stretched; see `spans`.
    """
    if not shift and not flip and zoom == 1:
        return images[rows]
    count, size = len(rows), images.shape[1]
    pixels = torch.arange(size, device=images.device).expand(count, size)
    moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=random, device=random.device)
    mirrored = uniform((count, 1), random) < (0.5 if flip else 0.0)
    places = torch.stack([pixels, torch.where(mirrored, pixels.flip(1), pixels)])
    if zoom > 1:
        span, centre = spans(count, zoom, random)[..., None], (size - 1) / 2
        # An enlarged image shows a random part; a smaller one is shown whole.
        away = (1 - span).clamp(min=0) * size * (uniform((2, count, 1), random) - 0.5)
        places = (centre + away + span * (places - centre)).round().long()
    y, x = _reflected(places + moves, size)
    return images[rows[:, None, None], y[:, :, None], x[:, None, :]]


def spans(count: int, zoom: float, random: torch.Generator) -> Tensor:
    """The shares of each image's height and width that are shown: float [2, count]; above 1 where the image shrinks.

    Both the geometric mean of the two shares and their ratio are log-uniform between 1 / zoom and zoom.
    """
    larger, longer = 2 * uniform((2, count), random) - 1
    return zoom ** torch.stack([larger + longer / 2, larger - longer / 2])


def _reflected(index: Tensor, size: int) -> Tensor:
    """Bring indices that lie outside 0..size-1 back in, mirrored at the first and last pixel."""
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def uniform(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Random numbers in 0..1 on the generator's device."""
    return torch.rand(shape, generator=random, device=random.device)


@cache
def _luma(device: torch.device) -> Tensor:
    """LUMA as a tensor [3, 1, 1]; cached, because copying it to a GPU makes the host wait."""
    return torch.tensor(LUMA, device=device).view(3, 1, 1)


def recoloured(pixels: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Change each image's brightness, contrast and saturation, in this order, as torchvision's adjust_* do.

    Args:
        pixels: float [B, 3, H, W] in 0..1.
        brightness, contrast, saturation: float [B]; 1 changes nothing.
    """
    luma = _luma(pixels.device)
    pixels = (pixels * brightness.view(-1, 1, 1, 1)).clamp(0, 1)
    mean = (pixels * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast.view(-1, 1, 1, 1)).clamp(0, 1)
    gray = (pixels * luma).sum(1, keepdim=True)
    return torch.lerp(gray, pixels, saturation.view(-1, 1, 1, 1)).clamp(0, 1)


def blanked(pixels: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cover a square of each image with the batch's mean colour (DeVries & Taylor 2017, "Cutout").

    Args:
        pixels: float [B, 3, H, W].
        centres: float [2, B] in 0..1, down and across; the square may cross the border.
        side: height and width of the square, in pixels.
    """
    size = pixels.shape[-1]
    places = torch.arange(size, device=pixels.device)
    first = (centres * size).floor() - side // 2
    inside = (places >= first[..., None]) & (places < first[..., None] + side)
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    return torch.where(mask, pixels.mean((0, 2, 3), keepdim=True), pixels)


def mixed(pixels: Tensor, labels: Tensor, classes: int, share: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its label with another of the batch (Zhang et al. 2018, "mixup").

    Args:
        pixels: float [B, 3, H, W]. `labels`: int [B].
        share: the weight of the image itself, 0..1; its partner has 1 - share. The same for the whole batch.

    Returns:
        The images, and shares of the classes, float [B, classes].
    """
    partner = torch.randperm(len(pixels), generator=random, device=random.device)
    targets = F.one_hot(labels, classes).float()
    return torch.lerp(pixels[partner], pixels, share), torch.lerp(targets[partner], targets, share)


def resized(images: Tensor, size: int) -> Tensor:
    """Resize uint8 images [N, H, W, 3] to uint8 [N, size, size, 3]: bilinear, with antialiasing where they shrink."""
    parts = []
    for part in images.split(1024):
        # As float: uint8 is not resized on every device.
        small = F.interpolate(part.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True)
        parts.append(small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous())
    return torch.cat(parts)
