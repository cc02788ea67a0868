"""How similar the changes in several images are: arrays in, numbers and a sentence out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import stdtrit

ALL_PARTS, RANDOM = "all parts", "random"
OWN, EXCHANGED = "own", "exchanged"
KINDS = {"distance": "all features", "distance_of_changed": "changed features"}

_INTERVALS = [f"{name}{end}" for name in ("difference", "exchanged", "excess") for end in ("", "_low", "_high")]
SUMMARY_COLUMNS = ["layer", "kind", "region", "classes", "distance", "random", *_INTERVALS, "changed", "random_changed"]


def distances(signs: np.ndarray) -> tuple[float, float, float]:
    """How different the changes in several images are (Zeiler & Fergus 2014, section 4.3).

    Args:
        signs: int [images, features], each -1, 0 or 1: the sign of each feature's change.

    Returns:
        The mean over the pairs of images of the normalised Hamming distance over all features; the same over the
        features that change in at least one image of the pair (NaN if no pair has one); the share of the features
        that change, mean over the images.
    """
    pairs = np.triu_indices(len(signs), k=1)
    # How often both are negative, both 0, both positive; whole numbers, which float32 holds exactly below 16 million.
    both = {sign: (one := (signs == sign).astype(np.float32)) @ one.T for sign in (-1, 0, 1)}
    differ = (signs.shape[1] - sum(both.values()))[pairs].astype(np.int64)
    either = (signs.shape[1] - both[0])[pairs].astype(np.int64)
    counted = either > 0
    of_changed = (differ[counted] / either[counted]).mean() if counted.any() else math.nan
    return float(differ.mean() / signs.shape[1]), float(of_changed), float((signs != 0).mean())


def summarize(measures: pd.DataFrame) -> pd.DataFrame:
    """Means over the classes, and each part's difference from random regions.

    Args:
        measures: columns class, boxes ("own" or "exchanged"), region, draw, layer, distance, distance_of_changed,
            changed.

    Returns:
        A row per layer, kind ("all features", "changed features") and region ("all parts", their mean, first), with
        columns classes (how many), distance, random, difference (random - distance: positive where hiding the part is
        more consistent), exchanged (the same difference with the boxes exchanged), excess (difference - exchanged),
        the 95% intervals of these three over the classes, as difference_low, difference_high and so on (t; NaN for a
        single class), changed and random_changed.
    """
    rows = []
    for layer, of_layer in measures.groupby("layer", sort=False):
        regions = list(of_layer[of_layer["region"] != RANDOM]["region"].unique())
        # Means over the draws: a row per class, columns of figure, boxes and region.
        table = of_layer.pivot_table([*KINDS, "changed"], "class", ["boxes", "region"], dropna=False)
        for (column, kind), region in product(KINDS.items(), [ALL_PARTS, *regions]):
            chosen = regions if region == ALL_PARTS else [region]
            by_class = pd.DataFrame(
                {
                    "distance": table[column][OWN][chosen].mean(axis=1),
                    "random": table[column][OWN][RANDOM],
                    "exchanged": table[column][EXCHANGED][RANDOM] - table[column][EXCHANGED][chosen].mean(axis=1),
                    "changed": table["changed"][OWN][chosen].mean(axis=1),
                    "random_changed": table["changed"][OWN][RANDOM],
                }
            ).dropna()
            by_class["difference"] = by_class["random"] - by_class["distance"]
            by_class["excess"] = by_class["difference"] - by_class["exchanged"]
            row = {"layer": layer, "kind": kind, "region": region, "classes": len(by_class), **by_class.mean()}
            for name in ("difference", "exchanged", "excess"):
                row[f"{name}_low"], row[f"{name}_high"] = interval(by_class[name])
            rows.append(row)
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def interval(values: pd.Series) -> tuple[float, float]:
    """The 95% confidence interval of a mean (t); NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def reading(summary: pd.DataFrame) -> str:
    """What the table from `summarize` shows about all parts together: what is measured, and a sentence on it.

    It uses the changed features and the 95% intervals. Hiding the same part counts as more consistent only if the
    difference exceeds that with the boxes exchanged: there the places in the image are the same, but not the parts.
    """
    said: dict[str, list[str]] = {}
    together = summary[(summary["region"] == ALL_PARTS) & (summary["kind"] == KINDS["distance_of_changed"])]
    for _, row in together.iterrows():
        low, high = row["difference_low"], row["difference_high"]
        if math.isnan(low):
            verdict, figures = "unknown", f"difference {row['difference']:.3f}"
        elif low > 0:
            verdict, figures = "more" if row["excess_low"] > 0 else "place", _figure(row, "excess", " beyond the place")
        else:
            verdict, figures = "less" if high < 0 else "no", f"difference {_figure(row, 'difference')}"
        said.setdefault(verdict, []).append(
            f"in the {row['layer']} (same part {row['distance']:.3f}, random parts {row['random']:.3f}; {figures})"
        )
    openings = {
        "more": "hiding the same part of the object changes features more consistently than hiding random parts of it, "
        "and more than the same place in the image explains,",
        "less": "hiding the same part of the object changes features less consistently than hiding random parts of it",
        "place": "the same part cannot be told from the same place in the image",
        "no": "no difference is found between hiding the same part of the object and hiding random parts of it",
        "unknown": "too few classes for an interval, so nothing can be said",
    }
    clauses = [f"{text} {' and '.join(said[verdict])}" for verdict, text in openings.items() if verdict in said]
    sentence, classes = "; ".join(clauses), int(together["classes"].max())
    measure = (
        "Measured is the sign distance of two images of a class: of the features that change in either image, the "
        "share that does not change in the same direction in both (0 = the same effect, 1 = nothing in common). "
        f"Figures are means over {classes} class{'es' * (classes != 1)}."
    )
    return f"{measure} {sentence[0].upper()}{sentence[1:]}."


def _figure(row: pd.Series, name: str, of_what: str = "") -> str:
    """A figure of the summary with its interval."""
    return f"{row[name]:.3f}{of_what}, 95% CI {row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f}"
