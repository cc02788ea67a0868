"""The chart of the correspondence experiment: results in, matplotlib figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graybox.figures import style
from graybox.figures.text import plain

COLOURS = {"difference": style.VARIANT, "exchanged": style.BASELINE}
MARKERS = {"difference": "o", "exchanged": "s"}


@plain
def correspondence_chart(summary: pd.DataFrame) -> Figure:
    """How much more consistently hiding each part changes the features than hiding random parts, by layer.

    Args:
        summary: what `consistency.summarize` gives; without rows, the figure says that nothing was measured.
    """
    if summary.empty:
        return style.nothing("Correspondence could not be measured.")
    shown = summary[summary["kind"] == "changed features"]
    layers = shown["layer"].unique()
    figure = style.figure(4.4)
    for axes, layer in zip(figure.subplots(1, len(layers), sharex=True, sharey=True, squeeze=False).flat, layers):
        rows = shown[shown["layer"] == layer].reset_index(drop=True)
        for offset, (column, colour) in zip((-0.14, 0.14), COLOURS.items()):
            style.intervals(axes, rows.index + offset, rows, column, column, color=colour, marker=MARKERS[column],
                            markersize=4)  # fmt: skip
        axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.axhspan(-0.5, 0.5, color="0.95", zorder=-1)
        axes.set_yticks(rows.index, rows["region"])
        axes.set(title=str(layer).replace("'s map", "'s\nmap"), ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x")
    figure.get_axes()[len(layers) // 2].set_xlabel("sign distance for random parts minus that for this part")
    style.title(figure, "Does hiding the same part of an object have the same effect in every image of a class?")
    style.note(
        figure,
        "Sign distance: the share of the changed features that do not change in the same direction in two images of a "
        "class, 0 to 1. Right of 0: hiding this part has a more consistent effect than hiding random parts. Blue dots: "
        "measured. Gray squares: the same with the object boxes exchanged between images, so that the place is the "
        "same but not the part; only what the blue dot has more than the gray square is due to the part. Lines: 95% "
        "intervals over classes.",
    )
    return figure
