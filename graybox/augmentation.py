"""Training batches, every image changed in its own way: a few batched lines on one tensor of all images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graybox.config import TrainParams
from graybox.images import ImageSet
from graybox.inference import to_float

LUMA = (0.2989, 0.587, 0.114)
"""What red, green and blue add to the brightness (ITU-R BT.601)."""


class Batches:
    """Shuffled, augmented batches from images that stay on the device as one uint8 tensor [N, H, W, 3].

    Attributes:
        size: height and width of the images that come out of the next epoch, in pixels.
    """

    def __init__(self, images: ImageSet, params: TrainParams, device: torch.device) -> None:
        self._full = torch.as_tensor(np.array(images.images)).to(device)
        self.images, self.size = self._full, images.size
        self.labels, self.classes = torch.as_tensor(images.labels).to(device), len(images.class_names)
        self.params, self.device = params, device
        self.batch_size = min(params.batch_size, len(images))
        # A last, smaller batch is dropped: batch norm can't learn from a single image.
        self.steps_per_epoch = len(images) // self.batch_size
        self.random = torch.Generator().manual_seed(params.seed)

    def resize(self, size: int) -> None:
        """From the next epoch on, give images of so many pixels."""
        if size != self.size:
            self.size = size
            self.images = self._full if size == self._full.shape[1] else resized(self._full, size)

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in a new order: float images [B, 3, H, W] in 0..1 (channels_last) and labels [B].

        With `train.mixup` the labels are shares of the classes instead, float [B, classes].
        """
        p, order = self.params, torch.randperm(len(self.labels), generator=self.random)
        shift = round(p.shift * self.size / self._full.shape[1])
        for step in range(self.steps_per_epoch):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size].to(self.device)
            pixels = to_float(shifted_and_flipped(self.images, rows, shift, p.flip, self.random))
            labels = self.labels[rows]
            if p.crop_area < 1:
                pixels = cropped(pixels, *crops(len(rows), p.crop_area, self.random))
            if p.color_jitter:
                factors = 1 + p.color_jitter * (2 * torch.rand((3, len(rows)), generator=self.random) - 1)
                pixels = recoloured(pixels, *factors.to(self.device))
            if p.cutout:
                side = round(p.cutout * self.size)
                pixels = blanked(pixels, torch.rand((2, len(rows)), generator=self.random), side)
            if p.mixup:
                pixels, labels = mixed(pixels, labels, self.classes, p.mixup, self.random)
            yield pixels, labels


def shifted_and_flipped(images: Tensor, rows: Tensor, shift: int, flip: bool, random: torch.Generator) -> Tensor:
    """Take `rows` of uint8 images [N, H, W, 3], each moved by up to `shift` pixels each way and mirrored half the time.

    What moves in from outside is the image's own mirror image at the border. Crop and flip are one gather.
    """
    if not shift and not flip:
        return images[rows]
    count, size = len(rows), images.shape[1]
    pixels = torch.arange(size).expand(count, size)
    moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=random)
    mirrored = torch.rand((count, 1), generator=random) < (0.5 if flip else 0.0)
    y = _reflected(pixels + moves[0], size)
    x = _reflected(torch.where(mirrored, pixels.flip(1), pixels) + moves[1], size)
    y, x = y.to(images.device), x.to(images.device)
    return images[rows[:, None, None], y[:, :, None], x[:, None, :]]


def _reflected(index: Tensor, size: int) -> Tensor:
    """Bring indices that lie outside 0..size-1 back in, mirrored at the first and last pixel."""
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def crops(count: int, least_area: float, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random parts of an image, as shares of its sides: top, left, height, width, float [count] each.

    The area is uniform in least_area..1 and the logarithm of width / height uniform between those of 3/4 and 4/3
    (Szegedy et al. 2015, "Going deeper with convolutions", section 6); what would be longer than the image is cut.
    """
    area, ratio, down, across = torch.rand((4, count), generator=random)
    area = least_area + (1 - least_area) * area
    ratio = (4 / 3) ** (2 * ratio - 1)
    height, width = (area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)
    return down * (1 - height), across * (1 - width), height, width


def cropped(pixels: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Each image's own part, enlarged to the whole size (bilinear).

    Args:
        pixels: float [B, 3, H, W]. The others: float [B], shares of the image's sides.
    """
    theta = torch.zeros(len(pixels), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2], theta[:, 1, 2] = 2 * left + width - 1, 2 * top + height - 1
    grid = F.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    found = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return found.contiguous(memory_format=torch.channels_last)


def recoloured(pixels: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Each image with its own brightness, contrast and saturation, in this order, as torchvision's adjust_* have them.

    Args:
        pixels: float [B, 3, H, W] in 0..1. The others: float [B], 1 changes nothing.
    """
    luma = pixels.new_tensor(LUMA).view(3, 1, 1)
    pixels = (pixels * brightness.view(-1, 1, 1, 1)).clamp(0, 1)
    mean = (pixels * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast.view(-1, 1, 1, 1)).clamp(0, 1)
    gray = (pixels * luma).sum(1, keepdim=True)
    return torch.lerp(gray, pixels, saturation.view(-1, 1, 1, 1)).clamp(0, 1)


def blanked(pixels: Tensor, centres: Tensor, side: int) -> Tensor:
    """Each image with a square at a place of its own in the batch's mean colour (DeVries & Taylor 2017, "Cutout").

    Args:
        pixels: float [B, 3, H, W].
        centres: float [2, B] in 0..1, down and across; the square may lie over the border.
        side: of the square, in pixels.
    """
    size = pixels.shape[-1]
    places = torch.arange(size)
    first = (centres * size).floor() - side // 2
    inside = (places >= first[..., None]) & (places < first[..., None] + side)
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None].to(pixels.device)
    return torch.where(mask, pixels.mean((0, 2, 3), keepdim=True), pixels)


def mixed(pixels: Tensor, labels: Tensor, classes: int, alpha: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each image blended with another of the batch, and its label likewise (Zhang et al. 2018, "mixup").

    Args:
        pixels: float [B, 3, H, W]. `labels`: int [B].
        alpha: of the Beta(alpha, alpha) distribution from which one share for the batch is drawn.

    Returns:
        The images, and shares of the classes, float [B, classes].
    """
    # numpy draws from Beta with a generator of its own; torch's distributions take none.
    seed = int(torch.randint(2**31, (1,), generator=random))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    partner = torch.randperm(len(pixels), generator=random).to(pixels.device)
    targets = F.one_hot(labels, classes).float()
    return torch.lerp(pixels[partner], pixels, share), torch.lerp(targets[partner], targets, share)


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 images [N, H, W, 3] at another size: bilinear, and smoothed where they shrink. uint8 [N, size, size, 3]."""
    parts = []
    for part in images.split(1024):
        # As float: uint8 is not resized on every device.
        small = F.interpolate(part.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True)
        parts.append(small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous())
    return torch.cat(parts)
