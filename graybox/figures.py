"""Every picture: results in, matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from graybox.images import ImageSet

if TYPE_CHECKING:  # a picture needs no network, only what one said
    from graybox.occlusion import OcclusionMap

BASELINE, VARIANT, BOX = "#d95f02", "#1b6ca8", "#e7298a"
MOST_CLASSES_NAMED = 7


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
    colours = [*_colours(20)]
    for colour, (variant, curve) in zip(colours * 9, curves.groupby("variant", sort=False)):
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
        _draw_box(axes, images.boxes[mistake["row"]])
        axes.set_title(
            f"{_short(mistake['true_class'])} {mistake['true_probability']:.0%}\n"
            f"taken for {_short(mistake['predicted_class'])} {mistake['predicted_probability']:.0%}",
            fontsize=8,
        )
    title = "Most confident mistakes of the best model" if len(wrong) else "No test image is misclassified"
    figure.suptitle(title, fontsize=12)
    return figure


def occlusion_panel(
    found: OcclusionMap, image: np.ndarray, box: np.ndarray, file: str, class_names: Sequence[str]
) -> Figure:
    """The image with its box, the confidence map, both laid over one another, and the map of the most probable class.

    Args:
        image: uint8 [H, W, 3]. `box`: float [4], x0, y0, x1, y1 in pixels, NaN where there is none.
    """
    figure = Figure(figsize=(14, 3.75), layout="constrained")
    original, confidence, overlay, classes = figure.subplots(1, 4)
    true = class_names[found.label]
    original.imshow(image)
    _draw_box(original, box)
    original.set_title("image and object box" if not np.isnan(box).any() else "image")

    drawn = confidence.imshow(found.confidence, vmin=0, vmax=1, cmap="viridis", extent=_extent(found))
    figure.colorbar(drawn, ax=confidence, shrink=0.75)
    confidence.set_title(f"probability of {_short(true)}\nwith the window centred here")

    overlay.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    overlay.imshow(found.confidence, vmin=0, vmax=1, cmap="viridis", extent=_extent(found), alpha=0.55)
    row, column = found.lowest
    corner = (column - found.window / 2, row - found.window / 2)
    overlay.add_patch(Rectangle(corner, found.window, found.window, fill=False, color="white", linestyle="--"))
    overlay.set_title(f"overlay; dashed: the window\nthat leaves it least ({found.confidence.min():.1%})")

    _class_map(classes, found, class_names)
    classes.set_title("most probable class\nwith the window centred here")
    for axes in (original, confidence, overlay, classes):
        axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    for axes in (confidence, overlay, classes):
        _draw_box(axes, box)
    answer = found.unoccluded.argmax()
    verb = "recognised" if answer == found.label else f"taken for {_short(class_names[answer])}"
    figure.suptitle(
        f"{file}: {_short(true)}, {verb}, probability {found.unoccluded[found.label]:.1%}; "
        f"{found.window} x {found.window} gray window",
        fontsize=12,
    )
    return figure


def _class_map(axes: Axes, found: OcclusionMap, class_names: Sequence[str]) -> None:
    """Colour each place by the most probable class there; the rarest classes share one colour."""
    labels, counts = np.unique(found.predicted, return_counts=True)
    by_area = labels[np.argsort(-counts, kind="stable")]
    named = [found.label, *(label for label in by_area if label != found.label)][:MOST_CLASSES_NAMED]
    colours = ["#dddddd", *_colours(MOST_CLASSES_NAMED - 1, "Dark2")][: len(named)]
    places = np.full(found.predicted.shape, len(named))
    for place, label in enumerate(named):
        places[found.predicted == label] = place
    entries = list(zip((class_names[label] for label in named), colours))
    if (places == len(named)).any():
        entries.append(("others", "black"))
    colour_map = ListedColormap([*colours, "black"])
    norm = BoundaryNorm(np.arange(len(colours) + 2) - 0.5, len(colours) + 1)
    axes.imshow(places, cmap=colour_map, norm=norm, extent=_extent(found), interpolation="nearest")
    axes.legend(
        handles=[Patch(color=colour, label=_short(name)) for name, colour in entries],
        loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False,
    )  # fmt: skip


def _extent(found: OcclusionMap) -> tuple[float, float, float, float]:
    """Where the map lies on the image: each value in the middle of the pixels that it stands for."""
    half = (found.rows[1] - found.rows[0]) / 2 if len(found.rows) > 1 else 0.5
    return found.columns[0] - half, found.columns[-1] + half, found.rows[-1] + half, found.rows[0] - half


def _draw_box(axes: Axes, box: np.ndarray) -> None:
    if not np.isnan(box).any():
        x0, y0, x1, y1 = box
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color=BOX, linewidth=1.5))


def _colours(count: int, name: str = "tab20") -> list[tuple[float, ...]]:
    return [colormaps[name](place) for place in range(count)]


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
