"""How far a GPU can be filled: trainings side by side, the largest batch; how soon a training reaches an accuracy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import yaml

from benchmarks.gpu.material import repeated
from benchmarks.gpu.record import Record, seconds_of
from benchmarks.training import ours
from graybox.data.images import ImageSet
from graybox.network import inference, training
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams, TrainParams

ROOT = Path(__file__).parents[2]
TARGETS = (0.60, 0.70, 0.75)


def side_by_side(
    record: Record, device: torch.device, size: int, batch: int, jobs: tuple[int, ...], seconds: float
) -> None:
    """Images/s of several processes that train the baseline at the same time, all together."""
    for count in jobs:
        setting = f"{count} at a time, {size} pixels, batches of {batch}"
        record.measure("trainings side by side", setting, "images/s", together, count, device, size, batch, seconds)


def together(count: int, device: torch.device, size: int, batch: int, seconds: float) -> tuple[float, str]:
    """The sum of the rates of `count` processes (benchmarks/gpu/beside.py), which begin together when all are warm."""
    command = [sys.executable, "-m", "benchmarks.gpu.beside", str(device), str(size), str(batch), str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(count)]
    try:
        for process in processes:
            said = process.stdout.readline()
            if said.strip() != "ready":
                raise RuntimeError((said + process.stdout.read()).strip().splitlines()[-1])
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        rates = [float(process.stdout.read().splitlines()[-1]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return sum(rates), "each " + ", ".join(f"{rate:,.0f}" for rate in rates)


def largest_batch(record: Record, device: torch.device, scenes: ImageSet, first: int, most: int) -> None:
    """Training steps of the baseline with twice the batch, again and again, until the memory is full."""
    batch, held, setting = first, 0, f"{scenes.size} pixels"
    while batch <= most:
        part = repeated(scenes, batch)
        rate = record.measure("a step", f"{setting}, a batch of {batch}", "images/s", step_rate, part, device)
        if rate is None:
            break
        batch, held = 2 * batch, batch
    full = batch <= most
    record.add("the largest batch", setting, held, "images", "twice as many failed" if full else "no more was tried")


def step_rate(part: ImageSet, device: torch.device) -> float:
    """Images/s of steps on all images at once."""
    schedule = TrainParams(batch_size=len(part))
    network = CNN(ModelParams(), part.size, part.class_names).to(device, memory_format=torch.channels_last)
    step = ours(network, schedule, part, inference.pick_precision(schedule.precision, device))
    return len(part) / seconds_of(step, device)


def reaching(
    record: Record,
    device: torch.device,
    parts: dict[str, ImageSet],
    kind: str,
    recipe: str | None,
    epochs: tuple[int, ...],
    targets: tuple[float, ...] = TARGETS,
) -> None:
    """The shortest of several complete trainings that reaches each test accuracy, and its seconds.

    Args:
        recipe: the network and settings, a file in recipes/ whose variant has its name; None = the baseline.
        epochs: of the trainings, ascending; those after the one that reaches all targets are left out.
    """
    found = yaml.safe_load((ROOT / f"recipes/{recipe}.yaml").read_text("utf-8"))["variants"][recipe] if recipe else {}
    model, wanted = ModelParams(**found.get("model", {})), list(targets)
    images = f"{len(parts['train'])} {kind}, {parts['train'].size} pixels, {recipe or 'baseline'}"
    for length in epochs:
        schedule = TrainParams(**{**found.get("train", {}), "epochs": length})
        reached = record.measure(
            "test accuracy", f"{images}, {length} epochs", "", accuracy_and_time, model, schedule, parts, device
        )
        for target in [target for target in wanted if reached is not None and reached >= target]:
            wanted.remove(target)
            record.add(f"reaches {target:.0%}", images, length, "epochs", record.rows[-1]["note"])
        if not wanted or reached is None:
            break
    for target in wanted:
        record.add(f"reaches {target:.0%}", images, None, "epochs", f"not within {epochs[-1]} epochs")


def accuracy_and_time(
    model: ModelParams, schedule: TrainParams, parts: dict[str, ImageSet], device: torch.device
) -> tuple[float, str]:
    fit = training.fit(model, schedule, parts["train"], parts["test"], device=device)
    return fit.curve[-1].validation_accuracy, f"{fit.seconds:.2f} s with a test after each epoch"
