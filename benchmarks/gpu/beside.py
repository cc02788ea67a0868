"""One of several trainings side by side: says "ready", waits for a line, trains for some seconds, prints its images/s.

Usage: python -m benchmarks.gpu.beside DEVICE PIXELS BATCH SECONDS (benchmarks/gpu/limits.py starts several)
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from benchmarks.gpu.record import wait
from benchmarks.training import ours
from graybox.data.images import ImageSet
from graybox.network import inference
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams, TrainParams

CLASSES, STEPS = 10, 16


def main(place: str, size: int, batch: int, seconds: float) -> None:
    device, count = inference.pick_device(place), batch * STEPS
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    boxes = np.full((count, 4), np.nan, np.float32)
    names = tuple(f"class {number}" for number in range(CLASSES))
    part = ImageSet(pixels, np.arange(count) % CLASSES, names, tuple(map(str, range(count))), boxes)
    schedule = TrainParams(batch_size=batch)
    network = CNN(ModelParams(), size, names).to(device, memory_format=torch.channels_last)
    epoch = ours(network, schedule, part, inference.pick_precision(schedule.precision, device))
    epoch()
    wait(device)
    print("ready", flush=True)
    sys.stdin.readline()
    done, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        done += epoch()
        wait(device)
    print(done / taken, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
