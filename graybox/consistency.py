"""How alike the changes are that one cause makes in several images: arrays in, numbers and a sentence out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from statsmodels.stats.weightstats import DescrStatsW

ALL_PARTS, RANDOM = "all parts", "random"
KINDS = {"distance": "all features", "distance_of_changed": "changed features"}


def distances(signs: np.ndarray) -> tuple[float, float, float]:
    """How unlike the changes in several images are (Zeiler & Fergus 2014, section 4.3).

    Args:
        signs: int [images, features], each -1, 0 or 1: the sign of each feature's change.

    Returns:
        The mean over the pairs of images of the normalised Hamming distance over all features; the same over the
        features that change in at least one image of the pair (NaN if no pair has one); the share of the features
        that change, mean over the images.
    """
    pairs = list(zip(*np.triu_indices(len(signs), k=1)))
    differ = np.array([(signs[i] != signs[j]).sum() for i, j in pairs])
    either = np.array([((signs[i] != 0) | (signs[j] != 0)).sum() for i, j in pairs])
    counted = either > 0
    of_changed = (differ[counted] / either[counted]).mean() if counted.any() else math.nan
    return float(differ.mean() / signs.shape[1]), float(of_changed), float((signs != 0).mean())


def summarize(measures: pd.DataFrame) -> pd.DataFrame:
    """Means over the classes, and how far each part is from random regions.

    Args:
        measures: columns class, region, draw, layer, distance, distance_of_changed, changed.

    Returns:
        A row per layer, kind ("all features", "changed features") and region ("all parts", their mean, first), with
        columns classes (how many), distance, random, difference (random - distance: positive where hiding the part is
        the more consistent), low, high (the 95% interval of the difference over the classes, paired t; NaN for a
        single class), changed, random_changed.
    """
    rows = []
    for layer, of_layer in measures.groupby("layer", sort=False):
        regions = of_layer[of_layer["region"] != RANDOM]["region"].unique()
        for column, kind in KINDS.items():
            table = of_layer.pivot_table([column, "changed"], "class", "region", dropna=False)
            value, changed = table[column], table["changed"]
            for region in (ALL_PARTS, *regions):
                chosen = list(regions) if region == ALL_PARTS else [region]
                difference = (value[RANDOM] - value[chosen].mean(axis=1)).dropna()
                low, high = DescrStatsW(difference).tconfint_mean() if len(difference) > 1 else (math.nan, math.nan)
                part, random = (value.loc[difference.index, names].mean(axis=None) for names in (chosen, RANDOM))
                rows.append(
                    (layer, kind, region, len(difference), part, random, difference.mean(), low, high)
                    + (changed[chosen].mean(axis=None), changed[RANDOM].mean())
                )
    columns = ["layer", "kind", "region", "classes", "distance", "random", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "changed", "random_changed"])


def reading(summary: pd.DataFrame) -> str:
    """What a summary of `summarize` allows one to say of the parts together, in one sentence.

    More (or less) consistent is said of a layer only where both kinds of distance say so with their whole 95% interval;
    the figures given are those of the changed features.
    """
    together = summary[summary["region"] == ALL_PARTS]
    said: dict[str, list[str]] = {"more": [], "less": [], "no": [], "unknown": []}
    for layer, rows in together.groupby("layer", sort=False):
        low, high = rows["low"], rows["high"]
        verdict = "more" if (low > 0).all() else "less" if (high < 0).all() else "no"
        row = rows.set_index("kind").loc[KINDS["distance_of_changed"]]
        figures = f"{row['distance']:.3f} against {row['random']:.3f}, difference {row['difference']:.3f}"
        if low.isna().any() or high.isna().any():
            verdict = "unknown"
        else:
            figures += f", 95% CI {row['low']:.3f} to {row['high']:.3f}"
        said[verdict].append(f"in the {layer} ({figures})")
    compared = "hiding the same part of the object changes features {} consistently than hiding random parts of it {}"
    openings = {
        "more": compared.format("more", "{}"),
        "less": compared.format("less", "{}"),
        "no": "no difference is found between hiding the same part of the object and hiding random parts of it {}",
        "unknown": "too few classes for an interval {}, so nothing can be said of it",
    }
    clauses = [openings[verdict].format(" and ".join(layers)) for verdict, layers in said.items() if layers]
    sentence = "; ".join(clauses)
    classes = int(together["classes"].max())
    scale = f"sign distance of the features that change, 0 to 1, over {classes} class{'es' * (classes != 1)}"
    return f"{sentence[0].upper()}{sentence[1:]} [{scale}]."
