"""What the figures share: colours, boxes, short names, and files whose bytes depend only on the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from graybox import files

BASELINE, VARIANT, BOX = "#d95f02", "#1b6ca8", "#e7298a"


def save(figure: Figure, path: Path | str, dpi: int = 110) -> None:
    """Write a PNG whose bytes depend only on the figure.

    Raises:
        UserError: the file can't be written.
    """
    with files.replacing(path) as part:
        figure.savefig(part, dpi=dpi, metadata={"Software": None})


def percent_tick(share: float, _: int | None) -> str:
    """A tick's label with as many decimals as needed: ticks may be 2.5 points apart."""
    return f"{100 * share:.4g}%"


def draw_box(axes: Axes, box: np.ndarray) -> None:
    """Outline an object box, float [4] as x0, y0, x1, y1 in pixels; nothing for NaN."""
    if not np.isnan(box).any():
        x0, y0, x1, y1 = box
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color=BOX, linewidth=1.5))


def colours(count: int, name: str = "tab20") -> list[tuple[float, float, float, float]]:
    """The first colours of one of matplotlib's lists."""
    return [colormaps[name](place) for place in range(count)]


def short(name: str, most: int = 22) -> str:
    """A name that fits a title."""
    return name if len(name) <= most else name[: most - 1] + "…"


def taken_for(true: str, answer: str, most: int) -> str:
    """ "TRUE taken for ANSWER" in at most so many characters; the longer name is shortened first."""
    room = most - len(" taken for ")
    true = short(true, max(room // 2, room - len(answer)))
    return f"{true} taken for {short(answer, room - len(true))}"
