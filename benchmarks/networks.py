"""Occlusion of networks that are not ours: torchvision's classifiers, beside the plain engine and Captum's Occlusion.

Usage: python -m benchmarks.networks [--names vgg16 mobilenet_v2 resnet18 resnet50] [--pixels 224] [--window 31]
                                     [--strides 16 8] [--threads 2] [--rounds 3] [--device cpu]
       python -m benchmarks.networks --every [--names ...]

The networks have random weights, with batch-norm statistics that fit; everything is float32 and channels_last. The
figure is milliseconds per window. Our incremental engine computes the whole map at each stride. For the others each
window costs the same, so they compute only a few: 4 x 4 windows side by side. Each of them runs with its best number of
windows at once: Captum, our plain engine, and our plain engine on the network with its batch norms folded into the
convolutions. All take turns, `--rounds` times after a warm-up; the median counts.

`off` is the largest difference of the logits from those in float64, of windows at the corners, at the borders and
inside, as a share of their range: of the incremental engine, and of the plain one.

`--every` prints one line for each of torchvision's classifiers, at the first stride only, without Captum.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import occlusion, torchvision_networks
from benchmarks.command import parser_of, positive, start
from benchmarks.occlusion import GRAY, Contender, full_float32, installed, machine, milliseconds, race
from graybox.errors import UserError
from graybox.network import inference
from graybox.occlusion import maps
from graybox.occlusion.incremental.engine import job_of
from graybox.occlusion.incremental.plan import sizes

NAMES = ("vgg16", "mobilenet_v2", "resnet18", "resnet50")
MARKS = {"vgg16": (6.5, 5.5), "mobilenet_v2": (3, 2), "resnet18": (2.4, 1.9), "resnet50": (2.2, 1.9)}
"""How many times as fast as Captum, and as the plain engine with folded batch norms, the incremental one should be, at
224 pixels under windows of 31, at strides 16 and 8."""
AT_ONCE = {"cpu": (1, 2, 4, 8, 16)}
ON_A_GPU = (16, 64, 256)
SIDE = {"cpu": 4}
"""Windows along a side that the others compute; on a GPU as many as fill it."""


def scores(model: nn.Module, image: np.ndarray, window: int, stride: int, engine: str) -> Tensor:
    return maps.window_scores(model, image, window=window, stride=stride, fill=GRAY, engine=engine).scores


def knows(model: nn.Module, image: np.ndarray, window: int, stride: int) -> bool:
    """Whether the incremental engine takes it: asked with a map of one window."""
    try:
        scores(model, image, window, max(image.shape), "incremental")
    except ValueError:
        return False
    return True


def off(model: nn.Module, image: np.ndarray, window: int, stride: int) -> dict[str, float]:
    """How far each engine's logits are from those in float64, on 3 x 3 positions, as a share of their range."""
    places = [
        sorted({0, len(range(0, side, stride)) // 2, len(range(0, side, stride)) - 1}) for side in image.shape[:2]
    ]
    centres = torch.tensor(list(itertools.product(*places))) * stride
    pixels = torch.as_tensor(image).permute(2, 0, 1).double().div(255)
    hidden = maps.occluded(pixels, centres, window, torch.tensor(GRAY).double())
    exact_model = copy.deepcopy(model).cpu().double()
    with torch.no_grad():
        exact = torch.cat([exact_model(part.float().double()) for part in hidden.split(1)])
    device, found = inference.device_of(model), {}
    with torch.no_grad(), inference.evaluating(model):
        plain = torch.cat([model(part.float().to(device)) for part in hidden.split(3)])
    found["plain"] = _share(plain, exact)
    some = scores(model, image, window, stride, "incremental").flatten(0, 1)
    columns = len(range(0, image.shape[1], stride))
    found["incremental"] = _share(some[[row * columns + column for row, column in itertools.product(*places)]], exact)
    return found


def _share(found: Tensor, exact: Tensor) -> float:
    return float((found.double().cpu() - exact).abs().max() / (exact.max() - exact.min()))


def contenders_of(
    model: nn.Module, image: np.ndarray, device: torch.device, with_captum: bool
) -> dict[str, Callable[[int], Contender]]:
    """All but the incremental engine: functions of the number of windows at once. A window's size costs nothing."""
    side = max(image.shape) // SIDE.get(device.type, 16)
    window = side - (side + 1) % 2

    def plain(network: nn.Module, batch: int) -> Contender:
        return occlusion.ours(network, image, window, "plain", window, batch)

    found: dict[str, Callable[[int], Contender]] = {"plain": partial(plain, model)}
    try:
        found["folded"] = partial(plain, torchvision_networks.folded(model))
    except Exception as error:
        print(f"  PyTorch can't fold the batch norms: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
    if with_captum and installed("Captum"):
        found["Captum"] = lambda batch: occlusion.captum(model, image, window, batch, window)
    return found


def best(make: Callable[[int], Contender], device: torch.device) -> int:
    """The fastest number of windows at once: the best of two runs each."""
    runs = {batch: make(batch) for batch in AT_ONCE.get(device.type, ON_A_GPU)}
    taken = dict.fromkeys(runs, math.inf)
    for _ in range(2):
        for batch, run in runs.items():
            taken[batch] = min(taken[batch], milliseconds(run, device))
    return min(taken, key=taken.__getitem__)


def print_row(*cells: object) -> None:
    """A row of a Markdown table."""
    print("| " + " | ".join(map(shown, cells)) + " |", flush=True)


def shown(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    if math.isnan(cell):
        return "-"
    return f"{cell:.1e}" if 0 < cell < 0.001 else f"{cell:,.{max(0, 1 - math.floor(math.log10(max(cell, 0.01))))}f}"


def table(names: list[str], options: argparse.Namespace, device: torch.device) -> dict[tuple[str, int], list[float]]:
    """Print a row for each network and stride; return how many times as fast as Captum and as folded each is."""
    others = ("plain", "folded", "Captum")
    print_row("network", "stride", "incremental", *(f"{other} (at once)" for other in others), "Captum / ours",
              "folded / ours", "off", "plain's off", "planning, s")  # fmt: skip
    print_row(*["---"] * 11)
    image, speedups = torchvision_networks.image(options.pixels), {}
    for name in names:
        model = torchvision_networks.network(name, options.pixels, device)
        makers = contenders_of(model, image, device, with_captum=True)
        batch = {other: best(make, device) for other, make in makers.items()}
        runs = {other: make(batch[other]) for other, make in makers.items()}
        first: dict[int, tuple[float, int]] = {}
        for stride in options.strides if knows(model, image, options.window, options.strides[0]) else ():
            run = runs[str(stride)] = occlusion.ours(model, image, options.window, "incremental", stride)
            started = time.perf_counter()
            windows = run()
            first[stride] = (time.perf_counter() - started) / windows, windows
        taken = race(runs, options.rounds, device)
        for stride in options.strides:
            ours, away = taken.get(str(stride), math.nan), {}
            planning = math.nan
            if stride in first:
                each, windows = first[stride]
                away, planning = off(model, image, options.window, stride), max(0.0, each - ours / 1000) * windows
            speedups[name, stride] = [taken.get(other, math.nan) / ours for other in ("Captum", "folded")]
            print_row(
                name, stride, ours,
                *(f"{shown(taken[other])} ({batch[other]})" if other in taken else "-" for other in others),
                *speedups[name, stride], away.get("incremental", math.nan), away.get("plain", math.nan), planning,
            )  # fmt: skip
    return speedups


def print_marks(speedups: dict[tuple[str, int], list[float]], options: argparse.Namespace) -> None:
    if (options.pixels, options.window) != (224, 31):
        return
    print("\nMarks, set for two CPU cores")
    others = ("Captum at its best", "plain with folded batch norms")
    for (name, stride), found in speedups.items():
        for other, times, mark in zip(others, found, MARKS.get(name, ())):
            print(f"  {name}, stride {stride}: {times:5.1f} times as fast as {other}; mark {mark}: "
                  f"{'met' if times >= mark else 'missed'}")  # fmt: skip


def every(names: list[str], options: argparse.Namespace, device: torch.device) -> None:
    """Print a row for each of torchvision's classifiers."""
    print_row(
        "network", "billion MACs", "carried", "incremental", "plain (at once)", "plain / ours", "off", "plain's off"
    )
    print_row(*["---"] * 8)
    image = torchvision_networks.image(options.pixels)
    for name in names:
        try:
            print_row(name, *cells(name, image, options, device))
        except Exception as error:
            print_row(name, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}", *[""] * 6)


def cells(name: str, image: np.ndarray, options: argparse.Namespace, device: torch.device) -> list[object]:
    window, stride = options.window, options.strides[0]
    model = torchvision_networks.network(name, options.pixels, device)
    make = contenders_of(model, image, device, with_captum=False)["plain"]
    batch = best(make, device)
    runs, away = {"plain": make(batch)}, {}
    if knows(model, image, window, stride):
        runs["incremental"] = occlusion.ours(model, image, window, "incremental", stride)
        away = off(model, image, window, stride)
    taken = race(runs, options.rounds, device)
    ours = taken.get("incremental", math.nan)
    return [
        macs(model, image) / 1e9, carried(model, image, stride, window) if away else "the plain way", ours,
        f"{shown(taken['plain'])} ({batch})", taken["plain"] / ours,
        away.get("incremental", math.nan), away.get("plain", math.nan),
    ]  # fmt: skip


@torch.no_grad()
def macs(model: nn.Module, image: np.ndarray) -> int:
    """Multiply-accumulates of the convolutions and matrix products for one image."""
    device = inference.device_of(model)
    with FlopCounterMode(display=False) as counter:
        model(inference.to_float(torch.as_tensor(image[None], device=device)))
    return int(counter.get_total_flops() // 2)


def carried(model: nn.Module, image: np.ndarray, stride: int, window: int) -> str:
    """Of all windows' multiply-accumulates the share in convolutions that compute a part of their map only."""
    centres = [range(0, side, stride) for side in image.shape[:2]]
    with inference.evaluating(model):
        job = job_of(model, image.shape[:2], *centres, window)
    groups, steps = job.groups()[1], job.network.steps
    rows = sizes([axis for band in groups.bands for axis in band], steps, 0)
    columns = sizes(groups.columns, steps, 1)
    work = [step.kind.macs * step.shape[1] * step.shape[2] if step.kind and step.shape else 0 for step in steps]
    windows = len(centres[0]) * len(centres[1])
    whole = sum(
        each * rows.whole[number] * columns.whole[number] / (steps[number].shape[1] * steps[number].shape[2])
        for number, each in enumerate(work) if each
    )  # fmt: skip
    return f"{(sum(work) - whole / windows) / macs(model, image):.0%}"


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--names", nargs="+", default=None, help="torchvision's classifiers")
    parser.add_argument("--every", action="store_true", help="one line for each classifier")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = inference.pick_device(options.device)
    names = options.names or (torchvision_networks.names() if options.every else list(NAMES))
    check(names, options)
    pixels = f"{options.pixels} x {options.pixels} pixels, N = {options.window}"
    print(f"{machine(device)}, PyTorch {torch.__version__}, float32, {pixels}; milliseconds per window\n")
    with full_float32():
        if options.every:
            every(names, options, device)
        else:
            print_marks(table(names, options, device), options)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=positive, default=None, help="CPU threads; PyTorch's choice if not given")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--pixels", type=positive, default=224, help="of the picture's side")
    parser.add_argument("--window", type=positive, default=31, help="of the window's side; odd")
    parser.add_argument("--strides", type=positive, nargs="+", default=(16, 8))


def check(names: list[str], options: argparse.Namespace) -> None:
    if options.window % 2 == 0:
        raise UserError(f"--window {options.window}: a window has a centre, so its side is odd")
    if options.pixels < 32 or options.pixels < options.window:
        raise UserError(f"--pixels {options.pixels}: at least 32, and no smaller than the window")
    if strange := [name for name in names if name not in torchvision_networks.names()]:
        raise UserError(f"--names {strange[0]}: torchvision has no such classifier")


if __name__ == "__main__":
    start(main)
