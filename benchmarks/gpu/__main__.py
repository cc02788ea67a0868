"""Check and time Graybox on a GPU: correctness, waits, training, evaluation and occlusion, in at most 10 minutes.

Usage: python -m benchmarks.gpu [--output benchmarks/results] [--photographs FILE.npz] [--minutes 9.5] [--only PART ...]
       python -m benchmarks.gpu --quick [--device cpu]

The images are generated, so nothing has to be prepared. The results are in gpu.json and gpu.md of the output folder.
Both are rewritten after every row, so no result is lost if a part fails or runs out of time. Each part has its own time
limit. All speeds are medians after a warm-up, and include waiting for the GPU to finish.

`--photographs` measures accuracy against time on photographs: a file of `python -m benchmarks.gpu.pack`, or another
.npz file with uint8 `images` [N, S, S, 3] and `labels` [N], and optionally `test_images` and `test_labels`; else every
fifth image of each class is used for testing.

`--quick` only tests that it runs: few, small images.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.command import parser_of, start
from benchmarks.gpu import checks, limits, material, networks, speed
from benchmarks.gpu.record import Record
from graybox.data.images import ImageSet
from graybox.network import inference, training

PARTS = {
    "engines": 40,
    "waits": 30,
    "training": 150,
    "occlusion": 90,
    "networks": 60,
    "windows": 100,
    "resuming": 30,
    "architectures": 40,
    "learning": 60,
    "evaluation": 30,
    "accuracy": 60,
    "jobs": 90,
    "batch": 40,
    "reaching": 120,
    "graphs": 40,
}
"""Seconds for each part, in order. Of torchvision's networks `networks` checks the maps, `windows` times them, and
`architectures` times their training. `jobs`: trainings side by side. `batch`: the largest one. `reaching`: the shortest
training that reaches 60, 70 and 75%. The CUDA graphs are last, because an error in a graph can break later parts."""


def machine(device: torch.device) -> dict[str, object]:
    found: dict[str, object] = {"device": training.describe(device, inference.pick_precision("auto", device))}
    if device.type == "cuda":
        found["memory"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
        found["cuDNN"] = torch.backends.cudnn.version()
    return found | {"PyTorch": torch.__version__, "Python": platform.python_version(), "CPU cores": os.cpu_count()}


@dataclass(frozen=True)
class Size:
    """The size of a run.

    Attributes:
        small, large: pixels of the drawn scenes, and how many of each class for training and for testing.
        pixels: image sizes for training and evaluation. `maps`: those for occlusion.
        batches: of training. `count`: images of an epoch where only speed matters.
        stride: between window centres. `cpu_stride`: where the CPU computes the same map.
        rates: learning rate of each batch size, for the accuracy against time.
        others: torchvision's classifiers to occlude, in pictures of `other_pixels`, with windows of `other_window`
            pixels at `other_strides`; `other_at_once`: of them, for the engines that take any number.
        jobs: trainings side by side, for so many `job_seconds` each. `most`: the largest batch that is tried.
        recipe, lengths: the network whose trainings of so many epochs are to reach an accuracy; None = the baseline.
        trained: pixels of the pictures on which `trained_others` learn, in batches of `trained_batches`.
    """

    small: tuple[int, int, int] = (48, 140, 100)
    large: tuple[int, int, int] = (84, 240, 50)
    pixels: tuple[int, ...] = (48, 64, 84)
    maps: tuple[int, ...] = (48, 84, 128)
    batches: tuple[int, ...] = (256, 64, 1024)
    count: int = 16384
    steps: int = 16
    stride: int = 1
    cpu_stride: int = 6
    at_once: tuple[int, ...] = (64, 256, 1024, 4096)
    rounds: int = 3
    short: int = 6
    seeds: int = 2
    epochs: tuple[int, ...] = (6, 12, 25, 50)
    rates: tuple[tuple[int, float], ...] = ((64, 0.03), (256, 0.06))
    others: tuple[str, ...] = ("resnet18", "resnet50", "mobilenet_v2", "vgg16")
    other_pixels: int = 224
    other_window: int = 31
    other_strides: tuple[int, ...] = (16, 8)
    other_at_once: tuple[int, ...] = (32, 128, 512)
    jobs: tuple[int, ...] = (1, 2, 4)
    job_seconds: float = 5
    most: int = 2**16
    recipe: str | None = "hour"
    lengths: tuple[int, ...] = (5, 10, 15, 20, 40)
    trained_others: tuple[str, ...] = ("resnet18",)
    trained: int = 84
    trained_batches: tuple[int, ...] = (256, 1024)


QUICK = Size(
    small=(32, 8, 4), large=(32, 8, 4), pixels=(32,), maps=(32,), batches=(16,), count=64, steps=2, stride=4,
    cpu_stride=8, at_once=(64,), rounds=1, short=1, seeds=1, epochs=(1,), rates=((16, 0.03),),
    others=("squeezenet1_1",), other_pixels=64, other_window=17, other_strides=(16,), other_at_once=(8,), trained=32,
    trained_batches=(16,), jobs=(1, 2), job_seconds=0.1, most=32, recipe=None, lengths=(1, 2),
)  # fmt: skip


def run(record: Record, device: torch.device, only: list[str], size: Size, photos: dict[str, ImageSet] | None) -> None:
    small, large = {}, {}

    def draw() -> None:
        small.update(material.scenes(*size.small))
        large.update(material.scenes(*size.large))

    work: dict[str, Callable[[], None]] = {
        "engines": lambda: checks.engines(record, device, size.maps, size.cpu_stride, size.stride),
        "waits": lambda: checks.waits(record, device, material.repeated(small["train"], 64 * size.steps), 64),
        "training": lambda: speed.training(record, device, large["train"], size.pixels, size.batches, size.count),
        "occlusion": lambda: speed.occlusion(record, device, size.maps, size.at_once, size.rounds, size.stride),
        "networks": lambda: networks.equality(
            record, device, size.others, size.other_pixels, size.other_window, size.other_strides
        ),
        "windows": lambda: networks.speed(
            record,
            device,
            size.others,
            size.other_pixels,
            size.other_window,
            size.other_strides,
            size.other_at_once,
            min(2, size.rounds),
        ),
        "resuming": lambda: networks.resuming(record, device, small, 2, min(size.batches)),
        "architectures": lambda: networks.architectures(
            record, device, large["train"], size.trained_others, size.trained, size.trained_batches, size.count
        ),
        "learning": lambda: checks.learning(record, device, small, size.short, size.seeds),
        "evaluation": lambda: speed.evaluation(record, device, large["test"], size.pixels, size.count),
        "accuracy": lambda: speed.accuracy_against_time(
            record, device, photos or large, "photographs" if photos else "scenes", size.epochs, dict(size.rates)
        ),
        "jobs": lambda: limits.side_by_side(
            record, device, max(size.pixels), min(size.batches), size.jobs, size.job_seconds
        ),
        "batch": lambda: limits.largest_batch(record, device, large["train"], min(size.batches), size.most),
        "reaching": lambda: limits.reaching(
            record, device, photos or large, "photographs" if photos else "scenes", size.recipe, size.lengths
        ),
        "graphs": lambda: speed.graphs(record, device, large["train"], size.pixels, size.batches),
    }
    # Before anything is asked of CUDA: the drawing processes are forks of this one.
    record.part("drawing", 60, draw)
    record.machine = machine(device) | record.machine
    for name in only:
        record.part(name, PARTS[name], work[name])


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--photographs", type=Path, help="an .npz file")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the machinery")
    parser.add_argument("--quick", action="store_true", help="few, small images: only test that it runs")
    options = parser.parse_args(arguments)
    device = inference.pick_device(options.device)
    photos = material.photographs(options.photographs) if options.photographs else None
    record = Record(options.output, 60 * options.minutes)
    run(record, device, options.only, QUICK if options.quick else Size(), photos)
    print(f"\n{record.markdown()}\n{options.output}/gpu.json and gpu.md")


if __name__ == "__main__":
    start(main)
