"""How to occlude the cheapest way: which positions to compute together, and where to go on whole.

A prediction counts multiply-accumulates and adds, in the same currency, what the rest costs on the machine: moving
activations, and starting operations. It need only be right enough to choose between ways that give the same answer.

The changed values of a map form a rectangle, so each axis is planned alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import fx

from graybox.occlusion.incremental.network import Network, Step
from graybox.occlusion.incremental.receptive import Spans


@dataclass(frozen=True)
class Prices:
    """What things cost, in multiply-accumulates of a convolution.

    Attributes:
        value: one value of a map that is computed whole, on its way through memory and activation.
        patch: one value of a patch.
        step: one step for one group of positions: the starting of operations.
        weight: one weight of a convolution, for one group: it is brought into the order that suits the machine.
        reorder: one weight of a linear layer, once: the layer then takes the changed places alone.
        blocks: how many positions along an axis are tried together.
        chunk: values of the largest patches of a group, at most.
        batch: positions in a batch of maps that are computed whole after the groups.
        start: the incremental engine itself, once for an image.
        margin: how many times cheaper than the plain engine this one must be predicted to be, to be chosen.
        memory: bytes of patches to hold at a time, at most, in each thread; one row of positions at least.
        parts: how many parts of the positions there should be, to be computed side by side.
        share: a patch that covers this share of an axis goes on with all of it.
    """

    value: float
    patch: float
    step: float
    weight: float
    reorder: float
    blocks: tuple[int, ...]
    chunk: int
    batch: int
    start: float = 0.0
    margin: float = 1.0
    memory: int = 2**28
    parts: int = 1
    share: float = 0.9


# CPU: with AVX-512 a core does 60 to 100 multiply-accumulates in a nanosecond.
# CUDA: an H100 does about 13 multiply-accumulates in a picosecond and computes far more in the time that operations
# take to start. Predictions are too good there, by 1.4 to 4.8 times; with this margin the faster engine is chosen in
# each of the eleven jobs that were measured (docs/scale.md).
PRICES = {
    "cpu": Prices(
        value=120,
        patch=200,
        step=8e6,
        weight=40,
        reorder=600,
        blocks=(1, 2, 3, 4, 6, 8, 12, 16, 32),
        chunk=2**22,
        batch=16,
        parts=16,
        share=0.85,
    ),
    "cuda": Prices(
        value=50,
        patch=100,
        step=1.4e9,
        weight=0,
        reorder=100,
        blocks=(1, 4, 8, 16, 32, 64, 128, 256),
        chunk=2**27,
        batch=1024,
        start=1e11,
        margin=1.7,
        memory=2**31,
    ),
}

Interval = tuple[int, int]


@dataclass
class Axis:
    """One axis of a group of positions: where each step's map changes.

    Attributes:
        spans: of each step's patch, by the step's name. `raw`: before it is widened to the whole axis.
        end: the number of the step before which the positions no longer lie alike on the strides' grid; or of all
            steps. `pace`: every `pace`-th of them goes on in a group of its own. `parts`: these groups.
        centres: of the windows.
    """

    centres: range
    spans: dict[str, Spans] = field(default_factory=dict)
    raw: dict[str, Spans] = field(default_factory=dict)
    end: int = 0
    pace: int = 1
    parts: list[Axis] = field(default_factory=list)


def hull(spans: Sequence[Spans], length: int) -> Spans:
    """The smallest intervals that hold these."""
    if len(spans) == 1 or all(one == spans[0] for one in spans):
        return spans[0]
    whole = next((one for one in spans if is_whole(one, length)), None)
    if whole:
        return whole
    first = min(one.first for one in spans)
    return Spans(first, max(one.first + one.size for one in spans) - first, spans[0].step, spans[0].count)


def is_whole(spans: Spans, length: int) -> bool:
    return spans.first == 0 and spans.size == length and (spans.step == 0 or spans.count == 1)


def _clipped(first: int, end: int, length: int) -> Interval:
    return max(first, 0), max(first, 0, min(end, length))


def _union(intervals: Sequence[Interval]) -> Interval:
    """The hull of those that hold anything."""
    some = [one for one in intervals if one[0] < one[1]] or intervals[:1]
    return min(first for first, _ in some), max(end for _, end in some)


class Planner:
    """Args:
    network: its steps. `size`: of the image, (H, W). `window`: N of the N x N window.
    share: as in `Prices`. `until`: the number of the step from which on all is whole.
    """

    def __init__(self, network: Network, size: tuple[int, int], window: int, share: float, until: int) -> None:
        self._network, self._size, self._window, self._share, self._until = network, size, window, share, until
        self._steps = network.steps

    def along(self, axis: int, centres: range, begin: int = 0) -> Axis:
        """The plan for windows with these centres on an axis; from step `begin` on they lie alike, at least."""
        plan, half, size = Axis(centres, end=len(self._steps)), self._window // 2, self._size[axis]
        seen = [_clipped(centre - half, centre + half + 1, size) for centre in (centres[0], centres[-1])]
        state: dict[fx.Node, tuple[list[Interval], Spans]] = {}
        firsts = centres[0] - half, (len(centres) - 1) * centres.step
        shown = self._fitted(Spans(firsts[0], self._window, centres.step, len(centres)), seen)
        for node in self._network.filled:
            state[node] = seen, shown
        for number, step in enumerate(self._steps):
            if step.shape is None:
                continue
            length = step.shape[1 + axis]
            if step.kind is None:
                intervals, spans = [(0, length)] * 2, Spans(0, length, 0, len(centres))
                plan.raw[step.node.name] = spans
            else:
                given = [state[source] for source in step.sources]
                slide = step.kind.slides[axis]
                whole = is_whole(given[0][1], self._length(step, axis))
                if step.kind.local:
                    intervals = [_union(pair) for pair in zip(*(one for one, _ in given))]
                    spans = hull([one for _, one in given], length)
                elif whole:
                    intervals, spans = [(0, length)] * 2, Spans(0, length, 0, len(centres))
                else:
                    old = given[0][1]
                    if old.count > 1 and old.step % slide.stride:
                        if number >= begin:
                            pace = slide.stride // math.gcd(old.step, slide.stride)
                            plan.end, plan.pace = number, pace
                            plan.parts = [
                                self.along(axis, centres[start::pace], number)
                                for start in range(min(pace, len(centres)))
                            ]
                            return plan
                        raise AssertionError("positions that should lie alike do not")
                    intervals = [
                        _clipped(*slide.touched(*one), length) if one[0] < one[1] else (0, 0) for one in given[0][0]
                    ]
                    spans = self._fitted(old.through(slide) if old.count > 1 else _once(old, slide), intervals)
                plan.raw[step.node.name] = spans
                if number >= self._until or spans.size >= self._share * length or spans.size >= length:
                    spans, intervals = Spans(0, length, 0, len(centres)), [(0, length)] * 2
            plan.spans[step.node.name], state[step.node] = spans, (intervals, spans)
        return plan

    def _length(self, step: Step, axis: int) -> int:
        return int(self._network.values[step.sources[0]].shape[2 + axis])

    @staticmethod
    def _fitted(spans: Spans, seen: list[Interval]) -> Spans:
        """Without what lies beyond the border for all positions, which the first and the last of them tell."""
        (_, end), (first, _) = seen
        away = (spans.count - 1) * spans.step
        begin = max(spans.first, first - away) if seen[1][0] < seen[1][1] else spans.first
        stop = min(spans.first + spans.size, end) if seen[0][0] < seen[0][1] else spans.first + spans.size
        return Spans(begin, max(1, stop - begin), spans.step, spans.count)


def _once(spans: Spans, slide: object) -> Spans:
    """Of a single position, whose step does not count."""
    return Spans(spans.first, spans.size, 0, 1).through(slide)  # type: ignore[arg-type]


def leaves(axis: Axis) -> list[Axis]:
    return [leaf for part in axis.parts for leaf in leaves(part)] if axis.parts else [axis]


@dataclass(frozen=True)
class Sizes:
    """Of one way to cut an axis into groups: for each step, the sizes of its rectangles summed over all positions.

    Attributes:
        raw, spans: by step. `whole`: the part of `spans` where it is the whole axis. `largest`: of one position.
        groups: how many groups of positions each step is computed for.
    """

    raw: list[int]
    spans: list[int]
    whole: list[int]
    groups: list[int]
    largest: list[int]


def sizes(axes: Sequence[Axis], steps: Sequence[Step], axis: int) -> Sizes:
    raw, spans, whole, groups, largest = ([0] * len(steps) for _ in range(5))

    def add(one: Axis, begin: int) -> None:
        for number in range(begin, one.end):
            step = steps[number]
            groups[number] += 1
            if step.shape is None:
                continue
            count, size = len(one.centres), one.spans[step.node.name].size
            raw[number] += one.raw[step.node.name].size * count
            spans[number] += size * count
            whole[number] += size * count if size == step.shape[1 + axis] else 0
            largest[number] = max(largest[number], size)
        for part in one.parts:
            add(part, one.end)

    for one in axes:
        add(one, 0)
    return Sizes(raw, spans, whole, groups, largest)


def costs(
    steps: Sequence[Step], rows: Sizes, columns: Sizes, positions: int, prices: Prices
) -> tuple[list[float], list[float]]:
    """Of all positions together, for each step: in these groups, and computed whole after the groups."""
    here, after = [], []
    for number, step in enumerate(steps):
        groups = rows.groups[number] * columns.groups[number]
        if step.shape is None:
            here.append(prices.step * groups)
            after.append(0.0)
            continue
        channels, height, width = step.shape
        macs, weights = (step.kind.macs, step.kind.weights) if step.kind else (0, 0)
        computed, held = rows.raw[number] * columns.raw[number], rows.spans[number] * columns.spans[number]
        whole = rows.whole[number] * columns.whole[number]
        here.append(
            computed * macs + channels * (prices.patch * (held - whole) + prices.value * whole)
            + groups * (prices.step + prices.weight * weights)
        )  # fmt: skip
        batches = math.ceil(positions / prices.batch)
        after.append(
            positions * height * width * (macs + channels * prices.value)
            + batches * (prices.step + prices.weight * weights)
        )  # fmt: skip
    return here, after


def blocks(centres: range, pace: int, size: int) -> list[range]:
    """Positions that lie alike, every `pace`-th, cut into blocks of about `size` neighbours."""
    found = []
    for start in range(min(pace, len(centres))):
        alike = centres[start::pace]
        number = math.ceil(len(alike) / size)
        bounds = [round(part * len(alike) / number) for part in range(number + 1)]
        found += [alike[a:b] for a, b in itertools.pairwise(bounds)]
    return found
