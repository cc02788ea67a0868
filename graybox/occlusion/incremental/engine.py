"""The incremental engine: compute only what the window changes in every map of a network.

The window changes a small rectangle of each map. It is carried from step to step of the traced network (`trace`,
`graph`), each kind of step in its own way (`kinds`). Where it covers nearly the whole map, and from a step that no kind
knows on, maps are computed whole. `plan` predicts what is cheapest, and whether it saves time at all.

Window positions whose rectangles have the same offset on every stride's grid are computed together: the unoccluded
values around them are then evenly spaced in memory and need no copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from graybox.occlusion.incremental.kinds import Channels, Convolve, MaxPool
from graybox.occlusion.incremental.network import Network, Step
from graybox.occlusion.incremental.patches import Known, Patch
from graybox.occlusion.incremental.plan import (
    PRICES,
    Axis,
    Planner,
    Sizes,
    blocks,
    costs,
    hull,
    is_whole,
    leaves,
    sizes,
)
from graybox.occlusion.incremental.receptive import Spans
from graybox.occlusion.incremental.trace import Untraceable as Untraceable
from graybox.occlusion.incremental.trace import trace

_PLANS: dict[Hashable, tuple[float, Groups]] = {}
"""Plans that were made, by all that they depend on: never by the network's weights."""

Env = dict[fx.Node, Any]
"""What each step gave: a Patch, or a tensor for all positions of the group."""


@dataclass(frozen=True)
class Groups:
    """Positions to compute together: the axes' plans, by bands of rows and by blocks of columns.

    From the `cut` on all is computed whole, in batches of another size.
    """

    bands: list[list[Axis]]
    columns: list[Axis]
    cut: str


class Job:
    """Sliding a window over an image, for one network.

    Args:
        model: in evaluation mode. `pixels`: float32 [3, H, W] in 0..1, on the model's device.
        rows, columns: the windows' centres. `window`: N of the N x N window, in pixels.
        fill: of a shape that broadcasts to [3, H, W]. `feature_map`: a map of the last conv layer to sum over.

    Raises:
        Untraceable: the network is not for this engine.
    """

    def __init__(
        self, model: nn.Module, pixels: Tensor, rows: range, columns: range, window: int, fill: Tensor,
        feature_map: int | None = None,
    ) -> None:  # fmt: skip
        traced = trace(model, feature_map is not None)
        image = pixels[None].contiguous(memory_format=torch.channels_last)
        filled = fill.expand(pixels.shape)[None].contiguous(memory_format=torch.channels_last)
        try:
            self.network = Network(traced, image, filled)
        except Untraceable:
            raise
        except Exception as error:
            raise Untraceable(f"its graph can't be run ({type(error).__name__}: {error})") from error
        self._check(model, torch.cat([image, filled, image.flip(-1), image.flip(-2)]).contiguous())
        self.size = pixels.shape[1], pixels.shape[2]
        self.rows, self.columns, self.window, self.feature_map = rows, columns, window, feature_map
        self.prices = PRICES.get(pixels.device.type, PRICES["cuda"])
        self._planned: dict[int | None, tuple[float, Groups]] = {}

    def _check(self, model: nn.Module, images: Tensor) -> None:
        """Raise if the graph does something else than the network: what tracing can't see, such as its own autocast."""
        network = self.network
        expected = model(images.clone())
        env: Env = {network.traced.images: images.contiguous(memory_format=torch.channels_last)}
        for node in network.nodes:
            if node not in network.constant and node not in env:
                env[node] = network.call(node, env, len(images), keep=True)
        scores = env[network.traced.scores]
        same = isinstance(scores, Tensor) and isinstance(expected, Tensor) and scores.shape == expected.shape
        span = float(expected.max() - expected.min()) if same else 0.0
        if not same or not bool(((scores - expected).abs() <= 2e-4 * span + 1e-6).all()):
            raise Untraceable("its graph gives something else than the network")

    # Planning.

    @property
    def convolutions(self) -> list[int]:
        return [number for number, step in enumerate(self.network.steps) if isinstance(step.kind, Convolve)]

    def plain(self) -> float:
        """The cost of computing everything whole for each position."""
        steps = [step for step in self.network.steps if step.shape is not None]
        one = sum(
            math.prod(step.shape[1:]) * ((step.kind.macs if step.kind else 0) + self.prices.value * step.shape[0])
            for step in steps if step.shape
        )  # fmt: skip
        return one * len(self.rows) * len(self.columns)

    def pays(self) -> bool:
        """Whether this engine is predicted to need less time than the plain one."""
        return self.groups()[0] + self.prices.start < self.plain()

    def groups(self, depth: int | None = None) -> tuple[float, Groups]:
        """The cheapest groups and their predicted cost. `depth`: convolutions to carry patches through."""
        key = self._signature(depth)
        if key in _PLANS:
            return _PLANS[key]
        if depth not in self._planned:
            until = len(self.network.steps)
            if depth is not None and depth < len(self.convolutions):
                until = self.convolutions[depth]
            planner = Planner(self.network, self.size, self.window, self.prices.share, until)
            self._planned[depth] = min(self._ways(planner), key=lambda way: way[0])
            while len(_PLANS) >= 64:
                _PLANS.pop(next(iter(_PLANS)), None)
            _PLANS[key] = self._planned[depth]
        return self._planned[depth]

    def _signature(self, depth: int | None) -> Hashable:
        """All that a plan depends on."""
        network = self.network
        steps = tuple(
            (step.node.name, type(step.kind), step.kind and (step.kind.slides, step.kind.macs, step.kind.local),
             step.shape, tuple(source.name for source in step.sources))
            for step in network.steps
        )  # fmt: skip
        ends = network.cut.name, network.pooled and network.pooled.name, network.linear and network.linear.out_features
        others = tuple(node.name for node in (*network.narrow, *network.filled))
        return depth, self.size, self.rows, self.columns, self.window, self.prices, steps, ends, others

    def _ways(self, planner: Planner) -> list[tuple[float, Groups]]:
        steps, found = self.network.steps, []
        strides = self._strides()
        places = {step.node: number for number, step in enumerate(steps)}
        narrow = [(node, places[node]) for node in self.network.narrow if node in places]
        for stride in strides:
            pace = [stride // math.gcd(stride, centres.step) for centres in (self.rows, self.columns)]
            made: dict[tuple[int, int], tuple[list[Axis], Any]] = {}
            same = self.rows == self.columns and self.size[0] == self.size[1] and self.network.is_square()
            for axis, centres in enumerate((self.rows, self.columns)):
                for size in (1, 2, 3, 4, 6, 8, 12, 16, 32):
                    alike = math.ceil(len(centres) / pace[axis])
                    if size > 1 and size >= 2 * alike:
                        continue
                    if len(centres) / size > 64 and size < alike:
                        continue
                    if axis and same:
                        made[1, size] = made[0, size]
                        continue
                    axes = [planner.along(axis, block) for block in blocks(centres, pace[axis], size)]
                    made[axis, size] = axes, sizes(axes, steps, axis)
            for (a, down), (rows, row_sizes) in made.items():
                for (b, right), (columns, column_sizes) in made.items():
                    if (a, b) != (0, 1):
                        continue
                    largest = max(
                        step.shape[0] * row_sizes.largest[number] * column_sizes.largest[number]
                        for number, step in enumerate(steps) if step.shape
                    ) if any(step.shape for step in steps) else 0  # fmt: skip
                    if down * right > 1 and down * right * largest > self.prices.chunk:
                        continue
                    if down > 1 and self._held(down * pace[0], row_sizes, column_sizes) > self.prices.memory:
                        continue
                    here, after = costs(steps, row_sizes, column_sizes, len(self.rows) * len(self.columns), self.prices)
                    bands = _bands(rows, down, pace[0], len(self.rows))
                    last = self._linear(row_sizes, column_sizes)
                    found.append((sum(here) + last[0], Groups(bands, columns, self.network.cut.name)))
                    for node, number in narrow:
                        price = sum(here[: number + 1]) + sum(after[number + 1 :]) + last[1]
                        found.append((price, Groups(bands, columns, node.name)))
        return found

    def _linear(self, rows: Sizes, columns: Sizes) -> tuple[float, float]:
        """The cost of the first linear layer for the changed values only, and for whole maps."""
        network = self.network
        if network.linear is None or network.pooled is None:
            return 0.0, 0.0
        number = next(number for number, step in enumerate(network.steps) if step.node is network.pooled)
        shape, units = network.steps[number].shape, network.linear.out_features
        assert shape is not None
        positions = len(self.rows) * len(self.columns)
        return (
            float(rows.spans[number] * columns.spans[number] * shape[0] * (units + self.prices.patch)),
            float(positions * math.prod(shape) * (units + self.prices.value)),
        )

    def _held(self, rows: int, down: Sizes, right: Sizes) -> int:
        """Bytes of the last map's patches that wait for the linear layer, for this many rows of positions."""
        network = self.network
        for number, step in enumerate(network.steps):
            if network.linear is not None and step.node is network.pooled and step.shape is not None:
                one = down.largest[number] * right.largest[number] * step.shape[0]
                return 4 * min(rows, len(self.rows)) * len(self.columns) * one
        return 0

    def _strides(self) -> list[int]:
        """Strides of the maps, in pixels."""
        strides: dict[fx.Node, int] = {}
        for step in self.network.steps:
            below = max((strides.get(source, 1) for source in step.sources), default=1)
            strides[step.node] = below * (step.kind.slides[0].stride if step.kind else 1)
        return sorted(set(strides.values()) | {1})[:6]

    def carried(self) -> int:
        """Through how many convolutions patches are carried, in the group where they go farthest."""
        axes = [axis for band in self.groups()[1].bands for axis in band], self.groups()[1].columns
        steps = [self.network.steps[number] for number in self.convolutions]
        whole = [
            all(
                is_whole(leaf.spans[step.node.name], step.shape[1 + along]) if step.node.name in leaf.spans else False
                for axis in axes[along] for leaf in leaves(axis)
            )
            for step in steps for along in (0, 1) if step.shape
        ]  # fmt: skip
        return sum(not (down and right) for down, right in zip(whole[::2], whole[1::2]))

    def cheapest(self) -> int:
        """As `carried`; 0 where the plain engine is predicted to be faster."""
        return self.carried() if self.pays() else 0

    # Computing.

    def run(
        self, depth: int | None = None, on_windows: Callable[[int], object] = lambda count: None
    ) -> tuple[Tensor, Tensor | None]:
        """Class scores [R, C, classes] and the map's sums [R, C]; `depth` and `on_windows`: as for `window_scores`."""
        _, groups = self.groups(depth)
        cut = next(node for node in self.network.nodes if node.name == groups.cut)
        results = Results(self, cut, on_windows)
        carrier = Carrier(self, groups, cut, results)
        for band in groups.bands:
            carrier.band(band, groups.columns)
        results.finish()
        assert results.scores is not None
        return results.scores, results.sums


def _bands(rows: list[Axis], size: int, pace: int, count: int) -> list[list[Axis]]:
    """Axes whose rows are neighbours, so that many positions meet before the head."""
    ordered = sorted(rows, key=lambda axis: axis.centres[0])
    return [ordered[at : at + pace] for at in range(0, len(ordered), pace)]


class Carrier:
    """Carry the window's changes through the network's steps, group by group."""

    def __init__(self, job: Job, groups: Groups, cut: fx.Node, results: Results) -> None:
        self._job, self._network, self._steps, self._cut = job, job.network, job.network.steps, cut
        self._results = results
        axes = [axis for band in groups.bands for axis in band], groups.columns
        reach = self._reach(axes)
        values = self._network.values
        self._known = {
            node: Known(values[node], *reach.get(node, (0, 0)))
            for node in [step.node for step in self._steps if step.shape] + list(self._network.filled)
        }
        self._changed = {
            node: Known(filled - values[node], *reach.get(node, (0, 0)))
            for node, filled in self._network.filled.items()
        }
        self._whole = _Whole(self._network)

    def _reach(self, axes: tuple[list[Axis], list[Axis]]) -> dict[fx.Node, tuple[int, int]]:
        """How far patches, and what pooling sees of them, reach over the border of each map."""
        reach: dict[fx.Node, list[int]] = {}
        half = self._job.window // 2

        def add(node: fx.Node, axis: int, spans: Spans) -> None:
            length = self._network.values[node].shape[2 + axis]
            last = spans.first + (spans.count - 1) * spans.step
            over = max(0, -min(spans.first, last), max(spans.first, last) + spans.size - length)
            reach.setdefault(node, [0, 0])[axis] = max(reach.setdefault(node, [0, 0])[axis], over)

        def visit(axis: int, plan: Axis) -> None:
            for step in self._steps:
                for spans in (plan.raw.get(step.node.name), plan.spans.get(step.node.name)):
                    if spans is None:
                        continue
                    add(step.node, axis, spans)
                    if isinstance(step.kind, MaxPool):
                        add(step.sources[0], axis, spans.seen_by(step.kind.slides[axis]))
            for part in plan.parts:
                visit(axis, part)

        for node in self._network.filled:
            reach[node] = [half, half]
        for axis in (0, 1):
            for plan in axes[axis]:
                visit(axis, plan)
        for step in self._steps:  # after a split a patch may be larger than planned
            if step.kind and step.kind.local and step.shape:
                for source in step.sources:
                    one, other = reach.setdefault(step.node, [0, 0]), reach.get(source, [0, 0])
                    reach[step.node] = [max(pair) for pair in zip(one, other)]
        for step in reversed(self._steps):
            if step.kind and step.kind.local and len(step.sources) > 1:  # which are brought to one size
                for source in step.sources:
                    one, other = reach.setdefault(source, [0, 0]), reach[step.node]
                    reach[source] = [max(pair) for pair in zip(one, other)]
        return {node: (down, right) for node, (down, right) in reach.items()}

    def band(self, rows: Sequence[Axis], columns: Sequence[Axis]) -> None:
        """Compute all positions of these rows."""
        job, network = self._job, self._network
        at = [[job.rows.index(centre) for centre in row.centres] for row in rows]
        across = [[job.columns.index(centre) for centre in column.centres] for column in columns]
        everything = sorted(number for some in at for number in some)
        meeting = network.linear is not None and self._cut is network.cut
        if meeting:
            known = self._known[network.pooled]  # type: ignore[index]
            self._last = LastPatches(network, known, everything, rows, columns)
        for row, some in zip(rows, at):
            for column, others in zip(columns, across):
                self._group(0, {}, row, column, some, others)
        if meeting:
            self._results.add(everything, list(range(len(job.columns))), self._last.through_linear().flatten(0, 1))

    def _group(self, begin: int, env: Env, row: Axis, column: Axis, at: list[int], across: list[int]) -> None:
        """Compute the steps from `begin` on for some positions."""
        network, maps = self._network, self._network.traced.maps
        for number in range(begin, len(self._steps)):
            if number in (row.end, column.end):
                self._split(number, env, row, column, at, across)
                return
            step = self._steps[number]
            if step.node is network.cut and network.pooled is not None:
                source = self._given(network.pooled, env, row, column)
                if network.linear is None:
                    self._results.add(at, across, self._mean(source))
                else:
                    self._last.place(at, across, source)
                return
            if network.linear is not None and step.node is network.cut.args[0]:
                continue  # the flat values
            env[step.node] = self._step(step, env, row, column, len(at) * len(across))
            if step.node is maps:
                self._results.record(at, across, env[step.node])
            if step.node is self._cut:
                self._results.add(at, across, self._whole.tensor(env[step.node]))
                return
            for source in (*step.node.all_input_nodes, *step.sources):
                if network.needed[source] <= network.place(step.node):
                    env.pop(source, None)

    def _split(self, number: int, env: Env, row: Axis, column: Axis, at: list[int], across: list[int]) -> None:
        """Go on in smaller groups of positions that lie alike."""
        parts = [
            [(part, (start, axis.pace)) for start, part in enumerate(axis.parts)]
            if number == axis.end
            else [(axis, (0, 1))]
            for axis in (row, column)
        ]  # fmt: skip
        for down, rows in parts[0]:
            for right, columns in parts[1]:
                some: Env = {}
                for node, found in env.items():
                    if isinstance(found, Patch):
                        patch = found.every(rows, columns)
                        wide = [
                            Spans(0, length, 0, spans.count)
                            if node.name in plan.spans and is_whole(plan.spans[node.name], length)
                            else spans
                            for plan, spans, length in (
                                (down, patch.rows, patch.known.height), (right, patch.columns, patch.known.width)
                            )
                        ]  # fmt: skip
                        some[node] = patch.widened(*wide)
                    elif isinstance(found, Tensor):
                        grid = found.unflatten(0, (len(at), len(across)))
                        some[node] = grid[rows[0] :: rows[1], columns[0] :: columns[1]].flatten(0, 1)
                    else:
                        grids = [one.unflatten(0, (len(at), len(across))) for one in found]
                        some[node] = tuple(
                            grid[rows[0] :: rows[1], columns[0] :: columns[1]].flatten(0, 1) for grid in grids
                        )
                self._group(number, some, down, right, at[rows[0] :: rows[1]], across[columns[0] :: columns[1]])

    def _given(self, node: fx.Node, env: Env, row: Axis, column: Axis) -> Any:
        """What a step gets of another: for what depends on single pixels, a patch is cut out of the whole."""
        if node not in self._changed:
            return env[node]
        half, window = self._job.window // 2, self._job.window
        down, right = (
            Spans(axis.centres[0] - half, window, axis.centres.step, len(axis.centres)) for axis in (row, column)
        )
        cut = self._changed[node].windows(down, right).clone(memory_format=torch.contiguous_format)  # written over
        values = cut.flatten(0, 1).permute(0, 3, 1, 2)
        return Patch(values, down, right, self._known[node], differs=True, clean=True)

    def _step(self, step: Step, env: Env, row: Axis, column: Axis, count: int) -> Any:
        if step.kind is not None and step.shape is not None:
            patches = [self._given(source, env, row, column) for source in step.sources]
            if all(isinstance(patch, Patch) for patch in patches):
                found = self._part(step, patches, row, column)
                whole = is_whole(found.rows, step.shape[1]) and is_whole(found.columns, step.shape[2])
                return found.shown() if whole and not found.differs else found
        inputs: Env = {}
        if isinstance(step.kind, Channels):
            return step.kind.whole(self._whole.tensor(patches[0]))
        for source in step.node.all_input_nodes:
            if source in env or source in self._changed:
                inputs[source] = self._whole.tensor(self._given(source, env, row, column))
                if source in env:
                    env[source] = inputs[source]
        return self._whole(step.node, inputs, count, step.last)

    def _part(self, step: Step, patches: list[Patch], row: Axis, column: Axis) -> Patch:
        assert step.kind is not None and step.shape is not None
        known, lengths = self._known[step.node], step.shape[1:]
        if step.kind.local:
            rows, columns = (
                hull([getattr(patch, axis) for patch in patches], length)
                for axis, length in zip(("rows", "columns"), lengths)
            )
        else:
            patch = patches[0]
            own = (patch.rows, patch.known.height), (patch.columns, patch.known.width)
            out = []
            for (spans, size), plan, length in zip(own, (row, column), lengths):
                whole = is_whole(spans, size)
                out.append(Spans(0, length, 0, spans.count) if whole else plan.raw[step.node.name])
            rows, columns = out
            for (spans, _), wanted, slide in zip(own, out, step.kind.slides):
                seen = wanted.seen_by(slide)
                if seen.first >= spans.first + spans.size or spans.first >= seen.first + seen.size:
                    # With a stride above the kernel's size some pixels are never seen.
                    shape = rows.count * columns.count, step.shape[0], rows.size, columns.size
                    nothing = torch.zeros(shape, device=known.values.device).to(memory_format=torch.channels_last)
                    return Patch(nothing, rows, columns, known, differs=True, clean=True)
        found = step.kind.part(patches, rows, columns, known, step.last)
        wide = [
            Spans(0, length, 0, spans.count) if is_whole(plan.spans[step.node.name], length) else spans
            for plan, spans, length in zip((row, column), (found.rows, found.columns), lengths)
        ]
        return found.widened(*wide)

    def _mean(self, source: Any) -> Tensor:
        """The cut's value where it is the mean of a map over all places: [P, channels, ...]."""
        known = self._network.values[self._network.cut]
        if not isinstance(source, Patch):
            return source.mean((2, 3)).view(-1, *known.shape[1:])  # type: ignore[no-any-return]
        source.difference()
        changed = source.values.sum((2, 3)) / (source.known.height * source.known.width)
        return known + changed.view(-1, *known.shape[1:])  # type: ignore[no-any-return]


class _Whole:
    """Steps that are computed whole, for a batch of positions."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, node: fx.Node, inputs: Mapping[fx.Node, Any], count: int, last: bool = False) -> Any:
        return self._network.call(node, inputs, count)

    def tensor(self, value: Any) -> Any:
        """Whole maps [P, channels, H, W] of a patch."""
        if not isinstance(value, Patch):
            return value
        rows, columns = (
            Spans(0, length, 0, spans.count)
            for spans, length in ((value.rows, value.known.height), (value.columns, value.known.width))
        )
        return value.widened(rows, columns).shown()


class Results:
    """Class scores, and the sums over a map; and what waits at the cut until there is a batch of it."""

    def __init__(self, job: Job, cut: fx.Node, on_windows: Callable[[int], object]) -> None:
        self._job, self._network, self._cut, self._on_windows = job, job.network, cut, on_windows
        self._size = len(job.rows), len(job.columns)
        self._batch = job.prices.batch if job.network.is_map(cut) and cut in job.network.narrow else 2**9
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self.scores: Tensor | None = None
        self.sums: Tensor | None = None

    def add(self, at: list[int], across: list[int], values: Tensor) -> None:
        """values: [P, ...], of positions in these rows and columns."""
        places = torch.tensor(at)[:, None] * self._size[1] + torch.tensor(across)
        self._waiting.append((places.flatten(), values))
        if sum(len(places) for places, _ in self._waiting) >= self._batch:
            self.finish()

    def finish(self) -> None:
        """Compute what waits."""
        if not self._waiting:
            return
        places, values = (torch.cat(parts) for parts in zip(*self._waiting))
        self._waiting = []
        for some, batch in zip(places.split(self._batch), values.split(self._batch)):
            scores, maps = self._network.rest(self._cut, batch)
            if self.scores is None:
                self.scores = scores.new_empty(*self._size, scores.shape[1])
            self.scores.view(-1, scores.shape[1])[some.to(scores.device)] = scores
            if maps is not None:
                self._put(some, maps[:, self._job.feature_map or 0].sum((1, 2)))
        self._on_windows(len(places))

    def record(self, at: list[int], across: list[int], values: Any) -> None:
        """Sum the feature map up."""
        feature_map = self._job.feature_map or 0
        if isinstance(values, Patch):
            changed = values.difference()[..., feature_map].sum((2, 3)).flatten()
            found = values.known.values[0, feature_map].sum() + changed
        else:
            found = values[:, feature_map].sum((1, 2))
        self._put((torch.tensor(at)[:, None] * self._size[1] + torch.tensor(across)).flatten(), found)

    def _put(self, places: Tensor, found: Tensor) -> None:
        if self.sums is None:
            self.sums = found.new_empty(self._size)
        self.sums.view(-1)[places.to(found.device)] = found


class LastPatches:
    """The differences of the last map for a band of rows, until they meet at a linear layer.

    Args:
        known: the map. `at`: the numbers of the rows, in order. `rows`, `columns`: the axes' plans.
    """

    def __init__(
        self, network: Network, known: Known, at: list[int], rows: Sequence[Axis], columns: Sequence[Axis]
    ) -> None:
        self._network, self._known = network, known
        self._place = {number: place for place, number in enumerate(at)}
        self._size = len(at), sum(len(column.centres) for column in columns)
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
            spans, grid = [source.rows, source.columns], source.difference()
        else:
            spans = [Spans(0, known.height, 0, len(at)), Spans(0, known.width, 0, len(across))]
            grid = (source - known.values).permute(0, 2, 3, 1).unflatten(0, (len(at), len(across)))
        runs = []
        for axis, (own, places, length) in enumerate(
            zip(spans, ([self._place[one] for one in at], across), (known.height, known.width))
        ):
            parts = []
            for number, place in enumerate(places):
                first = own.first + number * own.step
                start = max(0, min(first, length - self._largest[axis]))
                begin, end = max(first, 0), min(first + own.size, length)
                self._starts[axis][place] = start
                if begin < end:
                    parts.append((number, place, slice(begin - start, end - start), slice(begin - first, end - first)))
            runs.append(parts)
        for r, to_r, there_r, here_r in runs[0]:
            for c, to_c, there_c, here_c in runs[1]:
                self._patches[to_r, to_c, there_r, there_c] = grid[r, c, here_r, here_c]

    def through_linear(self) -> Tensor:
        """The linear layer, [r, C, units]: the unoccluded result plus what the changed values add."""
        linear, known, patches = self._network.linear, self._known, self._patches
        assert linear is not None
        if self._largest == [known.height, known.width]:  # whole maps: nothing is saved, and the weights need no copy
            maps = patches.permute(0, 1, 4, 2, 3) + known.values[0]
            return linear(maps.flatten(2))  # type: ignore[no-any-return]
        weight = linear.weight.view(-1, known.channels, known.height, known.width).permute(2, 3, 1, 0)
        weight = weight.reshape(known.height, known.width * known.channels, -1)
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


def knows(model: nn.Module) -> bool:
    """Whether the engine can compute this network at all; see `trace.trace` for what it can't."""
    try:
        trace(model)
    except Untraceable:
        return False
    return True


@torch.inference_mode()
def job_of(model: nn.Module, size: Sequence[int], rows: range, columns: range, window: int) -> Job:
    """The job of sliding a window over an image of this height and width, on the model's device, to see its plan."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    pixels = torch.full((3, *size), 0.5, device=device)
    return Job(model, pixels, rows, columns, window, torch.zeros((), device=device))


@torch.inference_mode()
def window_scores(
    model: nn.Module,
    pixels: Tensor,
    rows: range,
    columns: range,
    *,
    window: int,
    fill: Tensor | float,
    feature_map: int | None = None,
    depth: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> tuple[Tensor, Tensor | None]:
    """The network's answer for every position of a gray window.

    Args:
        model: in evaluation mode, in float32.
        pixels: float32 [3, H, W] in 0..1, on the model's device.
        rows, columns: the windows' centres, in pixels; a window is clipped at the image's border.
        window: N of the N x N window, odd, in pixels.
        fill: float32, of a shape that broadcasts to [3, H, W]; what the window shows in its place, 0..1.
        feature_map: a map of a `Classifier`'s last maps to sum over, or None.
        depth: convolutions to carry differences through; None = as many as costs the least.
        on_windows: called with the number of newly finished windows.

    Returns:
        Class scores, float32 [R, C, classes], and the sums over the feature map, float32 [R, C], or None.

    Raises:
        Untraceable: the network is not for this engine.
    """
    shown = torch.as_tensor(fill, dtype=pixels.dtype, device=pixels.device)
    return Job(model, pixels, rows, columns, window, shown, feature_map).run(depth, on_windows)
