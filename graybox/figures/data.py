"""The images: a contact sheet with their boxes, the number of images of each class, and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from graybox.data.images import ImageSet
from graybox.figures.style import colours, draw_box, short
from graybox.figures.text import plain

MOST_CLASSES_SHOWN = 25
MOST_PAIRS_SHOWN = 5


@plain
def contact_sheet(images: ImageSet, each: int = 8) -> Figure:
    """A row of images for each class with their object boxes; if there are many classes, evenly spread ones.

    Args:
        images: the training split. `each`: how many images of a class at most, the first ones.
    """
    count = len(images.class_names)
    labels = np.unique(np.linspace(0, count - 1, min(count, MOST_CLASSES_SHOWN)).round().astype(int))
    figure = Figure(figsize=(each + 1.6, 1.04 * len(labels) + 0.6), layout="constrained")
    grid = figure.subplots(len(labels), each, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for row, label in zip(grid, labels):
        row[0].set_ylabel(short(images.class_names[label]), rotation=0, ha="right", va="center", fontsize=9)
        for axes, place in zip(row, np.flatnonzero(images.labels == label)):
            axes.imshow(images.images[place])
            draw_box(axes, images.boxes[place])
    some = "" if len(labels) == count else f" ({len(labels)} of {count} classes)"
    figure.suptitle(f"Training images{some}", fontsize=12)
    return figure


@plain
def counts_chart(
    summary: Mapping[str, Any], near_duplicates: pd.DataFrame | None = None, pictures: np.ndarray | None = None
) -> Figure:
    """Images of each class by split, other facts beside them, and below some near-duplicates, if there are any.

    Args:
        summary: from `graybox.data.summary.write`.
        near_duplicates, pictures: the tables from `graybox.data.near_duplicates.write`.
    """
    counts = pd.DataFrame.from_dict(summary["images_per_class"], orient="index")
    if near_duplicates is None or pictures is None or not len(pictures):
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        axes, text = figure.subplots(1, 2, gridspec_kw={"width_ratios": [2, 1]})
    else:
        figure = Figure(figsize=(11, 3.8 + 2.1), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=[3.8, 2.1], squeeze=False)[:, 0]
        axes, text = upper.subplots(1, 2, gridspec_kw={"width_ratios": [2, 1]})
        _draw_near_duplicates(lower, near_duplicates, pictures)
    bottom = np.zeros(len(counts))
    for colour, split in zip(colours(len(counts.columns), "Set2"), counts.columns):
        axes.bar(range(len(counts)), counts[split], bottom=bottom, color=colour, label=split, width=0.8)
        bottom += counts[split].to_numpy()
    if len(counts) <= 30:
        names = [short(name, 18) for name in counts.index]
        axes.set_xticks(range(len(counts)), names, rotation=60, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel(f"{len(counts)} classes")
    axes.set(title="images of each class", ylim=(0, bottom.max() * 1.18))
    axes.legend(ncols=len(counts.columns), frameon=False, loc="upper center", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    text.set_axis_off()
    said = facts(summary)
    for place, (name, value) in enumerate(said.items()):
        y = 1 - place / len(said)
        text.text(0, y, name, color="0.45", fontsize=9, va="top")
        text.text(0, y - 0.055, value, fontsize=9.5, va="top")
    colour = tuple(summary["mean_colour"].values())
    text.add_patch(Rectangle((0.72, 0.0), 0.2, 0.12, color=colour, transform=text.transAxes))
    return figure


def _draw_near_duplicates(figure: SubFigure, table: pd.DataFrame, pictures: np.ndarray) -> None:
    """The two images of each pair side by side, with their splits and classes above them."""
    for axes, pair, (first, second) in zip(figure.subplots(1, MOST_PAIRS_SHOWN), table.to_dict("records"), pictures):
        gap = np.full((len(first), max(1, len(first) // 16), 3), 255, np.uint8)
        axes.imshow(np.hstack([first, gap, second]))
        names = [f"{pair[f'{which}split']}: {short(str(pair[f'{which}class']), 16)}" for which in ("", "other_")]
        notes = ", ".join(["mirrored"] * bool(pair["mirrored"]) + ["first dropped"] * bool(pair["dropped"]))
        axes.set_title("\n".join(names), fontsize=8)
        axes.set_xlabel(notes, fontsize=8)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    some = f" ({min(MOST_PAIRS_SHOWN, len(pictures))} of {len(table):,} pairs)"
    figure.suptitle(f"near-duplicates{some * (len(table) > MOST_PAIRS_SHOWN)}", fontsize=10)


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
