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
from graybox.reliance import validated
from graybox.reliance.interventions import NAMES, Interventions
from graybox.reliance.rule import (
    BOTH,
    CANNOT_TELL,
    CONTEXT,
    LEAST_SKILL,
    MIXED,
    NO_VERDICT,
    OBJECT,
    VERDICTS,
    kept,
    per_image,
    rule,
    skill,
)
from graybox.reliance.validated import VALIDATED_SIZES, Sizes
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
        verdict: one of VERDICTS, or NO_VERDICT.
        images: how many images the figures are about: those with a usable box whose object has an allowed size; if
            these are too few for a verdict, all with a usable box.
        outside: how many images with a usable box have an object of another size. `left_out`: how many have no such
            box. `sizes`: the allowed sizes, None = all.
        chance: the accuracy of the best constant answer.
        accuracy: as it is, with the box hidden, with the context hidden, and of the control (by the names in
            graybox.reliance.interventions.NAMES), 0..1, with Wilson's intervals.
        probability: the true class's mean probability, by the same names, with bootstrap intervals.
        object_alone, context_alone, control_kept: the share of the accuracy above chance that is left with everything
            but the box hidden, with the box hidden, and with an equal area of context hidden; paired bootstrap.
            Values a little below 0 or above 1 are possible; near chance the shares mean nothing.
        stability: the share of bootstrap resamples of the images that give the same verdict; NaN without images.
        equal_area: the share of images whose context has enough pixels for an exact control.
        image_verdicts: for each of VERDICTS the share of images with that verdict, of those with an allowed size.
        maps: the figures of the confidence maps.
    """

    verdict: str
    images: int
    outside: int
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
    sizes: Sizes | None = VALIDATED_SIZES

    def metrics(self) -> dict[str, float | str]:
        """All figures by name, with `_low` and `_high` for the ends of intervals; missing figures are left out."""
        flat: dict[str, float | str | Estimate] = {
            "verdict": self.verdict, "stability": self.stability, "images": self.images, "outside": self.outside,
            "left_out": self.left_out, "chance": self.chance, "object_alone": self.object_alone,
            "context_alone": self.context_alone, "control_kept": self.control_kept, "equal_area": self.equal_area,
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
        if self.verdict == NO_VERDICT:
            return f"No verdict: {self.why_none()}. {self._near_chance() or f'The figures alone: {self.figures()}.'}"
        return self._verdict_sentence() + self._left_out()

    def why_none(self) -> str:
        """Why there is no verdict; "" if there is one, or no image with a box."""
        if self.verdict != NO_VERDICT:
            return ""
        assert self.sizes
        few = self.images - self.outside
        if self.images == 1:
            some = f"the only object has {'a' if few else 'no'} size"
        elif not self.outside:
            some = f"there are only {few} objects, all of a size"
        else:
            count = f"only {few}" if few else "none"
            some = f"{count} of the {self.images} objects {'has' if few < 2 else 'have'} a size"
        checked = f"on which the rule was checked, {validated.words(self.sizes)}"
        return f"{some} {checked}, and {validated.LEAST_IMAGES} are needed"

    def _left_out(self) -> str:
        if not self.outside or not self.sizes:
            return ""
        images, objects = ("image", "object is") if self.outside == 1 else ("images", "objects are")
        are = "is" if self.outside == 1 else "are"
        return (
            f" {self.outside:,} {images} {are} left out, as the {objects} smaller or larger than "
            f"{validated.words(self.sizes)}, the sizes on which the rule was checked."
        )

    def _near_chance(self) -> str:
        """A sentence if the accuracy is so near to chance, or below it, that its shares mean nothing, else ""."""
        accuracy = self.accuracy["as_is"]
        if self.chance >= 1:
            some = "There is only one image" if self.images == 1 else f"All {self.images} images are of one class"
            return f"{some}, so a constant answer is right too; a verdict needs images of several classes."
        if accuracy.value <= self.chance:
            return (
                f"Its accuracy, {accuracy.percent()}, is not above chance ({self.chance:.0%}, the share of the most "
                "frequent class)."
            )
        if skill(accuracy.value, self.chance) < LEAST_SKILL:
            return f"Its accuracy, {accuracy.percent()}, is too near to chance ({self.chance:.0%})."
        if accuracy.low <= self.chance:
            return f"Its accuracy on {self.images} images, {accuracy.percent()}, may be chance ({self.chance:.0%})."
        return ""

    def _verdict_sentence(self) -> str:
        figures = self.figures()
        if self.verdict != CANNOT_TELL:
            said = f"{STARTS[self.verdict]}: {figures}."
        elif near := self._near_chance():
            return f"It is unclear what the model rests on: {near[:1].lower()}{near[1:]}"
        else:
            said = (
                f"It is unclear what the model rests on, as hiding either one costs too much: {figures}. Hiding an "
                f"equal area of context already leaves {self.control_kept.percent()}."
            )
        if self.stability < CLOSE:
            said += f" The verdict is close: {self.stability:.0%} of the bootstrap resamples give it."
        return said

    def figures(self) -> str:
        """What is left with either hidden, in words."""
        return (
            f"with everything else hidden it keeps {self.object_alone.percent()} of its accuracy above chance; "
            f"with the object hidden {self.context_alone.percent()}"
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
    sizes: Sizes | None = VALIDATED_SIZES,
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
        sizes: of the objects that are judged, from and to: the longer side of the box as a share of the picture's side.
            Images with other objects are left out. With fewer than `graybox.reliance.validated.LEAST_IMAGES` others
            there is no verdict, and the figures are those of all images. The default is the range on which the rule was
            checked; None judges all sizes, and any number of images.
        resamples: how often the bootstrap (Efron 1979) resamples the images; 1 to 1,000,000. `seed`: of its random
            numbers.

    Raises:
        TypeError: an argument is of another type.
        ValueError: resamples is outside 1 to 1,000,000, the seed below 0, or the sizes are not within 0..1 or in the
            wrong order.
    """
    arguments.instance("interventions", interventions, Interventions)
    sizes = validated.checked(sizes)
    resamples, seed = arguments.integer("resamples", resamples, 1, 1_000_000), arguments.integer("seed", seed, 0)
    _check_evidence(evidence)
    maps = summarize(evidence, resamples=resamples, seed=seed)
    if not len(interventions):
        return _without_boxes(interventions.left_out, maps)
    allowed = validated.within(interventions.object_size, sizes)
    some, has_verdict = validated.judged(interventions.object_size, sizes)
    of_images = per_image(interventions, sizes=sizes)["verdict"].to_numpy()[allowed]
    asked = interventions.only(some)
    count, chance, measured = len(asked), asked.chance, _measured(asked)
    means, again = measured.mean(axis=0), resampled_means(measured, resamples, seed)
    verdict, *others = verdicts_of(np.vstack([means, again]), chance, count)
    shares_again = np.array([shares_kept(row, chance) for row in again]).T
    object_alone, context_alone, control_kept = map(percentiles, shares_kept(means, chance), shares_again)
    return Reliance(
        verdict=verdict if has_verdict else NO_VERDICT,
        images=count,
        outside=int((~allowed).sum()),
        left_out=asked.left_out,
        chance=chance,
        accuracy={name: share(right, count) for name, right in zip(NAMES, measured.sum(axis=0))},
        probability={name: percentiles(means[4 + i], again[:, 4 + i]) for i, name in enumerate(NAMES)},
        object_alone=object_alone,
        context_alone=context_alone,
        control_kept=control_kept,
        stability=float(np.mean([other == verdict for other in others])) if has_verdict else math.nan,
        equal_area=float(asked.equal_area.mean()),
        image_verdicts={name: share(int((of_images == name).sum()), len(of_images)) for name in VERDICTS},
        maps=maps,
        sizes=sizes,
    )


def _check_evidence(evidence: object) -> None:
    if isinstance(evidence, MapEvidence) or not isinstance(evidence, Sequence):
        raise TypeError(f"evidence is {arguments.shown(evidence)}; it should be a list of graybox.MapEvidence")
    for place, one in enumerate(evidence):
        arguments.instance(f"evidence[{place}]", one, MapEvidence)


def _without_boxes(left_out: int, maps: MapFigures) -> Reliance:
    """What is known without any image with a usable box: the maps alone."""
    missing = Estimate(math.nan, math.nan, math.nan)
    of_each = dict.fromkeys(NAMES, missing)
    return Reliance(
        CANNOT_TELL, 0, 0, left_out, math.nan, of_each, of_each, missing, missing, missing, math.nan, math.nan,
        dict.fromkeys(VERDICTS, missing), maps,
    )  # fmt: skip


def _measured(asked: Interventions) -> np.ndarray:
    """Each image's figures, float64 [N, 8]: whether the answer is right, then the true class's probability.

    Both are in the order of NAMES.
    """
    correct, probability = asked.correct(), asked.true_probabilities()
    return np.column_stack([correct[name] for name in NAMES] + [probability[name] for name in NAMES])


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
