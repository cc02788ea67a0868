"""What each variant of the study rests on: columns of its table, and what each parameter changes.

Every variant answers the same test images four times: as they are, with the object box hidden, with everything else
hidden, and with an equal area of the context hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graybox.data.images import ImageSet
from graybox.reliance import validated
from graybox.reliance.interventions import NAMES
from graybox.reliance.rule import LEAST_SKILL, NO_VERDICT, skill
from graybox.reliance.verdict import verdicts_of
from graybox.statistics import paired
from graybox.statistics.scores import constant_accuracy
from graybox.study.variants import Variants

HIDDEN = {"object_alone": "context_hidden", "context_alone": "box_hidden", "control_kept": "control"}
"""Each share, and the intervention that it is measured under."""
TESTED = ("object_alone", "context_alone")
"""The shares whose changes are tested; the control's helps to read them."""


@dataclass(frozen=True)
class Hidden:
    """Which answers of a variant's networks, one per seed, are right, of the same N images.

    Attributes:
        right: bool [seeds, 4, N], in the order of `graybox.reliance.interventions.NAMES`.
        chance: the accuracy of the best constant answer on these images; NaN without images.
        has_verdict: whether enough objects have a size on which the rule was checked.
    """

    right: NDArray[np.bool_]
    chance: float
    has_verdict: bool = True

    def __len__(self) -> int:
        return int(self.right.shape[2])

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Means over images and seeds, float64 [4]."""
        means: NDArray[np.float64] = self.right.mean(axis=(0, 2))
        return means

    @property
    def skilled(self) -> bool:
        """Whether the accuracy is far enough above chance for its shares to mean something."""
        return bool(skill(float(self.accuracies[0]), self.chance) >= LEAST_SKILL)

    def kept(self, name: str) -> tuple[NDArray[np.float64], float]:
        """A share of HIDDEN as a figure of each image, float64 [seeds, N], and its unit (`paired.kept_values`)."""
        as_is, hidden = (self.right[:, NAMES.index(each)].astype(float) for each in ("as_is", HIDDEN[name]))
        return paired.kept_values(as_is, hidden, self.chance)


def read(file: Path | str, test: ImageSet) -> Hidden:
    """A variant's answers from the file of stage evaluate, which chose the images by the size of their objects."""
    with np.load(file) as saved:
        rows, right = saved["boxed"], saved["right_when_hidden"]
    sizes = validated.object_sizes(test.boxes[rows], *test.images.shape[1:3])
    has_verdict = validated.judged(sizes, validated.VALIDATED_SIZES)[1]
    return Hidden(right, constant_accuracy(test.labels[rows]), has_verdict)


def extended(
    variants: Variants, frame: pd.DataFrame, found: Mapping[str, Hidden], resamples: int = 2000
) -> pd.DataFrame:
    """The study's table with what each variant rests on; the same table if no test image has an object box.

    The new columns: `verdict`, and `stability`, the share of the bootstrap resamples of the images (and of the seeds)
    with the same verdict (NaN where there is none); object_alone, context_alone and control_kept with their intervals,
    and their differences from the baseline with paired intervals; for the first two the p-values too, which Holm
    corrects over both shares and all variants; `boxed_images`, how many images these are. With several seeds the
    intervals cover other training runs too.
    A variant that diverged or is near chance has no shares.

    Args:
        frame: from `comparison.table`. `found`: for each variant.
    """
    baseline = variants.baseline
    if not len(found[baseline]):
        return frame
    sound = {
        str(row["variant"]) for _, row in frame.iterrows() if not row["diverged"] and found[row["variant"]].skilled
    }
    tested = [name for name in frame["variant"] if {name, baseline} <= sound and name != baseline]
    changes = {(name, share): _change(found[name], found[baseline], share) for name in tested for share in HIDDEN}
    claimed = [key for key in changes if key[1] in TESTED]
    p_values = dict(zip(claimed, paired.holm([changes[key].p_value for key in claimed])))
    rows = []
    for name in frame["variant"]:
        verdict, stability = _verdict(found[name], resamples)
        row: dict[str, Any] = {"verdict": verdict, "stability": stability, "boxed_images": len(found[name])}
        for share in HIDDEN:
            one = paired.mean_of(*found[name].kept(share)) if name in sound else None
            row |= {share: one and one.value, f"{share}_low": one and one.low, f"{share}_high": one and one.high}
            change = changes.get((name, share))
            row |= {
                f"{share}_difference": change and change.difference, f"{share}_difference_low": change and change.low,
                f"{share}_difference_high": change and change.high,
            }  # fmt: skip
            if share in TESTED:
                row[f"{share}_p_value"] = p_values.get((name, share))
        rows.append(row)
    new = pd.DataFrame(rows, index=frame.index)
    return pd.concat([frame, new.astype(dict.fromkeys(new.columns.drop(["verdict", "boxed_images"]), float))], axis=1)


def _change(one: Hidden, baseline: Hidden, share: str) -> paired.Paired:
    (mine, my_unit), (theirs, their_unit) = one.kept(share), baseline.kept(share)
    return paired.compare_values(mine, theirs, max(my_unit, their_unit))


def _verdict(found: Hidden, resamples: int) -> tuple[str, float]:
    """The verdict on all networks of a variant together, and the share of resamples of images and seeds with it."""
    if not found.has_verdict:
        return NO_VERDICT, np.nan
    seeds, _, images = found.right.shape
    random = np.random.default_rng(0)
    of_images = random.multinomial(images, np.full(images, 1 / images), resamples) / images
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    by_seed = np.einsum("rn,skn->rsk", of_images, found.right.astype(float), optimize=True)
    again = np.einsum("rs,rsk->rk", of_seeds, by_seed)
    verdict, *others = verdicts_of(np.vstack([found.accuracies, again]), found.chance, images)
    return verdict, float(np.mean([other == verdict for other in others]))
