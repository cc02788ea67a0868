"""Probabilities for images; which device and precision a network runs at is settled here."""

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
    """Which views of an image a network is asked about, as `probabilities` takes them."""

    flip: bool
    shift: int


class Options(TypedDict, total=False):
    """How a network is run, as `class_scores` takes it."""

    batch_size: int | None
    precision: torch.dtype


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        UserError: the named device is not there.
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
    """The type of that name; "auto" is bf16 where the hardware does it well, else fp32."""
    if name == "fp32" or (name == "auto" and not _does_bf16_well(device)):
        return torch.float32
    return torch.bfloat16


def _does_bf16_well(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # torch has no public question for this; without these instructions bf16 is emulated and slower than fp32.
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return False


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """A context in which the network computes at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which the network is in evaluation mode; then each of its modules has its own mode again."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where a network's first weight or buffer lies; the CPU if it has none."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in 0..1, in channels_last memory: no byte moves but the conversion."""
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
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores [B, classes]; it computes in
            evaluation mode, and has its own mode again afterwards.
        batch_size: images at a time; None = what suits the device. `precision`: as from `pick_precision`.

    Raises:
        TypeError, ValueError: the images are not uint8 [N, H, W, 3], N of at least 1.
    """
    if images.dtype not in (np.uint8, torch.uint8):
        raise TypeError(f"images is of {images.dtype}; allowed: uint8 [N, H, W, 3]")
    if images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(f"images has the shape {list(images.shape)}; allowed: [N, H, W, 3], N of at least 1")
    device = device_of(model)
    if batch_size is None:
        # A CPU's caches hold the activations of a few images: 256 at a time took 1.2 to 1.6 times as long as 32.
        batch_size = 32 if device.type == "cpu" else 1024
    scores = []
    with evaluating(model), autocast(device, precision):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            # A copy, as PyTorch can't wrap what is memory-mapped read-only.
            batch = torch.as_tensor(np.array(batch) if isinstance(batch, np.ndarray) else batch)
            scores.append(model(to_float(batch.to(device))).float())
    return torch.cat(scores).cpu()  # once: each copy would make a GPU wait


def probabilities(
    model: nn.Module, images: np.ndarray | Tensor, *, flip: bool = False, shift: int = 0, **options: Unpack[Options]
) -> NDArray[np.float32]:
    """Class probabilities of uint8 images [N, H, W, 3], as float32 [N, classes].

    Args:
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores (logits) [B, classes].
        images: uint8 [N, H, W, 3], RGB, N of at least 1; they may be memory-mapped.
        flip: take the mean over the image and its mirror image.
        shift: take the mean over the image and four copies, moved by so many pixels towards each corner; the border's
            own mirror image moves in. With `flip` ten views, as in Krizhevsky et al. 2012, section 4.1.
        options: batch_size and precision, as for `class_scores`.

    Raises:
        TypeError, ValueError: the images are not uint8 [N, H, W, 3].
    """
    views = _views(images, flip, shift)
    mean: NDArray[np.float32] = np.mean(
        [class_scores(model, view, **options).softmax(dim=1).numpy() for view in views], axis=0
    )
    return mean


def _views(images: np.ndarray | Tensor, flip: bool, shift: int) -> Iterator[np.ndarray | Tensor]:
    """The images themselves first, then what else `probabilities` looks at; one copy of them at a time."""
    size, width = images.shape[1], ((0, 0), (shift, shift), (shift, shift), (0, 0))
    yield images
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
