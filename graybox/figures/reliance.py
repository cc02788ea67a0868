"""The figures of the verdict: the accuracy with object or context hidden, single images, and the study's variants."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from graybox.figures.style import BASELINE, VARIANT, name_points
from graybox.figures.text import plain
from graybox.reliance.rule import VERDICTS

INTERVENTIONS = {
    "as_is": "nothing\nhidden",
    "context_hidden": "all but the\nobject box\nhidden",
    "box_hidden": "the object\nbox hidden",
    "control": "an equal area\nof context\nhidden",
}
BACKGROUNDS = {
    "same": "its own\nclass's\nbackground",
    "other": "another\nclass's\nbackground",
    "blend": "a blend\nof classes'\nbackgrounds",
    "removed": "without\nthe object",
}
COLOURS = dict(zip(VERDICTS, ("#2b7a3d", "#b3402a", "#6a4c93", "#c58f00", "0.55")))


@plain
def reliance_chart(found: Mapping[str, Any]) -> Figure:
    """Accuracy with parts hidden and before other backgrounds, and the shares of images by verdict; the sentence above.

    Without object boxes there is only the sentence; where the second witness was not asked, its part is left out.

    Args:
        found: the "sentence", and the figures of `verdict.Reliance.metrics` and `witness.Witness.metrics`.
    """
    swapped = "swap_images" in found
    figure = Figure(figsize=(15 if swapped else 11, 4.6 if found["images"] else 1.2), layout="constrained")
    figure.suptitle(textwrap.fill(found["sentence"], 165 if swapped else 120), fontsize=11, x=0.01, ha="left")
    if not found["images"]:
        return figure
    accuracy, *beside, verdicts = figure.subplots(
        1, 3 if swapped else 2, gridspec_kw={"width_ratios": [1.25, 1.5, 1] if swapped else [1.25, 1]}
    )
    _points(accuracy, {f"accuracy_{name}": text for name, text in INTERVENTIONS.items()}, found)
    accuracy.set_title(f"accuracy on {found['images']} test images")
    if beside:
        told = {f"swap_accuracy_{name}": text for name, text in BACKGROUNDS.items()}
        _points(beside[0], {**told, "swap_follows": "says the other\nbackground's\nclass"}, found)
        beside[0].set_title(f"{found['swap_images']} objects before other backgrounds")

    for place, name in enumerate(VERDICTS):
        value, low, high = (found[f"images_{name.replace(' ', '_')}{end}"] for end in ("", "_low", "_high"))
        verdicts.barh(place, value, color=VARIANT, alpha=0.85, height=0.6)
        verdicts.plot([low, high], [place, place], color="black", linewidth=1.2)
        verdicts.annotate(f"{value:.0%}", (high, place), (6, 0), textcoords="offset points", va="center")
    verdicts.set_yticks(range(len(VERDICTS)), VERDICTS)
    verdicts.invert_yaxis()
    verdicts.set(xlim=(0, 1.1), title="what the answer to each image rests on")
    for axes, axis in (*((axes, axes.yaxis) for axes in (accuracy, *beside)), (verdicts, verdicts.xaxis)):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="x" if axes is verdicts else "y", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _points(axes: Axes, names: Mapping[str, str], found: Mapping[str, Any]) -> None:
    """Shares with their intervals side by side, and chance. `names`: of the figures -> what is written below each."""
    for place, name in enumerate(names):
        value, low, high = (found[f"{name}{end}"] for end in ("", "_low", "_high"))
        colour = BASELINE if name == "accuracy_as_is" else VARIANT
        axes.errorbar(
            place, value, yerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=5, markersize=8
        )
        axes.annotate(f"{value:.0%}", (place, value), (10, 0), textcoords="offset points", va="center")
    axes.axhline(found["chance"], color="0.6", linestyle="--", linewidth=1)
    axes.annotate("chance", (-0.45, found["chance"]), (0, 3), textcoords="offset points", color="0.4", fontsize=9)
    axes.set_xticks(range(len(names)), names.values(), fontsize=9)
    axes.set(ylim=(0, 1.03), xlim=(-0.5, len(names) - 0.4))


@plain
def variants_chart(table: pd.DataFrame, sentence: str) -> Figure:
    """Each variant's test accuracy against what the object alone keeps of it, with both intervals; the sentence above.

    Args:
        table: variant, test_accuracy, test_low, test_high, and of `by_variant.extended` verdict and object_alone with
            its interval (NaN = the variant is left out). Without a column `verdict` there is only the sentence.
        sentence: what the variants rest on.
    """
    drawn = table[table["object_alone"].notna()] if "verdict" in table else table.head(0)
    figure = Figure(figsize=(11, 6.2 if len(drawn) else 1.2), layout="constrained")
    figure.suptitle(textwrap.fill(sentence, 120, break_on_hyphens=False), fontsize=11, x=0.01, ha="left")
    if not len(drawn):
        return figure
    axes = figure.subplots()
    for verdict, rows in drawn.groupby("verdict", sort=False):
        across, up = (
            [rows[value] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[value]]
            for value, name in (("object_alone", "object_alone"), ("test_accuracy", "test"))
        )
        axes.errorbar(
            rows["object_alone"], rows["test_accuracy"], yerr=up, xerr=across, fmt="o", color=COLOURS[str(verdict)],
            elinewidth=1, markersize=7, label=str(verdict),
        )  # fmt: skip
    axes.set(
        xlabel="what the object alone keeps of the accuracy above chance, with everything but its box hidden",
        ylabel="test accuracy",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="rests on", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.supxlabel("bars: 95% intervals", fontsize=9)
    figure.draw_without_rendering()  # this fixes the places of the points
    name_points(axes, drawn["object_alone"], drawn["test_accuracy"], drawn["variant"])
    return figure
