"""The images: a contact sheet with their boxes, the number of images of each class, and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from graybox.data.images import ImageSet
from graybox.figures import style
from graybox.figures.style import BLUE, ORANGE, SKY
from graybox.figures.text import plain
from graybox.study.names import short

MOST_IN_ROWS = 10  # classes with a row each; of more, three blocks beside each other show MOST_CLASSES_SHOWN
MOST_CLASSES_SHOWN = 24
MOST_NAMES = 45  # of classes below their bars
MOST_PAIRS_SHOWN = 5
SPLITS = {"train": SKY, "validation": ORANGE, "test": BLUE}


@plain
def contact_sheet(images: ImageSet, each: int = 8) -> Figure:
    """Images of each class with their object boxes; if there are many classes, of evenly spread ones.

    Args:
        images: the training split. `each`: how many images of a class at most, the first ones.
    """
    count = len(images.class_names)
    rows = count <= MOST_IN_ROWS
    labels = np.unique(np.linspace(0, count - 1, min(count, MOST_CLASSES_SHOWN)).round().astype(int))
    blocks, each = (1, each) if rows else (3, min(each, 3))
    left, wide = (1.05, style.WIDTH - 1.1) if rows else (0.08, (style.WIDTH - 0.36) / blocks)
    side = min(0.95, wide / each - 0.04)
    step = side + (0.05 if rows else 0.24)
    deep = -(-len(labels) // blocks)
    figure, axes = style.page(style.WIDTH, 0.5 + deep * step)
    some = "" if len(labels) == count else f", {len(labels)} of {count} classes"
    missing = np.isnan(images.boxes).any(axis=1)
    boxes = "" if missing.all() else ", with their object boxes" if not missing.any() else ", some with an object box"
    style.title(figure, f"Training images{boxes}{some}")
    for number, label in enumerate(labels):
        across, down = divmod(number, deep)
        x, y = left + across * (wide + 0.1), 0.45 + down * step
        name = images.class_names[label]
        if rows:
            axes.text(x - 0.08, y + side / 2, short(name, 15), ha="right", va="center")
        else:
            axes.text(x, y + 0.13, short(name, 34), fontsize=8.5, va="bottom")
            y += 0.16
        for place, row in enumerate(np.flatnonzero(images.labels == label)[:each]):
            style.picture(axes, images.images[row], x + place * (side + 0.04), y, side, images.boxes[row])
    return figure


@plain
def counts_chart(summary: Mapping[str, Any]) -> Figure:
    """Images of each class by split, and other facts below.

    Args:
        summary: from `graybox.data.summary.write`.
    """
    counts = pd.DataFrame.from_dict(summary["images_per_class"], orient="index")
    said = facts(summary)
    named = len(counts) <= MOST_NAMES
    figure = style.figure(2.5 + (0.8 if named else 0.2) + 0.2 * len(said))
    axes, text = figure.subplots(2, 1, height_ratios=[2.3 + (0.6 if named else 0), 0.2 * len(said)])
    if not named:
        counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    bottom = np.zeros(len(counts))
    for split in counts.columns:
        axes.bar(range(len(counts)), counts[split], bottom=bottom, color=SPLITS[split], label=split,
                 width=0.8 if named else 1.0)  # fmt: skip
        bottom += counts[split].to_numpy()
    if named:
        names = [short(name, 18) for name in counts.index]
        upright = {"rotation": 90} if len(counts) > 14 else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(counts)), names, fontsize=style.SMALLEST, **upright)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(counts)} classes, by their number of images: from {short(str(counts.index[0]), 30)} to "
                        f"{short(str(counts.index[-1]), 30)}")  # fmt: skip
    axes.set(ylim=(0, bottom.max() * 1.2), ylabel="images", xlim=(-0.7, len(counts) - 0.3))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.legend(ncols=len(counts.columns), loc="upper right")
    _facts(text, said, tuple(summary["mean_colour"].values()))
    fewest, most = int(bottom.min()), int(bottom.max())
    style.title(figure, f"{len(counts)} classes, " + (
        f"each of {most:,} images" if fewest == most else f"of {fewest:,} to {most:,} images each"))  # fmt: skip
    return figure


def _facts(axes: Axes, said: Mapping[str, str], colour: tuple[float, ...]) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, style.WIDTH), ylim=(len(said), 0))
    for place, (name, value) in enumerate(said.items()):
        axes.text(0, place + 0.5, name, color=style.MUTED, va="center", fontsize=8.5)
        axes.text(2.35, place + 0.5, short(value, 66), va="center", fontsize=8.5)
    axes.add_patch(Rectangle((2.08, len(said) - 0.85), 0.17, 0.7, color=colour))  # beside the mean colour's name


@plain
def near_duplicates_chart(table: pd.DataFrame, pictures: np.ndarray) -> Figure:
    """The two images of each pair side by side, with their splits and classes above them.

    Args:
        table, pictures: from `graybox.data.near_duplicates.write`; at least one pair.
    """
    shown = min(MOST_PAIRS_SHOWN, len(pictures))
    figure = style.figure(1.75)
    for axes, pair, (first, second) in zip(figure.subplots(1, MOST_PAIRS_SHOWN), table.to_dict("records"), pictures):
        gap = np.full((len(first), max(1, len(first) // 16), 3), 255, np.uint8)
        axes.imshow(np.hstack([first, gap, second]))
        names = [f"{pair[f'{which}split']}: {short(str(pair[f'{which}class']), 11)}" for which in ("", "other_")]
        notes = ", ".join(["mirrored"] * bool(pair["mirrored"]) + ["first dropped"] * bool(pair["dropped"]))
        axes.set_title("\n".join(names), fontsize=style.SMALLEST)
        axes.set_xlabel(notes, fontsize=style.SMALLEST)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    some = f" ({shown} of {len(table):,} pairs)"
    style.title(figure, f"Images that are nearly the same{some * (len(table) > shown)}")
    return figure


def facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """Other facts about the images, in words, by name."""

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count) or "none"

    in_front = {"something in front of the object": listed(summary["covered"])} if summary.get("covered") else {}
    two_labels = f" ({summary['two_labels']:,} with two labels)" * bool(summary["two_labels"])
    dropped = f" ({summary['near_duplicates_dropped']:,} dropped)" * bool(summary["near_duplicates_dropped"])
    sizes = [f"{width} x {height}" for width, height in summary["original_size"].values()]
    return {
        "images": f"{summary['images']:,}: {listed(summary['images_per_split'])}",
        "size": f"{summary['image_size']} x {summary['image_size']}, from "
        + (sizes[0] if len(set(sizes)) == 1 else f"{sizes[0]} to {sizes[2]} (median {sizes[1]})"),
        "with an object box": listed(summary["with_box"]),
        **in_front,
        "the same pixels twice": listed(summary["duplicates"]) + two_labels,
        "near-duplicates": listed(summary["near_duplicates"]) + dropped,
        "can't be decoded": f"{summary['unreadable']:,}",
        "passed over": listed(summary["ignored"]),
        "mean colour": ", ".join(f"{name} {value:.2f}" for name, value in summary["mean_colour"].items()),
    }
