"""In words: what each variant of the study rests on, and what each parameter changes in that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from graybox.reliance import validated
from graybox.reliance.rule import NO_VERDICT, VERDICTS
from graybox.reliance.verdict import CLOSE
from graybox.statistics import paired
from graybox.study import comparison
from graybox.study.variants import COMBINED, Variants

CLAIMED = {"object_alone": "the object alone", "context_alone": "the context alone"}
"""The shares whose changes may be claimed, and what they are called."""


def sentences(variants: Variants, frame: pd.DataFrame, boxes: bool = True) -> list[str]:
    """What the variants rest on, what each parameter changes in that, and how it was measured.

    A change is claimed under the rule of `comparison.doubt`: the paired interval excludes 0, and so does the corrected
    p-value.

    Args:
        frame: from `extended`. `boxes`: whether a test image has an object box, so that images could be asked about.
    """
    if "verdict" not in frame:
        why = "evaluate.boxed_images is 0" if boxes else "no test image has an object box"
        return [f"What each variant rests on, the object or its surroundings, is not known: {why}."]
    images = int(frame["boxed_images"].iloc[0])
    kinds = []
    for verdict in VERDICTS:
        rows = frame[frame["verdict"] == verdict]
        names = [row["variant"] + "*" * (row["stability"] < CLOSE) for _, row in rows.iterrows()]
        if len(rows) == len(frame) > 1 and (rows["stability"] >= CLOSE).all():
            names = [f"all {len(rows)} variants"]
        if names:
            kinds.append(f"{verdict} ({', '.join(names)})")
    close = f" (*: close, as under {CLOSE:.0%} of the resamples give this verdict)" * any("*" in kind for kind in kinds)
    found = [f"On {images} test images with an object box, the variants rest on: {'; '.join(kinds)}{close}."]
    if (frame["verdict"] == NO_VERDICT).all():
        found = [
            f"There is no verdict on the variants, only the figures: of the {images} test images with an object box, "
            f"fewer than {validated.LEAST_IMAGES} show an object of {validated.words()}, on which the rule was checked."
        ]
    if np.isnan(frame.loc[frame["variant"] == variants.baseline, "object_alone"].iloc[0]):
        return [*found, "No variant is compared with the baseline in this, as the baseline is too near to chance."]
    found += comparison.by_parameter(variants, frame, _words)
    combined = frame[frame["variant"] == COMBINED]
    if len(combined) and not combined["diverged"].iloc[0]:
        found.append(f"combined, against the baseline: {_words(combined.iloc[0])}.")
    return [*found, _method(frame)]


def _words(row: pd.Series) -> str:
    if pd.isna(row["object_alone"]):
        return "too near to chance to compare"
    shares = {share: _as_difference(row, share) for share in CLAIMED}
    doubts = {share: comparison.doubt(one) for share, one in shares.items()}
    said = [
        f"{CLAIMED[share]} keeps {_points(one)}; p {paired.p_words(one['p_value'], equals='= ')})"
        for share, one in shares.items()
        if not doubts[share]
    ]
    if not said:
        doubt = doubts["object_alone"].replace("difference", "change")
        figures = [f"{CLAIMED[share].removeprefix('the ')} {_short(one)}" for share, one in shares.items()]
        return f"{doubt} ({', '.join(figures)})"
    # A variant that bears hidden areas worse than the baseline loses with the context hidden, whatever it rests on.
    alone, control = shares["object_alone"], _as_difference(row, "control_kept")
    same = control["difference"] * alone["difference"] > 0
    if not doubts["object_alone"] and same and control["difference_low"] * control["difference_high"] > 0:
        said.append(f"hiding itself may be a reason: with an equal area of context hidden it keeps {_points(control)})")
    return ", ".join(said)


def _as_difference(row: pd.Series, share: str) -> dict[str, float]:
    """A share's difference under the names that `comparison.doubt` knows."""
    found = {f"difference{end}": float(row[f"{share}_difference{end}"]) for end in ("", "_low", "_high")}
    return {**found, "p_value": float(row.get(f"{share}_p_value", np.nan)), "images": row["boxed_images"]}


def _points(change: Mapping[str, float]) -> str:
    """As "12.1 points less (95% CI 7.0 to 17.2"."""
    ends = sorted(abs(100 * change[f"difference{end}"]) for end in ("_low", "_high"))
    more = "more" if change["difference"] > 0 else "less"
    return f"{abs(100 * change['difference']):.1f} points {more} (95% CI {ends[0]:.1f} to {ends[1]:.1f}"


def _short(change: Mapping[str, float]) -> str:
    return comparison.points(change["difference"], change["difference_low"], change["difference_high"])


def _method(frame: pd.DataFrame) -> str:
    covers = "cover another training run too" if frame["covers_seeds"].any() else "do not cover another training run"
    return (
        "What the object alone keeps is the share of a network's accuracy above chance that is left with everything "
        "but the object box hidden; what the context alone keeps is left with the box hidden. Changes are in points of "
        "these shares on the same images, with paired t intervals of the ratios (delta method) and p-values "
        f"Holm-corrected over both shares and all variants; they {covers}. Hiding is new to a network, so the shares "
        "are no exact measures (docs/verdict.md)."
    )
