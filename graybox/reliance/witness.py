"""The second witness: object or context, judged without gray from objects before other images' backgrounds.

`docs/verdict.md` has the rule, the reasons for it, and how often it is right on networks whose truth is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, LEAST_SKILL, MIXED, NO_VERDICT, OBJECT, kept, skill
from graybox.reliance.swaps import KINDS, Swaps
from graybox.reliance.validated import LEAST_IMAGES, VALIDATED_SIZES, Sizes, judged
from graybox.reliance.verdict import CLOSE, STARTS, Reliance, unless_lucky
from graybox.statistics import paired
from graybox.statistics.intervals import Estimate, resampled_means, share

DECIDES, UNUSED = 0.50, 0.20
"""Object (or context): it decides at least the first where the two disagree, and the other less than the second."""
UNUSED_ALONE = {OBJECT: 0.40, CONTEXT: 0.30}
"""And the other, alone, keeps less than this: the object's box holds some of its background too."""
ENOUGH_ALONE, EITHER = 0.50, 1.50
"""Both: each alone keeps at least the first, and the two add up to at least the second (as in `rule`)."""

SHARES = ("object_decides", "context_decides", "object_suffices", "context_suffices")


@dataclass(frozen=True)
class Witness:
    """What a network's answers rest on by its answers to other backgrounds, and the figures behind it.

    Attributes:
        verdict: one of graybox.reliance.rule.VERDICTS, or NO_VERDICT with too few images.
        images: how many were asked about. `chance`: the accuracy of the best constant answer.
        accuracy: by the names in graybox.reliance.swaps.KINDS, 0..1, with Wilson's intervals.
        follows: how often the answer is the background's class, before another class's background, likewise.
        object_decides, context_decides: before another class's background: the share of the accuracy above chance that
            the object keeps, and that the background's class gets instead; with paired intervals.
        object_suffices, context_suffices: the share that is left before a blend of several classes' backgrounds, and
            with the object's box filled from its surroundings; likewise.
        gap: the accuracy before backgrounds of the own class minus that before other classes': the background's share,
            -1..1, with its paired interval (Xiao et al. 2021 call it BG-Gap).
        stability: the share of bootstrap resamples of the images that give the same verdict; NaN without images.
    """

    verdict: str
    images: int
    chance: float
    accuracy: dict[str, Estimate]
    follows: Estimate
    object_decides: Estimate
    context_decides: Estimate
    object_suffices: Estimate
    context_suffices: Estimate
    gap: Estimate
    stability: float

    def metrics(self) -> dict[str, float | str]:
        """All figures by name after "swap_", with `_low` and `_high` for the ends of intervals; {} without images."""
        if not self.images:
            return {}
        found: dict[str, float | str] = {"verdict": self.verdict, "images": self.images, "stability": self.stability}
        estimates = {f"accuracy_{name}": one for name, one in self.accuracy.items() if name != "as_is"}
        estimates |= {name: getattr(self, name) for name in ("follows", *SHARES, "gap")}
        for name, one in estimates.items():
            found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
        present = {f"swap_{name}": value for name, value in found.items() if value == value}  # NaN is not
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in present.items()}

    def figures(self) -> str:
        """What it found, in words."""
        gap = f"{100 * self.gap.value:+.0f} points (95% CI {100 * self.gap.low:.0f} to {100 * self.gap.high:.0f})"
        return (
            f"before backgrounds of other classes it keeps {self.object_decides.percent()} of its accuracy above "
            f"chance and answers the background's class in {self.follows.percent()} of the pictures; a background of "
            f"the object's own class instead changes the accuracy by {gap}"
        )


def swap_rule(skilled: float, shares: NDArray[np.float64]) -> str:
    """The verdict, one of VERDICTS.

    Args:
        skilled: `skill` of the accuracy. `shares`: float [4], in the order of SHARES.
    """
    object_decides, context_decides, object_suffices, context_suffices = shares
    if not skilled >= LEAST_SKILL:
        return CANNOT_TELL
    if object_decides >= DECIDES and context_decides < UNUSED and context_suffices < UNUSED_ALONE[CONTEXT]:
        return OBJECT
    if context_decides >= DECIDES and object_decides < UNUSED and object_suffices < UNUSED_ALONE[OBJECT]:
        return CONTEXT
    alone = object_suffices, context_suffices
    return BOTH if min(alone) >= ENOUGH_ALONE and sum(alone) >= EITHER else MIXED


def testify(swaps: Swaps, *, sizes: Sizes | None = VALIDATED_SIZES, resamples: int = 2000, seed: int = 0) -> Witness:
    """Judge what a network rests on from its answers to objects before other backgrounds.

    Args:
        swaps: from `graybox.reliance.swaps.swap`; without images the verdict is "cannot tell".
        sizes: the same as for `swap`. With too few objects of such a size there is no verdict; None = there always is.
        resamples: how often the bootstrap resamples the images. `seed`: of its random numbers.
    """
    count, chance, missing = len(swaps), swaps.chance, Estimate(math.nan, math.nan, math.nan)
    if not count:
        return Witness(
            CANNOT_TELL, 0, chance, dict.fromkeys(KINDS, missing), missing, missing, missing, missing, missing, missing,
            math.nan,
        )  # fmt: skip
    has_verdict = judged(swaps.object_size, sizes)[1]
    correct, follows = swaps.correct(), swaps.follows()
    measured = np.stack([correct["as_is"], correct["other"], follows, correct["blend"], correct["removed"]])
    measured = measured.astype(float)
    as_is, *rates = measured

    def rule_of(skilled: float, row: NDArray[np.float64]) -> str:
        return swap_rule(skilled, np.array([kept(rate, row[0], chance) for rate in row[1:]]))

    again = resampled_means(measured.T, resamples, seed)
    verdict, *others = unless_lucky(np.vstack([measured.mean(axis=1), again]), chance, count, rule_of)
    skilled = skill(float(as_is.mean()), chance) >= LEAST_SKILL
    gap = paired.compare(correct["same"], correct["other"])
    return Witness(
        verdict=verdict if has_verdict else NO_VERDICT,
        images=count,
        chance=chance,
        accuracy={name: share(right.sum(), count) for name, right in correct.items()},
        follows=share(follows.sum(), count),
        gap=Estimate(gap.difference, gap.low, gap.high),
        stability=float(np.mean([other == verdict for other in others])) if has_verdict else math.nan,
        **{
            name: paired.mean_of(*paired.kept_values(as_is, rate, chance)) if skilled else missing
            for name, rate in zip(SHARES, rates)
        },
    )


def weaker(verdict: str, other: str) -> str:
    """What two witnesses together support: their verdict if they agree, else the weaker one.

    "cannot tell" is weaker than all, and "mixed" than object, context and both. Object and context contradict each
    other, so together they are "cannot tell"; "both" and either of them are "mixed".
    """
    if verdict == other:
        return verdict
    if CANNOT_TELL in (verdict, other) or {verdict, other} == {OBJECT, CONTEXT}:
        return CANNOT_TELL
    return MIXED


def claim(gray: Reliance, witness: Witness) -> str:
    """The verdict that is claimed: the weaker of the two, or gray's where the second witness has none."""
    return weaker(gray.verdict, witness.verdict) if _both(gray, witness) else gray.verdict


def _both(gray: Reliance, witness: Witness) -> bool:
    """Whether both have a verdict."""
    return bool(gray.images and witness.images) and NO_VERDICT not in (gray.verdict, witness.verdict)


def sentence(gray: Reliance, witness: Witness) -> str:
    """What both witnesses say together; where they disagree, it says so and claims the weaker."""
    if not _both(gray, witness):
        asked = gray.images and witness.images and gray.verdict != NO_VERDICT
        few = f" A second test has {witness.images} images, too few for a verdict: {LEAST_IMAGES} are needed."
        return gray.sentence() + few * bool(asked)
    if gray.verdict == witness.verdict:
        if gray.verdict == CANNOT_TELL:
            return gray.sentence()
        close = "" if witness.stability >= CLOSE else f" (in {witness.stability:.0%} of the resamples)"
        return f"{gray.sentence()} A second test, in which nothing is hidden, agrees{close}: {witness.figures()}."
    start = STARTS.get(claim(gray, witness), "It is unclear what the model rests on")
    return (
        f"{start}: two tests disagree, and the more cautious verdict counts. With parts hidden the verdict is "
        f"“{gray.verdict}”: {gray.figures()}. With nothing hidden it is “{witness.verdict}”: {witness.figures()}."
    )
