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
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

from graybox.data.images import ImageSet

BASELINE, VARIANT, BOX = "#d95f02", "#1b6ca8", "#e7298a"


def save(figure: Figure, path: Path | str, dpi: int = 110) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    figure.savefig(path, dpi=dpi, metadata={"Software": None})


def _percent(share: float, _: int | None) -> str:
    """A tick's label; as many decimals as it needs, for ticks may be 2.5 points apart."""
    return f"{100 * share:.4g}%"


def accuracy_by_parameter(levels: Mapping[str, pd.DataFrame], by_seed: Mapping[str, np.ndarray]) -> Figure:
    """Test accuracy with its 95% interval against each parameter, the baseline in its own colour.

    Args:
        levels: for each parameter, rows with level, is_baseline, test_accuracy, test_low, test_high and
            validation_accuracy (0..1); what `comparison.factor_levels` gives.
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
            axes.annotate(f"{accuracy:.0%}", (place, accuracy), (8, 0), textcoords="offset points", va="center",
                          fontsize=9)  # fmt: skip
            axes.plot(place, row["validation_accuracy"], "_", color=colour, markersize=14, alpha=0.6)
            if len(each := by_seed[row["variant"]]) > 1:
                axes.plot([place - 0.15] * len(each), each, "o", color=colour, markersize=3, alpha=0.6)
        axes.plot(range(len(rows)), rows["test_accuracy"], "-", color="0.8", zorder=0)
        axes.set_xticks(range(len(rows)), rows["level"].astype(str))
        axes.set(title=name, xlim=(-0.5, len(rows) - 0.3))
        axes.yaxis.set_major_formatter(_percent)
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Test accuracy against each parameter; the others as in the baseline, or as named", fontsize=13)
    said = ["dot and bar: test accuracy and its 95% interval", "dash: validation accuracy", "orange: baseline"]
    if max(map(len, by_seed.values())) > 1:
        said.insert(1, "small dots: each seed's network")
    figure.supxlabel("    ".join(said), fontsize=9)
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_yscale("log")
    for set_formatter in (loss.yaxis.set_major_formatter, loss.yaxis.set_minor_formatter):
        set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    accuracy.yaxis.set_major_formatter(_percent)
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def costs(table: pd.DataFrame, fronts: Mapping[str, pd.Series], overfitting: pd.Series) -> Figure:
    """Test accuracy against what a variant costs, with the Pareto fronts; and how far training is ahead of validation.

    Args:
        table: columns variant, test_accuracy, test_low, test_high (0..1), and the costs.
        fronts: "macs" and "train_seconds" -> which rows of `table` are on the front, bool.
        overfitting: by variant, training less validation accuracy, -1..1.
    """
    figure = Figure(figsize=(14, 5.2), layout="constrained")
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
            axes.xaxis.set_major_formatter(EngFormatter())
        axes.yaxis.set_major_formatter(_percent)
    order = overfitting.iloc[::-1]
    gaps.barh(range(len(order)), order, color=VARIANT, alpha=0.85, height=0.65)
    gaps.set_yticks(range(len(order)), order.index, fontsize=8)
    gaps.axvline(0, color="0.3", linewidth=0.8)
    gaps.set(title="overfitting: training less validation accuracy", xlabel="points")
    gaps.xaxis.set_major_formatter(lambda share, place: _percent(share, place).rstrip("%"))
    for axes in (*scatters, gaps):
        axes.grid(color="0.93")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("orange: no other variant is both cheaper and better (Pareto front)", fontsize=9)
    figure.draw_without_rendering()  # from here on it is known where the points lie
    for axes, cost in zip(scatters, fronts):
        _name_points(axes, table[cost], table["test_accuracy"], table["variant"])
    return figure


def _name_points(axes: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> None:
    """Write each point's name beside it: where it covers neither a point nor another name, or as few as can be."""
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


def reliability_diagram(bins: pd.DataFrame, error: float) -> Figure:
    """How often the network is right, by how sure it says it is; and how often it is how sure.

    Args:
        bins: columns low, high, count, confidence, accuracy (0..1; NaN where a bin is empty), from
            `mistakes.calibration`. `error`: the expected calibration error, 0..1.
    """
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1]})
    width, middle = bins["high"] - bins["low"], (bins["low"] + bins["high"]) / 2
    axes.bar(middle, bins["accuracy"], width=0.94 * width, color=VARIANT, alpha=0.85, label="how often it is right")
    axes.plot(
        bins["confidence"], bins["confidence"], "o--", color=BASELINE, markersize=4, label="how sure it says it is"
    )
    axes.set(
        ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=f"Calibration: expected error {100 * error:.1f} points"
    )
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    counts.bar(middle, bins["count"], width=0.94 * width, color="0.7")
    counts.set(xlabel="probability of the predicted class", ylabel="test images")
    for one in (axes, counts):
        one.grid(axis="y", color="0.93")
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    counts.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def mistakes_gallery(images: ImageSet, wrong: pd.DataFrame, columns: int = 6) -> Figure:
    """Misclassified images with true class, predicted class and both probabilities.

    Args:
        wrong: columns row (in `images`), true_class, predicted_class, true_probability, predicted_probability.
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
