"""The verdict as a picture: what is left of the accuracy with either hidden, and what each image's answer rests on."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from graybox.figures.style import BASELINE, VARIANT

if TYPE_CHECKING:  # a picture needs no network, only what one said
    from graybox.reliance.verdict import Reliance

INTERVENTIONS = {
    "as_is": "nothing hidden",
    "context_hidden": "all but the object\nbox hidden",
    "box_hidden": "the object box\nhidden",
    "control": "an equal area of\ncontext hidden",
}


def reliance_chart(judged: Reliance) -> Figure:
    """Accuracy under each intervention with its interval, and the shares of images by verdict; the sentence above.

    Without object boxes only the sentence is left.
    """
    figure = Figure(figsize=(11, 4.4 if judged.images else 1.2), layout="constrained")
    figure.suptitle(textwrap.fill(judged.sentence(), 120), fontsize=11, x=0.01, ha="left")
    if not judged.images:
        return figure
    accuracy, verdicts = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})

    for place, name in enumerate(INTERVENTIONS):
        found = judged.accuracy[name]
        around = [[found.value - found.low], [found.high - found.value]]
        colour = BASELINE if name == "as_is" else VARIANT
        accuracy.errorbar(place, found.value, yerr=around, fmt="o", color=colour, capsize=5, markersize=8)
        accuracy.annotate(f"{found.value:.0%}", (place, found.value), (10, 0), textcoords="offset points", va="center")
    accuracy.axhline(judged.chance, color="0.6", linestyle="--", linewidth=1)
    accuracy.annotate("chance", (-0.45, judged.chance), (0, 3), textcoords="offset points", color="0.4", fontsize=9)
    accuracy.set_xticks(range(len(INTERVENTIONS)), INTERVENTIONS.values())
    accuracy.set(
        ylim=(0, 1.03), xlim=(-0.5, len(INTERVENTIONS) - 0.4), title=f"accuracy on {judged.images} test images"
    )

    names = list(judged.image_verdicts)
    for place, name in enumerate(names):
        found = judged.image_verdicts[name]
        verdicts.barh(place, found.value, color=VARIANT, alpha=0.85, height=0.6)
        verdicts.plot([found.low, found.high], [place, place], color="black", linewidth=1.2)
        verdicts.annotate(f"{found.value:.0%}", (found.high, place), (6, 0), textcoords="offset points", va="center")
    verdicts.set_yticks(range(len(names)), names)
    verdicts.invert_yaxis()
    verdicts.set(xlim=(0, 1.1), title="what the answer to each image rests on")
    for axes, axis in ((accuracy, accuracy.yaxis), (verdicts, verdicts.xaxis)):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y" if axes is accuracy else "x", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
