"""What one confidence map shows, in a few plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graybox.occlusion.evidence import FLAT, MapEvidence
from graybox.reliance import validated
from graybox.reliance.rule import BOTH, CONTEXT, MIXED, NO_VERDICT, OBJECT
from graybox.statistics.intervals import percent

if TYPE_CHECKING:
    import pandas as pd

    from graybox.occlusion.confidence import OcclusionMap

PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))
VERDICT = {
    OBJECT: "This answer rests on the object.",
    CONTEXT: "This answer rests on the context.",
    BOTH: "This answer rests on both: either is enough.",
    MIXED: "This answer mixes object and context.",
    NO_VERDICT: f"No verdict: the rule was checked on objects of {validated.words()}, and this one is not.",
}
CANNOT = "It is unclear what this answer rests on."


def commentary(
    found: OcclusionMap,
    evidence: MapEvidence,
    interventions: pd.Series | Mapping[str, Any] | None,
    class_names: Sequence[str],
    *,
    labelled: bool = True,
) -> str:
    """The text under an image's panel.

    Args:
        found: the map.
        evidence: `graybox.occlusion.evidence.map_evidence` of the same map.
        interventions: the image's row of `graybox.reliance.rule.per_image`; None where it has no usable box.
        class_names: one for each label.
        labelled: whether the map's `label` is known to be the true class. If not, nothing is said of the truth.
    """
    said = [_answer(found, class_names, labelled), _map(found, evidence, class_names)]
    if evidence.never_hidden:
        said.append(f"No window hides {percent(evidence.never_hidden)} of the pixels: the map says nothing about them.")
    if interventions is not None:
        said.append(_interventions(interventions, class_names[found.label]))
    return " ".join(said)


def of_second(
    second: OcclusionMap,
    evidence: MapEvidence,
    shown: tuple[str, str],
    faithfulness: tuple[float, float] | None,
) -> str:
    """What the map with a second fill shows, and which of the two maps is more faithful.

    Args:
        shown: what the first and the second window show. `faithfulness`: of both maps; None = not measured.
    """
    if evidence.flat:
        said = f"With {shown[1]} in the window the map is flat"
    else:
        row, column = second.lowest
        where = place(row, column, int(second.rows[-1]) + 1, int(second.columns[-1]) + 1)
        on = {True: ", on the object", False: ", beside the object", None: ""}[evidence.peak_in_box]
        said = f"With {shown[1]} in the window it falls most with the window at the {where}{on}"
    if faithfulness is None:
        return f"{said}."
    first, other = (round(value, 2) + 0 for value in faithfulness)
    better = "as faithful" if first == other else "more faithful" if other > first else "less faithful"
    return f"{said}; by deletion and insertion this map is {better} ({other:.2f}; with {shown[0]} {first:.2f})."


def place(row: int, column: int, height: int, width: int) -> str:
    """Where a pixel lies, by thirds of the image: "upper left", "top", ..., "middle", ..., "lower right"."""
    return PLACES[min(2, 3 * row // height)][min(2, 3 * column // width)]


def _answer(found: OcclusionMap, class_names: Sequence[str], labelled: bool) -> str:
    true, answer = found.label, int(found.unoccluded.argmax())
    if not labelled:
        # The class is the model's own answer, for want of a true one, so it cannot be right or wrong.
        given = percent(found.unoccluded[true])
        return f"The model's answer is {class_names[true]}, {given}; the true class is not known."
    if answer != true:
        return (
            f"Misclassified: the model says {class_names[answer]} ({percent(found.unoccluded[answer])}), and gives "
            f"the true class, {class_names[true]}, {percent(found.unoccluded[true])}."
        )
    return f"The model gives the true class, {class_names[true]}, {percent(found.unoccluded[true])}."


def _map(found: OcclusionMap, evidence: MapEvidence, class_names: Sequence[str]) -> str:
    if evidence.flat:
        return (
            f"No window lowers this by {percent(FLAT)} (at most by {percent(evidence.largest_drop)}): "
            f"the map is flat, and its lowest place means nothing."
        )
    row, column = found.lowest
    # The last centre may lie up to a stride before the last pixel; that does not matter for thirds.
    where = place(row, column, int(found.rows[-1]) + 1, int(found.columns[-1]) + 1)
    on = {True: ", on the object", False: ", beside the object", None: ""}[evidence.peak_in_box]
    there = int(found.predicted.flat[found.confidence.argmin()])
    before = int(found.unoccluded.argmax())
    if there == found.label:
        flips = "and the answer is the true class" if before != there else "and the answer stays"
    elif there == before:
        flips = f"and the answer stays {class_names[there]}"
    else:
        flips = f"and the answer becomes {class_names[there]}"
    said = f"This falls most with the window at the {where}{on}: to {percent(found.confidence.min())}, {flips}."
    if not math.isnan(evidence.drop_in_box):
        said += (
            f" Windows centred in the object box cause {percent(evidence.drop_in_box)} of the drop and "
            f"are {percent(evidence.box_share)} of the positions."
        )
    return said


def _interventions(row: pd.Series | Mapping[str, Any], true_class: str) -> str:
    verdict = VERDICT.get(str(row["verdict"]), CANNOT)
    return (
        f"With the whole object hidden {true_class} keeps {percent(row['p_box_hidden'])}, with all else hidden "
        f"{percent(row['p_context_hidden'])}. {verdict}"
    )
