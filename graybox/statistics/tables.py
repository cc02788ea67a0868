"""The tables that stages leave for one another."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# Columns of names: pandas would take a class "None" or "NA" for a missing value, and "007" for a number.
NAMES = (
    "variant", "file", "true_class", "predicted_class", "others_wrong_class", "neighbours_wrong_class", "class_there",
    "class_a", "class_b",
)  # fmt: skip


def read(path: Path | str) -> pd.DataFrame:
    """A table as a stage wrote it (CSV): only an empty field is a missing value, and a name is text whatever it is."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str))
