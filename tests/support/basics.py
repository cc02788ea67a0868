"""Where the project lies, and images small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graybox.data.images import ImageSet

ROOT = Path(__file__).parents[2]


def image_set(count: int = 40, size: int = 16, classes: int = 4, seed: int = 0) -> ImageSet:
    """Noise in which each class has a bright patch in a corner of its own; the patch is the object box."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % classes
    half = size // 2
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    boxes = np.empty((count, 4), np.float32)
    for row, label in enumerate(labels):
        y, x = corners[label]
        images[row, y : y + half, x : x + half] += np.uint8(130)
        boxes[row] = x, y, x + half, y + half
    names = tuple(f"class {label}" for label in range(classes))
    return ImageSet(images, labels, names, tuple(f"{row:03d}.png" for row in range(count)), boxes)
