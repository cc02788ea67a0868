"""A network as a graph of its operations (`torch.fx`), and the shapes that flow through it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from graybox.network.inference import device_of, evaluating

ONE_AT_A_TIME = threading.Lock()
"""Hold it while a `Tracer` traces."""


class Tracer(fx.Tracer):
    """`torch.fx`'s tracer, which other threads do not notice.

    While it traces, torch.fx takes the place of `nn.Module.__call__` for the whole process: a network that another
    thread runs meanwhile would be given placeholders.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a call of a module gives: of this thread a node of the graph, of another what it gives."""
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What an attribute of a module gives: of this thread a node if it is a weight, of another its value."""
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def traced(network: nn.Module) -> fx.Graph:
    """The graph of a network in evaluation mode; PyTorch's own modules are its nodes.

    Raises:
        Exception: of many kinds; what the network does depends on its input's values, or torch.fx can't follow it.
    """
    with ONE_AT_A_TIME, evaluating(network):
        return Tracer().trace(network)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of each tensor."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.found[n] = tuple(value.shape)
        return value


@torch.no_grad()
def shapes(network: nn.Module, graph: fx.Graph, image: Tensor) -> tuple[dict[fx.Node, tuple[int, ...]], Any]:
    """Run a graph on images, float [B, 3, H, W]: the shape of each node that gives a tensor, and what the graph gives.

    A weight or an index is a tensor too.
    """
    runner = _Shapes(network, graph)
    with evaluating(network):
        given = runner.run(image)
    return runner.found, given


def run(network: nn.Module, graph: fx.Graph, first: fx.Node | None, last: fx.Node | None, value: Tensor) -> Tensor:
    """Run a part of a graph with the network's present weights.

    Args:
        first: the node that gets `value`; None = the network's input. Only what needs it is computed.
        last: the node whose value is wanted; None = the network's output. A value is kept while it is still needed.
    """
    interpreter = fx.Interpreter(network, graph=graph)
    environment: dict[fx.Node, Any] = {}
    nodes = list(graph.nodes)
    start = next(node for node in nodes if node.op == "placeholder") if first is None else first
    end = next(node for node in reversed(nodes) if node.op == "output").args[0] if last is None else last
    assert isinstance(end, fx.Node)
    needed, waiting = {start}, [end]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    environment[start] = value
    interpreter.env = environment
    order = [node for node in nodes if node in needed]
    users = {one: node for node in order for one in node.all_input_nodes}  # the last one of each
    for node in order:
        if node is not start:
            environment[node] = interpreter.run_node(node)
            for one in node.all_input_nodes:
                if users[one] is node and one is not end:
                    del environment[one]  # as a batch's activations of all layers are large
    found: Tensor = environment[end]
    return found


def zeros(network: nn.Module, size: int, images: int = 1) -> Tensor:
    """Black images [B, 3, size, size], on the network's device and of its weights' type."""
    kinds = (weight.dtype for weight in network.parameters() if weight.is_floating_point())
    return torch.zeros(images, 3, size, size, device=device_of(network), dtype=next(kinds, torch.float32))
