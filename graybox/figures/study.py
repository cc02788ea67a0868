"""Figures of the study: accuracy against each parameter and against costs, and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatter, LogLocator, MaxNLocator, NullFormatter

from graybox.figures.style import BASELINE, VARIANT, colours, name_points, percent_tick
from graybox.figures.text import plain

MOST_ROWS = 45  # of a legend, in one column
LINES = ("-", "--", "-.")  # 20 colours of each
TRAINING_CURVE = (
    "Training: the loss that is minimised (with label smoothing, mixup and dropout, if set) and the accuracy, means "
    "over an epoch in which the network changes.\nBoth are other quantities than on validation, and differ between "
    "variants with other augmentation. The generalisation gap is measured on training images without it."
)


@plain
def accuracy_by_parameter(levels: Mapping[str, pd.DataFrame], by_seed: Mapping[str, np.ndarray]) -> Figure:
    """Test accuracy with its 95% interval against each parameter, the baseline in its own colour.

    Args:
        levels: for each parameter, rows with level, is_baseline, test_accuracy, test_low, test_high and
            validation_accuracy (0..1); from `comparison.factor_levels`.
        by_seed: for each variant float [seeds], its networks' test accuracies; drawn where there are several.
    """
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.subplots(2, -(-len(levels) // 2), sharey=True, squeeze=False).flat
    for axes, (name, rows) in zip(grid, levels.items()):
        for place, (_, row) in enumerate(rows.iterrows()):
            colour = BASELINE if row["is_baseline"] else VARIANT
            accuracy = row["test_accuracy"]
            around = [[accuracy - row["test_low"]], [row["test_high"] - accuracy]]
            axes.errorbar(place, accuracy, yerr=around, fmt="o", color=colour, capsize=4, markersize=7)
            beside = {"xytext": (8, 0), "va": "center"} if len(rows) <= 5 else {"xytext": (0, 9), "ha": "center"}
            axes.annotate(f"{accuracy:.0%}", (place, accuracy), textcoords="offset points", fontsize=9, **beside)
            axes.plot(place, row["validation_accuracy"], "_", color=colour, markersize=14, alpha=0.6)
            if len(each := by_seed[row["variant"]]) > 1:
                axes.plot([place - 0.15] * len(each), each, "o", color=colour, markersize=3, alpha=0.6)
        axes.plot(range(len(rows)), rows["test_accuracy"], "-", color="0.8", zorder=0)
        axes.set_xticks(range(len(rows)), rows["level"].astype(str))
        axes.set(title=name, xlim=(-0.5, len(rows) - 0.3))
        axes.yaxis.set_major_formatter(percent_tick)
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Test accuracy against each parameter; the others as in the baseline, or as named", fontsize=13)
    said = ["dot and bar: test accuracy and its 95% interval", "dash: validation accuracy", "orange: baseline"]
    if max(map(len, by_seed.values())) > 1:
        said.insert(1, "small dots: each seed's network")
    figure.supxlabel("    ".join(said), fontsize=9)
    return figure


@plain
def learning_curves(curves: pd.DataFrame) -> Figure:
    """Loss and accuracy of every variant by epoch, those of validation above those of training.

    The two are different quantities, so they share no axis.

    Args:
        curves: columns variant, epoch, train_loss, validation_loss, train_accuracy, validation_accuracy.
    """
    count = curves["variant"].nunique()
    columns = -(-count // MOST_ROWS)
    figure = Figure(
        figsize=(11 + 1.8 * (columns - 1), max(7.6, 0.5 + 0.178 * min(count, MOST_ROWS))), layout="constrained"
    )
    grid = figure.subplots(2, 2)
    palette = colours(20)
    for number, (variant, curve) in enumerate(curves.groupby("variant", sort=False)):
        colour, line = palette[number % 20], LINES[number // 20 % len(LINES)]
        for row, split in zip(grid, ("validation", "train")):
            for axes, measure in zip(row, ("loss", "accuracy")):
                axes.plot(curve["epoch"], curve[f"{split}_{measure}"], color=colour, linestyle=line, label=variant)
    for row, split in zip(grid, ("validation", "augmented training")):
        for axes, measure in zip(row, ("loss", "accuracy")):
            axes.set(xlabel="epoch", ylabel=f"{split} {measure}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(color="0.93")
            axes.spines[["top", "right"]].set_visible(False)
        loss, accuracy = row
        loss.set_yscale("log")
        for set_formatter in (loss.yaxis.set_major_formatter, loss.yaxis.set_minor_formatter):
            set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
        accuracy.yaxis.set_major_formatter(percent_tick)
    figure.suptitle("Learning curves: validation images above, augmented training images below", fontsize=13)
    figure.supxlabel(TRAINING_CURVE, fontsize=9)
    figure.legend(*grid[0, 1].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False,
                  ncols=columns)  # fmt: skip
    return figure


@plain
def costs(table: pd.DataFrame, fronts: Mapping[str, pd.Series]) -> Figure:
    """Test accuracy against costs with the Pareto fronts (no variant is cheaper and better); the generalisation gaps.

    Args:
        table: columns variant, test_accuracy, test_low, test_high (0..1), gap, gap_low, gap_high (-1..1), and costs.
        fronts: "macs" and "train_seconds" -> which rows of `table` are on the front, bool.
    """
    figure = Figure(figsize=(14, max(5.2, 0.28 * len(table))), layout="constrained")
    *scatters, gaps = figure.subplots(1, 3)
    names = {"macs": "multiply-accumulates per image", "train_seconds": "seconds of training"}
    for axes, (cost, front) in zip(scatters, fronts.items()):
        around = [table["test_accuracy"] - table["test_low"], table["test_high"] - table["test_accuracy"]]
        axes.errorbar(table[cost], table["test_accuracy"], yerr=around, fmt="none", ecolor="0.8", zorder=0)
        axes.scatter(table[cost], table["test_accuracy"], c=[BASELINE if best else VARIANT for best in front], s=36)
        best = table[front].sort_values(cost)
        axes.step(best[cost], best["test_accuracy"], where="post", color=BASELINE, alpha=0.5)
        axes.set(xlabel=names[cost], ylabel="test accuracy", title=f"accuracy against {names[cost]}")
        if cost == "macs":
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(percent_tick)
    order = table.iloc[::-1]
    around = [order["gap"] - order["gap_low"], order["gap_high"] - order["gap"]]
    gaps.barh(range(len(order)), order["gap"], xerr=around, color=VARIANT, ecolor="0.4", alpha=0.85, height=0.65)
    gaps.set_yticks(range(len(order)), order["variant"], fontsize=8)
    gaps.axvline(0, color="0.3", linewidth=0.8)
    gaps.set_title("generalisation gap", fontsize=11)
    gaps.set_xlabel("training (not augmented) minus validation accuracy\nin points, with the 95% interval")
    gaps.xaxis.set_major_formatter(lambda share, place: percent_tick(share, place).rstrip("%"))
    for axes in (*scatters, gaps):
        axes.grid(color="0.93")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("orange: no other variant is both cheaper and better (Pareto front)", fontsize=9)
    figure.draw_without_rendering()  # this fixes the places of the points
    for axes, cost in zip(scatters, fronts):
        name_points(axes, table[cost], table["test_accuracy"], table["variant"])
    return figure
