"""The table of reasons in words, and its main figures as metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from graybox.statistics.paired import p_words

CORRECT = "the correctly classified"
COVERED = "object_partly_covered"
"""The reason whose page shows the pictures without what covers the object."""


def readable(reasons: pd.DataFrame) -> pd.DataFrame:
    """The table from `reasons.explain` in words, one column for each question; "-" = missing.

    The error rates with and without a trait are left out where they follow from the trait's definition.
    """
    reasons = reasons.fillna({"compared_with": "", "finding": "", "kind": ""})

    def rate(row: pd.Series, value: str, low: str, high: str) -> str:
        return "-" if np.isnan(row[value]) else f"{row[value]:.0%} ({row[low]:.0%} to {row[high]:.0%})"

    def figure(value: float, form: str) -> str:
        return "-" if np.isnan(value) else format(value, form)

    rows = [
        {
            "reason": row["title"],
            "the reason of": row["named"],
            "found in": f"{row['mistakes']} of {row['known']}" if row["known"] else "-",
            "of the mistakes (95% CI)": rate(row, "share", "low", "high"),
            "of the correct (95% CI)": rate(row, "correct_share", "correct_low", "correct_high"),
            "failing with it": figure(row["failing"] if row["compared_with"] == CORRECT else np.nan, ".0%"),
            "without": figure(row["failing_without"] if row["compared_with"] == CORRECT else np.nan, ".0%"),
            "tested against": row["compared_with"] or "-",
            "p": p_words(row["p_value"]) or "-",
            "finding": row["finding"] or "-",
        }
        for _, row in reasons.iterrows()
    ]
    return pd.DataFrame(rows)


def metrics(reasons: pd.DataFrame, mistakes: int, calibration_error: float) -> dict[str, float | int]:
    """The main figures, for `dvc metrics show`.

    Returns:
        misclassified: how many. `calibration_error`: 0..1. `with_a_cause`: the share of the mistakes explained by a
        wrong label or by something in the picture, 0..1. `described`: the share that only the networks' answers
        describe. `no_reason`: the rest.
    """
    named = reasons.groupby("kind")["named"].sum()
    shares = {"with_a_cause": ["label", "picture"], "described": ["networks"], "no_reason": [""]}
    found: dict[str, float | int] = {"misclassified": mistakes, "calibration_error": round(calibration_error, 6)}
    for name, kinds in shares.items():
        found[name] = round(float(named.reindex(kinds).fillna(0).sum() / mistakes), 6) if mistakes else 0.0
    return found


def sentence(reasons: pd.DataFrame) -> str:
    """The number of mistakes for each reason, the most frequent first."""
    named = reasons[reasons["named"] > 0].sort_values("named", ascending=False, kind="stable")
    return ", ".join(f"{row['title']}: {row['named']}" for _, row in named.iterrows()) or "there is nothing to explain"
