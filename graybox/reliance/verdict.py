"""Object or context: what hiding the one and the other says a network's answers rest on.

`docs/verdict.md` has the rule, why it is so, and how often it is right about networks of which the truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from graybox.occlusion.evidence import FLAT, MapEvidence, MapFigures, summarize
from graybox.reliance.interventions import NAMES, Interventions
from graybox.reliance.rule import (
    BOTH,
    CANNOT_TELL,
    CONTEXT,
    LEAST_SKILL,
    MIXED,
    OBJECT,
    VERDICTS,
    kept,
    per_image,
    rule,
    skill,
)
from graybox.statistics.intervals import Estimate, percentiles, resampled_means, share, wilson

CLOSE = 0.90
"""If fewer of the bootstrap resamples of the images give the same verdict, the sentence says so."""
STARTS = {
    OBJECT: "The model rests on the object",
    CONTEXT: "The model rests on the context",
    BOTH: "The model rests on both, and either will do",
    MIXED: "The model mixes object and context",
}


@dataclass(frozen=True)
class Reliance:
    """What a network's answers rest on, and the figures that say so.

    Attributes:
        verdict: one of VERDICTS.
        images: how many images with a usable box it is about. `left_out`: how many have none.
        chance: the accuracy of the best constant answer.
        accuracy: of the image as it is, with the box hidden, the context hidden, and the control (by the names in
            graybox.reliance.interventions.NAMES), 0..1, with Wilson's intervals.
        probability: the mean of the true class's, likewise, with bootstrap intervals.
        object_alone, context_alone, control_kept: the share of the accuracy above chance that is left with everything
            but the box hidden, with the box hidden, and with an equal area of context hidden; paired bootstrap.
            A little below 0 or above 1 is possible; with an accuracy near chance they mean nothing.
        stability: the share of bootstrap resamples of the images that give the same verdict; NaN without images.
        equal_area: the share of images whose context has enough pixels for an exact control.
        image_verdicts: for each of VERDICTS the share of images of which it is the verdict.
        maps: what the confidence maps say.
    """

    verdict: str
    images: int
    left_out: int
    chance: float
    accuracy: dict[str, Estimate]
    probability: dict[str, Estimate]
    object_alone: Estimate
    context_alone: Estimate
    control_kept: Estimate
    stability: float
    equal_area: float
    image_verdicts: dict[str, Estimate]
    maps: MapFigures

    def metrics(self) -> dict[str, float | str]:
        """All figures by name, with `_low` and `_high` for the ends of intervals; what is missing is left out."""
        flat: dict[str, float | str | Estimate] = {
            "verdict": self.verdict, "stability": self.stability, "images": self.images, "left_out": self.left_out,
            "chance": self.chance, "object_alone": self.object_alone, "context_alone": self.context_alone,
            "control_kept": self.control_kept, "equal_area": self.equal_area,
        }  # fmt: skip
        flat |= {f"accuracy_{name}": value for name, value in self.accuracy.items()}
        flat |= {f"probability_{name}": value for name, value in self.probability.items()}
        flat |= {f"images_{name.replace(' ', '_')}": value for name, value in self.image_verdicts.items()}
        flat |= {f"maps_{field.name}": getattr(self.maps, field.name) for field in fields(self.maps)}
        found: dict[str, float | str] = {}
        for name, value in flat.items():
            if isinstance(value, Estimate):
                found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                found[name] = value
        present = {name: value for name, value in found.items() if value == value}  # NaN is not
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in present.items()}

    def sentence(self) -> str:
        """The verdict in one or two plain sentences, with its figures."""
        if not self.images:
            return f"Without object boxes there is no telling object from context. {self.maps_sentence()}"
        figures = (
            f"with everything else hidden it keeps {_of_skill(self.object_alone)} of its accuracy above chance; "
            f"with the object hidden {_of_skill(self.context_alone)}"
        )
        if self.verdict != CANNOT_TELL:
            said = f"{STARTS[self.verdict]}: {figures}."
        elif skill(self.accuracy["as_is"].value, self.chance) < LEAST_SKILL:
            return (
                f"It cannot be told what the model rests on: its accuracy, {self.accuracy['as_is'].percent()}, "
                f"is too near to chance ({self.chance:.0%})."
            )
        elif self.accuracy["as_is"].low <= self.chance:
            return (
                f"It cannot be told what the model rests on: of {self.images} images its accuracy, "
                f"{self.accuracy['as_is'].percent()}, may be chance ({self.chance:.0%})."
            )
        else:
            said = (
                f"It cannot be told what the model rests on, as hiding either takes too much: {figures}. Hiding an "
                f"equal area of context already leaves {_of_skill(self.control_kept)}."
            )
        if self.stability < CLOSE:
            said += f" This is close: {self.stability:.0%} of the bootstrap resamples give this verdict."
        return said

    def maps_sentence(self) -> str:
        """What the confidence maps say, in a sentence; it decides nothing."""
        maps = self.maps
        if not maps.count:
            return "There are no confidence maps."
        if math.isnan(maps.concentration):
            return f"All {maps.count} confidence maps are flat: no window takes {FLAT:.0%} of probability away."
        flat = f" (and {maps.flat.value:.0%} of the maps are flat)" * (maps.flat.value > 0)
        if not maps.pointed:
            return (
                f"The {maps.count} confidence maps say how local the evidence is: half of the drop lies in "
                f"{maps.concentration:.0%} of the windows in the median{flat}."
            )
        return (
            f"In {maps.pointing.percent()} of {maps.pointed} confidence maps the window that takes the most lies on "
            f"the object, where the middle of the image does in {maps.centre.value:.0%}; windows on the object make "
            f"{maps.drop_in_box:.0%} of the drop and {maps.box_share:.0%} of the positions{flat}."
        )


def judge(
    interventions: Interventions,
    evidence: Sequence[MapEvidence] = (),
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Reliance:
    """What the network rests on, over all images together: object, context, both, mixed, or cannot tell.

    `graybox.reliance.rule` has the rule. It compares the accuracies above chance with the object hidden and with
    everything else hidden, as Xiao et al. 2021 do ("Noise or signal: the role of image backgrounds in object
    recognition").

    Args:
        interventions: from `intervene`; without images that have a box the verdict is "cannot tell".
        evidence: the confidence maps of some of the images; they are reported, and decide nothing.
        resamples: of the bootstrap (Efron 1979), which draws images; at least 1. `seed`: of its random numbers.

    Raises:
        ValueError: there are no resamples.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it should be at least 1")
    count, chance = len(interventions), interventions.chance
    correct, probability = interventions.correct(), interventions.true_probabilities()
    missing = Estimate(math.nan, math.nan, math.nan)
    maps = summarize(evidence, resamples=resamples, seed=seed)
    if not count:
        nothing = dict.fromkeys(NAMES, missing)
        return Reliance(
            CANNOT_TELL, 0, interventions.left_out, math.nan, nothing, nothing, missing, missing, missing, math.nan,
            math.nan, dict.fromkeys(VERDICTS, missing), maps,
        )  # fmt: skip
    measured = np.column_stack([correct[name] for name in NAMES] + [probability[name] for name in NAMES])
    means, again = measured.mean(axis=0), resampled_means(measured, resamples, seed)
    shares = _shares(means, chance)
    shares_again = np.array([_shares(row, chance) for row in again])
    all_at_once = np.vstack([means, again])[:, 0]
    # Of a few images, an accuracy well above chance can be luck; of many, one barely above it is certain and nothing.
    lucky = wilson(all_at_once * count, count)[0] <= chance
    verdict, *others = (
        CANNOT_TELL if luck else rule(skill(accuracy, chance), kept_by[0], kept_by[1])
        for accuracy, luck, kept_by in zip(all_at_once, lucky, [shares, *shares_again])
    )
    verdicts = per_image(interventions)["verdict"]
    return Reliance(
        verdict=verdict,
        images=count,
        left_out=interventions.left_out,
        chance=chance,
        accuracy={name: share(correct[name].sum(), count) for name in NAMES},
        probability={name: percentiles(means[4 + i], again[:, 4 + i]) for i, name in enumerate(NAMES)},
        object_alone=percentiles(shares[0], shares_again[:, 0]),
        context_alone=percentiles(shares[1], shares_again[:, 1]),
        control_kept=percentiles(shares[2], shares_again[:, 2]),
        stability=float(np.mean([other == verdict for other in others])),
        equal_area=float(interventions.equal_area.mean()),
        image_verdicts={name: share((verdicts == name).sum(), count) for name in VERDICTS},
        maps=maps,
    )


def _shares(means: np.ndarray, chance: float) -> tuple[float, float, float]:
    """Object alone, context alone, control, from the accuracies in the order of NAMES."""
    as_is, box_hidden, context_hidden, control = means[:4]
    return kept(context_hidden, as_is, chance), kept(box_hidden, as_is, chance), kept(control, as_is, chance)


def _of_skill(estimate: Estimate) -> str:
    """A share of the accuracy above chance in words; a little below 0 is sampling noise and reads as 0."""
    return Estimate(*(max(0.0, value) for value in (estimate.value, estimate.low, estimate.high))).percent()
