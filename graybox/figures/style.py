"""What the figures share: sizes, colours, titles, boxes, short names, and files whose bytes depend only on the figure.

A figure is `WIDTH` inches wide, as the text of an A4 page, so its text has on that page the size that is set here. The
colours are those of Okabe and Ito (2008), "Color universal design", which colour-blind readers tell apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, patheffects, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

from graybox import files

WIDTH, DPI = 7.0, 144
SMALLEST = 8.0  # points, of any text

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
VARIANT, BASELINE, EMPHASIS = BLUE, "#666666", VERMILION
RIGHT, WRONG = "#00785A", VERMILION  # the green a little darker than Okabe and Ito's: it is also the colour of text
BOX, MUTED = "#e7298a", "#666666"
CLASSES = (SKY, VERMILION, GREEN, PURPLE, ORANGE, BLUE, "#F0E442")

RC: dict[str, Any] = {
    "font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5, "legend.frameon": False, "axes.titlelocation": "left", "axes.edgecolor": "#888888",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.color": "#e6e6e6",
    "xtick.color": "#888888", "ytick.color": "#888888", "xtick.labelcolor": "#222222", "ytick.labelcolor": "#222222",
    "lines.linewidth": 1.4, "figure.constrained_layout.h_pad": 0.06, "figure.constrained_layout.w_pad": 0.06,
}  # fmt: skip


def save(figure: Figure, path: Path | str, dpi: int = DPI) -> None:
    """Write a figure; the bytes depend only on the figure.

    Args:
        path: ends in .png, or in .svg for a chart that is all lines and text. An SVG gets a PNG of the same name beside
            it, for readers that show none. Text in an SVG is drawn as outlines, so it looks alike everywhere.
        dpi: of the PNG, and of pictures inside an SVG.

    Raises:
        UserError: a file can't be written.
    """
    path = Path(path)
    # Without the salt and the date, an SVG would have other bytes each time.
    with rc_context({"svg.hashsalt": "graybox", "svg.fonttype": "path"}):
        if path.suffix == ".svg":
            with files.replacing(path) as part:
                figure.savefig(part, format="svg", dpi=dpi, metadata={"Date": None, "Creator": None})
            path = path.with_suffix(".png")
        with files.replacing(path) as part:
            figure.savefig(part, format="png", dpi=dpi, metadata={"Software": None})


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches, that finds room for its titles by itself."""
    return Figure(figsize=(width, height), layout="constrained")


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, from the figure's upper left corner. Pictures need no layout that costs seconds."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))
    axes.set_anchor("NW")
    return axes


def bar(
    axes: Axes, drawn: ScalarMappable, ticks: Sequence[float], said: Callable[[float], str], upright: bool = False
) -> None:
    """Fill axes with a colour bar that has few ticks: beside small pictures there is no room for more."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    made = figure.colorbar(drawn, cax=axes, orientation="vertical" if upright else "horizontal")
    made.set_ticks(list(ticks), labels=[said(tick) for tick in ticks])
    axes.tick_params(labelsize=SMALLEST, length=2)
    if not upright and len(ticks) > 1:  # the outer numbers end where the bar ends
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
    made.outline.set_visible(False)


def title(figure: Figure, said: str, size: float = 11) -> None:
    """What is seen, above a figure; in as many lines as it needs."""
    # A layout engine finds the place itself, unless it is given one.
    place = {} if figure.get_layout_engine() else {"y": 1 - 0.08 / figure.get_figheight(), "va": "top"}
    figure.suptitle(lines(said, figure.get_figwidth(), size, bold=True), x=0.011, ha="left", fontsize=size,
                    fontweight="bold", **place)  # fmt: skip


def note(figure: Figure, said: str) -> None:
    """How to read a figure, below it."""
    figure.supxlabel(lines(said, figure.get_figwidth(), SMALLEST), x=0.011, ha="left", fontsize=SMALLEST, color=MUTED)


def lines(said: str, width: float, size: float, bold: bool = False) -> str:
    """A text in lines that fit into `width` inches. A letter is about 0.54 of the font's size wide, a bold one 0.62."""
    letters = int(width * 72 / ((0.62 if bold else 0.54) * size))
    return "\n".join(textwrap.fill(line, letters, break_on_hyphens=False) for line in said.split("\n"))


def nothing(said: str) -> Figure:
    """A figure that says that there is nothing to draw."""
    empty = figure(0.6)
    empty.text(0.01, 0.5, said, va="center", fontsize=10, color=MUTED)
    return empty


def percent_tick(share: float, _: float | None) -> str:
    """A tick's label with as many decimals as needed: ticks may be 2.5 points apart."""
    return f"{100 * share:.4g}%"


def whole_percent() -> PercentFormatter:
    return PercentFormatter(1, decimals=0)


def draw_box(axes: Axes, box: np.ndarray) -> None:
    """Outline an object box, float [4] as x0, y0, x1, y1 in pixels; nothing for NaN."""
    if not np.isnan(box).any():
        x0, y0, x1, y1 = box
        outline(axes, (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0)


def outline(axes: Axes, corner: tuple[float, float], width: float, height: float, **how: Any) -> None:
    """A frame that is seen on any ground: its line has a white one around it."""
    how = {"color": BOX, "linewidth": 1.3, **how}
    frame = Rectangle(corner, width, height, fill=False, **how)
    frame.set_path_effects([patheffects.withStroke(linewidth=how["linewidth"] + 1.4, foreground="white", alpha=0.8)])
    axes.add_patch(frame)


def page(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches from the upper left corner: hundreds of axes would take seconds."""
    sheet = Figure(figsize=(width, height))
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return sheet, axes


def picture(
    axes: Axes,
    image: np.ndarray,
    left: float,
    top: float,
    side: float,
    box: np.ndarray | None = None,
    frame: str | None = None,
) -> None:
    """An image on a `page`, with its object box, and a frame of a colour around it if given."""
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(image, extent=(left, left + side, top + side, top), aspect="auto")
    axes.set(xlim=limits[0], ylim=limits[1])
    if box is not None and not np.isnan(box).any():
        height, width = image.shape[:2]
        x0, y0, x1, y1 = box * np.array([side / width, side / height] * 2)
        outline(axes, (left + x0, top + y0), x1 - x0, y1 - y0, linewidth=1.1)
    if frame is not None:
        axes.add_patch(Rectangle((left, top), side, side, fill=False, color=frame, linewidth=2))


def colours(count: int, name: str = "tab20") -> list[tuple[float, float, float, float]]:
    """The first colours of one of matplotlib's lists."""
    return [colormaps[name](place) for place in range(count)]


def intervals(axes: Axes, places: Sequence[float], rows: pd.DataFrame, name: str, ends: str, **how: Any) -> None:
    """Dots with their intervals, one row below the other.

    Args:
        rows: columns `name` for the dots, and `ends`_low and `ends`_high. Rows that are NaN stay empty.
    """
    value, low, high = (rows[column].to_numpy(float) for column in (name, f"{ends}_low", f"{ends}_high"))
    axes.hlines(places, low, high, color=how.get("color", VARIANT), linewidth=1.4)
    axes.plot(value, places, **{"marker": "o", "linestyle": "none", "markersize": 5, "color": VARIANT, **how})


def name_points(axes: Axes, points: pd.DataFrame, always: Sequence[bool], size: float = SMALLEST) -> int:
    """Write each point's name beside it, where it covers no other point, interval or name.

    A name without such a place is left out, or, if it should `always` be there, goes where it covers the least.

    Args:
        points: columns x, y, low, high (the interval of y) and name, in the axes' units. A row per point.

    Returns:
        How many points have no name.
    """
    at = axes.transData.transform(points[["x", "y"]])
    ends = [axes.transData.transform(points[["x", end]])[:, 1] for end in ("low", "high")]
    per_point = axes.figure.dpi / 72
    taken = [
        Bbox.from_extents(x - 4 * per_point, y - 4 * per_point, x + 4 * per_point, y + 4 * per_point) for x, y in at
    ]
    taken += [Bbox.from_extents(x - per_point, low, x + per_point, high) for (x, _), low, high in zip(at, *ends)]
    beside = [(7, 2, "left"), (7, -8, "left"), (-7, 2, "right"), (-7, -8, "right"), (7, -3, "left"), (-7, -3, "right")]
    further = [(9, 11, "left"), (9, -17, "left"), (-9, 11, "right"), (-9, -17, "right"), (12, 20, "left")]
    named = 0
    order = np.argsort([not wanted for wanted in always], kind="stable")  # those that must be there choose first
    for number in order:
        name, point = points["name"].iloc[number], (points["x"].iloc[number], points["y"].iloc[number])
        tries = [
            axes.annotate(name, point, (across, up), textcoords="offset points", fontsize=size, ha=side)
            for across, up, side in (*beside, *further)
        ]
        boxes = [text.get_window_extent() for text in tries]
        inside = [axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 for box in boxes]
        covered = [box.count_overlaps(taken) for box in boxes]
        best = min(range(len(tries)), key=lambda place: (not inside[place], covered[place]))
        kept = always[number] or (inside[best] and not covered[best])
        for place, text in enumerate(tries):
            if place != best or not kept:
                text.remove()
        named += kept
        if kept:
            taken.append(boxes[best])
    return len(points) - named
