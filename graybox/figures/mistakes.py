"""Figures of the mistakes: confusion matrix, calibration, the frequency of each reason, a page for each, pairs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from graybox.data.images import ImageSet
from graybox.figures.style import BASELINE, BOX, VARIANT, draw_box, short, taken_for
from graybox.figures.text import plain
from graybox.mistakes.confusions import shown_matrix
from graybox.mistakes.reasons_table import CORRECT, COVERED
from graybox.statistics.paired import p_words

CARD_WIDTH, CARD_HEIGHT, PICTURE, THUMB = 5.4, 1.86, 1.36, 0.7  # inches
NEIGHBOURS_SHOWN, BESIDE_UNCOVERED = 5, 3
RIGHT = "#1b7837"


@plain
def reasons_chart(reasons: pd.DataFrame) -> Figure:
    """How often each reason's evidence occurs among the mistakes and among the correctly classified images.

    Args:
        reasons: the table from `graybox.mistakes.reasons.explain`.
    """
    known = reasons[reasons["share"].notna()]
    figure = Figure(figsize=(11, 0.42 * max(len(known), 2) + 1.5), layout="constrained")
    axes = figure.subplots()
    for place, (_, row) in enumerate(known.iterrows()):
        sides = (("correct_share", "correct_low", "correct_high", VARIANT), ("share", "low", "high", BASELINE))
        for up, (value, low, high, colour) in zip((0.16, -0.16), sides):
            if not np.isnan(row[value]):
                around = [[row[value] - row[low]], [row[high] - row[value]]]
                axes.errorbar(row[value], place + up, xerr=around, fmt="o", color=colour, capsize=3, markersize=5)
        p_value = "" if np.isnan(row["p_value"]) else f", p {p_words(row['p_value'], '= ')}"
        against = f" (against {row['compared_with']})" if row["compared_with"] not in ("", CORRECT) else ""
        said = f"{row['finding']}{against}{p_value}" + (f"; the reason of {row['named']}" if row["named"] else "")
        axes.annotate(said, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    axes.set_yticks(range(len(known)), known["title"])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title("What the mistakes have in common (95% intervals)", fontsize=12, loc="left")
    # A label of the figure, not of the axes: long findings make the axes narrow and would cut it off.
    figure.supxlabel(
        "share of the misclassified images (orange) and of the correctly classified ones (blue) with it", size=10
    )
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


@plain
def reason_page(
    test: ImageSet,
    train: ImageSet,
    mistakes: pd.DataFrame,
    neighbours: np.ndarray,
    headline: str,
    most: int,
    uncovered: Mapping[int, np.ndarray] | None = None,
) -> Figure:
    """The mistakes with one reason: each with its box, its figures, and its nearest training images.

    Args:
        mistakes: rows from `graybox.mistakes.reasons.explain`. `most`: how many to show at most, from the first on.
        neighbours: int [N, k], for every test image the rows of its nearest training images.
        headline: the text above them.
        uncovered: row in the test split -> the picture without the thing in front of its object, uint8 [H, W, 3]. It
            is shown beside the mistake, with the network's answer under it.
    """
    shown = mistakes.head(most)
    rows = max(1, -(-len(shown) // 2))
    figure, axes = _page(2 * CARD_WIDTH + 0.2, rows * CARD_HEIGHT + 0.75)
    axes.text(0.15, 0.12, textwrap.fill(headline, 135), fontsize=10.5, va="top")
    for place, (_, mistake) in enumerate(shown.iterrows()):
        down, across = divmod(place, 2)
        left, top, row = 0.15 + across * CARD_WIDTH, 0.66 + down * CARD_HEIGHT, mistake["row"]
        _picture(axes, test.images[row], left, top, PICTURE, test.boxes[row])
        left += PICTURE + 0.12
        without = (uncovered or {}).get(row)
        thumbs, letters, lines = (NEIGHBOURS_SHOWN, 45, 66) if without is None else (BESIDE_UNCOVERED, 28, 42)
        if without is not None:
            _uncovered(axes, without, left - 0.06, top, mistake)
            left += PICTURE + 0.06
        title = taken_for(mistake["true_class"], mistake["predicted_class"], letters)
        axes.text(left, top + 0.02, title, fontsize=9, fontweight="bold", va="top")
        figures_behind = mistake["because"].removeprefix(f"{mistake['reason_title']}: ")
        axes.text(left, top + 0.2, textwrap.fill(figures_behind, lines), fontsize=7.5, va="top", linespacing=1.15)
        for number, other in enumerate(neighbours[row][:thumbs]):
            at = left + number * (THUMB + 0.04)
            _picture(axes, train.images[other], at, top + 0.72, THUMB)
            name = train.class_names[train.labels[other]]
            colour = RIGHT if name == mistake["true_class"] else BASELINE
            axes.text(
                at + THUMB / 2, top + 0.73 + THUMB, short(name, 11), fontsize=6.3, color=colour, ha="center", va="top"
            )
    if not len(shown):
        axes.text(0.15, 0.9, "No test image.", fontsize=9, va="top")
    return figure


def _uncovered(axes: Axes, image: np.ndarray, left: float, top: float, mistake: pd.Series) -> None:
    """The picture without the thing in front, and the network's answer to it."""
    _picture(axes, image, left, top, PICTURE)
    answer = mistake["uncovered_class"]
    said = f"without it: {short(answer, 11)}, {mistake['uncovered_probability']:.0%}"
    colour = RIGHT if answer == mistake["true_class"] else BASELINE
    axes.text(left + PICTURE / 2, top + PICTURE + 0.03, said, fontsize=7.5, color=colour, ha="center", va="top")


def headline(finding: pd.Series, total: int) -> str:
    """The text above a reason's page: how frequent the reason is, and the key of the pictures beside the mistakes."""
    said = f"{finding['title']}: the reason of {finding['named']} of {total} mistakes."
    if finding["compared_with"] == CORRECT:
        said += (
            f" {finding['share']:.0%} of the mistakes have it, {finding['correct_share']:.0%} of the correctly"
            f" classified images (p {p_words(finding['p_value'], '= ')})."
        )
    if finding["reason"] == COVERED:
        said += " Beside each, the picture without the thing in front."
    return f"{said} Below each, the nearest training images: green = the true class."


@plain
def confused_pairs_chart(
    test: ImageSet, predicted: np.ndarray, sure: np.ndarray, pairs: pd.DataFrame, most: int = 5, each: int = 4
) -> Figure:
    """The most confused pairs: a as a, a taken for b, b taken for a, b as b; the most confident answers first.

    Args:
        predicted: int [N]. `sure`: float [N], the predicted class's probability.
        pairs: from `confusions.confused_pairs`. `most`: how many of them at most. `each`: images of each kind.
    """
    pairs, side, gap = pairs.head(most), 0.68, 0.26
    group = each * (side + 0.04)
    figure, axes = _page(4 * group + 3 * gap + 0.3, max(1, len(pairs)) * (side + 0.42) + 0.5)
    title = "Most confused pairs: the mistakes between examples of both classes" if len(pairs) else "No confused pairs"
    axes.text(0.15, 0.1, title, fontsize=11, va="top")
    names, order = list(test.class_names), np.argsort(-sure, kind="stable")
    for place, (_, pair) in enumerate(pairs.iterrows()):
        top = 0.72 + place * (side + 0.42)
        kinds = [(pair[f"class_{x}"], pair[f"class_{y}"]) for x, y in ("aa", "ab", "ba", "bb")]
        for number, (true, answer) in enumerate(kinds):
            left = 0.15 + number * (group + gap)
            rows = order[(test.labels[order] == names.index(true)) & (predicted[order] == names.index(answer))]
            said = f"{short(true, 34)}, right" if true == answer else taken_for(true, answer, 42)
            colour = RIGHT if true == answer else BASELINE
            axes.text(left, top - 0.05, f"{said} ({len(rows)})", fontsize=8, color=colour, va="bottom")
            for at, row in enumerate(rows[:each]):
                _picture(axes, test.images[row], left + at * (side + 0.04), top, side, test.boxes[row])
    return figure


@plain
def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """How often each class (row) is predicted as each class (column), as a share of the row.

    Of many classes it shows those of `confusions.shown_matrix`.

    Args:
        matrix: int [classes, classes], numbers of images.
    """
    shown = shown_matrix(matrix, class_names)
    numbers = shown.to_numpy()
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 1.8 + 0.42 * len(shown))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    columns, rows = map(short, shown.columns), map(short, shown.index)
    axes.set_xticks(range(len(shown.columns)), list(columns), rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), list(rows))
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion matrix of the best model (test images)")
    if len(shown) < len(class_names):
        axes.set_title(f"{axes.get_title()}:\nthe {len(shown)} of {len(class_names)} classes that are confused most")
    for (row, column), number in np.ndenumerate(numbers):
        if number:
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, number, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(drawn, ax=axes, format=PercentFormatter(1, decimals=0), shrink=0.7, label="share of the true class")
    return figure


@plain
def reliability_diagram(bins: pd.DataFrame, error: float) -> Figure:
    """Accuracy by confidence (the predicted class's probability), and the number of images by confidence.

    Args:
        bins: columns low, high, count, confidence, accuracy (0..1; NaN where a bin is empty), from
            `confusions.calibration`. `error`: the expected calibration error, 0..1.
    """
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1]})
    width, middle = bins["high"] - bins["low"], (bins["low"] + bins["high"]) / 2
    axes.bar(middle, bins["accuracy"], width=0.94 * width, color=VARIANT, alpha=0.85, label="accuracy")
    axes.plot(bins["confidence"], bins["confidence"], "o--", color=BASELINE, markersize=4, label="confidence")
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


@plain
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
            f"{short(mistake['true_class'], 26)} {mistake['true_probability']:.0%}\n"
            f"taken for {short(mistake['predicted_class'], 17)} {mistake['predicted_probability']:.0%}",
            fontsize=7.5,
        )
    title = "Most confident mistakes of the best model" if len(wrong) else "No test image is misclassified"
    figure.suptitle(title, fontsize=12)
    return figure


def _page(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches from the upper left corner: hundreds of axes would take seconds."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, axes


def _picture(
    axes: Axes, image: np.ndarray, left: float, top: float, side: float, box: np.ndarray | None = None
) -> None:
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(image, extent=(left, left + side, top + side, top), aspect="auto")
    axes.set(xlim=limits[0], ylim=limits[1])
    if box is not None and not np.isnan(box).any():
        height, width = image.shape[:2]
        x0, y0, x1, y1 = box * np.array([side / width, side / height] * 2)
        axes.add_patch(Rectangle((left + x0, top + y0), x1 - x0, y1 - y0, fill=False, color=BOX, linewidth=1.2))
