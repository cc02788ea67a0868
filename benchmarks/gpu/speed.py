"""How fast training, evaluation and occlusion are, compared with their upper limits and the usual ways."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import occlusion as contenders
from benchmarks.gpu.checks import EVERY_AUGMENTATION, WINDOW
from benchmarks.gpu.material import at_size, repeated, taken
from benchmarks.gpu.record import Record, seconds_of, wait
from benchmarks.training import usual, write_files
from graybox.data.images import ImageSet
from graybox.network import inference
from graybox.network import training as network_training
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams, TrainParams


def training(
    record: Record, device: torch.device, scenes: ImageSet, sizes: tuple[int, ...], batches: tuple[int, ...], count: int
) -> None:
    """Images/s of the baseline network: ours, the network alone, and ImageFolder with a DataLoader."""
    for size in sizes:
        part = at_size(scenes, size)
        many = repeated(part, count)
        with jpegs(part, count) as folder:
            for batch in batches:
                setting, schedule = f"{size} pixels, batches of {batch}", TrainParams(epochs=6, batch_size=batch)
                record.measure("ours: fit, augmentation", setting, "images/s", fit_rate, schedule, many, device)
                record.measure("the network alone", setting, "images/s", alone_rate, schedule, part, device)
                record.measure(
                    f"ImageFolder of JPEGs, DataLoader, {os.cpu_count()} workers", setting, "images/s",
                    usual_rate, schedule, part, folder, device,
                )  # fmt: skip
        schedule = TrainParams(epochs=6, batch_size=batches[0], **EVERY_AUGMENTATION)
        setting = f"{size} pixels, batches of {batches[0]}"
        record.measure("ours: fit, every augmentation", setting, "images/s", fit_rate, schedule, many, device)


def graphs(
    record: Record, device: torch.device, scenes: ImageSet, sizes: tuple[int, ...], batches: tuple[int, ...]
) -> None:
    """Images/s of the network alone, without Python's time to start the kernels."""
    if device.type != "cuda":
        return record.add("the network alone, as a CUDA graph", "", None, note="only on CUDA")
    for size, batch in itertools.product(sizes, batches):
        setting, part = f"{size} pixels, batches of {batch}", at_size(scenes, size)
        schedule = TrainParams(batch_size=batch)
        record.measure(
            "the network alone, as a CUDA graph", setting, "images/s", alone_rate, schedule, part, device, True
        )


def fit_rate(schedule: TrainParams, part: ImageSet, device: torch.device, model: ModelParams | None = None) -> float:
    """Images/s from one epoch's end to the next; the validation images are few."""
    ends = []

    def ended(_: network_training.Epoch) -> None:
        wait(device)
        ends.append(time.perf_counter())

    few = taken(part, np.arange(64))
    network_training.fit(model or ModelParams(), schedule, part, few, on_epoch=ended, device=device)
    count = len(part) // schedule.batch_size * schedule.batch_size
    return count / statistics.median(end - start for start, end in itertools.pairwise(ends))


def alone_rate(schedule: TrainParams, part: ImageSet, device: torch.device, graph: bool = False) -> float:
    """Images/s of forward, backward and PyTorch's fused SGD on one batch that stays on the device.

    As a graph the kernels start without Python, so that only the GPU's own time counts.
    """
    precision = inference.pick_precision(schedule.precision, device)
    network = CNN(ModelParams(), part.size, part.class_names).to(device, memory_format=torch.channels_last).train()
    batch = repeated(part, schedule.batch_size)
    pixels = inference.to_float(torch.as_tensor(batch.images, device=device))
    labels, loss_of = torch.as_tensor(batch.labels, device=device), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9, nesterov=True, fused=True)

    def step() -> None:
        # A graph may not use autocast's cache, whose copies of the weights would be freed.
        enabled = precision == torch.bfloat16
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=not graph):
            scores = network(pixels)
        optimizer.zero_grad(set_to_none=True)
        loss_of(scores.float(), labels).backward()
        optimizer.step()

    run = captured(step) if graph else step
    steps = max(2, 4096 // schedule.batch_size) if device.type == "cuda" else 1
    return steps * schedule.batch_size / seconds_of(lambda: [run() for _ in range(steps)], device)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """A step as a CUDA graph, as in PyTorch's notes on whole-network capture."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@contextmanager
def jpegs(part: ImageSet, count: int) -> Iterator[Path]:
    """A folder of `count` JPEG files, each image several times: a long epoch makes the workers' start-up negligible."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(part, Path(folder))
        files = sorted(Path(folder).rglob("*.jpg"))
        for number in range(len(files), count):
            file = files[number % len(files)]
            os.link(file, file.with_name(f"{number:06d}-again.jpg"))
        yield Path(folder)


def usual_rate(schedule: TrainParams, part: ImageSet, folder: Path, device: torch.device) -> tuple[float, str]:
    precision = inference.pick_precision(schedule.precision, device)
    network = CNN(ModelParams(), part.size, part.class_names)
    epoch = usual(network, schedule, folder, device, os.cpu_count() or 1, precision)
    counts: list[int] = []
    taken = seconds_of(lambda: counts.append(epoch()), device, rounds=2)
    return counts[-1] / taken, f"{counts[-1]} images an epoch"


def evaluation(record: Record, device: torch.device, scenes: ImageSet, sizes: tuple[int, ...], count: int) -> None:
    """Images/s of class_scores, from images in the host's memory and on the device."""
    for size in sizes:
        part = repeated(at_size(scenes, size), count)
        network = CNN(ModelParams(), size, part.class_names).to(device, memory_format=torch.channels_last).eval()
        places = {"the host's memory": part.images, "the device's memory": torch.as_tensor(part.images, device=device)}
        precisions = {"fp32": torch.float32, "bf16": torch.bfloat16}
        for (name, precision), (place, pixels) in itertools.product(precisions.items(), places.items()):
            record.measure(
                f"class_scores, {name}, images in {place}", f"{size} pixels, {count} images", "images/s",
                scores_rate, network, pixels, precision, device,
            )  # fmt: skip


def scores_rate(network: CNN, pixels: np.ndarray | Tensor, precision: torch.dtype, device: torch.device) -> float:
    return len(pixels) / seconds_of(lambda: inference.class_scores(network, pixels, precision=precision), device)


def occlusion(
    record: Record, device: torch.device, sizes: tuple[int, ...], at_once: tuple[int, ...], rounds: int, stride: int
) -> None:
    """Windows/s of our two engines and of Captum, in full float32: a GPU's convolutions would use TF32 in Captum."""
    with contenders.full_float32():
        for size in sizes:
            network, image = contenders.network_for(size, device)
            setting = f"{size} pixels, N = {WINDOW}, " + (f"stride {stride}" if stride > 1 else "every pixel")

            def ours(engine: str, batch: int | None = None) -> tuple[float, str]:
                run = contenders.ours(network, image, WINDOW, engine, stride, batch)  # noqa: B023
                return windows_rate(run, device, rounds)

            def captum(batch: int) -> tuple[float, str]:
                run = contenders.captum(network, image, WINDOW, batch, stride)  # noqa: B023
                return windows_rate(run, device, rounds)

            record.measure("the engine that is chosen for it", setting, "windows/s", ours, "auto")
            fastest = record.measure("incremental", setting, "windows/s", ours, "incremental")
            for name, work in {"plain": partial(ours, "plain"), "Captum's Occlusion": captum}.items():
                best, rate = 0, 0.0
                for batch in at_once:
                    found = record.measure(name, f"{setting}, {batch} at once", "windows/s", work, batch)
                    if found is None:
                        break  # not installed, or no more memory
                    best, rate = (batch, found) if found > rate else (best, rate)
                if fastest and rate:
                    note = f"{name} at its best, {best} at once: {rate:,.0f} windows/s"
                    record.add(f"incremental / {name}", setting, fastest / rate, "times", note)


def windows_rate(run: contenders.Contender, device: torch.device, rounds: int) -> tuple[float, str]:
    counts: list[int] = []
    taken = seconds_of(lambda: counts.append(run()), device, rounds)
    return counts[-1] / taken, f"{counts[-1]} windows in {1000 * taken:.1f} ms"


def accuracy_against_time(
    record: Record,
    device: torch.device,
    parts: dict[str, ImageSet],
    kind: str,
    epochs: tuple[int, ...],
    rates: dict[int, float],
) -> None:
    """Test accuracy of complete training runs of several lengths. `rates`: the learning rate of each batch size."""
    for length, (batch, rate) in itertools.product(epochs, rates.items()):
        schedule = TrainParams(epochs=length, batch_size=batch, learning_rate=rate)
        images = f"{len(parts['train'])} {kind}, {parts['train'].size} pixels"
        setting = f"{images}, {length} epochs, batches of {batch}, rate {rate}"
        record.measure("test accuracy", setting, "", last_accuracy, schedule, parts, device)


def last_accuracy(schedule: TrainParams, parts: dict[str, ImageSet], device: torch.device) -> tuple[float, str]:
    fit = network_training.fit(ModelParams(), schedule, parts["train"], parts["test"], device=device)
    return fit.curve[-1].validation_accuracy, f"{fit.seconds:.2f} s with a test after each epoch"
