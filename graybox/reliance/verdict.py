"""Object or context: what a network's answers rest on, judged by hiding either one.

`docs/verdict.md` has the rule, the reasons for it, and how often it is right on networks whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from graybox import arguments
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
"""If a smaller share of the bootstrap resamples gives the same verdict, the sentence calls it close."""
STARTS = {
    OBJECT: "The model rests on the object",
    CONTEXT: "The model rests on the context",
    BOTH: "The model rests on both: either is enough",
    MIXED: "The model mixes object and context",
}


@dataclass(frozen=True)
class Reliance:
    """What a network's answers rest on, and the figures behind it.

    Attributes:
        verdict: one of VERDICTS.
        images: how many images have a usable box. `left_out`: how many have none.
        chance: the accuracy of the best constant answer.
        accuracy: as it is, with the box hidden, with the context hidden, and of the control (by the names in
            graybox.reliance.interventions.NAMES), 0..1, with Wilson's intervals.
        probability: the true class's mean probability, by the same names, with bootstrap intervals.
        object_alone, context_alone, control_kept: the share of the accuracy above chance that is left with everything
            but the box hidden, with the box hidden, and with an equal area of context hidden; paired bootstrap.
            Values a little below 0 or above 1 are possible; near chance the shares mean nothing.
        stability: the share of bootstrap resamples of the images that give the same verdict; NaN without images.
        equal_area: the share of images whose context has enough pixels for an exact control.
        image_verdicts: for each of VERDICTS the share of images with that verdict.
        maps: the figures of the confidence maps.
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
        """All figures by name, with `_low` and `_high` for the ends of intervals; missing figures are left out."""
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
            return f"Object and context cannot be compared without object boxes. {self.maps_sentence()}"
        figures = self.figures()
        if self.verdict != CANNOT_TELL:
            said = f"{STARTS[self.verdict]}: {figures}."
        elif skill(self.accuracy["as_is"].value, self.chance) < LEAST_SKILL:
            return (
                f"It is unclear what the model rests on: its accuracy, {self.accuracy['as_is'].percent()}, "
                f"is too near to chance ({self.chance:.0%})."
            )
        elif self.accuracy["as_is"].low <= self.chance:
            return (
                f"It is unclear what the model rests on: its accuracy on {self.images} images, "
                f"{self.accuracy['as_is'].percent()}, may be chance ({self.chance:.0%})."
            )
        else:
            said = (
                f"It is unclear what the model rests on, as hiding either one costs too much: {figures}. Hiding an "
                f"equal area of context already leaves {of_skill(self.control_kept)}."
            )
        if self.stability < CLOSE:
            said += f" The verdict is close: {self.stability:.0%} of the bootstrap resamples give it."
        return said

    def figures(self) -> str:
        """What is left with either hidden, in words."""
        return (
            f"with everything else hidden it keeps {of_skill(self.object_alone)} of its accuracy above chance; "
            f"with the object hidden {of_skill(self.context_alone)}"
        )

    def maps_sentence(self) -> str:
        """What the confidence maps show, in a sentence or two; the verdict does not depend on it."""
        maps = self.maps
        if not maps.count:
            return "There are no confidence maps."
        unseen = f" Their windows never hide {maps.never_hidden:.0%} of the pixels." if maps.never_hidden else ""
        return self._maps_sentence(maps) + unseen

    @staticmethod
    def _maps_sentence(maps: MapFigures) -> str:
        if math.isnan(maps.concentration):
            return f"All {maps.count} confidence maps are flat: no window lowers the probability by {FLAT:.0%}."
        flat = f" (and {maps.flat.value:.0%} of the maps are flat)" * (maps.flat.value > 0)
        if not maps.pointed:
            return (
                f"The {maps.count} confidence maps say how local the evidence is: half of the drop lies in "
                f"{maps.concentration:.0%} of the windows in the median{flat}."
            )
        return (
            f"In {maps.pointing.percent()} of {maps.pointed} confidence maps the largest drop lies on the object; the "
            f"middle of the image does in {maps.centre.value:.0%}. Windows on the object cause {maps.drop_in_box:.0%} "
            f"of the drop and are {maps.box_share:.0%} of the positions{flat}."
        )


def judge(
    interventions: Interventions,
    evidence: Sequence[MapEvidence] = (),
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Reliance:
    """Judge what the network rests on, over all images: object, context, both, mixed, or cannot tell.

    `graybox.reliance.rule` has the rule. It compares the accuracies above chance with the object hidden and with
    everything else hidden, as Xiao et al. 2021 do ("Noise or signal: the role of image backgrounds in object
    recognition").

    Args:
        interventions: from `intervene`; if no image has a box, the verdict is "cannot tell".
        evidence: the confidence maps of some of the images; they are reported but do not change the verdict.
        resamples: how often the bootstrap (Efron 1979) resamples the images; 1 to 1,000,000. `seed`: of its random
            numbers.

    Raises:
        TypeError: an argument is of another type.
        ValueError: resamples is outside 1 to 1,000,000, or the seed below 0.
    """
    arguments.instance("interventions", interventions, Interventions)
    resamples, seed = arguments.integer("resamples", resamples, 1, 1_000_000), arguments.integer("seed", seed, 0)
    if isinstance(evidence, MapEvidence) or not isinstance(evidence, Sequence):
        raise TypeError(f"evidence is {arguments.shown(evidence)}; it should be a list of graybox.MapEvidence")
    for place, one in enumerate(evidence):
        arguments.instance(f"evidence[{place}]", one, MapEvidence)
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
    shares = shares_kept(means, chance)
    shares_again = np.array([shares_kept(row, chance) for row in again])
    verdict, *others = verdicts_of(np.vstack([means, again]), chance, count)
    of_images = per_image(interventions)["verdict"]
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
        image_verdicts={name: share((of_images == name).sum(), count) for name in VERDICTS},
        maps=maps,
    )


def verdicts_of(accuracies: np.ndarray, chance: float, count: int) -> list[str]:
    """The verdict of each row of accuracies on `count` images, float [rows, 4 or more], in the order of NAMES."""
    return unless_lucky(accuracies, chance, count, lambda skilled, row: rule(skilled, *shares_kept(row, chance)[:2]))


def unless_lucky(
    accuracies: np.ndarray, chance: float, count: int, rule_of: Callable[[float, np.ndarray], str]
) -> list[str]:
    """The verdict of each row, of which the first is the accuracy as it is: "cannot tell" if that may be luck.

    Args:
        accuracies: float [rows, figures], on `count` images. `rule_of`: (skill, row) -> one of VERDICTS.
    """
    # On few images an accuracy well above chance can be luck. On many, even a tiny lead is certain, but too small.
    lucky = wilson(accuracies[:, 0] * count, count)[0] <= chance
    return [CANNOT_TELL if luck else rule_of(skill(row[0], chance), row) for row, luck in zip(accuracies, lucky)]


def shares_kept(means: np.ndarray, chance: float) -> tuple[float, float, float]:
    """Object alone, context alone, control, from the accuracies in the order of NAMES."""
    as_is, box_hidden, context_hidden, control = means[:4]
    return kept(context_hidden, as_is, chance), kept(box_hidden, as_is, chance), kept(control, as_is, chance)


def of_skill(estimate: Estimate) -> str:
    """A share of the accuracy above chance in words; a value below 0 is sampling noise and shown as 0."""
    return Estimate(*(max(0.0, value) for value in (estimate.value, estimate.low, estimate.high))).percent()
