"""What the figures share: colours, boxes, short names, and files whose bytes depend only on the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

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


def name_points(axes: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> None:
    """Write each point's name beside it, at the place where it covers the fewest points and names."""
    points = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(across - 4, up - 4, 8, 8) for across, up in points]
    beside = [(6, 4, "left"), (6, -9, "left"), (-6, 4, "right"), (-6, -9, "right")]
    places = [*beside, (0, 9, "center"), (0, -15, "center"), (6, 14, "left"), (6, -19, "left")]
    for name, point in zip(names, zip(x, y)):
        tries = [
            axes.annotate(name, point, (across, up), textcoords="offset points", fontsize=7, ha=side)
            for across, up, side in places
        ]
        boxes = [text.get_window_extent() for text in tries]
        outside = [box.x1 > axes.bbox.x1 or box.x0 < axes.bbox.x0 for box in boxes]
        best = min(range(len(tries)), key=lambda place: (outside[place], boxes[place].count_overlaps(taken)))
        taken.append(boxes[best])
        for text in (*tries[:best], *tries[best + 1 :]):
            text.remove()
