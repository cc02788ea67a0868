"""The figures of the verdict: the accuracy with object or context hidden, single images, and the study's variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graybox.figures import style
from graybox.figures.style import BASELINE, EMPHASIS, VARIANT
from graybox.figures.text import plain
from graybox.reliance.rule import NO_VERDICT, VERDICTS
from graybox.study.names import short

INTERVENTIONS = {
    "accuracy_as_is": "nothing hidden",
    "accuracy_context_hidden": "all but the object box hidden",
    "accuracy_box_hidden": "the object box hidden",
    "accuracy_control": "an equal area of context hidden",
}
BACKGROUNDS = {
    "swap_accuracy_same": "before its own class's background",
    "swap_accuracy_other": "before another class's background",
    "swap_accuracy_blend": "before a blend of classes' backgrounds",
    "swap_accuracy_removed": "the background without the object",
    "swap_follows": "says the other background's class",
}
COLOURS = dict(zip(VERDICTS, (style.BLUE, style.VERMILION, style.PURPLE, style.ORANGE, "#bbbbbb")))


@plain
def reliance_chart(found: Mapping[str, Any]) -> Figure:
    """Accuracy with parts hidden and before other backgrounds, and the shares of images by verdict.

    Without object boxes there is only the sentence; where the second witness was not asked, its part is left out.

    Args:
        found: the "sentence", and the figures of `verdict.Reliance.metrics` and `witness.Witness.metrics`.
    """
    if not found["images"]:
        empty = style.figure(0.9)
        style.title(empty, found["sentence"], size=9.5)
        return empty
    parts = [(f"{found['images']:,} test images: accuracy with", INTERVENTIONS)]
    if "swap_images" in found:
        parts.append((f"{found['swap_images']:,} objects before other backgrounds: accuracy", BACKGROUNDS))
    heights = [0.22 * len(names) + 0.5 for _, names in parts]
    figure = style.figure(sum(heights) + 2.0)
    images = "images_object" in found  # no object may have a size on which there is a verdict
    *accuracies, verdicts = figure.subplots(len(parts) + 1, 1, height_ratios=[*heights, 0.75])
    for axes, (heading, names) in zip(accuracies, parts):
        _shares(axes, names, found)
        axes.set_title(heading)
    if images:
        _verdicts(verdicts, found)
    else:
        verdicts.set_axis_off()
    said = found["sentence"].partition(":")[0].partition(". ")[0].rstrip(".")
    if found.get("verdict") == NO_VERDICT:  # which is no finding
        alone, without = (f"{found[f'accuracy_{hidden}']:.0%}" for hidden in ("context_hidden", "box_hidden"))
        said = f"Recognised: {alone} with only the object visible, {without} without it"
    style.title(figure, said)
    style.note(figure, "Dot and line: share of images and its 95% interval. Dashed: accuracy by chance.")
    return figure


def _shares(axes: Axes, names: Mapping[str, str], found: Mapping[str, Any]) -> None:
    """Shares with their intervals, and chance. `names`: of the figures -> what is written beside each."""
    for place, name in enumerate(names):
        value, low, high = (found[f"{name}{end}"] for end in ("", "_low", "_high"))
        colour = BASELINE if name == "accuracy_as_is" else EMPHASIS if name == "swap_follows" else VARIANT
        axes.plot([low, high], [place, place], color=colour)
        axes.plot(value, place, "o", color=colour, markersize=6)
        axes.annotate(f"{value:.0%}", (max(high, value), place), (6, 0), textcoords="offset points", va="center")
    axes.axvline(found["chance"], color="0.5", linestyle="--", linewidth=1, zorder=0)
    axes.set_yticks(range(len(names)), names.values())
    axes.set(xlim=(0, 1.08), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(style.whole_percent())
    axes.grid(axis="x")


def _verdicts(axes: Axes, found: Mapping[str, Any]) -> None:
    """One bar of all images, divided by what the answer to each rests on; the shares stand in the legend."""
    left = 0.0
    for name in VERDICTS:
        value, low, high = (found[f"images_{name.replace(' ', '_')}{end}"] for end in ("", "_low", "_high"))
        axes.barh(0, value, left=left, color=COLOURS[name], edgecolor="white", linewidth=1,
                  label=f"{name} {value:.0%}\n({low:.0%} to {high:.0%})")  # fmt: skip
        left += value
    axes.set(xlim=(0, 1.08), yticks=[0], yticklabels=["the answer rests on"], title="single images, by verdict")
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.02), ncols=len(VERDICTS), fontsize=style.SMALLEST,
                handlelength=0.9, columnspacing=1.0, handletextpad=0.4)  # fmt: skip


@plain
def variants_chart(table: pd.DataFrame, sentence: str) -> Figure:
    """What the object alone and the context alone keep of each variant's accuracy, with intervals, and its verdict.

    Args:
        table: variant, and of `by_variant.extended` verdict, object_alone and context_alone with their intervals (NaN =
            the variant is left out). Without a column `verdict` there is only the sentence.
        sentence: what the variants rest on; shown where nothing can be drawn.
    """
    drawn = table[table["object_alone"].notna()] if "verdict" in table else table.head(0)
    figure = style.figure(0.2 * len(drawn) + 1.5 if len(drawn) else 0.9)
    if not len(drawn):
        style.title(figure, sentence, size=9.5)
        return figure
    counts = drawn["verdict"].value_counts()
    style.title(figure, "What the variants rest on: " + ", ".join(f"{verdict} ({n})" for verdict, n in counts.items()))
    axes = figure.subplots()
    for shift, part, colour, marker in ((-0.13, "object", style.BLUE, "o"), (0.13, "context", style.VERMILION, "s")):
        if f"{part}_alone" in drawn:
            style.intervals(axes, [place + shift for place in range(len(drawn))], drawn, f"{part}_alone",
                            f"{part}_alone", color=colour, marker=marker, label=f"{part} alone")  # fmt: skip
    for place, verdict in enumerate(drawn["verdict"]):
        axes.annotate(str(verdict), (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    axes.annotate("rests on", (1.02, -0.75), xycoords=("axes fraction", "data"), va="bottom", color=style.MUTED)
    axes.set_yticks(range(len(drawn)), [short(name, 28) for name in drawn["variant"]])
    axes.set(ylim=(len(drawn) - 0.4, -0.6), xlabel="share of the accuracy above chance that is kept")
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axvline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(style.whole_percent())
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)
    return figure
