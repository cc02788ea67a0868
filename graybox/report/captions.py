"""What the figures of the appendix show, in words: each sentence is read from the results, none is fixed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from graybox import files
from graybox.mistakes.reasons_table import MINOR, SUPPORTED
from graybox.report.results import Results
from graybox.report.words import count, listed, share
from graybox.statistics import tables
from graybox.study import comparison
from graybox.study.names import short

MOVES = 0.01
"""A network still gains if the last quarter of its epochs adds more than this to its validation accuracy."""
MOST_NAMED = 5


def learning_curves(results: Results) -> str:
    """Which curve is the highest, and whether the curves still rise at the end."""
    curves = tables.read(results.root / "plots/curves.csv")
    lost = _diverged(results)
    curves = curves[~curves["variant"].isin(lost)]
    ends = curves.groupby("variant", sort=False)["validation_accuracy"].last().dropna()
    if ends.empty:
        return "Learning curves of the variants."
    said = f"Learning curves: {ends.idxmax()} ends with "
    if len(ends) > 1:
        said += f"the highest validation accuracy, {share(ends.max())}, "
        said += f"{ends.idxmin()} with the lowest, {share(ends.min())}"
    else:
        said += f"a validation accuracy of {share(ends.max())}"
    falls = [str(name) for name in ends.index if results.recipes[str(name)].train.schedule == "one_cycle"]
    return f"{said}{_left(lost)}. {still_gaining(curves, falls)}".strip()


def _diverged(results: Results) -> list[str]:
    return [str(name) for name in results.table.loc[results.table["diverged"] != "", "variant"]]


def _left(diverged: list[str]) -> str:
    """That what is said is about the other variants."""
    if not diverged:
        return ""
    named = listed([short(name) for name in diverged], MOST_NAMED)
    return f" ({named} diverged and {'is' if len(diverged) == 1 else 'are'} not compared)"


def still_gaining(curves: pd.DataFrame, falls: Collection[str] = ()) -> str:
    """Which networks still gain validation accuracy in their last epochs, and what that means.

    Args:
        curves: columns variant, epoch, validation_accuracy (0..1).
        falls: the variants whose learning rate falls to 0 in these epochs, which can raise the accuracy by itself.
    """
    moving, known = [], 0
    for name, curve in curves.groupby("variant", sort=False):
        accuracy = curve.sort_values("epoch")["validation_accuracy"].to_numpy(float)
        if len(accuracy) < 2 or accuracy[-1] != accuracy[-1]:
            continue
        known += 1
        quarter = max(1, len(accuracy) // 4)
        earlier = accuracy[:-quarter].max()
        if accuracy[-1] > accuracy[:-1].max() or accuracy[-1] - earlier > MOVES:
            moving.append(str(name))
    if not known:
        return ""
    if not moving:
        return "No network gains validation accuracy in its last epochs any more."
    said = []
    if constant := [name for name in moving if name not in falls]:
        order = "more epochs may change the order" if known > 1 else "more epochs may help"
        said.append(f"{_who(constant, known, 'still ')} validation accuracy in the last epochs, so {order}.")
    if falling := [name for name in moving if name in falls]:
        rate = "its" if len(falling) == 1 else "their"
        said.append(
            f"{_who(falling, known)} validation accuracy up to the last epochs, in which {rate} learning rate falls to "
            "0. That alone can raise the accuracy, so the curves don't say whether more epochs would."
        )
    return " ".join(said)


def _who(names: list[str], known: int, still: str = "") -> str:
    """Subject and verb: that these of all the networks gain."""
    if len(names) == known > 1:
        who = f"All {known} networks"
    elif len(names) > MOST_NAMED:
        who = f"{len(names)} of {known} networks"
    else:
        who = listed([short(name) for name in names])
    return f"{who} {still}{'gain' if len(names) > 1 else 'gains'}"


def costs(results: Results) -> str:
    """What the best variant costs against the baseline, and which variants are worth their cost."""
    table, best, base = results.table, results.winner, results.baseline
    table = table.assign(work=comparison.training_work(table, results.recipes.baseline))
    lost = _diverged(results)
    front = comparison.on_front(table, "macs")
    names = listed([short(name) for name in table[front].sort_values("macs")["variant"]], MOST_NAMED)
    which = f"no other variant is both cheaper in multiply-accumulates and better than {names}" if front.any() else ""
    if best["variant"] == base["variant"]:
        said = f"the baseline is the most accurate one, with {share(best['test_accuracy'])}"
    else:
        macs, work = best["macs"] / base["macs"], comparison.row_of(table, best["variant"])["work"]
        said = (
            f"{best['variant']} has {share(best['test_accuracy'])} with {macs:.1f} times the baseline's "
            f"multiply-accumulates for an image and {work:.1f} times its work of training"
        )
    return f"What accuracy costs: {said}" + (f"; {which}" if which else "") + f"{_left(lost)}."


def gaps(results: Results) -> str:
    """Which variants have the largest and the smallest generalisation gap."""
    lost = _diverged(results)
    found = results.table[~results.table["variant"].isin(lost)].dropna(subset=["gap"])
    if found.empty:
        return "How much better each variant does on training images than on validation images."
    # Of variants with the same gap the first is named.
    most, least = (found.sort_values("gap", ascending=up, kind="stable").iloc[0] for up in (False, True))
    said = f"The gap between training and validation accuracy is {_points(most['gap'])} with {most['variant']}"
    if len(found) > 1:
        said = said.replace(" is ", " is largest, ", 1)
        said += f", and smallest, {_points(least['gap'])}, with {least['variant']}"
    return f"{said}{_left(lost)}."


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def calibration(results: Results) -> str:
    """Whether the network is as often right as it is confident."""
    bins = tables.read(results.root / "report/calibration.csv")
    full = bins[bins["count"] > 0]
    gap = float(np.average(full["confidence"] - full["accuracy"], weights=full["count"]))
    error = float(files.read_json(results.root / "report/mistakes.json")["calibration_error"])
    if abs(gap) < 0.005:
        said = "on average the network is as confident as it is accurate"
    else:
        how = "more" if gap > 0 else "less"
        said = f"on average the network is {abs(100 * gap):.1f} points {how} confident than accurate"
    said = f"Calibration: {said} (expected calibration error {100 * error:.1f} points)."
    sure = results.mistakes["predicted_probability"].mean()
    return f"{said} Its wrong answers have a mean probability of {sure:.0%}." if sure == sure else said


def reasons(results: Results) -> str:
    """Which reasons' evidence is more frequent among the mistakes."""
    found = results.reasons
    tested = found[found["p_value"].notna()]
    if tested.empty:
        return "How frequent each reason's evidence is among the mistakes; none could be tested."
    counts = {finding: list(tested.loc[tested["finding"] == finding, "title"]) for finding in (SUPPORTED, MINOR)}
    said = f"Of {count(len(tested), 'tested reason')} "
    if counts[SUPPORTED]:
        said += f"{_more_frequent(counts[SUPPORTED])}, and most of the mistakes with it are due to it"
    else:
        said += "none explains most of the mistakes that have it"
    if counts[MINOR]:
        said += f"; {_more_frequent(counts[MINOR])}, but fewer than half of the mistakes with it are due to it"
    return f"{said}."


def _more_frequent(titles: list[str]) -> str:
    return f"{listed(titles, MOST_NAMED)} {'is' if len(titles) == 1 else 'are'} more frequent among the mistakes"


def correspondence(results: Results) -> str:
    """In which layers hiding the same part has the same effect."""
    summary = tables.read(results.root / "report/correspondence.csv")
    rows = summary[summary["kind"] == "changed features"] if len(summary) else summary
    parts = rows[rows["region"] != "all parts"] if len(rows) else rows
    if not len(parts):
        return "Correspondence could not be measured."
    beyond = parts[(parts["difference_low"] > 0) & (parts["excess_low"] > 0)]
    return (
        f"Hiding the same part in all images of a class: for {len(beyond) or 'none'} of the {len(parts)} pairs of part "
        "and layer the effect is more consistent than that of random parts and than that of the same place in the "
        "image (both 95% intervals above 0, not corrected for their number)."
    )
