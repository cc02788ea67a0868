"""Carry what the window changes from step to step of the network, for one group of positions after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from graybox.occlusion.incremental.job import Env, Groups, Job
from graybox.occlusion.incremental.kinds import Channels, MaxPool
from graybox.occlusion.incremental.network import Network, Step
from graybox.occlusion.incremental.patches import Known, Patch
from graybox.occlusion.incremental.plan import Axis, hull, is_whole
from graybox.occlusion.incremental.receptive import Spans
from graybox.occlusion.incremental.results import LastPatches, Part, Results


class Carrier:
    """Carry the window's changes through the network's steps, group by group.

    Several threads may use one at the same time.
    """

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

    def part(self, rows: Sequence[Axis], columns: Sequence[Axis]) -> None:
        """Compute all positions of these rows and columns."""
        job, network = self._job, self._network
        at = [[job.rows.index(centre) for centre in row.centres] for row in rows]
        across = [[job.columns.index(centre) for centre in column.centres] for column in columns]
        every = [sorted(number for some in numbers for number in some) for numbers in (at, across)]
        part, last = Part(job, self._cut, self._results), None
        if network.linear is not None and network.pooled is not None and self._cut is network.cut:
            last = LastPatches(network, self._known[network.pooled], every[0], every[1], rows, columns)
        for row, some in zip(rows, at):
            for column, others in zip(columns, across):
                self._group(0, {}, row, column, some, others, part, last)
        if last is not None:
            part.add(every[0], every[1], last.through_linear().flatten(0, 1))
        part.finish()

    def _group(
        self, begin: int, env: Env, row: Axis, column: Axis, at: list[int], across: list[int],
        part: Part, last: LastPatches | None,
    ) -> None:  # fmt: skip
        """Compute the steps from `begin` on for some positions."""
        network, maps = self._network, self._network.traced.maps
        for number in range(begin, len(self._steps)):
            if number in (row.end, column.end):
                self._split(number, env, row, column, at, across, part, last)
                return
            step = self._steps[number]
            if step.node is network.cut and network.pooled is not None:
                source = self._given(network.pooled, env, row, column)
                if last is None:
                    part.add(at, across, self._mean(source))
                else:
                    last.place(at, across, source)
                return
            if network.linear is not None and step.node is network.cut.args[0]:
                continue  # the flat values
            env[step.node] = self._step(step, env, row, column, len(at) * len(across))
            if step.node is maps:
                part.record(at, across, env[step.node])
            if step.node is self._cut:
                part.add(at, across, self._whole.tensor(env[step.node]))
                return
            for source in (*step.node.all_input_nodes, *step.sources):
                if network.needed[source] <= network.place(step.node):
                    env.pop(source, None)

    def _split(
        self, number: int, env: Env, row: Axis, column: Axis, at: list[int], across: list[int],
        part: Part, last: LastPatches | None,
    ) -> None:  # fmt: skip
        """Go on in smaller groups of positions that lie alike."""
        parts = [
            [(one, (start, axis.pace)) for start, one in enumerate(axis.parts)]
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
                self._group(
                    number, some, down, right, at[rows[0] :: rows[1]], across[columns[0] :: columns[1]], part, last
                )

    def _given(self, node: fx.Node, env: Env, row: Axis, column: Axis) -> Any:
        """What a step gets of another: for what depends on single pixels, a patch is cut out of the whole."""
        if node not in self._changed:
            return env[node]
        down, right = (Spans.of_windows(axis.centres, self._job.window) for axis in (row, column))
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
        return self._whole(step.node, inputs, count)

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

    def __call__(self, node: fx.Node, inputs: Mapping[fx.Node, Any], count: int) -> Any:
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
