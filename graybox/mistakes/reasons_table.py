"""The main figures of the table of reasons, as metrics and in words."""

from __future__ import annotations

import pandas as pd

CORRECT = "the correctly classified"
# What was found about a reason.
SUPPORTED = "more frequent than it should be"
MINOR = "more frequent, but explains fewer than half of those with it"
UNSUPPORTED = "not more frequent than it should be"
BY_NATURE = "describes the mistake, not tested"
UNKNOWN = "unknown for these images"
COVERED = "object_partly_covered"
"""The reason whose page shows the pictures without what covers the object."""


def figures(reasons: pd.DataFrame, mistakes: int, calibration_error: float) -> dict[str, float | int]:
    """The main figures on all mistakes.

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
