"""Confidence maps: what a gray window does to a network's answer, by where the window lies.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2 and figure 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from graybox.network.cnn import CNN
from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.incremental import engine as incremental


def window_bounds(centre: Tensor, window: int, size: int) -> tuple[Tensor, Tensor]:
    """First pixel and one past the last of a window around `centre`, clipped at the image's border."""
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
    """The network's whole answer for each centre of the gray window.

    Attributes:
        scores: float32 [h, w, classes], class scores (logits) with the window centred at (rows[i], columns[j]).
        activation: float32 [h, w], the sum over the asked map of the last conv layer, after pooling and ReLU; or None.
        rows, columns: the window centres in pixels.
        unoccluded: float32 [classes], the class scores for the image as it is.
        unoccluded_activation: the map's sum for the image as it is, or None.
    """

    scores: Tensor
    activation: Tensor | None
    rows: range
    columns: range
    unoccluded: Tensor
    unoccluded_activation: float | None

    @property
    def probabilities(self) -> Tensor:
        """float32 [h, w, classes], each 0..1."""
        return self.scores.softmax(-1)


@torch.inference_mode()
def window_scores(
    model: CNN,
    image: np.ndarray,
    *,
    window: int,
    stride: int = 1,
    fill: float | np.ndarray = 0.5,
    feature_map: int | None = None,
    engine: Literal["auto", "plain", "incremental"] = "auto",
    batch_size: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> WindowScores:
    """Slide a gray window over one image and record the network's answer.

    Args:
        model: in evaluation mode; computed in its own precision, on its own device.
        image: uint8 [H, W, 3].
        window: N of the N x N window, odd, in pixels; it is clipped at the image's border.
        stride: pixels between window centres, from pixel (0, 0) on.
        fill: what the window shows, 0..1: one gray level, or a float picture [H, W, 3] that shows through the window
            (`graybox.occlusion.fills`).
        feature_map: a map of the last conv layer, to record its total activation, as Zeiler & Fergus do in figure 7b.
        engine: "plain" computes every occluded image from its pixels, "incremental" only what the window changes, in
            float32; they agree to about 1e-6. "auto" takes the one that is predicted to need less time.
        batch_size: windows that the plain engine computes at a time; None = what suits the device.
        on_windows: called with a number of windows whenever so many more are done, for a progress bar.

    Raises:
        ValueError: the incremental engine is asked for a network that is not a float32 `CNN`, or an even window.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it should be odd, so that it has a centre")
    device = next(model.parameters()).device
    pixels = torch.as_tensor(np.array(image), device=device).permute(2, 0, 1).float().div(255)
    rows, columns = (range(0, size, stride) for size in pixels.shape[1:])
    shown = torch.as_tensor(fill, dtype=pixels.dtype, device=device)
    shown = shown.permute(2, 0, 1) if shown.ndim else shown
    settings = {"window": window, "fill": shown, "feature_map": feature_map, "on_windows": on_windows}
    with _full_float32():
        if _is_incremental(engine, model, pixels, rows, columns, window):
            scores, sums = incremental.window_scores(model, pixels, rows, columns, **settings)
        else:
            scores, sums = _plain_scores(model, pixels, rows, columns, batch_size=batch_size, **settings)
        unoccluded, activation = _answer(model, pixels[None], feature_map)
    return WindowScores(
        scores, sums, rows, columns, unoccluded[0], None if activation is None else float(activation[0])
    )


@contextmanager
def _full_float32() -> Iterator[None]:
    """A context in which float32 is float32: a GPU's convolutions would round their inputs to 10 bits (TF32)."""
    backends = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before):
            backend.fp32_precision = precision


def _is_incremental(engine: str, model: nn.Module, pixels: Tensor, rows: range, columns: range, window: int) -> bool:
    if engine not in ("auto", "plain", "incremental"):
        raise ValueError(f"engine is {engine!r}; allowed: auto, plain, incremental")
    able = engine != "plain" and incremental.knows(model)
    if engine == "incremental" and not able:
        raise ValueError(
            "engine is 'incremental', which computes an unchanged graybox.network.cnn.CNN in float32 and no other "
            "network; allowed here: auto, plain"
        )
    if engine != "auto" or not able:
        return engine == "incremental"
    return incremental.job_of(model, pixels.shape[1:], rows, columns, window).cheapest() > 0


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
) -> tuple[Tensor, Tensor | None]:
    if batch_size is None:
        # On a CPU the first layer's activations should stay in its caches: larger batches took up to 1.7 times as long.
        batch_size = max(4, 2**17 // pixels[0].numel()) if pixels.device.type == "cpu" else 256
    centres = torch.cartesian_prod(*(torch.tensor(axis, device=pixels.device) for axis in (rows, columns)))
    answers = []
    for part in centres.split(batch_size):
        answers.append(_answer(model, occluded(pixels, part, window, fill), feature_map))
        on_windows(len(part))
    scores = torch.cat([scores for scores, _ in answers]).view(len(rows), len(columns), -1)
    if feature_map is None:
        return scores, None
    return scores, torch.cat([sums for _, sums in answers]).view(len(rows), len(columns))


def _answer(model: nn.Module, images: Tensor, feature_map: int | None) -> tuple[Tensor, Tensor | None]:
    """Class scores [B, classes] of images [B, 3, H, W], and the sums [B] over a map of the last conv layer."""
    images = images.contiguous(memory_format=torch.channels_last)
    if feature_map is None:
        return model(images), None
    features = model.last_maps(images)
    return model.head(features), features[:, feature_map].sum((1, 2))


def occlusion_map(model: CNN, image: np.ndarray, label: int, *, window: int, **options) -> OcclusionMap:
    """Slide a gray window over one image and record the true class's probability and the most probable class.

    Args:
        model: in evaluation mode; computed in its own precision, on its own device.
        image: uint8 [H, W, 3].
        label: the true class.
        window: N of the N x N window, odd, in pixels.
        options: stride, fill, feature_map, engine, batch_size and on_windows, as for `window_scores`.
    """
    found = window_scores(model, image, window=window, **options)
    probabilities = found.probabilities.cpu()
    return OcclusionMap(
        confidence=probabilities[..., label].numpy(),
        predicted=probabilities.argmax(-1).numpy(),
        rows=np.array(found.rows),
        columns=np.array(found.columns),
        unoccluded=found.unoccluded.softmax(0).cpu().numpy(),
        label=int(label),
        window=window,
        activation=None if found.activation is None else found.activation.cpu().numpy(),
        unoccluded_activation=found.unoccluded_activation,
    )
