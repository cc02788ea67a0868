"""Which N, and which fill: what speaks for each kind of window, over several images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graybox.occlusion import faithfulness
from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.evidence import map_evidence
from graybox.occlusion.faithfulness import Curves
from graybox.occlusion.fills import Fill, fill_picture
from graybox.statistics import intervals, paired

if TYPE_CHECKING:  # PyTorch takes a second to load, and who only reads the results needs none
    from torch import nn

REPLACED_BY: tuple[Fill, ...] = ("blur", "mean")
"""What replaces deleted pixels. Not gray: a map made with gray foretells best what gray does."""
RANDOM, CENTRE = "random", "centre"

Method = tuple[int, str]
"""What an order of the pixels comes from: (N, fill) of a map, or (0, "random"), or (0, "centre")."""


@dataclass(frozen=True)
class Look:
    """One image, its maps with windows of several kinds, and what deletion and insertion say of them.

    Attributes:
        methods: where each order of the pixels comes from: the maps, then random order and the image's centre.
        curves: for each of REPLACED_BY, with one order for each of `methods`.
        flat: for each map, in the order of `methods`, whether it is flat (`graybox.occlusion.evidence.FLAT`).
        largest_drop: the same for the largest drop of the probability, 0..1.
    """

    methods: tuple[Method, ...]
    curves: dict[str, Curves]
    flat: tuple[bool, ...]
    largest_drop: tuple[float, ...]

    def faithfulness(self, method: Method, against: Method | None = None) -> float:
        """A map's area under insertion minus the one under deletion, the mean over what replaces the pixels, -1..1.

        Args:
            against: another map that it is compared with: then over `fair` alone.
        """
        place, others = self.methods.index(method), fair({method[1], (against or method)[1]})
        return float(np.mean([self.curves[other].faithfulness[place] for other in others]))


def fair(fills: set[str]) -> tuple[Fill, ...]:
    """Those of REPLACED_BY that none of these windows showed; all of them, if none is left.

    A map foretells best what its own fill does, so a comparison with another fill would favour it.
    """
    return tuple(other for other in REPLACED_BY if other not in fills) or REPLACED_BY


def look_at(
    model: nn.Module, image: NDArray[np.uint8], label: int, maps: Mapping[Method, OcclusionMap], seed: int = 0
) -> Look:
    """Follow the true class's probability in the order of each map, in random order and from the image's centre.

    Args:
        model: a classifier for images of this size. `image`: uint8 [H, W, 3]. `label`: the true class.
        maps: of this image, by N and fill. Where their window centres lie closer in one than in another, only as many
            of them count, so that no map is finer. `seed`: of the random order.
    """
    height, width = image.shape[:2]
    every = max((_stride(one) for one in maps.values()), default=1)
    importance = [faithfulness.by_drop(one, height, width, every) for one in maps.values()]
    importance += [faithfulness.at_random(height, width, seed), faithfulness.by_distance(height, width)]
    evidence = [map_evidence(one, None) for one in maps.values()]
    return Look(
        (*maps, (0, RANDOM), (0, CENTRE)),
        {other: faithfulness.curves(model, image, label, np.array(importance), fill_picture(image, other))
         for other in REPLACED_BY},
        tuple(one.flat for one in evidence),
        tuple(one.largest_drop for one in evidence),
    )  # fmt: skip


def _stride(found: OcclusionMap) -> int:
    """Pixels between the map's window centres; 1 for a single one."""
    return max((int(axis[1] - axis[0]) for axis in (found.rows, found.columns) if len(axis) > 1), default=1)


def look(
    model: nn.Module,
    image: NDArray[np.uint8],
    label: int,
    maps: Sequence[tuple[int, Fill]],
    *,
    stride: int,
    gray: float = 0.5,
    seed: int = 0,
) -> Look:
    """`look_at` maps of one image that are made for it, one for each N and fill.

    Args:
        stride: pixels between window centres. `gray`: the level of the fill gray, 0..1.
    """
    from graybox.occlusion.maps import occlusion_map

    found: dict[Method, OcclusionMap] = {
        (window, fill): occlusion_map(
            model, image, label, window=window, stride=stride, fill=fill_picture(image, fill, gray)
        )
        for window, fill in maps
    }
    return look_at(model, image, label, found, seed)


def compare(looks: Sequence[Look]) -> pd.DataFrame:
    """One row for each kind of map, and for the orders without one, over all images.

    Returns:
        window: N; 0 without a map. `fill`: what the window showed, or "random" or "centre". `images`: how many.
        flat: the share of flat maps. `largest_drop`: the median. Both NaN without a map.
        deletion, insertion: the mean areas, 0..1. `faithfulness`: insertion minus deletion, -1..1, with its 95% t
            interval over images, `low` and `high`. All are means over REPLACED_BY, without the row's own fill.
        difference, difference_low, difference_high: faithfulness minus that of the first map, paired, over what
            replaces the pixels that is neither's fill. `p_value`: of the paired t test, Holm-corrected over the rows;
            NaN for the first row and for a single image.
    """
    methods, first = looks[0].methods, looks[0].methods[0]
    rows = []
    for place, (window, fill) in enumerate(methods):
        others = fair({fill})
        deletion, insertion = (
            np.mean([[faithfulness.area(getattr(one.curves[other], kind)[place]) for one in looks] for other in others])
            for kind in ("deletion", "insertion")
        )
        own = intervals.mean(np.array([one.faithfulness((window, fill)) for one in looks]))
        gain = np.array([one.faithfulness((window, fill), first) - one.faithfulness(first, (window, fill))
                         for one in looks])  # fmt: skip
        against = intervals.mean(gain)
        rows.append(
            {
                "window": window,
                "fill": fill,
                "images": len(looks),
                "flat": np.mean([one.flat[place] for one in looks]) if window else np.nan,
                "largest_drop": np.median([one.largest_drop[place] for one in looks]) if window else np.nan,
                "deletion": deletion,
                "insertion": insertion,
                "faithfulness": own.value,
                "low": own.low,
                "high": own.high,
                "difference": against.value,
                "difference_low": against.low,
                "difference_high": against.high,
                "p_value": _p_value(gain) if place else np.nan,
            }
        )
    table = pd.DataFrame(rows)
    if len(looks) > 1:
        table.loc[1:, "p_value"] = paired.holm(table["p_value"].tolist()[1:])
    return table


def _p_value(gain: NDArray[np.float64]) -> float:
    """Of the t test that the mean is 0, two-sided; NaN for a single case."""
    from scipy.stats import t  # takes a second to load, and not every stage needs it

    if len(gain) < 2:
        return np.nan
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    if not error:
        return float(not gain.any())
    return float(2 * t.sf(abs(gain.mean()) / error, len(gain) - 1))


def mean_curves(looks: Sequence[Look]) -> pd.DataFrame:
    """The mean curves over the images: window, fill, replaced_by, share of the pixels (0..1), deletion, insertion."""
    parts = []
    for other in REPLACED_BY:
        for place, (window, fill) in enumerate(looks[0].methods):
            deletion = np.mean([one.curves[other].deletion[place] for one in looks], axis=0)
            insertion = np.mean([one.curves[other].insertion[place] for one in looks], axis=0)
            share = np.linspace(0, 1, len(deletion))
            parts.append(pd.DataFrame({"window": window, "fill": fill, "replaced_by": other, "share": share,
                                       "deletion": deletion, "insertion": insertion}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)
