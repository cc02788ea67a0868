"""The rule: object, context, both, mixed, or cannot tell, for a whole test set and for one image.

`docs/verdict.md` gives the reasons for it, and how often it is right on networks whose truth is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from graybox.occlusion.evidence import MapEvidence
from graybox.reliance.validated import VALIDATED_SIZES, Sizes, within

if TYPE_CHECKING:
    from graybox.reliance.interventions import Interventions

OBJECT, CONTEXT, BOTH, MIXED, CANNOT_TELL = "object", "context", "both", "mixed", "cannot tell"
VERDICTS = (OBJECT, CONTEXT, BOTH, MIXED, CANNOT_TELL)
NO_VERDICT = "no verdict"
"""In a verdict's place, where the objects have no size on which the rule was checked (`validated`)."""

# The rule uses two shares of the accuracy above chance: what the object alone keeps (context hidden) and what the
# context alone keeps (object hidden).
LEAST_SKILL = 0.15
"""Below this share of the way from chance to 1 there is nothing to explain."""
TOO_LITTLE = 0.35
"""If neither share reaches this, hiding did more than remove evidence."""
SUFFICIENT_OBJECT, UNUSED_CONTEXT = 0.50, 0.20
"""Object: the object alone keeps at least the first, and the context alone less than the second."""
SUFFICIENT_CONTEXT, UNUSED_OBJECT = 0.75, 0.30
"""Context: likewise. Both are higher, because the object is the smaller part of the image, and because a box contains
some background too."""
EITHER = 1.25
"""Both: each alone keeps at least TOO_LITTLE, and the two add up to at least this. If some answers needed the object
and the others the context, the sum would be 1. A larger sum means that some answers can use either."""


def rule(skilled: float, object_alone: float, context_alone: float) -> str:
    """The verdict, one of VERDICTS, for a whole test set or for one image.

    "mixed" if no other verdict holds.

    Args:
        skilled: `skill` of the accuracy, or of the true class's probability.
        object_alone: what is `kept` with everything but the box hidden.
        context_alone: what is `kept` with the box hidden.
    """
    if not skilled >= LEAST_SKILL or max(object_alone, context_alone) < TOO_LITTLE:
        return CANNOT_TELL
    if object_alone >= SUFFICIENT_OBJECT and context_alone < UNUSED_CONTEXT:
        return OBJECT
    if object_alone < UNUSED_OBJECT and context_alone >= SUFFICIENT_CONTEXT:
        return CONTEXT
    redundant = object_alone + context_alone >= EITHER and min(object_alone, context_alone) >= TOO_LITTLE
    return BOTH if redundant else MIXED


def skill(value: float, chance: float) -> float:
    """An accuracy or a probability, rescaled so that chance is 0 and certainty 1."""
    return (value - chance) / (1 - chance) if chance < 1 else 0.0


def kept(hidden: float, as_is: float, chance: float) -> float:
    """The share of the value above chance that is left; 0 if nothing is above chance."""
    return (hidden - chance) / (as_is - chance) if as_is > chance else 0.0


def judge_image(
    probability: float,
    box_hidden: float,
    context_hidden: float,
    *,
    classes: int,
    correct: bool = True,
    baselines: tuple[float, float, float] | None = None,
    evidence: MapEvidence | None = None,
) -> str:
    """What the answer to one image rests on, one of VERDICTS: `rule` on the true class's probabilities.

    "cannot tell" for a misclassified image, as there is no right answer to explain. Also for an image that stays right
    whatever is hidden and has a flat map, as nothing in it was found to matter.

    Args:
        probability, box_hidden, context_hidden: of the true class, 0..1.
        classes: how many there are. `correct`: whether the true class is the most probable one.
        baselines: one for each of the three probabilities, in place of chance: what images of other classes give this
            class under the same intervention. None = 1 / classes.
        evidence: the image's map, if there is one.
    """
    if not correct:
        return CANNOT_TELL
    as_is, without_box, without_context = baselines or (1 / classes,) * 3
    there = probability - as_is
    if there <= 0:
        return CANNOT_TELL
    verdict = rule(
        skill(probability, as_is), (context_hidden - without_context) / there, (box_hidden - without_box) / there
    )
    return CANNOT_TELL if verdict == BOTH and evidence is not None and evidence.flat else verdict


def per_image(
    interventions: Interventions,
    evidence: Mapping[int, MapEvidence] | None = None,
    sizes: Sizes | None = VALIDATED_SIZES,
) -> pd.DataFrame:
    """The verdict on each image with a usable box.

    Args:
        evidence: the maps, if any, by row of the ImageSet.
        sizes: of the objects on which there is a verdict; None = all.

    Returns:
        Columns row (in the ImageSet), p, p_box_hidden, p_context_hidden (the true class's probabilities, 0..1), correct
        (bool, as it is), verdict (with the baselines of these images; NO_VERDICT for an object of another size). A row
        per image.
    """
    probabilities = interventions.true_probabilities()
    frame = pd.DataFrame(
        {
            "row": interventions.rows,
            "p": probabilities["as_is"],
            "p_box_hidden": probabilities["box_hidden"],
            "p_context_hidden": probabilities["context_hidden"],
            "correct": interventions.correct()["as_is"].astype(bool),
        }
    )
    baselines = zip(*(interventions.baselines()[name] for name in ("as_is", "box_hidden", "context_hidden")))
    allowed = within(interventions.object_size, sizes)
    frame["verdict"] = [
        NO_VERDICT
        if not has_size
        else judge_image(
            one["p"], one["p_box_hidden"], one["p_context_hidden"],
            classes=interventions.classes, correct=one["correct"], baselines=nothing,
            evidence=(evidence or {}).get(one["row"]),
        )
        for one, nothing, has_size in zip(frame.to_dict("records"), baselines, allowed)
    ]  # fmt: skip
    return frame


def of_image(judged: pd.DataFrame, row: int) -> dict[str, Any] | None:
    """An image's row of the table from `per_image`, by column; None if it has no usable box."""
    own = judged[judged["row"] == row]
    return None if own.empty else {str(name): value for name, value in own.iloc[0].items()}
