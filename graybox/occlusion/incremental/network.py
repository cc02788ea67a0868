"""A network as the engine runs it, for one image: its steps in order, and what each gives for the unoccluded image."""

from __future__ import annotations

import operator
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from graybox.occlusion.incremental.graph import simplify
from graybox.occlusion.incremental.kinds import Channels, Kind
from graybox.occlusion.incremental.recognise import VIEWS, Recogniser
from graybox.occlusion.incremental.trace import Traced, Untraceable, is_in_place


@dataclass(frozen=True)
class Step:
    """One node of the graph, computed for each group of positions.

    Attributes:
        kind, sources: how patches pass, and of which steps; None: the step is always computed whole.
        shape: of its map, (channels, H, W); None: it is no map.
        last: nothing later reads the first source.
    """

    node: fx.Node
    kind: Kind | None
    sources: tuple[fx.Node, ...]
    shape: tuple[int, int, int] | None
    last: bool = False


class Network:
    """Args:
        traced: the network; it is simplified here.
        image: float32 [1, 3, H, W], unoccluded, on the model's device. `filled`: what the window shows, of that shape.

    Attributes:
        values: of each node, what it gives for the unoccluded image.
        filled: of the nodes that depend on one pixel at a time, what they give where the window hides it.
        steps: what is computed for each group of positions, up to the `cut`.
        cut: the node that ends the steps. All that follows needs nothing but it, and is run for many positions at once.
        pooled: the map whose mean over all places, or whose flat values, the `cut` is; None if it is something else.
        linear: the fully connected layer at the `cut`, which can take differences; or None.
        narrow: earlier maps that would do as a cut too, if they are whole.
        unknown: the first step before the `cut` that patches can't pass; None if they pass all of them.
    """

    def __init__(self, traced: Traced, image: Tensor, filled: Tensor) -> None:
        simplify(traced, image.device)
        self.traced, self.modules = traced, traced.modules
        self._ordering = threading.Lock()
        self._ordered: Tensor | None = None
        self.nodes = [node for node in traced.graph.nodes if node.op != "output"]
        self._place = {node: number for number, node in enumerate(self.nodes)}
        self.constant: set[fx.Node] = set()
        for node in self.nodes:
            inputs = node.all_input_nodes
            if node.op == "get_attr" or (node.op != "placeholder" and all(one in self.constant for one in inputs)):
                self.constant.add(node)
        self.values: dict[fx.Node, Any] = {}
        for node in self.nodes:
            self.values[node] = image.clone() if node.op == "placeholder" else self.call(node, self.values, keep=True)
        if any(self._varies(node) and not self._is_smooth(node) for node in self.nodes):
            raise Untraceable("it looks for the places of values, and rounding may change those")
        recogniser = Recogniser(traced, self.values, self.call)
        self.is_map = recogniser.is_map
        found = {node: recogniser.kind(node) for node in self.nodes}
        self.filled: dict[fx.Node, Tensor] = {traced.images: filled.clone()}
        for node in self.nodes:
            recorded = node is traced.maps  # its sums are taken from the groups
            if node not in self.constant and not recorded and self._is_pixelwise(node, found[node]):
                self.filled[node] = self.call(node, {**self.values, **self.filled}, keep=True)
        self._cut(found)

    def weight_by_place(self) -> Tensor:
        """The weights of the `linear` layer in the order of the map before it, [H, W * channels, units]."""
        with self._ordering:  # they are many: threads wait for the one that puts them in order
            if self._ordered is None:
                assert self.linear is not None and self.pooled is not None
                channels, height, width = self.values[self.pooled].shape[1:]
                weight = self.linear.weight.view(-1, channels, height, width).permute(2, 3, 1, 0)
                self._ordered = weight.reshape(height, width * channels, -1)
            return self._ordered

    def call(self, node: fx.Node, env: Mapping[fx.Node, Any], count: int = 1, keep: bool = False) -> Any:
        """Run one node. `count`: images in a batch. `keep`: its inputs stay as they are, even if it works in place."""

        def value(one: fx.Node) -> Any:
            found = env[one] if one in env else self._flexible(one, count)
            return found.clone() if keep and changes and isinstance(found, Tensor) else found

        changes = is_in_place(node, self.modules)
        if node.op == "get_attr":
            return self.traced.constants[str(node.target)]
        args, kwargs = fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value)
        if node.op == "call_module":
            return self.modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            # Maps are in channels_last here, and not every view of them is possible without a copy.
            name = "reshape" if node.target == "view" else str(node.target)
            return getattr(args[0], name)(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _flexible(self, node: fx.Node, count: int) -> Any:
        """What is no tensor of the images, such as a batch's size, for a batch of another size."""
        known = self.values[node]
        if node in self.constant or count == 1:
            return known
        if isinstance(known, Tensor):
            return known.expand(count, *known.shape[1:])
        return self.call(node, {}, count)

    def _is_smooth(self, node: fx.Node) -> bool:
        """Whether all that is used of it is floating-point numbers, or true and false."""
        value = self.values[node]
        if isinstance(value, tuple | list) and all(user.target in (operator.getitem, getattr) for user in node.users):
            return True  # the parts that are used are nodes themselves
        parts = value if isinstance(value, tuple | list) else [value]
        return all(
            part.dtype.is_floating_point or part.is_complex() or part.dtype == torch.bool
            for part in parts
            if isinstance(part, Tensor)
        )

    def _is_pixelwise(self, node: fx.Node, found: tuple[Kind, list[fx.Node]] | None) -> bool:
        inputs = [one for one in node.all_input_nodes if one not in self.constant]
        if not self.is_map(node) or not inputs or any(one not in self.filled for one in inputs):
            return False
        if found and found[0].local:
            return True
        # One number for each pixel, such as the mean picture of the training images.
        size = self.values[self.traced.images].shape[2:]
        arithmetic = (operator.sub, operator.truediv, operator.add, operator.mul, operator.isub, operator.itruediv)
        return node.op == "call_function" and node.target in arithmetic and self.values[node].shape[2:] == size and all(
            self.values[one].shape[2:] == size for one in inputs)  # fmt: skip

    def _cut(self, found: dict[fx.Node, tuple[Kind, list[fx.Node]] | None]) -> None:
        """Find the cut, and list the steps before it and the nodes after it."""
        idle = self._bypassed(found)
        needed = {node: max((self._place.get(user, -1) for user in node.users), default=-1) for node in self.nodes}
        for node, kind in found.items():
            for source in kind[1] if kind else ():
                needed[source] = max(needed[source], self._place[node])
        needed[self.traced.scores] = len(self.nodes)
        working = [node for node in self.nodes if self._varies(node) and node not in idle]
        self.cut, self.pooled, self.linear = self.traced.scores, None, None
        self.narrow: list[fx.Node] = []
        for number, node in enumerate(working):
            later = any(needed[one] > self._place[node] for one in working[:number])
            recorded = self.traced.maps is None or self._place[self.traced.maps] <= self._place[node]
            value = self.values[node]
            if later or not isinstance(value, Tensor) or node in self.filled:
                continue
            if recorded and value.shape[2:].numel() == 1:
                self.cut = node
                break
            if self.is_map(node) and node not in self.filled:
                self.narrow.append(node)
        before: Any = self.cut.args[0] if self.cut.args else None
        if isinstance(before, fx.Node) and self.is_map(before) and before not in self.filled:
            size, flat = self.values[before].shape, self.values[self.cut].flatten(1)
            if _is_mean(self.cut, self.modules) and flat.shape[1] == size[1]:
                self.pooled = before
            elif _is_flat(self.cut, self.modules) and flat.shape[1] == size[1:].numel():
                self.pooled = before
                users = list(self.cut.users)
                module = self.modules.get(str(users[0].target)) if len(users) == 1 else None
                if type(module) is nn.Linear and len(users[0].args) == 1 and not users[0].kwargs:
                    self.linear, self.cut = module, users[0]
        self.needed, self.steps = needed, []
        for node in working:
            if node in self.filled or self._place[node] > self._place[self.cut]:
                continue
            kind = found[node]
            shape = tuple(self.values[node].shape[1:]) if self.is_map(node) else None
            first = kind[1][0] if kind else None
            last = first is not None and needed[first] <= self._place[node] and first is not self.traced.maps
            sources = tuple(kind[1]) if kind else ()
            self.steps.append(Step(node, kind[0] if kind else None, sources, shape, last))
        ends = {self.cut, *(self.cut.args[:1] if self.linear is not None else ())}  # with the flat values
        self.unknown = next((step.node for step in self.steps if not step.kind and step.node not in ends), None)
        self._working, self._kinds = working, found

    def rest(self, cut: fx.Node, value: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class scores [B, classes] from the values at a cut, [B, ...], and the last maps if they come after it."""
        env: dict[Any, Any] = {cut: value}
        maps: Tensor | None = None
        for node in self._working:
            if self._place[node] <= self._place[cut]:
                continue
            kind = self._kinds[node]
            if kind and isinstance(kind[0], Channels):
                env[node] = kind[0].whole(env[kind[1][0]])
            else:
                env[node] = self.call(node, env, len(value))
            if node is self.traced.maps:
                maps = env[node].clone()
            for source in (*node.all_input_nodes, *(kind[1] if kind else ())):
                if self.needed[source] <= self._place[node]:
                    env.pop(source, None)
        return env[self.traced.scores], maps

    def _bypassed(self, found: dict[fx.Node, tuple[Kind, list[fx.Node]] | None]) -> set[fx.Node]:
        """What is only a way to channels in another order, which are taken from the map itself."""
        idle: set[fx.Node] = set()
        for node in reversed(self.nodes):
            taken = [(user, found.get(user)) for user in node.users]
            if not self.is_map(node) and taken and all(
                user in idle or (kind and isinstance(kind[0], Channels) and node not in kind[1]) for user, kind in taken
            ):  # fmt: skip
                idle.add(node)
        return idle

    def is_square(self) -> bool:
        """Whether rows and columns are treated alike."""
        return all(
            (step.shape is None or step.shape[1] == step.shape[2])
            and (step.kind is None or step.kind.slides[0] == step.kind.slides[1])
            for step in self.steps
        )

    def place(self, node: fx.Node) -> int:
        return self._place[node]

    def _varies(self, node: fx.Node) -> bool:
        """Whether it is a tensor that depends on the image."""
        return node not in self.constant and isinstance(self.values[node], Tensor | tuple | list) and not isinstance(
            self.values[node], torch.Size)  # fmt: skip


def _is_mean(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether it is a map's mean over all places."""
    if node.op == "call_module":
        return type(modules[str(node.target)]) is nn.AdaptiveAvgPool2d
    if node.target is F.adaptive_avg_pool2d:
        return True
    if node.target not in (torch.mean, "mean"):
        return False
    over = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return isinstance(over, list | tuple) and sorted(int(d) % 4 for d in over) == [2, 3]


def _is_flat(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(modules[str(node.target)]) is nn.Flatten
    return node.target in VIEWS or node.target in (torch.flatten, torch.reshape)
