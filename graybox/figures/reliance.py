"""The figure of the verdict: the accuracy with object or context hidden, and the verdicts on single images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from graybox.figures.style import BASELINE, VARIANT
from graybox.figures.text import plain
from graybox.reliance.rule import VERDICTS

INTERVENTIONS = {
    "as_is": "nothing hidden",
    "context_hidden": "all but the object\nbox hidden",
    "box_hidden": "the object box\nhidden",
    "control": "an equal area of\ncontext hidden",
}


@plain
def reliance_chart(found: Mapping[str, Any]) -> Figure:
    """Accuracy under each intervention with its interval, and the shares of images by verdict; the sentence above.

    Without object boxes there is only the sentence.

    Args:
        found: the "sentence", and the figures of `verdict.Reliance.metrics`.
    """
    figure = Figure(figsize=(11, 4.4 if found["images"] else 1.2), layout="constrained")
    figure.suptitle(textwrap.fill(found["sentence"], 120), fontsize=11, x=0.01, ha="left")
    if not found["images"]:
        return figure
    accuracy, verdicts = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})

    for place, name in enumerate(INTERVENTIONS):
        value, low, high = (found[f"accuracy_{name}{end}"] for end in ("", "_low", "_high"))
        around = [[value - low], [high - value]]
        colour = BASELINE if name == "as_is" else VARIANT
        accuracy.errorbar(place, value, yerr=around, fmt="o", color=colour, capsize=5, markersize=8)
        accuracy.annotate(f"{value:.0%}", (place, value), (10, 0), textcoords="offset points", va="center")
    accuracy.axhline(found["chance"], color="0.6", linestyle="--", linewidth=1)
    accuracy.annotate("chance", (-0.45, found["chance"]), (0, 3), textcoords="offset points", color="0.4", fontsize=9)
    accuracy.set_xticks(range(len(INTERVENTIONS)), INTERVENTIONS.values())
    accuracy.set(
        ylim=(0, 1.03), xlim=(-0.5, len(INTERVENTIONS) - 0.4), title=f"accuracy on {found['images']} test images"
    )

    for place, name in enumerate(VERDICTS):
        value, low, high = (found[f"images_{name.replace(' ', '_')}{end}"] for end in ("", "_low", "_high"))
        verdicts.barh(place, value, color=VARIANT, alpha=0.85, height=0.6)
        verdicts.plot([low, high], [place, place], color="black", linewidth=1.2)
        verdicts.annotate(f"{value:.0%}", (high, place), (6, 0), textcoords="offset points", va="center")
    verdicts.set_yticks(range(len(VERDICTS)), VERDICTS)
    verdicts.invert_yaxis()
    verdicts.set(xlim=(0, 1.1), title="what the answer to each image rests on")
    for axes, axis in ((accuracy, accuracy.yaxis), (verdicts, verdicts.xaxis)):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y" if axes is accuracy else "x", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
