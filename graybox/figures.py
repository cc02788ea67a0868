"""Every picture: results in, matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from graybox.images import ImageSet

BASELINE, VARIANT, BOX = "#d95f02", "#1b6ca8", "#e7298a"


def save(figure: Figure, path: Path | str, dpi: int = 110) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    figure.savefig(path, dpi=dpi, metadata={"Software": None})


def accuracy_by_parameter(levels: Mapping[str, pd.DataFrame]) -> Figure:
    """Test accuracy with its 95% interval against each parameter, the baseline in its own colour.

    Args:
        levels: for each parameter, rows with level, is_baseline, test_accuracy, test_low, test_high and
            validation_accuracy (0..1); what `comparison.factor_levels` gives.
    """
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.subplots(2, -(-len(levels) // 2), sharey=True, squeeze=False).flat
    for axes, (name, rows) in zip(grid, levels.items()):
        for place, (_, row) in enumerate(rows.iterrows()):
            colour = BASELINE if row["is_baseline"] else VARIANT
            accuracy = row["test_accuracy"]
            around = [[accuracy - row["test_low"]], [row["test_high"] - accuracy]]
            axes.errorbar(place, accuracy, yerr=around, fmt="o", color=colour, capsize=4, markersize=7)
            axes.annotate(f"{accuracy:.0%}", (place, accuracy), (8, 0), textcoords="offset points", va="center",
                          fontsize=9)  # fmt: skip
            axes.plot(place, row["validation_accuracy"], "_", color=colour, markersize=14, alpha=0.6)
        axes.plot(range(len(rows)), rows["test_accuracy"], "-", color="0.8", zorder=0)
        axes.set_xticks(range(len(rows)), rows["level"].astype(str))
        axes.set(title=name, xlim=(-0.5, len(rows) - 0.3))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Test accuracy against each parameter, the others as in the baseline", fontsize=13)
    figure.supxlabel(
        "dot and bar: test accuracy and its 95% interval    dash: validation accuracy    orange: baseline", fontsize=9
    )
    return figure


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Loss and accuracy of every variant by epoch.

    Args:
        curves: columns variant, epoch, train_loss, validation_loss, train_accuracy, validation_accuracy.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for colour, (variant, curve) in zip(colours(20) * 9, curves.groupby("variant", sort=False)):
        for axes, figure_name in ((loss, "loss"), (accuracy, "accuracy")):
            axes.plot(curve["epoch"], curve[f"validation_{figure_name}"], color=colour, label=variant)
            axes.plot(curve["epoch"], curve[f"train_{figure_name}"], color=colour, linestyle=":", alpha=0.5)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set(xlabel="epoch", ylabel=name, title=f"{name}: validation (line) and training (dots)")
        axes.set_yscale("log" if name == "loss" else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """How often each class (row) is called each other (column), as a share of the row.

    Args:
        matrix: int [classes, classes], numbers of images.
    """
    count = len(class_names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 1.8 + 0.42 * count)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), class_names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), class_names)
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix of the best model (test images)")
    if count <= 30:
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, number, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(drawn, ax=axes, format=PercentFormatter(1, decimals=0), shrink=0.7, label="share of the true class")
    return figure


def mistakes_gallery(images: ImageSet, wrong: pd.DataFrame, columns: int = 6) -> Figure:
    """Misclassified images with true class, predicted class and both probabilities.

    Args:
        wrong: rows of what `mistakes.misclassified` gives.
    """
    rows = max(1, -(-len(wrong) // columns))
    figure = Figure(figsize=(columns * 2.0, rows * 2.45 + 0.5), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, (_, mistake) in zip(grid, wrong.iterrows()):
        axes.imshow(images.images[mistake["row"]])
        draw_box(axes, images.boxes[mistake["row"]])
        axes.set_title(
            f"{short(mistake['true_class'])} {mistake['true_probability']:.0%}\n"
            f"taken for {short(mistake['predicted_class'])} {mistake['predicted_probability']:.0%}",
            fontsize=8,
        )
    title = "Most confident mistakes of the best model" if len(wrong) else "No test image is misclassified"
    figure.suptitle(title, fontsize=12)
    return figure


def draw_box(axes: Axes, box: np.ndarray) -> None:
    """Outline an object box, float [4] as x0, y0, x1, y1 in pixels; nothing for NaN."""
    if not np.isnan(box).any():
        x0, y0, x1, y1 = box
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color=BOX, linewidth=1.5))


def colours(count: int, name: str = "tab20") -> list[tuple[float, ...]]:
    """The first colours of one of matplotlib's lists."""
    return [colormaps[name](place) for place in range(count)]


def short(name: str, most: int = 22) -> str:
    """A name that fits a title."""
    return name if len(name) <= most else name[: most - 1] + "…"
