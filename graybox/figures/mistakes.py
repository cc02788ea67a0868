"""Figures of the mistakes: confusion matrix, calibration, the frequency of each reason, a page for each, pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graybox.data.images import ImageSet
from graybox.figures import style
from graybox.figures.style import RIGHT, VARIANT, WRONG, picture
from graybox.figures.text import choose_fonts, plain
from graybox.mistakes.confusions import shown_matrix
from graybox.mistakes.reasons import MOST, SIGNIFICANT
from graybox.mistakes.reasons_table import BY_NATURE, CORRECT, COVERED, SUPPORTED
from graybox.statistics.intervals import wilson
from graybox.statistics.paired import p_words
from graybox.study.names import short, taken_for

PICTURE, THUMB = 1.15, 0.52  # inches
NEIGHBOURS_SHOWN, BESIDE_UNCOVERED = 5, 3
MOST_NUMBERS = 20  # classes; in a larger matrix the numbers would be too small


@plain
def reasons_chart(reasons: pd.DataFrame) -> Figure:
    """How often each reason's evidence occurs among the mistakes, and what that is compared with.

    Only what is tested has a second mark: the share among the correctly classified images, or the share to expect
    without wrong labels. What the networks' answers say is rare among the correctly classified images by its nature, so
    a mark for these would look like a finding.

    Args:
        reasons: the table from `graybox.mistakes.reasons.explain`.
    """
    known = reasons[reasons["share"].notna()].reset_index(drop=True)
    if known.empty:
        return style.nothing("No test image is misclassified.")
    figure = style.figure(0.3 * len(known) + 1.9)
    grid = figure.add_gridspec(2, 2, height_ratios=(0.5, len(known)), width_ratios=(1.5, 1))
    axes = figure.add_subplot(grid[1, 0])
    beside, top = figure.add_subplot(grid[1, 1], sharey=axes), figure.add_subplot(grid[0, :])
    rows = known.rename(columns={"low": "share_low", "high": "share_high"})
    compared = rows[rows["compared_with"] == CORRECT]
    style.intervals(
        axes, [place - 0.15 for place in rows.index], rows, "share", "share", color=WRONG, label="misclassified"
    )
    if len(compared):
        style.intervals(axes, [place + 0.15 for place in compared.index], compared, "correct_share", "correct",
                        color=VARIANT, marker="s", label="correctly classified")  # fmt: skip
    if (wanted := rows["expected"].notna()).any():
        share = rows["expected"][wanted] / rows["known"][wanted]
        axes.plot(
            share, share.index + 0.15, "D", color=style.MUTED, markersize=5, label="expected without wrong labels"
        )
    described = rows.index[rows["finding"] == BY_NATURE]
    if len(described):
        axes.axhspan(described[0] - 0.5, len(rows) - 0.4, color="0.95", zorder=-1)
    _columns(beside, known)
    axes.set_yticks(range(len(known)), known["title"])
    for label, finding in zip(axes.get_yticklabels(), known["finding"]):
        label.set_fontweight("bold" if finding == SUPPORTED else "normal")
    axes.set(ylim=(len(known) - 0.4, -0.6), xlabel="share of the images that have it")
    axes.set_xlim(left=-0.015 * axes.get_xlim()[1])  # a mark at 0 is seen whole
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(style.whole_percent())
    axes.grid(axis="x")
    top.set_axis_off()
    legend = top.legend(
        *axes.get_legend_handles_labels(), loc="center right", borderaxespad=0, ncols=3, columnspacing=1.2
    )
    legend.set_in_layout(False)  # its row is room enough; it must not push the columns
    style.title(figure, "What the mistakes have in common")
    style.note(figure, _key(known))
    return figure


def _columns(axes: Axes, known: pd.DataFrame) -> None:
    """The figures of the tests beside the rows of `reasons_chart`, in axes of their own so that none is cut off."""
    axes.set(xlim=(0, 1))
    axes.set_axis_off()
    for across, said in ((0.34, "p"), (0.66, "due to it"), (1.0, "reason of")):
        axes.text(across, -0.7, said, color=style.MUTED, ha="right", va="bottom", fontsize=8.5)
    for place, row in enumerate(known.to_dict("records")):
        how: dict[str, Any] = {"va": "center", "ha": "right", "fontsize": 8.5}
        how["fontweight"] = "bold" if row["finding"] == SUPPORTED else "normal"
        axes.text(0.34, place, "not tested" if np.isnan(row["p_value"]) else p_words(row["p_value"]), **how)
        axes.text(0.66, place, "–" if np.isnan(row["strength"]) else f"{max(0.0, row['strength']):.0%}", **how)
        axes.text(1.0, place, f"{row['named']:,}" if row["named"] else "–", **how)


def _key(known: pd.DataFrame) -> str:
    """How to read `reasons_chart`."""
    said = (
        "p: is it more frequent among the mistakes than it should be? (one-sided exact test, Holm-corrected). Due to "
        "it: the estimated share of the mistakes with it that would not exist without it. Bold: a reason, as p is "
        f"below {SIGNIFICANT:g} and at least {MOST:.0%} are due to it. Reason of: so many mistakes have it as their "
        "first reason. Lines: 95% intervals."
    )
    for row in known[known["expected"].notna()].to_dict("records"):
        said += (
            f" {row['title'][:1].upper()}{row['title'][1:]}: no correct answer can have it, so it is compared with the "
            f"number to expect without wrong labels ({row['mistakes']:,} found, {row['expected']:,.1f} expected)."
        )
    if (known["finding"] == BY_NATURE).any():
        said += " Gray: what the networks' answers say only describes a mistake; it is not tested."
    return said


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
        headline: the text above them; its first sentence becomes the title.
        uncovered: row in the test split -> the picture without the thing in front of its object, uint8 [H, W, 3]. It
            is shown beside the mistake, whose text says the network's answer to it.
    """
    shown = mistakes.head(most)
    first, _, rest = headline.partition(". ")
    key = style.lines(rest, style.WIDTH, 8.5)
    top = 0.5 + 0.16 * (key.count("\n") + 1)
    height = PICTURE + 0.12
    figure, axes = style.page(style.WIDTH, top + 0.1 + max(1, len(shown)) * height)
    style.title(figure, f"{first}.", size=10.5)
    axes.text(0.08, 0.38, key, fontsize=8.5, va="top", color=style.MUTED)
    for place, (_, mistake) in enumerate(shown.iterrows()):
        y, row = top + 0.1 + place * height, mistake["row"]
        without = (uncovered or {}).get(row)
        picture(axes, test.images[row], 0.08, y, PICTURE, test.boxes[row])
        left, thumbs = 0.08 + PICTURE + 0.12, NEIGHBOURS_SHOWN
        if without is not None:
            picture(axes, without, left - 0.06, y, PICTURE)
            left, thumbs = left + PICTURE + 0.06, BESIDE_UNCOVERED
        _card(axes, mistake, left, y, style.WIDTH - 0.08 - thumbs * (THUMB + 0.05) - 0.1 - left)
        names = [train.class_names[train.labels[other]] for other in neighbours[row][:thumbs]]
        first_at = style.WIDTH - 0.08 - thumbs * (THUMB + 0.05)
        for number, (other, name) in enumerate(zip(neighbours[row], names)):
            frame = RIGHT if name == mistake["true_class"] else WRONG
            picture(axes, train.images[other], first_at + number * (THUMB + 0.05), y + 0.02, THUMB, frame=frame)
        counts = pd.Series(names).value_counts()
        said = [f"{count} {short(str(name), 26)}" for name, count in counts.items()][:3]
        axes.text(first_at, y + THUMB + 0.07, "\n".join(said), fontsize=style.SMALLEST, va="top", linespacing=1.1)
    if not len(shown):
        axes.text(0.08, top + 0.15, "No test image.", va="top")
    return figure


def _card(axes: Axes, mistake: pd.Series, left: float, top: float, width: float) -> None:
    """What is known of a mistake, in `width` inches."""
    title = taken_for(mistake["true_class"], mistake["predicted_class"], 60)
    said = mistake["because"].removeprefix(f"{mistake['reason_title']}: ")
    heading = style.lines(title, width, 9, bold=True)
    text = style.lines(said, width, style.SMALLEST).split("\n")
    room = int((PICTURE - 0.15 * (heading.count("\n") + 1)) / 0.135)
    text = [*text[: room - 1], short(" ".join(text[room - 1 :]), len(max(text, key=len)))] if len(text) > room else text
    axes.text(left, top, heading, fontsize=9, fontweight="bold", va="top")
    axes.text(left, top + 0.15 * (heading.count("\n") + 1) + 0.03, "\n".join(text), fontsize=style.SMALLEST, va="top",
              linespacing=1.15)  # fmt: skip


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
    return f"{said} On the right, the nearest training images, in green frames those of the true class."


@plain
def confused_pairs_chart(
    test: ImageSet, predicted: np.ndarray, sure: np.ndarray, pairs: pd.DataFrame, most: int = 5, each: int = 7
) -> Figure:
    """The most confused pairs: an example of either class, and the mistakes between them; the most confident first.

    Args:
        predicted: int [N]. `sure`: float [N], the predicted class's probability.
        pairs: from `confusions.confused_pairs`. `most`: how many of them at most. `each`: mistakes of each pair.
    """
    pairs = pairs.head(most)
    if pairs.empty:
        return style.nothing("No classes are confused: no test image is misclassified.")
    side, names = 0.7, list(test.class_names)
    step = side + 0.66
    figure, axes = style.page(style.WIDTH, len(pairs) * step + 0.5)
    style.title(figure, "The pairs of classes that are confused most")
    order, used = np.argsort(-sure, kind="stable"), set[int]()

    def rows_of(true: str, answer: str) -> list[int]:
        wanted = (test.labels[order] == names.index(true)) & (predicted[order] == names.index(answer))
        return [int(row) for row in order[wanted]]

    for place, (a, b) in enumerate(zip(pairs["class_a"], pairs["class_b"])):
        top = 0.66 + place * step
        wrong = sorted((row, true, answer) for true, answer in ((a, b), (b, a)) for row in rows_of(true, answer))
        wrong.sort(key=lambda mistake: -sure[mistake[0]])
        counts = [(taken_for(true, answer, 40), len(rows_of(true, answer))) for true, answer in ((a, b), (b, a))]
        said = "; ".join(f"{pair}: {count:,}" for pair, count in counts if count)
        axes.text(0.08, top - 0.06, said, fontsize=9, fontweight="bold", va="bottom")
        for number, name in enumerate((a, b)):
            right = [row for row in rows_of(name, name) if row not in used] or rows_of(name, name)
            if right:  # another example than in the rows above, if there is one
                used.add(right[0])
                _example(
                    axes, test, right[0], 0.08 + number * (side + 0.05), top, side, [short(name, 10), "right"], RIGHT
                )
        for number, (row, true, answer) in enumerate(wrong[:each]):
            left = 0.2 + (number + 2) * (side + 0.05)
            _example(axes, test, row, left, top, side, [short(true, 10), f"as {short(answer, 7)}"], WRONG)
    return figure


def _example(
    axes: Axes, images: ImageSet, row: int, left: float, top: float, side: float, said: Sequence[str], colour: str
) -> None:
    picture(axes, images.images[row], left, top, side, images.boxes[row])
    axes.text(
        left, top + side + 0.03, "\n".join(said), fontsize=style.SMALLEST, color=colour, va="top", linespacing=1.1
    )


@plain
def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """The mistakes by true class (row) and predicted class (column), as shares of the row.

    The diagonal, the right answers, is gray, so that the colours show the mistakes. Of many classes it shows those of
    `confusions.shown_matrix`, in its order.

    Args:
        matrix: int [classes, classes], numbers of images.
    """
    shown = shown_matrix(matrix, class_names)
    others = list(shown.columns[len(shown) :])
    numbers = shown.to_numpy()
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(*numbers.shape, dtype=bool)
    cell = min(0.42, 4.9 / len(shown.columns))
    side = cell * len(shown)
    figure = style.figure(side + 1.9)
    axes = figure.subplots()
    most = max(float(shares[~diagonal].max(initial=0)), 0.01)
    drawn = axes.pcolormesh(np.ma.masked_where(diagonal, shares), cmap="Blues", vmin=0, vmax=most, edgecolors="white",
                            linewidth=0.3)  # fmt: skip
    axes.pcolormesh(np.ma.masked_where(~diagonal, np.ones_like(shares)), cmap="Greys", vmin=0, vmax=5)
    letters = 14 if len(others) or len(shown) > MOST_NUMBERS else 18
    slanted: dict[str, Any] = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(len(shown.columns)) + 0.5, [*(short(name, letters) for name in shown.index), *others],
                    **({"rotation": 90} if len(shown) > MOST_NUMBERS else slanted))  # fmt: skip
    axes.set_yticks(np.arange(len(shown)) + 0.5, [short(name, letters) for name in shown.index])
    axes.tick_params(length=0, labelsize=style.SMALLEST, pad=2)
    axes.set(xlabel="predicted class", ylabel="true class", ylim=(len(shown), 0), aspect="equal")
    axes.spines[:].set_visible(False)
    if len(shown) <= MOST_NUMBERS:
        for (row, column), number in np.ndenumerate(numbers):
            if number:
                colour = "white" if not diagonal[row, column] and shares[row, column] > 0.6 * most else "black"
                axes.text(column + 0.5, row + 0.5, f"{number:,}", ha="center", va="center", color=colour,
                          fontsize=style.SMALLEST)  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=25, label="share of the true class's images")
    bar.ax.yaxis.set_major_formatter(style.percent_tick)
    bar.outline.set_visible(False)
    wrong, total = int(matrix.sum() - np.trace(matrix)), int(matrix.sum())
    some = f" (here: the {len(shown)} of {len(class_names)} classes that are confused most)" * bool(others)
    style.title(figure, f"{wrong:,} of {total:,} test images are misclassified{some}")
    style.note(figure, "Gray: right answers.")
    # Names of classes are of any length: what they leave free would be a gap below the title.
    if engine := figure.get_layout_engine():
        choose_fonts(figure)  # it measures them
        engine.execute(figure)
    axes.apply_aspect()
    spare = axes.get_position(original=True).height - axes.get_position().height
    figure.set_figheight(figure.get_figheight() * (1 - spare))
    return figure


@plain
def reliability_diagram(bins: pd.DataFrame, error: float) -> Figure:
    """Accuracy by confidence (the predicted class's probability), and the number of images by confidence.

    Args:
        bins: columns low, high, count, confidence, accuracy (0..1; NaN where a bin is empty), from
            `confusions.calibration`. `error`: the expected calibration error, 0..1.
    """
    figure = style.figure(4.2, width=4.6)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    full = bins[bins["count"] > 0]
    low, high = np.transpose([wilson(row["accuracy"] * row["count"], row["count"]) for row in full.to_dict("records")])
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, zorder=0)
    axes.vlines(full["confidence"], low, high, color=VARIANT)
    axes.plot(full["confidence"], full["accuracy"], "o-", color=VARIANT, markersize=5, linewidth=0.8)
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    middle, width = (bins["low"] + bins["high"]) / 2, bins["high"] - bins["low"]
    counts.bar(middle, bins["count"], width=0.94 * width, color="0.7")
    counts.set(xlabel="confidence: probability of the predicted class", ylabel="test\nimages")
    for one in (axes, counts):
        one.grid(axis="y")
    counts.yaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    for axis in (counts.xaxis, axes.yaxis):
        axis.set_major_formatter(style.whole_percent())
    share = full["count"] / full["count"].sum()
    gap = float(((full["confidence"] - full["accuracy"]) * share).sum())
    said = f"{abs(100 * gap):.1f} points {'more' if gap > 0 else 'less'} confident than accurate"
    if abs(gap) < 0.005:
        said = "As confident as accurate, on average"
    style.title(figure, f"Calibration: {said[0].lower()}{said[1:]}", size=10)
    style.note(
        figure,
        f"Expected calibration error: {100 * error:.1f} points. Dashed: as accurate as confident. Lines: 95% "
        "intervals.",
    )
    return figure


@plain
def mistakes_gallery(images: ImageSet, wrong: pd.DataFrame, columns: int = 6) -> Figure:
    """Misclassified images with true class, predicted class and both probabilities.

    Args:
        wrong: columns row (in `images`), true_class, predicted_class, true_probability, predicted_probability.
    """
    if not len(wrong):
        return style.nothing("No test image is misclassified.")
    wide = (style.WIDTH - 0.16 + 0.08) / columns
    side, step = wide - 0.08, wide + 0.33
    rows = -(-len(wrong) // columns)
    figure, axes = style.page(style.WIDTH, 0.4 + rows * step)
    style.title(figure, "Most confident mistakes: true class above, answer below")
    letters = int(side * 72 / (0.54 * style.SMALLEST))
    for place, mistake in enumerate(wrong.to_dict("records")):
        down, across = divmod(place, columns)
        left, top = 0.08 + across * wide, 0.38 + down * step
        picture(axes, images.images[mistake["row"]], left, top, side, images.boxes[mistake["row"]])
        for line, (name, chance, colour) in enumerate((
            (mistake["true_class"], mistake["true_probability"], RIGHT),
            (mistake["predicted_class"], mistake["predicted_probability"], WRONG),
        )):  # fmt: skip
            said = f"{short(name, letters - 5)} {chance:.0%}"
            axes.text(left, top + side + 0.03 + 0.14 * line, said, fontsize=style.SMALLEST, color=colour, va="top")
    return figure
