"""In words: how faithful the maps are, which N the figures favour, and which fill."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from graybox.occlusion.windows import CENTRE, RANDOM
from graybox.statistics import paired

LEAST_IMAGES = 5
"""With fewer images nothing is claimed: a t interval over so few trusts too much in a normal distribution."""
SHOWN = {
    "gray": "gray",
    "mean": "the image's mean colour",
    "blur": "the image's blurred copy",
    "noise": "the image's shuffled pixels",
}
"""What each fill shows in the window, wherever a sentence or a figure says so."""
ORDERS = {RANDOM: "random order", CENTRE: "the order from the image's centre"}


def faithful(table: pd.DataFrame) -> str:
    """How faithful the study's own maps are, beside random order and the image's centre.

    Args:
        table: from `graybox.occlusion.windows.compare`; its first row is the study's own N and fill.
    """
    main, rows = table.iloc[0], {name: table[table["fill"] == name].iloc[0] for name in ORDERS}
    better = [ORDERS[name] for name, row in rows.items() if _sign(row) < 0]
    worse = [ORDERS[name] for name, row in rows.items() if _sign(row) > 0]
    said = [
        f"are {words} than {' and '.join(names)}" for words, names in (("better", better), ("worse", worse)) if names
    ]
    said += [_undecided(ORDERS[name], row, len(table) - 1) for name, row in rows.items() if not _sign(row)]
    given = " and ".join(
        f"{words} has {round(rows[name]['faithfulness'], 2) + 0:.2f}" for name, words in ORDERS.items()
    )
    figures = f"Faithfulness of the maps with N = {main['window']} is {_figure(main)}; {given}."
    if main["images"] < LEAST_IMAGES:
        return f"{figures} {_few(main)} to say more."
    return f"{figures} So the maps {'; they '.join(said)}."


def _undecided(name: str, row: pd.Series, comparisons: int) -> str:
    """That no difference from an order is found; with both the interval and p where the two seem to disagree."""
    if not (row["difference_low"] > 0 or row["difference_high"] < 0):
        return f"are not found to differ from {name}"
    value, low, high = (-row[end] for end in ("difference", "difference_high", "difference_low"))
    more = "more"
    if value < 0:
        value, low, high, more = -value, -high, -low, "less"
    return (
        f"have {value:.2f} {more} than {name} (95% CI {low:.2f} to {high:.2f}), which does not count as a difference "
        f"after correction for {comparisons} comparisons (p {paired.p_words(row['p_value'], '= ')})"
    )


def which_window(table: pd.DataFrame) -> str:
    """The one N that faithfulness favours, beside the configured one; "" if there is no other N.

    Args:
        table: as for `faithful`. Only the rows with the study's own fill count.
    """
    main, own = table.iloc[0], f"N = {table['window'].iloc[0]}"
    rows = table[(table["window"] > 0) & (table["fill"] == main["fill"]) & (table["window"] != main["window"])]
    if rows.empty:
        return ""
    if main["images"] < LEAST_IMAGES:
        return f"Which N is the most faithful is not known: {_few(main)}."
    others = [row for _, row in rows.iterrows()]
    if better := [row for row in others if _sign(row) > 0]:
        best = max(better, key=lambda row: float(row["difference"]))
        return f"The figures favour N = {best['window']} over {own}, the configured one: {_change(best)}."
    worse, level = ([row for row in others if (_sign(row) < 0) == below] for below in (True, False))
    if not level:
        return f"The figures favour {own}, the configured one: the maps of {_listed(worse)} are less faithful."
    said = f"The figures favour no other N: no difference is found between {own} and {_listed(level)}"
    said += f" (corrected for {len(table) - 1} comparisons)" * (len(table) > 2)
    return f"{said}; {_listed(worse)} {_are(worse)} worse." if worse else f"{said}."


def which_fill(table: pd.DataFrame) -> str:
    """Which fill makes the more faithful maps, the study's own or the second one.

    "" if there is no second one, or if the images are too few.

    Args:
        table: as for `faithful`.
    """
    main = table.iloc[0]
    rows = table[(table["window"] == main["window"]) & (table["fill"] != main["fill"])]
    if rows.empty or main["images"] < LEAST_IMAGES:
        return ""
    other = rows.iloc[0]
    one, two = SHOWN[main["fill"]], SHOWN[other["fill"]]
    figure = f": with {two} faithfulness changes by {_change(other)}"
    if not _sign(other):
        return f"No difference is found between maps with {one} in the window and with {two}{figure}."
    better = two if _sign(other) > 0 else one
    return f"Maps with {better} in the window are more faithful{figure}."


def _sign(row: pd.Series) -> int:
    """1 or -1 if the row is told apart from the first one as more or less faithful, else 0."""
    apart = row["difference_low"] > 0 or row["difference_high"] < 0
    if not (row["images"] >= LEAST_IMAGES and apart and row["p_value"] < 0.05):
        return 0
    return 1 if row["difference"] > 0 else -1


def _figure(row: pd.Series) -> str:
    value = f"{row['faithfulness']:.2f}"
    return value if row["images"] < 2 else f"{value} (95% CI {row['low']:.2f} to {row['high']:.2f})"


def _change(row: pd.Series) -> str:
    return f"{row['difference']:+.2f} (95% CI {row['difference_low']:+.2f} to {row['difference_high']:+.2f})"


def _listed(rows: Sequence[pd.Series]) -> str:
    names = [str(row["window"]) for row in rows]
    return f"N = {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"


def _few(row: pd.Series) -> str:
    return "1 image is too few" if row["images"] == 1 else f"{row['images']} images are too few"


def _are(rows: Sequence[pd.Series]) -> str:
    return "is" if len(rows) == 1 else "are"
