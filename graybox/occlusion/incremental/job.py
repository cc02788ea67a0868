"""What is to be computed: a window that slides over an image, for one network; and the cheapest way to do it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from graybox.occlusion.incremental.kinds import Convolve
from graybox.occlusion.incremental.network import Network
from graybox.occlusion.incremental.plan import (
    PRICES,
    Axis,
    Planner,
    Prices,
    Sizes,
    blocks,
    costs,
    is_whole,
    leaves,
    sizes,
)
from graybox.occlusion.incremental.trace import Untraceable, trace

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

    def parts(self, prices: Prices) -> Iterator[tuple[list[Axis], list[Axis]]]:
        """Rows and columns to compute side by side on the cores. They do not depend on how many cores there are, so
        that neither do the answers."""
        across = sum(len(column.centres) for column in self.columns)
        for band in self.bands:
            positions = across * sum(len(row.centres) for row in band)
            most = positions // math.ceil(0.75 * prices.batch)  # batches should be nearly full
            number = max(1, min(len(self.columns), math.ceil(prices.parts / len(self.bands)), most))
            size = math.ceil(len(self.columns) / number)
            for first in range(0, len(self.columns), size):
                yield band, self.columns[first : first + size]


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
        self._check(model, torch.cat([image, image.flip(-1, -2)]).contiguous())
        self.size = pixels.shape[1], pixels.shape[2]
        self.rows, self.columns, self.window, self.feature_map = rows, columns, window, feature_map
        self.prices = PRICES.get(pixels.device.type, PRICES["cuda"])

    def _check(self, model: nn.Module, images: Tensor) -> None:
        """Raise if the graph does something else than the network: what tracing can't see, such as its own autocast.

        Args:
            images: the first is the network's own, whose answer is known.
        """
        network = self.network
        expected = model(images.clone())
        env: Env = {network.traced.images: images[1:].contiguous(memory_format=torch.channels_last)}
        for node in network.nodes:
            if node not in network.constant and node not in env:
                env[node] = network.call(node, env, len(images) - 1, keep=True)
        scores = env[network.traced.scores]
        if isinstance(scores, Tensor):
            scores = torch.cat([network.values[network.traced.scores], scores])
        same = isinstance(scores, Tensor) and isinstance(expected, Tensor) and scores.shape == expected.shape
        span = float(expected.max() - expected.min()) if same else 0.0
        if not same or not bool(((scores - expected).abs() <= 2e-4 * span + 1e-6).all()):
            raise Untraceable("its graph gives something else than the network")

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
        return self.prices.margin * (self.groups()[0] + self.prices.start) < self.plain()

    @property
    def limit(self) -> str:
        """The first operation that the window's changes can't be carried through, by its place in the network: ""
        if there is none."""
        node = self.network.unknown
        if node is None:
            return ""
        inside = next(reversed(node.meta.get("nn_module_stack", {})), "")
        if node.op == "call_module":
            return f"{inside or node.target} ({type(self.network.modules[str(node.target)]).__name__})"
        name = getattr(node.target, "__name__", node.target)
        return f"{inside} ({name})" if inside else str(name)

    def groups(self, depth: int | None = None) -> tuple[float, Groups]:
        """The cheapest groups and their predicted cost. `depth`: convolutions to carry patches through."""
        key = self._signature(depth)
        if known := _PLANS.get(key):
            return known
        until = len(self.network.steps)
        if depth is not None and depth < len(self.convolutions):
            until = self.convolutions[depth]
        planner = Planner(self.network, self.size, self.window, self.prices.share, until)
        found = min(self._ways(planner), key=lambda way: way[0])
        while len(_PLANS) >= 64:
            _PLANS.pop(next(iter(_PLANS)), None)
        _PLANS[key] = found
        return found

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
                alike = math.ceil(len(centres) / pace[axis])
                for size in sorted({min(size, alike) for size in self.prices.blocks}):
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
                    bands = _bands(rows, pace[0])
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
            float(rows.spans[number] * columns.spans[number] * shape[0] * (units + self.prices.patch))
            + self.prices.reorder * math.prod(shape) * units,
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


def _bands(rows: list[Axis], pace: int) -> list[list[Axis]]:
    """Axes whose rows are neighbours, so that many positions meet before the head."""
    ordered = sorted(rows, key=lambda axis: axis.centres[0])
    return [ordered[at : at + pace] for at in range(0, len(ordered), pace)]
