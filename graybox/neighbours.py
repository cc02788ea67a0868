"""Where an image lies among the training images, as the network sees them: in what enters its last layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from graybox import inference
from graybox.model import CNN


@dataclass(frozen=True)
class Neighbours:
    """The nearest training images of N images, the nearest first.

    Attributes:
        rows: int64 [N, k], in the training split.
        labels: int64 [N, k], their classes.
        similarity: float64 [N, k], the cosine of the angle between the features, -1..1.
    """

    rows: np.ndarray
    labels: np.ndarray
    similarity: np.ndarray


@torch.inference_mode()
def penultimate(model: CNN, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """What enters the last fully connected layer, each image's scaled to length 1.

    Args:
        model: in evaluation mode.
        images: uint8 [N, H, W, 3]; they may be memory-mapped.

    Returns:
        float32 [N, units]; zeros where the network answers to nothing in the image.
    """
    *before, _ = model.head
    trunk = nn.Sequential(*before)
    found = []
    for start in range(0, len(images), batch_size):
        # A copy, as PyTorch can't wrap what is memory-mapped read-only.
        pixels = inference.to_float(torch.as_tensor(np.array(images[start : start + batch_size])).to(model.mean.device))
        features = trunk(model.features((pixels - model.mean) / model.std))
        found.append(nn.functional.normalize(features.float(), dim=1).cpu().numpy())
    return np.concatenate(found)


def nearest(features: np.ndarray, training: np.ndarray, training_labels: np.ndarray, count: int) -> Neighbours:
    """The `count` nearest training images of each image, by the angle between their features.

    Args:
        features: float [N, units]. `training`: float [M, units], M of at least 1. Both from `penultimate`.
        training_labels: int [M].
        count: all M, if there are fewer.
    """
    # In threads of its own scikit-learn may add up in another order, and another row be the tenth.
    index = NearestNeighbors(n_neighbors=min(count, len(training)), metric="cosine", algorithm="brute", n_jobs=1)
    distance, rows = index.fit(training).kneighbors(features)
    return Neighbours(rows.astype(np.int64), training_labels[rows], 1 - distance.astype(np.float64))
