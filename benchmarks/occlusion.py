"""Occlusion speed on this machine: our two engines, Captum's Occlusion and MONAI's OcclusionSensitivity.

Usage: python -m benchmarks.occlusion [--device cpu] [--threads 2] [--rounds 3] [--windows 256] [--pixels 64 84 128]
                                      [--sides 9 11 13 15] [--networks vgg16 mobilenet_v2 resnet18 resnet50]

The network is untrained: four conv layers of 32, 64, 128 and 256 filters (3 x 3, batch norm, 2 x 2 max pooling) and two
fully connected layers. It sees a random image of 64, 84 and 128 pixels, under gray windows of 9, 11, 13 and 15 pixels.
Everything is float32, in the fastest memory format of the network (channels_last).

Our incremental engine computes the whole map, a window at each pixel. For the other engines each window costs the same,
so they compute only about `--windows` evenly spread windows. The figure is milliseconds per window. The engines take
turns, `--rounds` times after a warm-up; the median counts. Captum uses the fastest perturbations_per_eval of 1, 16, 64
and 256 (for the image size, with the 11-pixel window), MONAI the faster n_batch of 16 and 64.

A second table follows for torchvision's classifiers `--networks`, at 224 pixels; `python -m benchmarks.networks` prints
it alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.command import parser_of, positive, start
from graybox.errors import UserError
from graybox.network import inference
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion import maps
from graybox.occlusion.incremental.engine import job_of
from graybox.occlusion.incremental.receptive import window_work

PIXELS, SIDES, CLASSES, GRAY = (64, 84, 128), (9, 11, 13, 15), 10, 0.5
NETWORK = ModelParams()
MARKS = {(84, 11): 8, (128, 11): 20}
"""The speed-up over Captum that the incremental engine should reach, by image size and window."""

Contender = Callable[[], int]
"""Computes windows and says how many."""


class Counting(nn.Module):
    """The network's probabilities; it counts the images that it gets."""

    def __init__(self, network: CNN) -> None:
        super().__init__()
        self.network, self.count = network, 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return self.network(images.contiguous(memory_format=torch.channels_last)).softmax(1)


def ours(
    network: CNN, image: np.ndarray, window: int, engine: str, stride: int = 1, batch_size: int | None = None
) -> Contender:
    options = {"window": window, "stride": stride, "engine": engine, "batch_size": batch_size}

    def run() -> int:
        found = maps.window_scores(network, image, fill=GRAY, **options)
        return found.probabilities.cpu()[..., 0].numel()

    return run


def captum(network: CNN, image: np.ndarray, window: int, at_once: int, stride: int) -> Contender:
    from captum.attr import Occlusion

    counting, pixels = Counting(network), _pixels(network, image)

    @torch.inference_mode()
    def run() -> int:
        counting.count = 0
        Occlusion(counting).attribute(
            pixels, sliding_window_shapes=(3, window, window), strides=(3, stride, stride), target=0, baselines=GRAY,
            perturbations_per_eval=at_once,
        )  # fmt: skip
        return counting.count - 1  # the image as it is

    return run


def monai(network: CNN, image: np.ndarray, window: int, at_once: int, stride: int) -> Contender:
    from monai.visualize import OcclusionSensitivity

    counting, pixels = Counting(network), _pixels(network, image)
    sensitivity = OcclusionSensitivity(
        counting, mask_size=window, n_batch=at_once, mode=GRAY, activate=False, verbose=False,
        overlap=max(0.0, 1 - (stride + 0.5) / window),
    )  # fmt: skip

    @torch.inference_mode()
    def run() -> int:
        counting.count = 0
        sensitivity(pixels)
        return counting.count

    return run


OTHERS = {"Captum": (captum, (1, 16, 64, 256)), "MONAI": (monai, (16, 64))}
"""How each is called, and the numbers of windows at once to choose from."""


@contextmanager
def full_float32() -> Iterator[None]:
    """A context in which a GPU's convolutions don't use TF32: ours never do, so neither may the others."""
    convolutions = torch.backends.cudnn.conv
    before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _pixels(network: CNN, image: np.ndarray) -> Tensor:
    return inference.to_float(torch.as_tensor(image[None], device=network.mean.device))


def milliseconds(run: Contender, device: torch.device) -> float:
    """Per window."""
    started = time.perf_counter()
    count = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started) / count


def race(contenders: dict[str, Contender], rounds: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds per window of each engine; they take turns after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            taken = milliseconds(run, device)
            if turn:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def installed(other: str) -> bool:
    return importlib.util.find_spec(other.lower()) is not None


def network_for(size: int, device: torch.device) -> tuple[CNN, np.ndarray]:
    torch.manual_seed(0)
    network = CNN(NETWORK, size, tuple(f"class {number}" for number in range(CLASSES))).eval()
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return network.to(device, memory_format=torch.channels_last), image


def best_batch(other: str, network: CNN, image: np.ndarray, stride: int, device: torch.device) -> int:
    """The fastest batch size (windows at once) of an engine: the best of two runs each."""
    make, sizes = OTHERS[other]
    contenders = {size: make(network, image, 11, size, stride) for size in sizes}
    taken: dict[int, float] = dict.fromkeys(contenders, math.inf)
    for _ in range(2):
        for size, run in contenders.items():
            taken[size] = min(taken[size], milliseconds(run, device))
    return min(taken, key=taken.__getitem__)


def table(options: argparse.Namespace, device: torch.device) -> dict[tuple[int, int], float]:
    """Print a row for each image and window size; return the speed-ups over Captum."""
    others = [name for name in OTHERS if installed(name)]
    print("            milliseconds per window" + " " * (4 + 20 * len(others))
          + "million multiply-accumulates per window      billion")  # fmt: skip
    print("pixels   N  incremental  plain  " + "  ".join(f"{name + ' (at once)':>18s}" for name in others)
          + "  Captum/ours    full  recomputed  changed  full/changed  a second  layers carried")  # fmt: skip
    speedups = {}
    for size in options.pixels:
        network, image = network_for(size, device)
        # Captum's windows may not be farther apart than they are large.
        stride = max(1, min(min(options.sides), round((size - 11) / math.sqrt(options.windows))))
        batch = {name: best_batch(name, network, image, stride, device) for name in others}
        for window in options.sides:
            contenders = {name: OTHERS[name][0](network, image, window, batch[name], stride) for name in others}
            contenders["plain"] = ours(network, image, window, "plain", stride)
            contenders["incremental"] = ours(network, image, window, "incremental")
            taken = race(contenders, options.rounds, device)
            speedups[size, window] = taken.get("Captum", math.nan) / taken["incremental"]
            work = window_work(NETWORK, size, CLASSES, window)
            full, recomputed, changed = (
                sum(getattr(layer, kind) for layer in work) / size**2 for kind in ("full", "recomputed", "changed")
            )
            job = job_of(network, (size, size), range(size), range(size), window)
            print(f"{size:6d}  {window:2d}  {taken['incremental']:11.3f}  {taken['plain']:5.2f}  "
                  + "  ".join(f"{taken[name]:12.2f} ({batch[name]:3d})" for name in others)
                  + f"  {speedups[size, window]:11.1f}  {full / 1e6:6.1f}  {recomputed / 1e6:10.1f}"
                  f"  {changed / 1e6:7.1f}  {full / changed:12.1f}  {changed / taken['incremental'] / 1e6:8.0f}"
                  f"  {job.carried():14d}", flush=True)  # fmt: skip
    return speedups


def ten_images(device: torch.device) -> float:
    """Seconds for the maps of ten 48-pixel images at every pixel, N = 11, with the automatically chosen engine."""
    network, image = network_for(48, device)
    started = time.perf_counter()
    for number in range(10):
        maps.occlusion_map(network, np.roll(image, number, axis=0), 0, window=11)
    return time.perf_counter() - started


def main(arguments: list[str] | None = None) -> None:
    from benchmarks import networks  # which imports this module

    parser = parser_of(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=positive, default=None, help="CPU threads; PyTorch's choice if not given")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--windows", type=positive, default=256, help="windows that the others compute in a round, about"
    )
    parser.add_argument("--pixels", type=positive, nargs="+", default=PIXELS, help="of the images' sides")
    parser.add_argument("--sides", type=positive, nargs="+", default=SIDES, help="of the windows, in pixels; odd")
    parser.add_argument(
        "--networks", nargs="*", default=networks.NAMES, help="torchvision's classifiers; none if empty"
    )
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = inference.pick_device(options.device)
    if even := [side for side in options.sides if side % 2 == 0]:
        raise UserError(f"--sides {even[0]}: a window has a centre, so its side is odd")
    if min(options.pixels) < max(16, *options.sides):
        raise UserError(f"--pixels {min(options.pixels)}: at least 16, and no smaller than a window")
    print(f"{machine(device)}, PyTorch {torch.__version__}, float32")
    for other in OTHERS:
        if not installed(other):
            print(f"{other} is not installed; to add it to the table: pip install {other.lower()}")
    with full_float32():
        speedups = table(options, device)
    if speedups.keys() >= MARKS.keys():
        print_marks(speedups, ten_images(device))
    if options.networks:
        threads = ["--threads", str(options.threads)] if options.threads else []
        print()
        networks.main([
            "--names", *options.networks, "--device", options.device, "--rounds", str(options.rounds), *threads,
        ])  # fmt: skip


def print_marks(speedups: dict[tuple[int, int], float], seconds: float) -> None:
    print("\nMarks, set for two CPU cores")
    for (size, window), mark in MARKS.items():
        found = speedups[size, window]
        print(f"  {size} pixels, N = {window}: {found:5.1f} times as fast as Captum at its best; mark {mark}: "
              f"{'met' if found >= mark else 'missed'}")  # fmt: skip
    print(f"  ten 48-pixel images at every pixel: {seconds:.1f} s; mark 15: {'met' if seconds <= 15 else 'missed'}")


if __name__ == "__main__":
    start(main)
