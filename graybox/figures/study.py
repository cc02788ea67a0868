"""Figures of the study: accuracy against each parameter and against costs, the gaps, and the learning curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from graybox.figures import style
from graybox.figures.style import BASELINE, EMPHASIS, VARIANT, name_points, percent_tick
from graybox.figures.text import plain
from graybox.study.names import short

MOST_NUMBERS = 5  # of levels that have their accuracy written beside the dot
COSTS = {
    "macs": "multiply-accumulates for an image",
    "training_work": "work of training (multiply-accumulates x epochs; baseline = 1)",
}
"""What a network costs, by the table's column. Seconds are none of them: other work on the machine counts in."""
MOST_FRONT = 8  # points of a Pareto front that are named in any case; more would cover one another
MOST_CURVES, MOST_GROUPS = 6, 9  # in one group; groups below one another
MEASURES = [(split, measure) for split in ("validation", "train") for measure in ("loss", "accuracy")]
FRONT = "Orange, joined: no other variant is both cheaper and better (Pareto front). Lines: 95% intervals."
TOGETHER = " Two names at one dot: these variants cost the same and score the same."
NO_ROOM = " A point without a name has no room for it; the study's table has all."
TRAINING_CURVE = (
    "Gray: the baseline. Training: the loss that is minimised (with label smoothing, mixup and dropout, if set) and "
    "the accuracy, means over an epoch in which the network changes, on augmented images. These are other quantities "
    "than on validation, and differ between variants with other augmentation."
)


@plain
def accuracy_by_parameter(levels: Mapping[str, pd.DataFrame], by_seed: Mapping[str, np.ndarray]) -> Figure:
    """Test accuracy with its 95% interval against each parameter that has another level than the baseline's.

    Args:
        levels: for each parameter, rows with level, is_baseline, test_accuracy, test_low and test_high (0..1); from
            `comparison.factor_levels`.
        by_seed: for each variant float [seeds], its networks' test accuracies; drawn where there are several.
    """
    levels = {name: rows for name, rows in levels.items() if len(rows) > 1}
    if not levels:
        return style.nothing("No variant changes a single parameter.")
    columns = min(3, len(levels))
    height = -(-len(levels) // columns)
    figure = style.figure(2.1 * height + 0.75)
    grid = figure.subplots(height, columns, sharey=True, squeeze=False)
    for axes, (name, rows) in zip(grid.flat, levels.items()):
        _level_dots(axes, rows, by_seed)
        axes.set_title(name)
    for axes in grid.flat[len(levels) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel("test accuracy")
    style.title(figure, "Test accuracy against each parameter")
    seeds = "; small dots: each seed's network" * (max(map(len, by_seed.values())) > 1)
    style.note(
        figure,
        f"Dot and bar: test accuracy and its 95% interval; gray: the baseline{seeds}. The other "
        "parameters are as in the baseline, or as named.",
    )
    return figure


def _level_dots(axes: Axes, rows: pd.DataFrame, by_seed: Mapping[str, np.ndarray]) -> None:
    """One parameter. A line joins its levels only if they are numbers: others have no order."""
    if pd.to_numeric(rows["level"], errors="coerce").notna().all():
        axes.plot(range(len(rows)), rows["test_accuracy"], "-", color="0.85", zorder=0)
    for place, (_, row) in enumerate(rows.iterrows()):
        colour = BASELINE if row["is_baseline"] else VARIANT
        axes.plot([place, place], [row["test_low"], row["test_high"]], color=colour)
        axes.plot(place, row["test_accuracy"], "o", color=colour, markersize=6)
        if len(rows) <= MOST_NUMBERS:
            how: dict[str, Any] = {
                "xytext": (0, 3),
                "ha": "center",
                "fontsize": style.SMALLEST,
                "textcoords": "offset points",
            }
            axes.annotate(f"{row['test_accuracy']:.0%}", (place, row["test_high"]), **how)
        if len(each := by_seed[row["variant"]]) > 1:
            axes.plot([place - 0.18] * len(each), each, "o", color=colour, markersize=3, alpha=0.6)
    # Names side by side have about 26 letters in all; a comma begins a new line.
    names = [short(str(level).replace(", ", ",\n"), 40) for level in rows["level"]]
    names = [
        "\n".join(textwrap.fill(line, max(10, 26 // len(rows)), break_long_words=False) for line in name.split("\n"))
        for name in names
    ]
    axes.set_xticks(range(len(rows)), names)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.margins(y=0.15)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.grid(axis="y")


@plain
def accuracy_by_variant(table: pd.DataFrame, baseline: str) -> Figure:
    """Test accuracy of every variant with its 95% interval, in the study's order.

    Args:
        table: columns variant, test_accuracy, test_low, test_high (0..1), best_on.
    """
    figure = style.figure(0.2 * len(table) + 1.2)
    axes = figure.subplots()
    style.intervals(axes, range(len(table)), table, "test_accuracy", "test")
    for place, row in enumerate(table.to_dict("records")):
        if row["variant"] == baseline:
            axes.plot(row["test_accuracy"], place, "o", color=BASELINE, markersize=5)
    _variant_rows(axes, table)
    axes.set_xlabel("test accuracy")
    axes.xaxis.set_major_formatter(percent_tick)
    best = table.iloc[table["test_accuracy"].argmax()] if table["test_accuracy"].notna().any() else None
    said = "" if best is None else f": {short(str(best['variant']), 40)} has the highest, {best['test_accuracy']:.1%}"
    style.title(figure, f"Test accuracy of each variant{said}")
    style.note(figure, "Dot and line: test accuracy and its 95% interval; gray dot: the baseline.")
    return figure


def _variant_rows(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_yticks(range(len(table)), [short(name, 30) for name in table["variant"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


@plain
def costs(table: pd.DataFrame, fronts: Mapping[str, pd.Series]) -> Figure:
    """Test accuracy against costs with the Pareto fronts (no variant is both cheaper and better).

    Args:
        table: columns variant, test_accuracy, test_low, test_high (0..1), diverged ("" = did not), and costs.
        fronts: some of COSTS -> which rows of `table` are on the front, bool.
    """
    figure = style.figure(2.8 * len(fronts) + 0.8)
    panels = figure.subplots(len(fronts), 1, squeeze=False)[:, 0]
    for axes, (cost, front) in zip(panels, fronts.items()):
        axes.vlines(table[cost], table["test_low"], table["test_high"], color="0.75", linewidth=1, zorder=0)
        axes.scatter(table[cost], table["test_accuracy"], c=[EMPHASIS if best else VARIANT for best in front], s=26)
        best = table[front].sort_values(cost)
        axes.step(best[cost], best["test_accuracy"], where="post", color=EMPHASIS, alpha=0.4, zorder=0)
        axes.set(xlabel=COSTS[cost], ylabel="test accuracy")
        if (table[cost] > 0).all() and table[cost].max() > 5 * table[cost].min():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(EngFormatter() if cost == "macs" else lambda value, _: f"{value:,.4g}")
        axes.margins(x=0.12)
        axes.yaxis.set_major_formatter(percent_tick)
        axes.grid()
    style.title(figure, "What accuracy costs: work for an image, and for the training")
    style.note(figure, FRONT + TOGETHER + NO_ROOM)  # the room for the longest note
    figure.draw_without_rendering()  # this fixes the places of the points
    unnamed = together = 0
    for axes, (cost, front) in zip(panels, fronts.items()):
        points = table[["test_accuracy", "test_low", "test_high"]].assign(
            name=table["variant"] + np.where(table["diverged"] == "", "", " (diverged)"), x=table[cost], always=front
        )
        points = points.set_axis(["y", "low", "high", "name", "x", "always"], axis=1)
        together += int(points.duplicated(["x", "y"]).sum())
        # Variants with the same settings, as `combined` and another can be, are one dot; it has both names.
        points = points.groupby(["x", "y"], sort=False, as_index=False).agg(
            {"low": "first", "high": "first", "name": ", ".join, "always": "any"}
        )
        unnamed += name_points(axes, points, list(points["always"] & (front.sum() <= MOST_FRONT)))
    style.note(figure, FRONT + TOGETHER * bool(together) + NO_ROOM * bool(unnamed))
    return figure


@plain
def gaps(table: pd.DataFrame) -> Figure:
    """The generalisation gap of each variant with its 95% interval.

    Args:
        table: columns variant, gap, gap_low, gap_high (-1..1).
    """
    figure = style.figure(0.2 * len(table) + 1.3)
    axes = figure.subplots()
    style.intervals(axes, range(len(table)), table, "gap", "gap")
    axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    _variant_rows(axes, table)
    axes.set_xlabel("training minus validation accuracy, in points")
    axes.xaxis.set_major_formatter(lambda share, place: percent_tick(share, place).rstrip("%"))
    style.title(figure, "How much better each network is on images that it was trained on")
    style.note(figure, "Dot and line: the generalisation gap, on training images without augmentation, and its 95% "
                       "interval.")  # fmt: skip
    return figure


@plain
def learning_curves(curves: pd.DataFrame, groups: Mapping[str, Mapping[str, str]], baseline: str) -> Figure:
    """Loss and accuracy by epoch: a row for each parameter, validation on the left, training on the right.

    The two are different quantities, so they share no axis.

    Args:
        curves: columns variant, epoch, train_loss, validation_loss, train_accuracy, validation_accuracy.
        groups: for each row's title, its variants and what to call them; the baseline is drawn in every row.
    """
    rows = [
        (name, dict(list(group.items())[first : first + MOST_CURVES]))
        for name, group in groups.items()
        for first in range(0, len(group), MOST_CURVES)
    ]
    rows = rows or [("baseline", {baseline: baseline})]
    shown = rows[:MOST_GROUPS]
    by_variant = {str(name): curve for name, curve in curves.groupby("variant", sort=False)}
    figure = style.figure(1.25 * len(shown) + 1.3)
    grid = figure.subplots(len(shown), 4, squeeze=False, sharex="col" if len(shown) > 1 else False)
    for line, (name, variants) in zip(grid, shown):
        named = {variant: said for variant, said in variants.items() if variant != baseline}
        palette = [colormaps["viridis"](place) for place in np.linspace(0, 0.85, max(len(named), 1))]
        colours: dict[str, Any] = {baseline: BASELINE, **dict(zip(named, palette))}
        # The baseline keeps its place among a parameter's levels.
        for variant, said in (variants if baseline in variants else {baseline: "baseline", **variants}).items():
            _curve(line, by_variant[variant], short(said.replace(", ", ",\n"), 30), colours[variant])
        line[0].set_ylabel(name.replace(" ", "\n", 1) if len(name) > 8 else name, fontweight="bold")
        line[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0, borderaxespad=0.2, fontsize=8)
    for axes, (split, measure) in zip(grid[0], MEASURES):
        axes.set_title(f"{'augmented training' if split == 'train' else split}\n{measure}", fontsize=8.5)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    style.title(figure, "Learning curves, by parameter")
    some = f" {sum(len(one) for _, one in shown)} of {len(by_variant)} variants." if len(shown) < len(rows) else ""
    style.note(figure, TRAINING_CURVE + some)
    return figure


def _curve(line: Sequence[Axes], curve: pd.DataFrame, label: str, colour: object) -> None:
    """One variant in the four pictures of a row. A single epoch is a point, which a line would not show."""
    marker = "o" if len(curve) < 3 else ""
    for axes, (split, measure) in zip(line, MEASURES):
        axes.plot(curve["epoch"], curve[f"{split}_{measure}"], marker=marker, markersize=3, linewidth=1.2, color=colour,
                  label=label)  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axes.grid()
        axes.tick_params(labelsize=style.SMALLEST)
        if measure == "loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(MaxNLocator(3))  # a narrow range has no power of ten in it
            axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:.3g}")
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_formatter(percent_tick)
