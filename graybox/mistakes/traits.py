"""The possible reasons for a mistake: the evidence that each needs, and the figures that it reports.

The thresholds are set by hand, not fitted to test images; docs/mistakes.md tests them on planted faults.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from graybox.mistakes.reasons_table import COVERED
from graybox.statistics.intervals import percent

TAIL = 0.05
"""A measure is unusual if it lies in this outermost share of the training pictures, of its class and of all."""
RECOGNISED, RISE = 0.5, 0.25
"""Hiding corrects an answer if the true class then has at least this probability, and this much more than before."""
UNRECOGNISED, FEWEST = 0.10, 20
"""An object is not recognised if, seen alone, it gives its class less than this quantile of the correctly classified
images; there must be at least FEWEST of these."""
NEIGHBOURS, VOTES = 0.6, 0.5
"""An image looks like another class if at least these shares of its nearest training images, and of the other networks'
votes, are for that class."""
LEAST_COVERED = 0.02
"""An object is partly covered if something hides at least this share of it. Less is a few pixels at its edge (ten or so
in the default study), which the picture's blur and noise change as much."""

LABEL, PICTURE, NETWORKS = "label", "picture", "networks"
KINDS = (LABEL, PICTURE, NETWORKS)
"""In order of precedence. With a wrong label there is no mistake to explain. Something in the picture, or the effect of
an intervention, is a cause; the networks' answers only describe the mistake."""

Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Trait:
    """Something about an image that may be the reason for a mistake.

    Attributes:
        name: as in file names and tables. `title`: for readers. `kind`: one of KINDS.
        applies: the evidence, N rows -> float [N]: 1 = the image has it, 0 = not, NaN = can't be known.
        says: a row of the evidence -> the figures, as words that can follow a colon.
        tested: what its frequency among the mistakes is compared with: "correct" (the correctly classified images; a
            fair comparison, as the trait is known without the network), "expected" (the number expected without wrong
            labels), or "" (not tested: the trait follows from the answers of this network, or of others that learned
            from the same training images, so it is always rarer among the correctly classified images).
    """

    name: str
    title: str
    kind: str
    applies: Callable[[pd.DataFrame], np.ndarray]
    says: Callable[[Row], str]
    tested: str = "correct"


def _where(condition: pd.Series, *known: pd.Series) -> np.ndarray:
    found = condition.to_numpy().astype(np.float64)
    for column in known:
        found[column.isna().to_numpy()] = np.nan
    return found


def _lowest(measure: str) -> Callable[[pd.DataFrame], np.ndarray]:
    place = f"{measure}_place"
    return lambda frame: _where(frame[place] < TAIL, frame[place])


def _highest(measure: str) -> Callable[[pd.DataFrame], np.ndarray]:
    place = f"{measure}_place"
    return lambda frame: _where(frame[place] > 1 - TAIL, frame[place])


def _covered(frame: pd.DataFrame) -> np.ndarray:
    return _where(frame["covered"] >= LEAST_COVERED, frame["covered"])


def _at_border(frame: pd.DataFrame) -> np.ndarray:
    return _where(frame["box_at_border"] == 1, frame["box_at_border"])


def _right_without_context(frame: pd.DataFrame) -> np.ndarray:
    """Hiding the context corrects the answer, compared with the image as it is and with its object hidden.

    That the context is the cause can't be tested: anything that hides as much hides the object too.
    """
    before, after = frame[["p_as_is", "p_box_hidden"]].max(axis=1, skipna=False), frame["p_context_hidden"]
    return _where((after >= RECOGNISED) & (after - before >= RISE), before, after)


def _not_recognised(frame: pd.DataFrame) -> np.ndarray:
    alone = frame["p_context_hidden"]
    correct = alone[frame["correct"]].dropna()
    if len(correct) < FEWEST:
        return np.full(len(frame), np.nan)
    return _where(alone < correct.quantile(UNRECOGNISED), alone)


def _looks_like(frame: pd.DataFrame) -> np.ndarray:
    near = frame["neighbours_wrong_share"] >= NEIGHBOURS
    voted = frame["others_wrong_share"] >= VOTES
    same = frame["others_wrong_class"] == frame["neighbours_wrong_class"]
    return _where(near & ((voted & same) | (frame["other_networks"] == 0)))


def _hard(frame: pd.DataFrame) -> np.ndarray:
    enough = frame["others_right"].where(frame["other_networks"] > 1)  # one network does not stand for all
    return _where(enough == 0, enough)


def _quirk(frame: pd.DataFrame) -> np.ndarray:
    return _where((frame["others_right"] > 0.5) & ~frame["correct"], frame["others_right"])


def _beyond(row: Row, measure: str, word: str, shown: str) -> str:
    place = row[f"{measure}_place"]
    rarer = min(place, 1 - place)
    than = "all" if rarer == 0 else f"{100 * (1 - rarer):.0f}%"
    return f"{shown}, {word} than in {than} of its class's pictures and of all pictures"


def _says_covered(row: Row) -> str:
    said = f"something in front covers {percent(row['covered'])} of the object"
    right = row["uncovered_class"] == row["true_class"]
    return f"{said}; without it the network is right with {percent(row['uncovered_probability'])}" if right else said


def _share(row: Row, share: str) -> str:
    count = row["other_networks"]
    return f"{round(row[share] * count)} of the {count} other networks" if count > 1 else "the other network"


def _says_looks_like(row: Row) -> str:
    said = (
        f"{percent(row['neighbours_wrong_share'])} of the nearest training images are {row['neighbours_wrong_class']}"
    )
    return f"{said}, as {_share(row, 'others_wrong_share')} said" if row["other_networks"] else said


def _says_hard(row: Row) -> str:
    favourite = f"most often they say {row['others_wrong_class']} ({percent(row['others_wrong_share'])})"
    return f"none of the {row['other_networks']} other networks is right; {favourite}"


TRAITS = (
    Trait(
        "label_suspect", "label suspect", LABEL, lambda f: _where(f["label_suspect"]),
        lambda row: f"the label {row['true_class']} has {percent(row['label_quality'])}, {row['predicted_class']} has "
        f"{percent(row['predicted_probability'])}, as much as its own images have; {percent(row['neighbours_true'])} "
        f"of the nearest training images are {row['true_class']}",
        tested="expected",
    ),
    Trait(
        "small_object", "small object", PICTURE, _lowest("box_area"),
        lambda row: _beyond(row, "box_area", "less", f"the object's box is {percent(row['box_area'])} of the picture"),
    ),
    Trait(
        "faint_object", "faint object", PICTURE, _lowest("object_contrast"),
        lambda row: _beyond(
            row, "object_contrast", "less", f"object and surroundings differ by {row['object_contrast']:.2f} sd"
        ),
    ),
    Trait(COVERED, "object partly covered", PICTURE, _covered, _says_covered),
    Trait(
        "object_off_centre", "object off centre", PICTURE, _highest("box_off_centre"),
        lambda row: _beyond(
            row, "box_off_centre", "farther", f"the box is {percent(row['box_off_centre'])} of the way to the corner"
        ),
    ),
    Trait(
        "object_cut_off", "object at the border", PICTURE, _at_border,
        lambda row: f"the object's box reaches the picture's border, {percent(row['box_off_centre'])} of the way from "
        "the centre to the corner",
    ),
    Trait(
        "low_contrast", "low contrast", PICTURE, _lowest("contrast"),
        lambda row: _beyond(row, "contrast", "less", f"the brightness varies by {row['contrast']:.2f}"),
    ),
    Trait(
        "dark", "dark picture", PICTURE, _lowest("brightness"),
        lambda row: _beyond(row, "brightness", "darker", f"the mean brightness is {row['brightness']:.2f}"),
    ),
    Trait(
        "bright", "bright picture", PICTURE, _highest("brightness"),
        lambda row: _beyond(row, "brightness", "brighter", f"the mean brightness is {row['brightness']:.2f}"),
    ),
    Trait(
        "blurred", "blurred picture", PICTURE, _lowest("sharpness"),
        lambda row: _beyond(row, "sharpness", "less", f"the sharpness is {row['sharpness']:.2f}"),
    ),
    Trait(
        "right_without_context", "right with the context hidden", NETWORKS, _right_without_context,
        lambda row: f"with the context hidden the true class has {percent(row['p_context_hidden'])} instead of "
        f"{percent(row['p_as_is'])} (with the object hidden {percent(row['p_box_hidden'])})",
        tested="",
    ),
    Trait("looks_like_another", "looks like another class", NETWORKS, _looks_like, _says_looks_like, tested=""),
    Trait(
        "quirk", "this model's quirk", NETWORKS, _quirk,
        lambda row: f"right: {_share(row, 'others_right')}", tested="",
    ),
    Trait(
        "object_not_recognised", "object not recognised", NETWORKS, _not_recognised,
        lambda row: f"with everything else hidden the true class has only {percent(row['p_context_hidden'])}, "
        "less than in nine of ten correctly classified images",
        tested="",
    ),
    Trait("hard_for_all", "hard for all variants", NETWORKS, _hard, _says_hard, tested=""),
)  # fmt: skip
"""Within one kind the strongest comes first (see `reasons`); without a strength, this order holds."""
