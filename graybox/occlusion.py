"""Confidence maps: what a gray window does to a network's answer, by where the window lies.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2 and figure 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graybox.errors import UserError
from graybox.images import ImageSet
from graybox.model import CNN


@dataclass(frozen=True)
class OcclusionMap:
    """What the network says for each centre of the gray window.

    Attributes:
        confidence: float32 [h, w], the true class's probability (0..1) with the window centred at
            (rows[i], columns[j]); with stride 1, h x w is the image's own size.
        predicted: int64 [h, w], the most probable class there.
        rows, columns: int [h] and [w], the window centres in pixels.
        unoccluded: float32 [classes], the probabilities for the image as it is.
        label: the true class.
        window: N of the N x N window, in pixels.
    """

    confidence: np.ndarray
    predicted: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    unoccluded: np.ndarray
    label: int
    window: int

    @property
    def drop(self) -> np.ndarray:
        """float32 [h, w]: how much of the true class's probability the window takes away (negative: it gives some)."""
        return self.unoccluded[self.label] - self.confidence

    @property
    def lowest(self) -> tuple[int, int]:
        """Row and column, in pixels, of the window centre that leaves the true class the least."""
        row, column = np.unravel_index(self.confidence.argmin(), self.confidence.shape)
        return int(self.rows[row]), int(self.columns[column])

    def arrays(self) -> dict[str, np.ndarray]:
        """What is worth keeping, by name."""
        return {name: np.asarray(getattr(self, name)) for name in
                ("confidence", "predicted", "rows", "columns", "unoccluded", "label", "window")}  # fmt: skip

    def summary(self, class_names: Sequence[str]) -> dict[str, object]:
        """The map in a few figures: probabilities 0..1, positions in pixels."""
        row, column = self.lowest
        answer = self.unoccluded.argmax()
        return {
            "true_class": class_names[self.label],
            "predicted_class": class_names[answer],
            "true_probability": float(self.unoccluded[self.label]),
            "lowest_probability": float(self.confidence.min()),
            "lowest_row": row,
            "lowest_column": column,
            "class_there": class_names[self.predicted.flat[self.confidence.argmin()]],
            "share_of_windows_misclassified": float((self.predicted != self.label).mean()),
        }


def window_bounds(centre: Tensor, window: int, size: int) -> tuple[Tensor, Tensor]:
    """First pixel and one past the last of a window around `centre`, clipped at the image's border."""
    half = window // 2
    return (centre - half).clamp(min=0), (centre + half + 1).clamp(max=size)


def occluded(image: Tensor, centres: Tensor, window: int, gray: float) -> Tensor:
    """Copies of one image, each with a gray window.

    Args:
        image: float [3, H, W] in 0..1.
        centres: int [P, 2], row and column of each window's centre; the window is clipped at the border.
        window: N of the N x N window, odd, in pixels.
        gray: the window's value, 0..1.

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
    return torch.where(mask, torch.as_tensor(gray, dtype=image.dtype, device=image.device), image)


@torch.inference_mode()
def occlusion_map(
    model: CNN, image: np.ndarray, label: int, *, window: int, stride: int = 1, gray: float = 0.5, batch_size: int = 256
) -> OcclusionMap:
    """Slide a gray window over one image and record the true class's probability and the most probable class.

    Args:
        model: in evaluation mode; computed in its own precision, on its own device.
        image: uint8 [H, W, 3].
        label: the true class.
        window: N of the N x N window, odd, in pixels.
        stride: pixels between window centres, from pixel (0, 0) on.
        gray: the window's value, 0..1.
        batch_size: windows computed at a time.
    """
    device = next(model.parameters()).device
    pixels = torch.as_tensor(np.array(image), device=device).permute(2, 0, 1).float().div(255)
    rows, columns = (torch.arange(0, size, stride, device=device) for size in pixels.shape[1:])
    centres = torch.cartesian_prod(rows, columns)
    answers = [
        model(batch.contiguous(memory_format=torch.channels_last)).softmax(1)
        for batch in _batches(pixels, centres, window, gray, batch_size)
    ]
    probabilities = torch.cat(answers).view(len(rows), len(columns), -1)
    return OcclusionMap(
        confidence=probabilities[..., label].cpu().numpy(),
        predicted=probabilities.argmax(-1).cpu().numpy(),
        rows=rows.cpu().numpy(),
        columns=columns.cpu().numpy(),
        unoccluded=model(pixels[None]).softmax(1)[0].cpu().numpy(),
        label=int(label),
        window=window,
    )


def _batches(image: Tensor, centres: Tensor, window: int, gray: float, batch_size: int) -> Iterator[Tensor]:
    for part in centres.split(batch_size):
        yield occluded(image, part, window, gray)


def choose_images(images: ImageSet, predicted: np.ndarray, wanted: int | list[str]) -> np.ndarray:
    """Rows of the test images to occlude: those whose files are listed, or a number spread over the classes.

    A number takes the first correctly classified image of each class: a misclassified one has little of the true
    class's probability to lose, so its map would say little. Only a class without a (further) correct image gives
    a misclassified one. With more images than classes each class gives its second, and so on; with fewer, evenly
    spaced classes are taken.

    Args:
        images: the test split, N images. `predicted`: int [N], the network's answers.
        wanted: a number (at most N are given), or a list of files.

    Raises:
        UserError: a listed file is not among the test images.
    """
    if isinstance(wanted, list):
        missing = sorted(set(wanted) - set(images.files))
        if missing:
            raise UserError(
                f"params.yaml: occlusion.images lists {missing[0]!r}, which is not a test image; "
                f"allowed: files of split test in data/prepared/table.csv, such as {images.files[0]!r}"
            )
        return np.array([images.files.index(file) for file in wanted])
    classes = np.unique(images.labels)
    if wanted < len(classes):
        classes = classes[np.linspace(0, len(classes) - 1, wanted).round().astype(int)]
    queues = []
    for label in classes:
        rows = np.flatnonzero(images.labels == label)
        queues.append(rows[np.argsort(predicted[rows] != label, kind="stable")])
    rounds = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return np.array(rounds[:wanted], dtype=np.int64)
