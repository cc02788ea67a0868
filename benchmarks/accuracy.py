"""Accuracy after the same training time: a network of params.yaml, and torchvision's resnet18 trained from scratch.

Usage: python -m benchmarks.accuracy [--prepared data/prepared] [--params params.yaml] [--variant baseline]
                                     [--rates [0.05 0.1]]

First our network is trained as in params.yaml. Then a resnet18 is trained for exactly as many seconds, with a usual
recipe: SGD with Nesterov momentum 0.9, batches of 128, weight decay 0.0005, label smoothing 0.1, shifted crops (4
pixels) and flips. Its learning rate rises to the peak in the first twentieth of the time, then falls to 0 along a
cosine. It uses the same images in memory, batched augmentation, precision and memory format, so that no loader slows it
down. It is trained once for each of `--rates`. All are tested with and without averaging over the mirror image.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn

from benchmarks.command import parser_of, prepared, start
from graybox import settings
from graybox.data.images import ImageSet
from graybox.errors import UserError
from graybox.network import augmentation, inference, training
from graybox.network.params import TrainParams


class Normalised(nn.Module):
    """A network that takes pixels in 0..1, as ours does."""

    def __init__(self, network: nn.Module, pixels: np.ndarray) -> None:
        super().__init__()
        sample = pixels[:: max(1, len(pixels) // 2000)].reshape(-1, 3) / np.float32(255)
        self.register_buffer("mean", torch.as_tensor(sample.mean(axis=0)).view(3, 1, 1))
        self.register_buffer("std", torch.as_tensor(sample.std(axis=0)).view(3, 1, 1))
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network((pixels - self.mean) / self.std)


def resnet18(train: ImageSet, schedule: TrainParams, peak: float, seconds: float) -> tuple[nn.Module, float]:
    """A resnet18 trained for `seconds` seconds, and the number of epochs that it reached."""
    device = inference.pick_device("auto")
    precision = inference.pick_precision(schedule.precision, device)
    torch.manual_seed(schedule.seed)
    network = Normalised(torchvision.models.resnet18(num_classes=len(train.class_names)), train.images)
    network = network.to(device, memory_format=torch.channels_last).train()
    usual = {"batch_size": 128, "flip": True, "shift": 4, "zoom": 1.0, "color_jitter": 0.0, "cutout": 0.0}
    usual |= {"mixup": 0.0, "start_size": 1.0}
    batches = augmentation.Batches(train, schedule.model_copy(update=usual), device)
    optimizer = torch.optim.SGD(network.parameters(), peak, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loss, steps, started = nn.CrossEntropyLoss(label_smoothing=0.1), 0, time.perf_counter()
    while True:
        for pixels, labels in batches.epoch():
            done = (time.perf_counter() - started) / seconds
            if done >= 1:
                return network.eval(), steps / batches.steps_per_epoch
            rate = done / 0.05 if done < 0.05 else (1 + math.cos(math.pi * (done - 0.05) / 0.95)) / 2
            optimizer.param_groups[0]["lr"] = peak * rate
            with inference.autocast(device, precision):
                scores = network(pixels)
            optimizer.zero_grad()
            loss(scores.float(), labels).backward()
            optimizer.step()
            steps += 1


def accuracy(network: nn.Module, part: ImageSet, flip: bool) -> float:
    return float((inference.probabilities(network, part.images, flip=flip).argmax(1) == part.labels).mean())


def row(name: str, network: nn.Module, parts: dict[str, ImageSet], seconds: float, epochs: float) -> dict:
    """One line of the table; it is printed at once, because the next one takes minutes."""
    found = {"network": name, "seconds": round(seconds), "epochs": round(epochs, 1)}
    for split in ("validation", "test"):
        for flip in (False, True):
            found[f"{split}{' + mirror' * flip}"] = f"{accuracy(network, parts[split], flip):.1%}"
    print(found, flush=True)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--prepared", default="data/prepared")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--variant", default="baseline")
    parser.add_argument("--rates", nargs="*", type=float, default=[0.05, 0.1])
    options = parser.parse_args(arguments)
    recipes = settings.load(options.params).recipes
    if options.variant not in recipes:
        raise UserError(f"--variant {options.variant} is not in {options.params}; allowed: {', '.join(recipes)}")
    recipe = recipes[options.variant]
    network, schedule = recipe.model, recipe.train
    parts = prepared(options.prepared)
    train = parts["train"]

    ours = training.fit(network, schedule, train, parts["validation"], name=options.variant)
    macs = ours.model.multiply_accumulates
    name = f"ours, {options.variant} ({macs / 1e6:,.0f} M MACs, {ours.model.parameter_count / 1e6:.1f} M weights)"
    rows = [row(name, ours.model, parts, ours.seconds, len(ours.curve))]
    for peak in options.rates:
        theirs, epochs = resnet18(train, schedule, peak, ours.seconds)
        rows.append(row(f"resnet18, rate {peak:g}", theirs, parts, ours.seconds, epochs))
    print(f"\n{ours.device}; {len(train):,} training images of {train.size} x {train.size} pixels\n")
    print(pd.DataFrame(rows).to_markdown(index=False))


if __name__ == "__main__":
    start(main)
