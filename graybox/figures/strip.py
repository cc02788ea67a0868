"""The animated strip: the window slides over the images while their maps grow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from PIL import Image

if TYPE_CHECKING:  # a figure needs no network, only results
    from graybox.reliance.experiment import Experiment

WIDTH, GAP = 1100, 4


def sliding_strip(experiments: Sequence[Experiment], frames: int = 96) -> bytes:
    """An animated GIF: above, each image under its window; below, the true class's probability so far.

    Args:
        experiments: of images of one size, with main maps of one grid of window centres.
        frames: about how many; the last stays for two seconds.
    """
    first = experiments[0].main
    columns = len(first.columns)
    count = len(first.rows) * columns
    side = experiments[0].image.shape[0]
    zoom = max(1, min(4, (WIDTH // len(experiments) - GAP) // side))
    # The last position of each frame: evenly spread, the very last one among them.
    ends = np.unique(np.linspace(count / min(frames, count), count, min(frames, count)).round().astype(int))
    pictures = []
    for end in ends:
        row, column = first.rows[(end - 1) // columns], first.columns[(end - 1) % columns]
        pairs = [_pair(one, row, column, end, zoom) for one in experiments]
        pictures.append(Image.fromarray(np.concatenate(pairs, axis=1)))
    # One palette for all frames, so that nothing flickers; the first and last frame have all colours.
    palette = Image.fromarray(np.concatenate([pictures[0], pictures[-1]])).quantize(256)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    file = io.BytesIO()
    durations = [80] * (len(pictures) - 1) + [2000]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return file.getvalue()


def _pair(experiment: Experiment, row: int, column: int, end: int, zoom: int) -> np.ndarray:
    """uint8: the image under its window, and below it the map up to position `end`, white at both sides."""
    found, image = experiment.main, experiment.image.copy()
    half = found.window // 2
    window = np.s_[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
    image[window] = np.rint(experiment.shown[window] * 255)
    colours = colormaps["viridis"](found.confidence, bytes=True)[..., :3]
    colours.reshape(-1, 3)[end:] = 235
    # Each pixel shows the value of the last window centre before it, also where there is one centre only.
    down, across = (np.searchsorted(centres, range(length), "right") - 1
                    for centres, length in zip((found.rows, found.columns), image.shape))  # fmt: skip
    colours = colours[down][:, across]
    both = [np.pad(part.repeat(zoom, 0).repeat(zoom, 1), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
            for part in (image, colours)]  # fmt: skip
    return np.concatenate(both)
