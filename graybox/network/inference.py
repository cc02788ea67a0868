"""Class scores and probabilities for images, and the choice of device and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graybox.errors import UserError


class Views(TypedDict, total=False):
    """Which views of an image the network answers; see `probabilities`."""

    flip: bool
    shift: int


class Options(TypedDict, total=False):
    """How the network runs; see `class_scores`."""

    batch_size: int | None
    precision: torch.dtype


def pick_device(name: str | torch.device) -> torch.device:
    """The device with this name; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        UserError: this machine lacks the named device.
    """
    name = str(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind, _, number = name.partition(":")
    several = torch.cuda.device_count() if kind == "cuda" else 1
    if not available.get(kind) or (number and not (number.isdecimal() and int(number) < several)):
        there = ", ".join(kind for kind, there in available.items() if there)
        raise UserError(f"device is {name!r}, which this machine lacks; allowed here: auto, {there}")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The type with this name ("auto", "fp32", "bf16"); "auto" is bf16 if the hardware runs it fast, else fp32."""
    if name == "fp32" or (name == "auto" and not _does_bf16_well(device)):
        return torch.float32
    return torch.bfloat16


def _does_bf16_well(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # torch has no public check for this. Without these instructions bf16 is emulated and slower than fp32.
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return False


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """A context in which the network computes at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which the network is in evaluation mode; afterwards each module gets its former mode back."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first weight or buffer; the CPU if it has none."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in 0..1, in channels_last memory, so that no reordering is needed."""
    return images.permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def class_scores(
    model: nn.Module,
    images: np.ndarray | Tensor,
    *,
    batch_size: int | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Class scores (logits) of uint8 images [N, H, W, 3], as float32 [N, classes] on the CPU.

    Args:
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores [B, classes]. It runs in
            evaluation mode and gets its former mode back.
        batch_size: images at a time; None = chosen for the device. `precision`: from `pick_precision`.

    Raises:
        TypeError, ValueError: the images are not uint8 [N, H, W, 3], N of at least 1.
    """
    if images.dtype not in (np.uint8, torch.uint8):
        raise TypeError(f"images is of {images.dtype}; allowed: uint8 [N, H, W, 3]")
    if images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(f"images has the shape {list(images.shape)}; allowed: [N, H, W, 3], N of at least 1")
    device = device_of(model)
    if batch_size is None:
        batch_size = usual_batch(device)
    scores = []
    with evaluating(model), autocast(device, precision):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            # A copy, because PyTorch can't wrap a read-only memory map.
            batch = torch.as_tensor(np.array(batch) if isinstance(batch, np.ndarray) else batch)
            scores.append(model(to_float(batch.to(device))).float())
    return torch.cat(scores).cpu()  # one copy at the end: each copy makes a GPU wait


def probabilities(
    model: nn.Module, images: np.ndarray | Tensor, *, flip: bool = False, shift: int = 0, **options: Unpack[Options]
) -> NDArray[np.float32]:
    """Class probabilities of uint8 images [N, H, W, 3], as float32 [N, classes].

    Args:
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores (logits) [B, classes].
        images: uint8 [N, H, W, 3], RGB, N of at least 1; they may be memory-mapped.
        flip: take the mean over the image and its mirror image.
        shift: take the mean over the image and four copies, each moved by this many pixels towards one corner; the
            gap is filled with the mirror image at the border. With `flip` these are ten views (Krizhevsky et al. 2012,
            section 4.1).
        options: batch_size and precision, as for `class_scores`.

    Raises:
        TypeError, ValueError: the images are not uint8 [N, H, W, 3].
    """
    if not flip and not shift:
        return class_scores(model, images, **options).softmax(dim=1).numpy()
    # The views are copies, so make them of some images at a time: a split may be larger than the memory.
    step = at_once(model, options.get("batch_size"))
    parts = [images[start : start + step] for start in range(0, max(1, len(images)), step)]
    means: list[NDArray[np.float32]] = [
        np.mean([class_scores(model, view, **options).softmax(dim=1).numpy() for view in _views(part, flip, shift)], 0)
        for part in parts
    ]
    return np.concatenate(means)


def at_once(model: nn.Module, batch_size: int | None = None) -> int:
    """How many images to make copies of at a time: a few batches."""
    return 8 * (batch_size or usual_batch(device_of(model)))


def usual_batch(device: torch.device) -> int:
    """Images at a time."""
    # A CPU's caches hold the activations of only a few images: batches of 256 took 1.2 to 1.6 times as long as 32.
    return 32 if device.type == "cpu" else 1024


def _views(images: np.ndarray | Tensor, flip: bool, shift: int) -> Iterator[np.ndarray | Tensor]:
    """The images themselves, then the other views of `probabilities`, one copy at a time."""
    size, width = images.shape[1], ((0, 0), (shift, shift), (shift, shift), (0, 0))
    yield images
    if isinstance(images, Tensor):
        images = images.cpu().numpy()
    if flip:
        yield np.asarray(images)[:, :, ::-1]
    if shift:
        padded = np.pad(images, width, mode="reflect")
        for top in (0, 2 * shift):
            for left in (0, 2 * shift):
                view = padded[:, top : top + size, left : left + size]
                yield view
                if flip:
                    yield view[:, :, ::-1]
