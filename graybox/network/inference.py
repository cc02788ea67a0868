"""Class scores and probabilities for images, and the choice of device and precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict, Unpack
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graybox import arguments
from graybox.errors import UserError
from graybox.network import cores

LARGEST_BATCH = 2**31 - 1
"""The largest `batch_size`; the images that there are can be fewer."""
LARGEST_USUAL_BATCH = 8192
"""The largest that is chosen where none is given."""


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
    given, name = arguments.shown(name), str(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind, _, number = name.partition(":")
    several = torch.cuda.device_count() if kind == "cuda" else 1
    if not available.get(kind) or (number and not (number.isdecimal() and int(number) < several)):
        there = ", ".join(kind for kind, there in available.items() if there)
        raise UserError(f"device is {given}, which this machine lacks; allowed here: auto, {there}")
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


_MODES: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()
"""Of each module that is being asked: by how many at once, and its mode before the first of them."""
_MODES_LOCK = threading.Lock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which the network is in evaluation mode; afterwards each module gets its former mode back.

    Several threads may ask one network at once: the mode comes back when the last of them is done.
    """
    modules = list(model.modules())
    with _MODES_LOCK:
        for module in modules:
            users, before = _MODES.get(module, (0, module.training))
            _MODES[module] = users + 1, before
    try:
        model.eval()
        yield
    finally:
        with _MODES_LOCK:
            for module in modules:
                users, before = _MODES.pop(module)
                if users > 1:
                    _MODES[module] = users - 1, before
                else:
                    module.training = before


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first weight or buffer; the CPU if it has none."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in 0..1, in channels_last memory, so that no reordering is needed."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def check_size(name: str, model: nn.Module, height: int, width: int, error: RuntimeError) -> None:
    """After PyTorch's error: raise a ValueError about the argument `name` if a `Classifier` can't take its size."""
    from graybox.network.classifier import Classifier

    if isinstance(model, Classifier) and not isinstance(error, torch.OutOfMemoryError):
        size = model.image_size
        if (height, width) != (size, size):
            raise ValueError(f"{name} has {height} x {width} pixels; this network takes {size} x {size}") from error


def checked_scores(scores: Tensor, images: int) -> Tensor:
    """What a network gave for so many images, if these are class scores; else a TypeError."""
    if isinstance(scores, Tensor) and scores.ndim == 2 and len(scores) == images and scores.is_floating_point():
        return scores
    given = f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
    asked = "one image" if images == 1 else f"{images} images"
    raise TypeError(f"model gives {given} for {asked}; it should give class scores (logits), float [{images}, classes]")


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
        TypeError: the model is no module or gives no class scores, the images are not uint8, or batch_size is no
            integer.
        ValueError: the images are not [N, H, W, 3], or not of a `Classifier`'s size; batch_size is below 1; or the
            precision is neither float32 nor bfloat16.
    """
    arguments.instance("model", model, nn.Module, "a torch.nn.Module")
    arguments.pictures("images", images)
    batch_size = None if batch_size is None else arguments.integer("batch_size", batch_size, 1, LARGEST_BATCH)
    if not isinstance(precision, torch.dtype) or precision not in (torch.float32, torch.bfloat16):
        raise ValueError(f"precision is {arguments.shown(precision)}; allowed: torch.float32, torch.bfloat16")
    cores.reuse_memory()
    return _scores(model, images, batch_size, precision).cpu()  # one copy at the end: each copy makes a GPU wait


@torch.inference_mode()
def _scores(model: nn.Module, images: np.ndarray | Tensor, batch_size: int | None, precision: torch.dtype) -> Tensor:
    """As `class_scores`, on the network's device, which the host never waits for.

    A batch size that is not given is halved for as long as a GPU has too little memory for it.
    """
    device = device_of(model)
    scores, start, step = [], 0, batch_size or usual_batch(device, images.shape[1] * images.shape[2])
    with evaluating(model), autocast(device, precision):
        while start < len(images):
            batch = images[start : start + step]
            try:
                given = model(to_float(sent(batch, device)))
            except torch.OutOfMemoryError:
                if batch_size is not None or step == 1:
                    raise
                step //= 2
                continue
            except RuntimeError as error:
                check_size("images", model, batch.shape[1], batch.shape[2], error)
                raise
            scores.append(checked_scores(given, len(batch)).float())
            start += len(batch)
    return torch.cat(scores)


def sent(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A uint8 array, or any tensor, on a device. The host does not wait for CUDA: it goes on while they are copied."""
    if device.type != "cuda":
        # A copy, because PyTorch can't wrap a read-only memory map.
        return torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values).to(device)
    # CUDA copies by itself from pinned memory only, which PyTorch gives to nobody else before that is done.
    if isinstance(values, np.ndarray):
        pinned = torch.empty(values.shape, dtype=torch.uint8, pin_memory=True)
        pinned.numpy()[...] = values
        values = pinned
    elif values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def probabilities(
    model: nn.Module,
    images: np.ndarray | Tensor,
    *,
    preprocess: object = None,
    flip: bool = False,
    shift: int = 0,
    **options: Unpack[Options],
) -> NDArray[np.float32]:
    """Class probabilities of uint8 images [N, H, W, 3], as float32 [N, classes].

    Args:
        model: any network that takes float [B, 3, H, W] in 0..1 and gives class scores (logits) [B, classes].
        images: uint8 [N, H, W, 3], RGB, N of at least 1; they may be memory-mapped.
        preprocess: as for `graybox.occlusion_map`, but nothing is resized or cropped: the images should have the size
            that comes out of it, as `graybox.read_folder` gives them.
        flip: take the mean over the image and its mirror image.
        shift: take the mean over the image and four copies, each moved by this many pixels towards one corner; the
            gap is filled with the mirror image at the border. Less than the images' shorter side. With `flip` these are
            ten views (Krizhevsky et al. 2012, section 4.1).
        options: batch_size and precision, as for `class_scores`.

    Raises:
        TypeError, ValueError: the model, the images, the preprocessing, flip, shift or an option is not allowed; as for
            `class_scores`.
    """
    arguments.instance("model", model, nn.Module, "a torch.nn.Module")
    arguments.pictures("images", images)
    if preprocess is not None:
        from graybox.network.preprocess import check_prepared, preprocessed  # which imports this module

        model, geometry = preprocessed(model, preprocess)
        check_prepared(geometry, *images.shape[1:3])
    flip, shift = arguments.flag("flip", flip), arguments.integer("shift", shift, 0, min(images.shape[1:3]) - 1)
    if unknown := sorted(set(options) - Options.__annotations__.keys()):
        raise TypeError(f"{unknown[0]} is no argument of probabilities; allowed: {', '.join(Options.__annotations__)}")
    if options.get("batch_size") is not None:
        arguments.integer("batch_size", options["batch_size"], 1, LARGEST_BATCH)
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


def usual_batch(device: torch.device, pixels: int | None = None) -> int:
    """Images at a time.

    Args:
        pixels: of an image. On CUDA the number then follows from them and the GPU's memory: a power of two, the same
            each time on one GPU, as another number rounds in another way.
    """
    if device.type == "cpu":
        # Its caches hold the activations of only a few images: batches of 256 took 1.2 to 1.6 times as long as 32.
        return 32
    if device.type != "cuda" or pixels is None:
        return 1024
    return batch_for(torch.cuda.get_device_properties(device).total_memory, pixels)


def batch_for(memory: int, pixels: int) -> int:
    """The largest power of two of images of which 64 maps in float32 take up to a sixteenth of `memory`, in bytes.

    A network holds several layers' maps at a time, and several networks may share a GPU.
    """
    most = memory // 16 // (64 * 4 * pixels)
    return int(min(LARGEST_USUAL_BATCH, 2 ** (max(1, most).bit_length() - 1)))


def _views(images: np.ndarray | Tensor, flip: bool, shift: int) -> Iterator[np.ndarray | Tensor]:
    """The images themselves, then the other views of `probabilities`, one copy at a time."""
    height, width = images.shape[1:3]
    around = ((0, 0), (shift, shift), (shift, shift), (0, 0))
    yield images
    if isinstance(images, Tensor):
        images = images.cpu().numpy()
    if flip:
        yield np.asarray(images)[:, :, ::-1]
    if shift:
        padded = np.pad(images, around, mode="reflect")
        for top in (0, 2 * shift):
            for left in (0, 2 * shift):
                view = padded[:, top : top + height, left : left + width]
                yield view
                if flip:
                    yield view[:, :, ::-1]
