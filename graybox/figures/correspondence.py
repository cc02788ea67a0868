"""The chart of the correspondence experiment: results in, matplotlib figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graybox.figures.text import plain

COLOURS = {"difference": "#1b6ca8", "exchanged": "0.6"}


@plain
def correspondence_chart(summary: pd.DataFrame) -> Figure:
    """How much more consistently hiding each part changes the features than hiding random parts, by layer.

    Args:
        summary: what `consistency.summarize` gives; without rows, the figure says that nothing was measured.
    """
    if summary.empty:
        figure = Figure(figsize=(11, 1.5), layout="constrained")
        figure.text(0.5, 0.5, "Correspondence could not be measured", ha="center", va="center", color="0.4")
        return figure
    shown = summary[summary["kind"] == "changed features"]
    layers = shown["layer"].unique()
    figure = Figure(figsize=(3.4 * len(layers) + 1.2, 5.4), layout="constrained")
    for axes, layer in zip(figure.subplots(1, len(layers), sharex=True, sharey=True, squeeze=False).flat, layers):
        rows = shown[shown["layer"] == layer].reset_index(drop=True)
        for offset, (column, colour) in zip((-0.12, 0.12), COLOURS.items()):
            around = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
            axes.errorbar(
                rows[column], rows.index + offset, xerr=around, fmt="o", color=colour, capsize=3, markersize=5
            )
        axes.axvline(0, color="0.75", zorder=0)
        axes.axhspan(-0.5, 0.5, color="0.95", zorder=-1)
        axes.set_yticks(rows.index, rows["region"])
        axes.set(title=layer, ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "Does hiding the same part of an object have the same effect in every image of a class?", fontsize=13
    )
    figure.supxlabel(
        "sign distance of the changed features with random parts hidden, minus that with this part hidden "
        "(right of 0: this part is more consistent)\n"
        "dot and bar: mean over the classes and its 95% interval    gray: the same with the object boxes exchanged "
        "between images; only the excess over it is due to the part",
        fontsize=9,
    )
    return figure
