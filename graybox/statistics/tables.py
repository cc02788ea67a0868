"""The tables that stages leave for one another."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# Columns of names and words: pandas would read a class "None" or "NA" as a missing value, and "007" as a number.
NAMES = (
    "variant", "file", "true_class", "predicted_class", "others_wrong_class", "neighbours_wrong_class", "class_there",
    "class_a", "class_b", "class", "other_class", "other_file", "best_on", "diverged", "architecture",
    "initial_weights", "not_chosen",
)  # fmt: skip


def read(path: Path | str) -> pd.DataFrame:
    """Read a CSV table that a stage wrote: only an empty field is a missing value, and every name stays text."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str))
