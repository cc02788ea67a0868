"""When a trained network is no result, because training diverged."""

from __future__ import annotations

import math

import numpy as np

from graybox.network.classifier import Classifier
from graybox.network.progress import Epoch

CONSTANT_MARGIN = 1.0
"""Nats by which a loss may exceed that of a constant answer, log(classes), before training counts as diverged: a sound
network that has learned for a few steps only may still be a little above it."""


def divergence(last: Epoch, model: Classifier) -> str:
    """Why a network is no result: in words, or "" if it may be one.

    Training has diverged if a loss or a weight is not finite; or if after the last epoch both the training and the
    validation loss are more than `CONSTANT_MARGIN` above log(classes), the loss of a network that answers every image
    with the same probability for each class. The validation loss alone says too little: a network that has learned its
    training images by heart may be sure of many wrong answers, and yet be right more often than by chance.
    """
    losses = {"training": last.train_loss, "validation": last.validation_loss}
    if not np.isfinite(last.train_loss):
        return f"its training loss is not finite in epoch {last.epoch}"
    learned = [value for name, value in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    if not all(bool(value.isfinite().all()) for value in (*model.parameters(), *learned)):
        return f"its weights are not all finite after epoch {last.epoch}"
    if not np.isfinite(last.validation_loss):
        return f"its validation loss is not finite after epoch {last.epoch}"
    constant = math.log(len(model.class_names))
    if min(losses.values()) > constant + CONSTANT_MARGIN:
        shown = " and ".join(f"its {name} loss {loss:.3g}" for name, loss in losses.items())
        return f"after the last epoch {shown}, where a constant answer has {constant:.3g}"
    return ""
