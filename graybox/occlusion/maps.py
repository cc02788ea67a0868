"""Confidence maps: how a gray window changes a network's answer, by the position of the window.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2 and figure 7.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from graybox import arguments
from graybox.network.classifier import Classifier
from graybox.network.cnn import CNN
from graybox.network.inference import LARGEST_BATCH, autocast, check_size, checked_scores, device_of, evaluating
from graybox.network.preprocess import preprocessed
from graybox.occlusion.confidence import OcclusionMap, leading_classes
from graybox.occlusion.incremental import engine as incremental
from graybox.occlusion.params import never_hidden
from graybox.occlusion.pixels import fill_tensor, rgb_array, seen

Engine = Literal["auto", "plain", "incremental"]


def window_bounds(centre: Tensor, window: int, size: int) -> tuple[Tensor, Tensor]:
    """The first pixel, and one past the last, of a window around `centre`, clipped at the image's border."""
    half = window // 2
    return (centre - half).clamp(min=0), (centre + half + 1).clamp(max=size)


def occluded(image: Tensor, centres: Tensor, window: int, fill: Tensor) -> Tensor:
    """Copies of one image, each with a filled window.

    Args:
        image: float [3, H, W] in 0..1.
        centres: int [P, 2], row and column of each window's centre; the window is clipped at the border.
        window: N of the N x N window, odd, in pixels.
        fill: float, of a shape that broadcasts to [3, H, W]; what the window shows in its place, 0..1.

    Returns:
        float [P, 3, H, W].
    """
    height, width = image.shape[-2:]
    covered = []
    for axis, size in ((0, height), (1, width)):
        first, end = window_bounds(centres[:, axis, None], window, size)
        pixels = torch.arange(size, device=image.device)
        covered.append((pixels >= first) & (pixels < end))
    mask = covered[0][:, None, :, None] & covered[1][:, None, None, :]
    return torch.where(mask, fill, image)


@dataclass(frozen=True)
class WindowScores:
    """The class scores for each centre of the occluder window.

    Attributes:
        scores: float32 [h, w, classes], class scores (logits) with the window centred at (rows[i], columns[j]).
        activation: float32 [h, w], the sum over one map of the last conv layer, after pooling and ReLU; or None.
        rows, columns: the window centres in pixels.
        unoccluded: float32 [classes], the class scores for the image as it is.
        unoccluded_activation: the map's sum for the image as it is, or None.
        engine: what computed them.
        remark: as in `OcclusionMap`.
    """

    scores: Tensor
    activation: Tensor | None
    rows: range
    columns: range
    unoccluded: Tensor
    unoccluded_activation: float | None
    engine: Literal["plain", "incremental"]
    remark: str = ""

    @property
    def probabilities(self) -> Tensor:
        """float32 [h, w, classes], each 0..1."""
        return self.scores.softmax(-1)


@torch.inference_mode()
def window_scores(
    model: nn.Module,
    image: np.ndarray | Image.Image,
    *,
    window: int,
    stride: int = 1,
    fill: float | np.ndarray = 0.5,
    feature_map: int | None = None,
    engine: Engine = "auto",
    batch_size: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
    label: int | None = None,
) -> WindowScores:
    """Slide a gray window over one image and record the network's answer.

    Args:
        model, image, window, stride, fill, feature_map, engine, batch_size, on_windows: as for `occlusion_map`.
        label: a class that the network must have, checked before the windows are computed; None = no check.

    Raises:
        TypeError, ValueError: as for `occlusion_map`.
    """
    arguments.instance("model", model, nn.Module, "a torch.nn.Module")
    arguments.function("on_windows", on_windows)
    window, stride = arguments.integer("window", window), arguments.integer("stride", stride, 1)
    batch_size = None if batch_size is None else arguments.integer("batch_size", batch_size, 1, LARGEST_BATCH)
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it should be odd and at least 1, so that it has a centre")
    arguments.choice("engine", engine, get_args(Engine))
    if feature_map is not None:
        if not (isinstance(model, Classifier) and model.has_maps):
            raise ValueError(
                f"feature_map is {feature_map}; only a Classifier with maps has them, so it should be None"
            )
        feature_map = arguments.integer("feature_map", feature_map)
    device = device_of(model)
    pixels = torch.as_tensor(np.array(rgb_array(image)), device=device).permute(2, 0, 1).float().div(255)
    pixels = pixels.to(_precision(model))
    rows, columns = (range(0, size, stride) for size in pixels.shape[1:])
    shown = fill_tensor(fill, pixels)
    with evaluating(model), _full_float32(), autocast(device, torch.float32):  # the caller's autocast is off here
        unoccluded, activation, layout = _answer_as_is(model, pixels, feature_map, label)
        job, remark = _incremental_job(model, engine, pixels, rows, columns, window, shown, feature_map)
        if job is not None:
            scores, sums = incremental.run(job, on_windows=on_windows)
        else:
            scores, sums = _plain_scores(
                model, pixels, rows, columns,
                window=window, fill=shown, feature_map=feature_map, on_windows=on_windows, batch_size=batch_size,
                layout=layout,
            )  # fmt: skip
    return WindowScores(
        scores.float(), sums, rows, columns, unoccluded.float(), None if activation is None else float(activation),
        "plain" if job is None else "incremental", remark,
    )  # fmt: skip


def _precision(model: nn.Module) -> torch.dtype:
    """The type of the network's first weight; float32 if it has none."""
    return next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), torch.float32)


def _answer_as_is(
    model: nn.Module, pixels: Tensor, feature_map: int | None, label: int | None
) -> tuple[Tensor, Tensor | None, torch.memory_format]:
    """Class scores [classes] of the image as it is, the sum over the map, and the layout in which images are given.

    Raises if an argument does not fit.
    """
    layout, copies = torch.channels_last, 1 if isinstance(model, CNN) else 2  # the fastest layout
    try:
        try:
            # Copies, as a network may begin with a function that changes its input in place. Two, as the layout of one
            # image is ambiguous.
            scores, activation = _answer(model, pixels.repeat(copies, 1, 1, 1), feature_map, layout)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            layout = torch.contiguous_format  # which `x.view(len(x), -1)` needs
            scores, activation = _answer(model, pixels.repeat(copies, 1, 1, 1), feature_map, layout)
    except RuntimeError as error:
        check_size("image", model, pixels.shape[1], pixels.shape[2], error)
        raise
    checked_scores(scores, copies)
    if label is not None and not 0 <= label < scores.shape[1]:
        raise ValueError(f"label is {label}; the model has {scores.shape[1]} classes, so 0 to {scores.shape[1] - 1}")
    return scores[0], None if activation is None else activation[0], layout


@dataclass
class _Precision:
    """The settings of PyTorch's backends before the first of several threads asked for full float32."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    before: tuple[str, ...] = ()


_PRECISION = _Precision()


@contextmanager
def _full_float32() -> Iterator[None]:
    """A context with full float32: by default a GPU's convolutions round their inputs to 10 bits (TF32)."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # made when PyTorch is imported
    backends = convolutions, torch.backends.cuda.matmul
    with _PRECISION.lock:
        if not _PRECISION.users:
            _PRECISION.before = tuple(backend.fp32_precision for backend in backends)
            for backend in backends:
                backend.fp32_precision = "ieee"
        _PRECISION.users += 1
    try:
        yield
    finally:
        with _PRECISION.lock:
            _PRECISION.users -= 1
            if not _PRECISION.users:
                for backend, precision in zip(backends, _PRECISION.before):
                    backend.fp32_precision = precision


def _incremental_job(
    model: nn.Module, engine: str, pixels: Tensor, rows: range, columns: range, window: int, fill: Tensor,
    feature_map: int | None,
) -> tuple[incremental.Job | None, str]:  # fmt: skip
    """What the incremental engine computes, and what keeps it from computing only what the window changes, in words.

    None where it can't compute the network, or is predicted to take longer than the plain engine.
    """
    if engine == "plain":
        return None, ""
    try:
        job = incremental.Job(model, pixels, rows, columns, window, fill, feature_map)
    except incremental.Untraceable as error:
        if engine == "auto":
            return (
                None,
                f"The incremental engine can't compute this network: {error}. All occluded images are computed whole.",
            )
        raise ValueError(
            f"engine is 'incremental', which can't compute this network: {error}; allowed here: auto, plain"
        ) from error
    chosen = job if engine == "incremental" or job.pays() else None
    if not job.limit:
        return chosen, ""
    rest = "what follows is" if chosen else "as this should be faster, all of the network is"
    return (
        chosen,
        f"The incremental engine can't carry the window's changes through {job.limit}: {rest} computed whole.",
    )


def _plain_scores(
    model: nn.Module,
    pixels: Tensor,
    rows: range,
    columns: range,
    *,
    window: int,
    fill: Tensor,
    feature_map: int | None,
    batch_size: int | None,
    on_windows: Callable[[int], object],
    layout: torch.memory_format,
) -> tuple[Tensor, Tensor | None]:
    if batch_size is None:
        # On a CPU the first layer's activations should stay in its caches: larger batches took up to 1.7 times as long.
        at_once = 2**17 if pixels.device.type == "cpu" else 2**23  # a GPU gains little beyond, and has memory for it
        batch_size = max(4, at_once // pixels[0].numel())
    centres = torch.cartesian_prod(*(torch.tensor(axis, device=pixels.device) for axis in (rows, columns)))
    answers = []
    for part in centres.split(batch_size):
        answers.append(_answer(model, occluded(pixels, part, window, fill), feature_map, layout))
        on_windows(len(part))
    scores = torch.cat([scores for scores, _ in answers]).view(len(rows), len(columns), -1)
    sums = [part for _, part in answers if part is not None]
    return scores, torch.cat(sums).view(len(rows), len(columns)) if sums else None


def _answer(
    model: nn.Module, images: Tensor, feature_map: int | None, layout: torch.memory_format
) -> tuple[Tensor, Tensor | None]:
    """Class scores [B, classes] of images [B, 3, H, W], and the sums [B] over a map of the last conv layer."""
    images = images.contiguous(memory_format=layout)
    if feature_map is None or not isinstance(model, Classifier):
        return model(images), None
    features = model.last_maps(images)
    maps = features.shape[1]
    if not 0 <= feature_map < maps:
        raise ValueError(f"feature_map is {feature_map}; the last conv layer has {maps} maps, so 0 to {maps - 1}")
    scores: Tensor = model.head(features)  # type: ignore[operator]  # a method or a module
    return scores, features[:, feature_map].sum((1, 2))


def occlusion_map(
    model: nn.Module,
    image: np.ndarray | Image.Image,
    label: int,
    *,
    window: int,
    stride: int = 1,
    fill: float | np.ndarray = 0.5,
    feature_map: int | None = None,
    preprocess: object = None,
    engine: Engine = "auto",
    batch_size: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> OcclusionMap:
    """Slide a gray window over one image and record the true class's probability and the most probable class.

    Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2 and figure 7. The window
    is centred at every `stride`-th pixel of the rows and of the columns, from pixel (0, 0) on, and clipped at the
    image's border.

    Args:
        model: any network that takes float images [B, 3, H, W] and gives class scores (logits), float [B, classes]. It
            computes in evaluation mode (each of its modules has its own mode again afterwards), in the precision and
            on the device of its first weight.
        image: uint8 [H, W, 3], RGB, of any size that the model takes; or a PIL image, taken as it is, not rotated.
        label: the true class, 0..classes - 1.
        window: N of the N x N window, odd, in pixels of what the network sees; at most its longer side.
        stride: pixels between window centres, at least 1.
        fill: what the window shows, 0..1: one gray level, or a float picture [H, W, 3] of the size that the network
            sees, which shows through the window (`graybox.fill_picture`).
        feature_map: a map of a `Classifier`'s last conv layer, to record its total activation, as in figure 7b.
        preprocess: what the network's pixels go through first. None = nothing: the model takes 0..1. torchvision's
            `weights.transforms()`, or a torchvision Compose of Resize, CenterCrop and Normalize: resizing and cropping
            happen once, to the image (an array that has the resulting size is taken as it is), and the window slides
            over what comes out (`OcclusionMap.image`); the normalisation happens to each occluded image. Or any
            function of float [B, 3, H, W] in 0..1 that gives what the model takes.
        engine: "plain" computes every occluded image from its pixels. "incremental" computes only what the window
            changes, for a float32 network that torch.fx can trace; the two agree to about 1e-6. "auto" takes the
            one that is predicted to need less time.
        batch_size: windows that the plain engine computes at a time; None = what suits the device.
        on_windows: called with the number of newly finished windows, for a progress bar.

    Returns:
        An object with `confidence`, float32 [rows, columns], the true class's probability (0..1) for each centre.

    Raises:
        TypeError: the model is no module or gives no class scores, the image is not uint8, an integer is not one, the
            fill holds no numbers, or on_windows is no function.
        ValueError: the image's shape, the label, the window (even, or larger than the image), the stride, the fill, the
            engine, the feature map, the preprocessing or the batch size is not allowed, or a `CNN` can't take an image
            of this size.
    """
    arguments.instance("model", model, nn.Module, "a torch.nn.Module")
    label = arguments.integer("label", label, what="the number of the class, from 0 on")
    model, geometry = preprocessed(model, preprocess)
    window, pixels = arguments.integer("window", window), seen(image, geometry)
    if window > max(pixels.shape[:2]):
        raise ValueError(f"window is {window}; it should be at most the image's longer side, {max(pixels.shape[:2])}")
    found = window_scores(
        model, pixels, window=window, stride=stride, fill=fill, feature_map=feature_map, engine=engine,
        batch_size=batch_size, on_windows=on_windows, label=label,
    )  # fmt: skip
    probabilities = found.probabilities.cpu().numpy()
    leading = leading_classes(probabilities, label)
    return OcclusionMap(
        confidence=probabilities[..., label].copy(),
        predicted=probabilities.argmax(-1),
        rows=np.array(found.rows),
        columns=np.array(found.columns),
        unoccluded=found.unoccluded.softmax(0).cpu().numpy(),
        label=label,
        window=window,
        activation=None if found.activation is None else found.activation.cpu().numpy(),
        unoccluded_activation=found.unoccluded_activation,
        never_hidden=never_hidden(pixels.shape[:2], (found.rows, found.columns), window),
        image=pixels,
        engine=found.engine,
        remark=found.remark,
        leading=leading,
        leading_probabilities=probabilities[..., leading],
    )
