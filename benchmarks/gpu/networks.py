"""Networks that are not ours: occlusion of torchvision's classifiers, training one in the study's way, resuming."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import occlusion as contenders
from benchmarks import torchvision_networks
from benchmarks.gpu.checks import apart
from benchmarks.gpu.material import at_size, repeated, taken
from benchmarks.gpu.record import Record
from benchmarks.gpu.speed import fit_rate, windows_rate
from graybox.data.images import ImageSet
from graybox.network import training as network_training
from graybox.network.checkpoint import Checkpoint
from graybox.network.params import ModelParams, TrainParams
from graybox.network.training import Fit
from graybox.occlusion import maps


def scores(model: nn.Module, image: np.ndarray, engine: str, window: int, stride: int) -> Tensor:
    return maps.window_scores(model, image, window=window, stride=stride, fill=contenders.GRAY, engine=engine).scores


def equality(
    record: Record, device: torch.device, names: tuple[str, ...], pixels: int, window: int, strides: tuple[int, ...]
) -> None:
    """The incremental engine against the plain one on the device, and both against the plain one on the CPU.

    The CPU computes the largest of the strides only, four times as far apart again.
    """
    image, unit = torchvision_networks.image(pixels), "of the logits' range, at most"
    for name in names:
        model = torchvision_networks.network(name, pixels, device)
        setting, far = f"{name}, {pixels} pixels, N = {window}", 4 * max(strides)
        for stride in strides:
            record.measure(
                f"{device.type}, incremental against plain", f"{setting}, stride {stride}", unit,
                engines_apart, model, image, window, stride,
            )  # fmt: skip
        on_device = {engine: attempt(scores, model, image, engine, window, far) for engine in ("plain", "incremental")}
        model = model.to("cpu")
        reference = attempt(scores, model, image, "plain", window, far)
        for engine, found in on_device.items():
            record.measure(
                f"{device.type}, {engine}, against CPU, plain", f"{setting}, stride {far}", unit,
                lambda found, reference: apart(found(), reference()), found, reference,
            )  # fmt: skip


def attempt(work: Callable[..., Any], *arguments: object) -> Callable[[], Any]:
    """Do something now. What is returned gives its result, or raises its error, when it is called."""
    try:
        found = work(*arguments)
    except Exception as error:
        caught = error

        def fails() -> None:
            raise caught

        return fails
    return lambda: found


def engines_apart(model: nn.Module, image: np.ndarray, window: int, stride: int) -> float:
    found = scores(model, image, "incremental", window, stride)
    return apart(found, scores(model, image, "plain", window, stride))


def speed(
    record: Record,
    device: torch.device,
    names: tuple[str, ...],
    pixels: int,
    window: int,
    strides: tuple[int, ...],
    at_once: tuple[int, ...],
    rounds: int,
) -> None:
    """Windows/s of both engines, of the plain one with folded batch norms, and of Captum, in full float32.

    The best number of windows at once is looked for at the first stride.
    """
    image = torchvision_networks.image(pixels)
    with contenders.full_float32():
        for name in names:
            model = torchvision_networks.network(name, pixels, device)
            batches: dict[str, int] = {}
            for stride in strides:
                setting = f"{name}, {pixels} pixels, N = {window}, stride {stride}"
                record.measure("the engine that `auto` chooses", setting, "", chosen, model, image, window, stride)
                _race(record, device, model, image, setting, (window, stride), at_once, rounds, batches)


def chosen(model: nn.Module, image: np.ndarray, window: int, stride: int) -> str:
    """The engine that `auto` takes."""
    return maps.window_scores(model, image, window=window, stride=stride, fill=contenders.GRAY).engine


def _race(
    record: Record,
    device: torch.device,
    model: nn.Module,
    image: np.ndarray,
    setting: str,
    slide: tuple[int, int],
    at_once: tuple[int, ...],
    rounds: int,
    batches: dict[str, int],
) -> None:
    """One network at one window and stride. `batches`: of each contender the best number of windows at once so far."""
    window, stride = slide

    def ours(engine: str, batch: int | None = None, network: nn.Module = model) -> tuple[float, str]:
        return windows_rate(contenders.ours(network, image, window, engine, stride, batch), device, rounds)

    def captum(batch: int) -> tuple[float, str]:
        return windows_rate(contenders.captum(model, image, window, batch, stride), device, rounds)

    fastest = record.measure("incremental", setting, "windows/s", ours, "incremental")
    others: dict[str, Callable[[int], tuple[float, str]]] = {"plain": partial(ours, "plain"), "Captum": captum}
    try:
        others["plain, batch norm folded"] = partial(ours, "plain", network=torchvision_networks.folded(model))
    except Exception as error:
        record.add("plain, batch norm folded", setting, None, note=f"PyTorch can't fold it: {type(error).__name__}")
    for name, work in others.items():
        best, rate = 0, 0.0
        for batch in (batches[name],) if name in batches else at_once:
            found = record.measure(name, f"{setting}, {batch} at once", "windows/s", work, batch)
            if not isinstance(found, float):
                break  # not installed, or no more memory
            best, rate = (batch, found) if found > rate else (best, rate)
        if best:
            batches[name] = best
        if isinstance(fastest, float) and rate:
            record.add(f"incremental / {name}", setting, fastest / rate, "times", f"{best} at once: {rate:,.0f}/s")


def architectures(
    record: Record,
    device: torch.device,
    scenes: ImageSet,
    names: tuple[str, ...],
    size: int,
    batches: tuple[int, ...],
    count: int,
) -> None:
    """Images/s of `fit` for networks other than ours, in bf16."""
    many = repeated(at_size(scenes, size), count)
    for name, batch in itertools.product(names, batches):
        schedule = TrainParams(epochs=4, batch_size=batch, precision="bf16")
        record.measure(
            "fit, augmentation, bf16", f"{name}, {size} pixels, batches of {batch}", "images/s",
            lambda name, schedule: fit_rate(schedule, many, device, ModelParams(architecture=name)), name, schedule,
        )  # fmt: skip


class Stopped(Exception):
    """Training was stopped on purpose."""


class Stopping(Checkpoint):
    """Writes once, after so many steps, and stops training as a kill would."""

    left = 1

    @property
    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def write(self, key: str, state: dict[str, Tensor]) -> None:
        super().write(key, state)
        raise Stopped


def resuming(record: Record, device: torch.device, scenes: dict[str, ImageSet], epochs: int, batch: int) -> None:
    """The weights after a training that was stopped in the middle, and after one that was not."""
    train, validation = scenes["train"], taken(scenes["validation"], np.arange(min(64, len(scenes["validation"]))))
    stop = max(1, epochs * (len(train) // batch) // 2)
    for precision in ("fp32", "bf16"):
        schedule = TrainParams(epochs=epochs, batch_size=batch, precision=precision)
        setting = f"{precision}, {len(train)} scenes, {epochs} epochs of batches of {batch}"
        train_it = partial(_trained, schedule, train, validation, device)
        whole = attempt(train_it)
        unit = "of a tensor's range, at most"
        record.measure("weights of two trainings alike", setting, unit, lambda: furthest(train_it(), whole()))  # noqa: B023
        record.measure(f"weights after a stop at step {stop}", setting, unit, lambda: resumed(train_it, whole(), stop))  # noqa: B023


def _trained(
    schedule: TrainParams,
    train: ImageSet,
    validation: ImageSet,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    return network_training.fit(ModelParams(), schedule, train, validation, device=device, checkpoint=checkpoint)


def resumed(train_it: Callable[..., Fit], whole: Fit, stop: int) -> tuple[float, str]:
    with tempfile.TemporaryDirectory() as folder:
        stopping = Stopping(Path(folder, "checkpoint"))
        stopping.left = stop
        with suppress(Stopped):
            train_it(checkpoint=stopping)
        found = train_it(checkpoint=Checkpoint(Path(folder, "checkpoint"), None))
    value, note = furthest(found, whole)
    return value, f"went on from step {found.resumed}; {note}"


def furthest(found: Fit, reference: Fit) -> tuple[float, str]:
    """The largest difference of a tensor, in its range, and whether all are equal to the last bit."""
    one, other = found.model.state_dict(), reference.model.state_dict()
    equal = all(torch.equal(one[name], other[name]) for name in other)
    several = [name for name, value in other.items() if value.numel() > 1 and value.max() > value.min()]
    worst = max(several, key=lambda name: apart(one[name], other[name]))
    return apart(one[worst], other[worst]), "equal to the last bit" if equal else f"furthest: {worst}"
