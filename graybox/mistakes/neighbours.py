"""The nearest training images of an image, by the features that enter the network's last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from sklearn import config_context
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from graybox.network import inference
from graybox.network.classifier import Classifier
from graybox.network.inference import Views


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


def answers_and_features(
    model: Classifier, images: np.ndarray, **views: Unpack[Views]
) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities, and the features that enter the last layer, scaled to length 1 per image.

    Args:
        model: left unchanged.
        images: uint8 [N, H, W, 3]; they may be memory-mapped.
        views: `flip` and `shift`, as for `inference.probabilities`; the features are those of the images themselves.

    Returns:
        float32 [N, classes] and float32 [N, units]; features are zeros where no unit is active. Of a network without a
        last layer the class scores are the features.
    """
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...], scores: Tensor) -> None:
        units = (scores if last is model else inputs[0]).float()
        if units.ndim == 4:  # a convolution gives the class scores, and their mean over its places is the answer
            units = units.mean((2, 3))
        caught.append(nn.functional.normalize(units.reshape(len(units), -1), dim=1).cpu())

    probabilities, features = [], []
    step = inference.at_once(model)
    try:
        last = model.last_layer
    except NotImplementedError:  # no layer gives the class scores, such as where they are a product of two
        last = model
    hook = last.register_forward_hook(catch)
    try:
        for start in range(0, len(images), step):  # of each part, the first features are those of no other view
            part = images[start : start + step]
            probabilities.append(inference.probabilities(model, part, **views))
            features.append(torch.cat(caught)[: len(part)].numpy())
            caught.clear()
    finally:
        hook.remove()
    return np.concatenate(probabilities), np.concatenate(features)


def nearest(features: np.ndarray, training: np.ndarray, training_labels: np.ndarray, count: int) -> Neighbours:
    """The `count` nearest training images of each image, by the angle between their features.

    Args:
        features: float [N, units]. `training`: float [M, units], M of at least 1. Both from `answers_and_features`.
        training_labels: int [M].
        count: how many; all M if M is smaller.
    """
    # With several threads scikit-learn may sum in another order, and the tenth neighbour may be another row.
    index = NearestNeighbors(n_neighbors=min(count, len(training)), metric="cosine", algorithm="brute", n_jobs=1)
    with config_context(working_memory=128):  # MiB; its default, 1,024, takes three times that for its orders too
        distance, rows = index.fit(training).kneighbors(features)
    return Neighbours(rows.astype(np.int64), training_labels[rows], 1 - distance.astype(np.float64))
