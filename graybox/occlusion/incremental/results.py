"""What the groups of positions gave: the answers, and what waits until many positions meet at a layer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from graybox.occlusion.incremental.job import Job
from graybox.occlusion.incremental.network import Network
from graybox.occlusion.incremental.patches import Known, Patch, Piece, paste
from graybox.occlusion.incremental.plan import Axis, is_whole, leaves
from graybox.occlusion.incremental.receptive import Spans


class Results:
    """Class scores [R, C, classes], and the sums over a map [R, C] if one was asked for."""

    def __init__(self, job: Job, on_windows: Callable[[int], object]) -> None:
        self._lock, self._on_windows = threading.Lock(), on_windows
        network, size = job.network, (len(job.rows), len(job.columns))
        scores = network.values[network.traced.scores]
        self.scores: Tensor = scores.new_empty(*size, scores.shape[1])
        self.sums: Tensor | None = None if job.feature_map is None else scores.new_full(size, torch.nan)

    def done(self, count: int) -> None:
        """Say that so many windows are finished; one thread at a time."""
        with self._lock:
            self._on_windows(count)


class Part:
    """Some of the positions, by themselves: so that parts can be computed side by side.

    What the groups give at the cut waits until there is a batch of it.

    Args:
        results: where the answers go. `cut`: the node from which on all is computed whole.
    """

    def __init__(self, job: Job, cut: fx.Node, results: Results) -> None:
        self._job, self._network, self._cut, self._results = job, job.network, cut, results
        self._batch = job.prices.batch if job.network.is_map(cut) and cut in job.network.narrow else 2**9
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, at: list[int], across: list[int], values: Tensor) -> None:
        """values: [P, ...], of positions in these rows and columns."""
        self._waiting.append((self._places(at, across), values))
        if sum(len(places) for places, _ in self._waiting) >= self._batch:
            self._run()

    def finish(self) -> None:
        """Compute what still waits."""
        if self._waiting:
            self._run()

    def _run(self) -> None:
        places, values = (torch.cat(parts) for parts in zip(*self._waiting))
        self._waiting = []
        for some, batch in zip(places.split(self._batch), values.split(self._batch)):
            scores, maps = self._network.rest(self._cut, batch)
            self._results.scores.view(-1, scores.shape[1])[some.to(scores.device)] = scores
            if maps is not None:
                self._put(some, maps[:, self._job.feature_map or 0].sum((1, 2)))
        self._results.done(len(places))

    def record(self, at: list[int], across: list[int], values: Any) -> None:
        """Sum the feature map up."""
        feature_map = self._job.feature_map or 0
        if isinstance(values, Patch):
            changed = values.difference()[..., feature_map].sum((2, 3)).flatten()
            found = values.known.values[0, feature_map].sum() + changed
        else:
            found = values[:, feature_map].sum((1, 2))
        self._put(self._places(at, across), found)

    def _places(self, at: list[int], across: list[int]) -> Tensor:
        return (torch.tensor(at)[:, None] * len(self._job.columns) + torch.tensor(across)).flatten()

    def _put(self, places: Tensor, found: Tensor) -> None:
        assert self._results.sums is not None
        self._results.sums.view(-1)[places.to(found.device)] = found


class LastPatches:
    """The differences of the last map for a part of the positions, until they meet at a linear layer.

    Args:
        known: the map. `at`, `across`: the numbers of the rows and columns, in order.
        rows, columns: the axes' plans.
    """

    def __init__(
        self, network: Network, known: Known, at: list[int], across: list[int],
        rows: Sequence[Axis], columns: Sequence[Axis],
    ) -> None:  # fmt: skip
        self._network, self._known = network, known
        self._places = [{number: place for place, number in enumerate(numbers)} for numbers in (at, across)]
        self._size = len(at), len(across)
        largest = []
        for axes, length in ((rows, known.height), (columns, known.width)):
            spans = [leaf.spans.get(network.pooled.name) for axis in axes for leaf in leaves(axis)]  # type: ignore[union-attr]
            some = [one for one in spans if one is not None]
            whole = len(some) < len(spans) or any(is_whole(one, length) for one in some)
            largest.append(length if whole else min(length, max(one.size for one in some)))
        self._largest = largest
        self._patches = known.values.new_zeros(*self._size, *largest, known.channels)
        self._starts = [0] * self._size[0], [0] * self._size[1]

    def place(self, at: list[int], across: list[int], source: Any) -> None:
        """Keep the changes of some positions: a patch, or whole maps."""
        known = self._known
        if isinstance(source, Patch):
            spans, grid = [source.rows, source.columns], source.difference(clean=False)
        else:
            spans = [Spans(0, known.height, 0, len(at)), Spans(0, known.width, 0, len(across))]
            grid = (source - known.values).permute(0, 2, 3, 1).unflatten(0, (len(at), len(across)))
        parts: list[list[Piece]] = []
        for axis, (own, numbers, length) in enumerate(zip(spans, (at, across), (known.height, known.width))):
            parts.append([])
            for number, place in enumerate(self._places[axis][one] for one in numbers):
                first = own.first + number * own.step
                start = max(0, min(first, length - self._largest[axis]))
                begin, end = max(first, 0), min(first + own.size, length)
                self._starts[axis][place] = start
                if begin < end:
                    parts[axis].append(Piece(number, place, begin - first, begin - start, end - begin))
        paste(self._patches, grid, *parts)

    def through_linear(self) -> Tensor:
        """The linear layer, [r, C, units]: the unoccluded result plus what the changed values add."""
        linear, known, patches = self._network.linear, self._known, self._patches
        assert linear is not None
        if self._largest == [known.height, known.width]:  # whole maps: nothing is saved, and the weights need no copy
            maps = patches.permute(0, 1, 4, 2, 3) + known.values[0]
            return linear(maps.flatten(2))  # type: ignore[no-any-return]
        weight = self._network.weight_by_place()
        found: Tensor = self._network.values[self._network.cut][0].repeat(*self._size, 1)
        height, width = self._largest
        for r, top in _runs(self._starts[0]):
            for c, left in _runs(self._starts[1]):
                added = found[r, c].clone().flatten(0, 1)
                for row, changed in zip(range(top, top + height), patches[r, c].unbind(2)):
                    part = weight[row, left * known.channels : (left + width) * known.channels]
                    added.addmm_(changed.reshape(len(added), -1), part)
                found[r, c] = added.unflatten(0, found[r, c].shape[:2])
        return found


def _runs(numbers: Sequence[int]) -> list[tuple[slice, int]]:
    """Stretches of equal numbers: [5, 5, 7] -> [(0:2, 5), (2:3, 7)]."""
    found: list[tuple[slice, int]] = []
    for place, number in enumerate(numbers):
        if found and found[-1][1] == number:
            found[-1] = slice(found[-1][0].start, place + 1), number
        else:
            found.append((slice(place, place + 1), number))
    return found
