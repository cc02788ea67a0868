"""A1: what each parameter does, as a table, a chart and a sentence for each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from graybox.report.document import Block, Bullets, Numbers, Paragraph, Run, Section, Text
from graybox.report.results import Results
from graybox.report.summary import overrides
from graybox.report.words import large, share
from graybox.statistics import intervals, paired, scores
from graybox.study import comparison
from graybox.study.names import short
from graybox.study.variants import FACTORS

MOST_ROWS = 40
"""Of the table of variants; a study can have a thousand."""


def section(results: Results, numbers: Numbers) -> Section:
    """A1: the table of all variants, the chart, and a sentence for each parameter."""
    table = results.table
    blocks: list[Block] = [_variants(results, numbers)]
    blocks.append(
        Paragraph(
            "An interval in brackets is the 95% confidence interval over test images. A difference counts as found if "
            "its interval excludes 0 and its p-value, corrected for the number of comparisons (Holm), is below 0.05."
        )
    )
    blocks += numbers.figure(_chart_finding(results), [results.picture("accuracy_by_parameter")])
    found = list(results.findings["balance"])
    sentences: list[Text] = [*found, *(_sentence(results, name, rows) for name, rows in _levels(results))]
    diverged = table[table["diverged"] != ""]
    sentences += [f"{row['variant']} diverged: {row['diverged']}." for _, row in diverged.iterrows()]
    sentences += comparison.of_weights(table)
    return Section("A1. What each parameter does", [*blocks, Bullets(sentences)] if sentences else blocks)


def _variants(results: Results, numbers: Numbers) -> Block:
    table, spread = results.table, results.table["seeds"].max() > 1
    header = ["variant", "what it changes", "test accuracy", "against the baseline, points", "p", "validation"]
    header += ["weights", "MACs", "training work"]
    if spread:
        header.insert(3, "SD over seeds")
    rows, work = [], comparison.training_work(table, results.recipes.baseline)
    shown = table.head(MOST_ROWS)
    for (_, row), cost in zip(shown.iterrows(), work):
        difference = "" if pd.isna(row["difference"]) else comparison.points(
            row["difference"], row["difference_low"], row["difference_high"])  # fmt: skip
        name = row["variant"] + (" (diverged)" if row["diverged"] else "")
        cells = [
            name, short(overrides(results, row["variant"]) or "-", 60),
            f"{row['test_accuracy']:.1%} ({100 * row['test_low']:.1f} to {100 * row['test_high']:.1f})", difference,
            paired.p_words(row["p_value"]), share(row["validation_accuracy"]), large(row["parameters"]),
            large(row["macs"]), f"{cost:.2g}" if cost < 10 else f"{cost:,.0f}",
        ]  # fmt: skip
        if spread:
            deviation = row["test_accuracy_sd"]
            cells.insert(3, "" if pd.isna(deviation) else f"{100 * deviation:.1f} ({row['seeds']})")
        rows.append(cells)
    strong = [place for place, best in enumerate(shown["best_on"] != "") if best]
    rest = (
        f" The first {MOST_ROWS} of {len(table)}; the others are in report/comparison.csv."
        if len(table) > MOST_ROWS
        else ""
    )
    best = results.winner
    caption = (
        f"All variants: {best['variant']} is the best with {share(best['test_accuracy'])} of the test images. "
        f"p is corrected (Holm). Training work: MACs of an image x epochs, baseline = 1. In bold: the best on test or "
        f"on validation.{rest}"
    )
    return numbers.table(caption, header, rows, strong=strong, sortable=True, narrow=2)


def _levels(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """For each parameter with variants, the six first, its variants' rows with `level`, without the baseline's."""
    recipes, table = results.recipes, results.table
    found = [(name, rows[~rows["is_baseline"]]) for name, rows in results.levels.items() if len(rows) > 1]
    others: dict[str, list[str]] = {}
    for name in recipes:
        if (parameter := recipes.parameter_of(name)) and parameter not in FACTORS:
            others.setdefault(parameter, []).append(name)
    by_name = table.set_index("variant", drop=False)
    return found + [(parameter, by_name.loc[names].assign(level="")) for parameter, names in others.items()]


def _chart_finding(results: Results) -> str:
    if all(len(rows) < 2 for rows in results.levels.values()):
        return "Test accuracy of the baseline; no variant changes one of the six parameters."
    found = {}
    for name, rows in results.levels.items():
        compared = rows[rows["is_baseline"] | ((rows["diverged"] == "") & rows["difference"].notna())]
        sure = [bool(row["is_baseline"]) or not comparison.doubt(row) for _, row in compared.iterrows()]
        found[name] = compared.loc[sure, "test_accuracy"]
    name, accuracies = max(found.items(), key=lambda pair: float(np.ptp(pair[1])) if len(pair[1]) else 0.0)
    if len(accuracies) < 2:
        return "Test accuracy by parameter: no difference is found."
    low, high = accuracies.min(), accuracies.max()
    return (
        f"Test accuracy by parameter: it differs most between the levels of {name}, from {share(low)} to {share(high)}."
    )


def _sentence(results: Results, name: str, rows: pd.DataFrame) -> Text:
    """What a parameter does, and why where training accuracy shows it."""
    rows = rows[(rows["diverged"] == "") & rows["difference"].notna()]
    if rows.empty:
        why = "it has no variant that can be compared, as one of the two diverged"
        return [Run(name[:1].upper() + name[1:], bold=True), Run(f": {why}.")]
    known = [row for _, row in rows.iterrows() if not comparison.doubt(row)]
    unsure = [row for _, row in rows.iterrows() if comparison.doubt(row)]
    said = [f"{_label(results, row)}: {_points(row)}" for row in known]
    text = "; ".join(said)
    if unsure:
        few = unsure[0]["images"] < paired.FEWEST
        word = "too few images to say" if few else "no difference found"
        which = "; ".join([f"{_label(results, row)}, {_points(row)}" for row in unsure])
        text += f"{'; ' if known else ''}{word} for {which}"
    text += "."
    ends = [min(known, key=_gain), max(known, key=_gain)] if known else []
    reasons = [_why(results, row) for row in (one for one, sign in zip(ends, (-1, 1)) if sign * _gain(one) > 0)]
    if known:
        why = "; ".join(filter(None, reasons))
        text += f" Why: {why}." if why else " The training accuracy does not show why."
    return [Run(name[:1].upper() + name[1:], bold=True), Run(": " + text)]


def _label(results: Results, row: pd.Series) -> str:
    """The level, or the variant where its parameter is none of the six."""
    if not row["level"]:
        return str(row["variant"])
    parameter = str(results.recipes.parameter_of(row["variant"]))
    levels, level = results.levels[parameter], str(row["level"])
    reference = levels.loc[levels["is_baseline"], "level"].astype(str).iloc[0].replace("\n", ", ")
    # A level can say more than the parameter's value: what the reference is one of, must be said then.
    return f"{level.replace(chr(10), ', ')} instead of {f'{parameter} ' if chr(10) in level else ''}{reference}"


def _points(row: pd.Series) -> str:
    value, low, high = (100 * row[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{value:+.1f} points ({low:.1f} to {high:.1f})"


def _gain(row: pd.Series) -> float:
    return float(row["difference"])


def _why(results: Results, row: pd.Series) -> str:
    """What the training accuracy says about a difference; "" if the figures leave it open."""
    base, splits = results.baseline, results.data["images_per_split"]
    known = min(scores.MOST_TRAINING, splits["validation"], splits["train"])
    mine, theirs = (intervals.share(each["train_accuracy"] * known, known) for each in (row, base))
    change, better = intervals.minus(mine, theirs), row["difference"] > 0
    figures = f"{share(mine.value)} of its training images instead of {share(theirs.value)}"
    if better and change.low > 0:
        return f"{row['variant']} also learns {figures}, so the baseline underfits"
    if not better and change.high < 0:
        return f"{row['variant']} also learns only {figures}, so it underfits"
    gaps = f"{100 * row['gap']:.0f} points between training and validation accuracy instead of {100 * base['gap']:.0f}"
    if better and row["gap_high"] < base["gap_low"]:
        return f"{row['variant']} generalises better ({gaps})"
    if not better and row["gap_low"] > base["gap_high"]:
        return f"{row['variant']} overfits more ({gaps})"
    return ""
