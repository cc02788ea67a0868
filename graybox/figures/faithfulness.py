"""Deletion and insertion curves: how fast the true class's probability falls and rises in the order of the maps."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from graybox.figures import style
from graybox.figures.text import plain
from graybox.occlusion import windows
from graybox.occlusion.windows import CENTRE, RANDOM, Look

LINES = {"map": (style.BLUE, "-"), "second": (style.VERMILION, "-"), CENTRE: (style.GREEN, "--"),
         RANDOM: (style.BASELINE, ":")}  # fmt: skip


@plain
def faithfulness_chart(looks: Sequence[Look]) -> Figure:
    """The mean curves of the study's own map (the first), of the same N with another fill, and without a map.

    Without looks, the figure says that nothing was measured.
    """
    if not looks:
        return style.nothing("How faithful the maps are was not measured.")
    window, fill = looks[0].methods[0]
    curves = windows.mean_curves(looks)
    shown = {name for side, name in looks[0].methods if side == window}
    curves = curves[curves["replaced_by"].isin(windows.fair(shown))]  # a map foretells best what its own fill does
    figure = style.figure(2.3)
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("deletion", "insertion")):
        for side, name in looks[0].methods:
            if side not in (0, window):
                continue
            rows = curves[(curves["window"] == side) & (curves["fill"] == name)]
            what = name if not side else "map" if name == fill else "second"
            said = {CENTRE: "from the image's centre", RANDOM: "random order"}.get(name, f"map, N = {side}, {name}")
            mean = rows.groupby("share")[kind].mean()
            colour, line = LINES[what]
            axes.plot(mean.index, mean, color=colour, linestyle=line, label=said)
        axes.set(title=f"{kind}: share of the pixels {'replaced' if kind == 'deletion' else 'shown'}", ylim=(0, 1))
        axes.xaxis.set_major_formatter(style.whole_percent())
        axes.yaxis.set_major_formatter(style.whole_percent())
        axes.grid()
        axes.margins(x=0)
    figure.axes[0].set_ylabel("probability of\nthe true class")
    figure.axes[1].legend(loc="lower right", handlelength=1.6)
    return figure
