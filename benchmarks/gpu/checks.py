"""Does CUDA compute the right results, and does the host wait for the GPU within an epoch?"""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import graybox
from benchmarks.gpu.material import taken
from benchmarks.gpu.record import Record
from benchmarks.occlusion import network_for
from graybox.data.images import ImageSet
from graybox.network import inference, training
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams, TrainParams
from graybox.occlusion import maps

WINDOW = 11
EVERY_AUGMENTATION = {"zoom": 1.2, "color_jitter": 0.2, "cutout": 0.3, "mixup": 0.2}


def apart(found: Tensor, reference: Tensor) -> float:
    """The largest difference of two sets of logits, relative to the reference's range."""
    found, reference = found.double().cpu(), reference.double().cpu()
    return float((found - reference).abs().max() / (reference.max() - reference.min()))


def engines(record: Record, device: torch.device, sizes: tuple[int, ...], cpu_stride: int, stride: int) -> None:
    """Both occlusion engines against each other, and against the plain one on the CPU."""
    for size in sizes:
        network, image = network_for(size, torch.device("cpu"))
        reference = scores(network, image, "plain", cpu_stride)
        network = network.to(device)
        setting, unit = f"{size} pixels, N = {WINDOW}, float32, untrained", "of the logits' range, at most"
        record.measure(
            f"{device.type}, incremental against plain", f"{setting}, stride {stride}", unit,
            engines_apart, network, image, stride,
        )  # fmt: skip
        for engine in ("plain", "incremental"):
            record.measure(
                f"{device.type}, {engine}, against CPU, plain", f"{setting}, stride {cpu_stride}", unit,
                lambda network, image, engine, reference: apart(scores(network, image, engine, cpu_stride), reference),
                network, image, engine, reference,
            )  # fmt: skip


def scores(network: CNN, image: np.ndarray, engine: str, stride: int) -> Tensor:
    return maps.window_scores(network, image, window=WINDOW, fill=0.5, stride=stride, engine=engine).scores


def engines_apart(network: CNN, image: np.ndarray, stride: int) -> float:
    return apart(scores(network, image, "incremental", stride), scores(network, image, "plain", stride))


def learning(record: Record, device: torch.device, parts: dict[str, ImageSet], epochs: int, seeds: int) -> None:
    """The same short training on CUDA and the CPU, in both precisions; and one network's answers in both."""
    cpu, fits = torch.device("cpu"), []
    runs = [(device, "fp32"), (device, "bf16"), (cpu, "fp32")] if device != cpu else [(cpu, "fp32")]
    for (place, precision), seed in itertools.product(runs, range(seeds)):
        schedule = TrainParams(epochs=epochs, precision=precision, seed=seed)
        setting = f"{len(parts['train'])} scenes, {parts['train'].size} pixels, {epochs} epochs, seed {seed}"
        what = f"test accuracy, trained on {place.type} in {precision}"
        record.measure(what, setting, "", accuracy_of_fit, schedule, parts, place, fits)
    if fits:
        compare_precisions(record, fits[0].model, parts["test"])


def accuracy_of_fit(
    schedule: TrainParams, parts: dict[str, ImageSet], device: torch.device, fits: list[training.Fit]
) -> tuple[float, str]:
    """Test accuracy and training time; the fit itself is added to `fits`."""
    fits.append(training.fit(ModelParams(), schedule, parts["train"], parts["validation"], device=device))
    right = inference.class_scores(fits[-1].model, parts["test"].images).argmax(1).numpy() == parts["test"].labels
    tf32 = " (convolutions in TF32, PyTorch's default)" * (device.type == "cuda" and schedule.precision == "fp32")
    return float(right.mean()), f"trained in {fits[-1].seconds:.2f} s on {fits[-1].device}{tf32}"


def compare_precisions(record: Record, network: CNN, test: ImageSet) -> None:
    exact = inference.class_scores(network, test.images)
    rounded = inference.class_scores(network, test.images, precision=torch.bfloat16)
    setting = f"{len(test)} test scenes, the same network"
    record.add("bf16 against fp32, logits", setting, apart(rounded, exact), "of the logits' range, at most")
    same = float((rounded.argmax(1) == exact.argmax(1)).float().mean())
    record.add("bf16 against fp32, same answer", setting, same, "of the images")
    for name, scores in (("fp32", exact), ("bf16", rounded)):
        right = float((scores.argmax(1).numpy() == test.labels).mean())
        record.add(f"test accuracy, {name} inference", setting, right)


@contextmanager
def counted(found: Counter[str]) -> Iterator[None]:
    """Counts how often the host waits for the GPU, by the line of Graybox that causes the wait."""
    root = Path(graybox.__file__).parent.parent

    def note(message: Warning | str, *_, **__) -> None:
        if "synchronizing CUDA operation" not in str(message):
            return
        frames = [frame for frame in traceback.extract_stack()[:-1] if Path(frame.filename).is_relative_to(root)]
        inside = [frame for frame in frames if Path(frame.filename).is_relative_to(root / "graybox")]
        for frame in inside[-1:] or frames[-1:]:
            found[f"{Path(frame.filename).relative_to(root).as_posix()}:{frame.lineno} `{frame.line}`"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def waits(record: Record, device: torch.device, part: ImageSet, batch: int) -> None:
    """The waits of a second epoch, including the evaluation after it."""
    if device.type != "cuda":
        return record.add("waits of the host in an epoch", "", None, note="only CUDA reports them")
    kinds = {"default augmentation": {}, "every augmentation": EVERY_AUGMENTATION, "muon": {"optimizer": "muon"}}
    for name, more in kinds.items():
        found: Counter[str] = Counter()
        with ExitStack() as stack:

            def ended(epoch: training.Epoch) -> None:
                if epoch.epoch == 1:
                    stack.enter_context(counted(found))  # noqa: B023
                else:
                    stack.close()

            schedule = TrainParams(epochs=2, batch_size=batch, **more)
            training.fit(ModelParams(), schedule, part, taken(part, np.arange(64)), on_epoch=ended, device=device)
        steps = len(part) // batch
        setting = f"{name}, {steps} steps of {batch} images and one evaluation"
        record.add("waits of the host in an epoch", setting, found.total() / steps, "a step", f"{found.total()} in all")
        for place, count in found.most_common(12):
            record.add("a place of them", name, count / steps, "a step", place.replace("|", "/"))
