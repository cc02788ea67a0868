"""The chart of the correspondence experiment: results in, matplotlib figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

# The distance that counts only what changes is the one to trust; the paper's stands beside it.
STYLES = {"changed features": {"color": "#1b6ca8", "fmt": "o"}, "all features": {"color": "#e0a96d", "fmt": "o"}}


def correspondence_chart(summary: pd.DataFrame) -> Figure:
    """How much more consistently hiding each part changes the features than hiding random parts does, by layer.

    Args:
        summary: what `consistency.summarize` gives; without rows, the figure says that nothing was measured.
    """
    if summary.empty:
        figure = Figure(figsize=(11, 1.5), layout="constrained")
        figure.text(
            0.5, 0.5, "Correspondence could not be measured", ha="center", va="center", fontsize=13, color="0.4"
        )
        return figure
    layers = summary["layer"].unique()
    figure = Figure(figsize=(3.4 * len(layers) + 1.2, 5.2), layout="constrained")
    for axes, layer in zip(figure.subplots(1, len(layers), sharey=True, squeeze=False).flat, layers):
        for offset, (kind, style) in zip((-0.12, 0.12), STYLES.items()):
            rows = summary[(summary["layer"] == layer) & (summary["kind"] == kind)].reset_index(drop=True)
            around = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
            places = rows.index + offset
            axes.errorbar(rows["difference"], places, xerr=around, capsize=3, markersize=5, label=kind, **style)
        axes.axvline(0, color="0.55", zorder=0)
        axes.axhspan(-0.5, 0.5, color="0.95", zorder=-1)
        axes.set_yticks(rows.index, rows["region"])
        axes.set(title=layer, ylim=(len(rows) - 0.5, -0.5))
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    figure.suptitle("Does hiding the same part of an object do the same thing in every image of a class?", fontsize=13)
    figure.supxlabel(
        "sign distance with random parts hidden (gray line) less that with this part hidden: right of it, this part's "
        "changes are the more consistent\ndot and bar: mean over the classes and its 95% interval", fontsize=9,
    )  # fmt: skip
    return figure
