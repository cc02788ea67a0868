"""Training speed on this machine: Graybox, the usual PyTorch way, and the network alone, which is the upper limit.

Usage: python -m benchmarks.training [--prepared data/prepared] [--params params.yaml] [--images 2048] [--rounds 3]

All three train the baseline of params.yaml on the same prepared images. The usual way is torchvision's ImageFolder with
transforms and a DataLoader with one worker per core, in float32. The network alone repeats one batch that stays on the
device, in our precision. They are timed in turns, `rounds` times each after a warm-up; the median counts.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.command import parser_of, positive, prepared, start
from graybox import settings
from graybox.data.images import ImageSet
from graybox.network import augmentation, inference, training
from graybox.network.cnn import CNN
from graybox.network.params import TrainParams


def ours(network: CNN, schedule: TrainParams, train: ImageSet, precision: torch.dtype) -> Callable[[], int]:
    device = next(network.parameters()).device
    batches = augmentation.Batches(train, schedule, device)
    step = training.Step(network.train(), schedule, batches.steps_per_epoch * 100, precision)

    def epoch() -> int:
        count = 0
        for pixels, labels in batches.epoch():
            step(pixels, labels)
            count += len(labels)
        return count

    return epoch


def alone(network: CNN, schedule: TrainParams, train: ImageSet, precision: torch.dtype) -> Callable[[], int]:
    device = next(network.parameters()).device
    batches = augmentation.Batches(train, schedule, device)
    step = training.Step(network.train(), schedule, batches.steps_per_epoch * 100, precision)
    pixels, labels = next(iter(batches.epoch()))

    def epoch() -> int:
        for _ in range(batches.steps_per_epoch):
            step(pixels, labels)
        return batches.steps_per_epoch * len(labels)

    return epoch


def usual(
    network: CNN, schedule: TrainParams, folder: Path, device: torch.device, workers: int,
    precision: torch.dtype = torch.float32,
) -> Callable[[], int]:  # fmt: skip
    size = network.image_size
    augment = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=schedule.shift, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(folder, augment), schedule.batch_size, shuffle=True, drop_last=True, num_workers=workers,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    network = network.to(device, memory_format=torch.contiguous_format).train()
    loss_of = nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=schedule.learning_rate, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )

    def epoch() -> int:
        count = 0
        for pixels, labels in loader:
            pixels, labels = pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            with inference.autocast(device, precision):
                scores = network(pixels)
            loss = loss_of(scores.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += len(labels)
        return count

    return epoch


def write_files(train: ImageSet, folder: Path) -> None:
    """Write the images as JPEG files, one folder per class, as data sets are usually stored."""
    for row, label in enumerate(train.labels):
        place = folder / f"{label:03d}"
        place.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(train.images[row])).save(place / f"{row:06d}.jpg", quality=90)


def rate(epoch: Callable[[], int], device: torch.device) -> float:
    """Images per second of one epoch."""
    started = time.perf_counter()
    count = epoch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - started)


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--prepared", default="data/prepared", help="a folder that the stage prepare made")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--images", type=positive, default=2048, help="training images to use")
    parser.add_argument("--rounds", type=positive, default=3)
    options = parser.parse_args(arguments)

    params = settings.load(options.params)
    train = prepared(options.prepared)["train"]
    rows = np.random.default_rng(0).permutation(len(train))[: options.images]
    files = tuple(train.files[row] for row in rows)
    train = ImageSet(train.images[rows], train.labels[rows], train.class_names, files, train.boxes[rows])
    schedule = params.train.model_copy(update={"batch_size": min(params.train.batch_size, len(train))})
    device = inference.pick_device("auto")
    precision = inference.pick_precision(schedule.precision, device)

    def network() -> CNN:
        torch.manual_seed(0)
        made = CNN(params.model, train.size, train.class_names)
        training.set_pixel_statistics(made, train.images)
        return made.to(device, memory_format=torch.channels_last)

    with tempfile.TemporaryDirectory() as folder:
        write_files(train, Path(folder))
        contenders = {
            "ours": ours(network(), schedule, train, precision),
            "the network alone": alone(network(), schedule, train, precision),
            f"the usual way, {os.cpu_count()} workers": usual(
                network(), schedule, Path(folder), device, os.cpu_count() or 1
            ),
            "the usual way, no workers": usual(network(), schedule, Path(folder), device, 0),
        }
        for epoch in contenders.values():
            epoch()  # warm-up
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, epoch in contenders.items():
                rates[name].append(rate(epoch, device))

    print(f"{training.describe(device, precision)}; {len(train)} images of {train.size} x {train.size}, "
          f"batches of {schedule.batch_size}, baseline of params.yaml")  # fmt: skip
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name, value in median.items():
        print(f"  {name:32s} {value:8,.0f} images/s   (from {min(rates[name]):,.0f} to {max(rates[name]):,.0f})")
    best_usual = max(value for name, value in median.items() if name.startswith("the usual way"))
    print(f"  ours / the better usual way      {median['ours'] / best_usual:8.2f}")
    print(f"  ours / the network alone         {median['ours'] / median['the network alone']:8.2f}")


if __name__ == "__main__":
    start(main)
