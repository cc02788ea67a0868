"""The animated strip: the window slides over the images while their maps grow, under the classes' names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from graybox.figures import style
from graybox.figures.text import plain
from graybox.study.names import short

if TYPE_CHECKING:  # a figure needs no network, only results
    from graybox.reliance.experiment import Experiment

WIDTH, GAP = 1100, 4
HEADER, FOOTER = 24, 28  # pixels: the classes' names above, the colours' scale below
DPI, LETTER = 100, 6.3  # a letter of the smallest size is about so many pixels wide
MOST_IMAGES = 12  # more would be too small, and each frame is kept until the file is written


def sliding_strip(experiments: Sequence[Experiment], frames: int = 96) -> bytes:
    """An animated GIF: above, each image under its window; below, the true class's probability so far, and its scale.

    It is about `WIDTH` pixels wide at most, so larger images are drawn smaller.

    Args:
        experiments: of images of one size, with main maps of one grid of window centres; the first MOST_IMAGES are
            shown.
        frames: about how many; the last stays for two seconds.
    """
    shown = experiments[:MOST_IMAGES]
    first = shown[0].main
    columns = len(first.columns)
    count = len(first.rows) * columns
    side = shown[0].image.shape[0]
    room = WIDTH // len(shown) - GAP
    drawn = side * max(1, min(4, room // side)) if side <= room else room
    # The last position of each frame: evenly spread, the very last one among them.
    ends = np.unique(np.linspace(count / min(frames, count), count, min(frames, count)).round().astype(int))

    names = [one.class_names[one.main.label] for one in shown]
    header, footer = (_pixels(part) for part in (_header(names, drawn + GAP), _footer(len(shown) * (drawn + GAP))))

    def frame(end: int) -> Image.Image:
        row, column = first.rows[(end - 1) // columns], first.columns[(end - 1) % columns]
        pairs = np.concatenate([_pair(one, row, column, end, drawn) for one in shown], axis=1)
        return Image.fromarray(np.concatenate([header, pairs, footer]))

    # One palette for all frames, so that nothing flickers; the first and last frame have all colours.
    palette = Image.fromarray(np.concatenate([frame(end) for end in (ends[0], ends[-1])])).quantize(256)
    pictures = (frame(end).quantize(palette=palette, dither=Image.Dither.NONE) for end in ends)
    file = io.BytesIO()
    durations = [80] * (len(ends) - 1) + [2000]
    next(pictures).save(file, "GIF", save_all=True, append_images=pictures, duration=durations, loop=0)
    return file.getvalue()


@plain
def _header(names: Sequence[str], step: int) -> Figure:
    """The names, each over its image. `step`: pixels from one image to the next."""
    width = len(names) * step
    figure = Figure(figsize=(width / DPI, HEADER / DPI), dpi=DPI)
    for place, name in enumerate(names):
        said = short(name, max(3, int(step / LETTER)))
        figure.text((place + 0.5) * step / width, 0.5, said, ha="center", va="center", fontsize=style.SMALLEST)
    return figure


@plain
def _footer(width: int) -> Figure:
    """The scale of the colours, from 0% to 100%, and what they are, where there is room for it."""
    figure = Figure(figsize=(width / DPI, FOOTER / DPI), dpi=DPI)
    bar = max(width - 80, 10) if width < 460 else 240  # pixels
    axes = figure.add_axes((32 / width, 0.35, bar / width, 0.35))
    axes.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap="viridis")
    axes.set_axis_off()
    how: dict[str, Any] = {"va": "center", "fontsize": style.SMALLEST}
    figure.text(28 / width, 0.5, "0%", ha="right", **how)
    said = "100%: the true class's probability" if width >= 460 else "100%"
    figure.text((bar + 36) / width, 0.5, said, **how)
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def _pair(experiment: Experiment, row: int, column: int, end: int, drawn: int) -> np.ndarray:
    """uint8: the image under its window, and below it the map up to position `end`, white at both sides.

    Args:
        drawn: height and width of either in the strip, in pixels.
    """
    found, image = experiment.main, experiment.image.copy()
    half = found.window // 2
    window = np.s_[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
    image[window] = np.rint(experiment.shown[window] * 255)
    colours = colormaps["viridis"](found.confidence, bytes=True)[..., :3]
    colours.reshape(-1, 3)[end:] = 235
    # Each pixel shows the value of the last window centre before it, also where there is one centre only.
    down, across = (np.searchsorted(centres, range(length), "right") - 1
                    for centres, length in zip((found.rows, found.columns), image.shape))  # fmt: skip
    # Smaller, an image is averaged; its map is not, as it would show values that no window has.
    smaller = Image.Resampling.BOX if drawn < image.shape[0] else Image.Resampling.NEAREST
    both = []
    for part, how in ((image, smaller), (colours[down][:, across], Image.Resampling.NEAREST)):
        resized = np.asarray(Image.fromarray(part).resize((drawn, drawn), how))
        both.append(np.pad(resized, ((0, GAP), (0, GAP), (0, 0)), constant_values=255))
    return np.concatenate(both)
