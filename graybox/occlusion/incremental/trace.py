"""From a network to a list of its operations, without running its own code a second time.

`torch.fx` calls the network's forward once with stand-ins for the tensors and writes down what is done to them. What
depends on the values of a tensor can't be written down so. Such networks, and those that tracing does not see whole
(hooks, a `forward` of the object's own, quantised weights), are for the plain engine.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as _everywhere

from graybox.network.tracing import ONE_AT_A_TIME, Tracer


class Untraceable(Exception):
    """Why a network can't be written down as a graph, in words."""


class _Tracer(Tracer):
    """PyTorch's own layers are leaves; everything else is looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
        if is_normalisation(m):
            return True
        return type(m).__module__.startswith("torch.nn.modules.") and not isinstance(m, containers)


def is_normalisation(module: nn.Module) -> bool:
    """Whether it is torchvision's, for pixels; it asks what it gets, which can't be traced."""
    kind = type(module)
    return kind.__name__ == "Normalize" and kind.__module__.startswith("torchvision.transforms.")


class _WithMaps(nn.Module):
    """Class scores and the last maps of a Classifier, as the plain engine asks for them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.model.last_maps(images)  # type: ignore[operator]  # a Classifier's
        return self.model.head(maps), maps  # type: ignore[operator]


@dataclass(frozen=True)
class Traced:
    """A network's operations in the order of their execution.

    Attributes:
        graph: its nodes; nothing of it is shared with the network.
        modules: the network's layers by their name in the graph.
        constants: its weights, buffers and other tensors that are read directly, by their name in the graph.
        scores, maps: the nodes of the class scores and, if asked, of the last maps.
    """

    graph: fx.Graph
    modules: dict[str, nn.Module]
    constants: dict[str, Any]
    scores: fx.Node
    maps: fx.Node | None

    @property
    def images(self) -> fx.Node:
        found: fx.Node = next(node for node in self.graph.nodes if node.op == "placeholder")
        return found


def trace(model: nn.Module, with_maps: bool = False) -> Traced:
    """Write down what a network does in evaluation mode.

    Args:
        model: in evaluation mode. It is as before afterwards.
        with_maps: of a `Classifier`, write down `last_maps` too.

    Raises:
        Untraceable: it can't be, or not safely.
    """
    odd = next((tensor for tensor in _floating(model) if not _is_plain(tensor)), None)
    if odd is not None:
        raise Untraceable(f"it has weights of {odd.dtype} ({type(odd).__name__}), not plain float32")
    if _is_watched() or any(map(_is_altered, model.modules())):
        raise Untraceable("it has a hook, or a method of the object's own")
    root = _WithMaps(model).eval() if with_maps else model
    before = [(module, _own(module)) for module in root.modules()]
    versions = [(tensor, _version(tensor)) for tensor in (*model.parameters(), *model.buffers())]
    random = torch.get_rng_state()
    try:
        with ONE_AT_A_TIME:
            graph = _Tracer().trace(root)
        modules = dict(root.named_modules(remove_duplicate=False))
        constants = {str(n.target): _attribute(root, str(n.target)) for n in graph.nodes if n.op == "get_attr"}
    except Exception as error:  # whatever a forward raises when it gets stand-ins
        raise Untraceable(f"its forward can't be traced ({type(error).__name__})") from error
    finally:
        changed = [module for module, own in before if not _restored(module, own)]
        torch.set_rng_state(random)
    if changed or any(_version(tensor) != version for tensor, version in versions):
        raise Untraceable("its forward changes the network")
    found = next(node for node in graph.nodes if node.op == "output").args[0]
    scores, maps = found if with_maps else (found, None)
    if not isinstance(scores, fx.Node) or sum(node.op == "placeholder" for node in graph.nodes) != 1:
        raise Untraceable("it does not give one tensor for one tensor")
    traced = Traced(graph, modules, constants, scores, maps)
    _check_in_place(traced)
    return traced


def _floating(model: nn.Module) -> Iterator[Tensor]:
    return (tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point())


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is float32 and computes as PyTorch's own: not a quantised one that only looks like it, for example."""
    return tensor.dtype == torch.float32 and type(tensor) in (Tensor, nn.Parameter) and not tensor.is_sparse


def _is_altered(module: nn.Module) -> bool:
    """Whether it has a hook, a method of its own in place of its class's (`net.forward = ...`), or is no plain module:
    compiled, scripted, quantised; or a batch norm that takes its statistics from the batch."""
    own = {name for name in vars(module) if callable(getattr(type(module), name, None))}
    kind = type(module).__module__
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
        return True
    return bool(
        module._forward_hooks or module._forward_pre_hooks or own or kind.startswith(("torch.jit", "torch._dynamo"))
    )


def _is_watched() -> bool:
    """Whether a hook is registered for all modules, as `torch.nn.modules.module.register_module_forward_hook` does."""
    return bool(_everywhere._global_forward_hooks or _everywhere._global_forward_pre_hooks)


def _own(module: nn.Module) -> dict[str, Any]:
    """The module's attributes; its own containers are copied, so that what is added to them shows."""
    return {
        name: value.copy() if isinstance(value, dict | list | set) else value for name, value in vars(module).items()
    }


def _restored(module: nn.Module, own: dict[str, Any]) -> bool:
    """Give a module the attributes that it had; whether it had lost or changed any."""
    now, same = vars(module), True
    for name in now.keys() - own.keys():
        same &= name.startswith("_tensor_constant")  # the tracer's own
        del now[name]
    for name, value in own.items():
        present = now.get(name)
        if isinstance(value, dict | list | set):
            if not isinstance(present, type(value)) or not _alike(present, value):
                now[name], same = value, False
        elif present is not value:
            now[name], same = value, False
    return same


def _alike(one: Any, other: Any) -> bool:
    """Whether two containers hold the same objects."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(one[key] is other[key] for key in one)
    return len(one) == len(other) and all(a is b for a, b in zip(one, other))


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _attribute(root: nn.Module, name: str) -> Any:
    found: Any = root
    for part in name.split("."):
        found = getattr(found, part)
    return found


IN_PLACE = {
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.ifloordiv, operator.imod,
    operator.iand, operator.ior, operator.ixor, operator.setitem,
}  # fmt: skip


def is_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the operation changes the tensor that it gets."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        functional = getattr(node.target, "__module__", "") == "torch.nn.functional"
        asked = node.kwargs.get("inplace") or (functional and any(given is True for given in node.args[1:]))
        return node.target in IN_PLACE or (name.endswith("_") and not name.endswith("__")) or bool(asked)
    return False


def _fresh(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether its result certainly shares no memory with its inputs."""
    layers = (nn.Conv2d, nn.modules.batchnorm._BatchNorm, nn.Linear, nn.MaxPool2d, nn.AvgPool2d)
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], layers)
    if node.target in (torch.clone, "clone"):
        return True
    return node.op == "call_function" and node.target in (operator.add, operator.mul, operator.sub, operator.truediv,
                                                          torch.cat, torch.add, torch.mul)  # fmt: skip


def _check_in_place(traced: Traced) -> None:
    """Raise where an operation changes a tensor that is also read later under another name.

    The engine gives each node a tensor of its own, so that nobody would see the change.
    """
    place = {node: number for number, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if "out" in node.kwargs or (node.op == "call_function" and node.target is operator.setitem):
            raise Untraceable(f"it writes into a tensor ({node.name})")
        if not is_in_place(node, traced.modules):
            continue
        pending, shared = list(node.all_input_nodes[:1]), set[fx.Node]()
        while pending:
            one = pending.pop()
            if one in shared:
                continue
            shared.add(one)
            if any(place[user] > place[node] for user in one.users):
                raise Untraceable(f"it changes a tensor that it reads again later ({node.name})")
            if not _fresh(one, traced.modules):
                pending += one.all_input_nodes[:1] if one.target in IN_PLACE else one.all_input_nodes
            pending += [user for user in one.users if user is not node and not _fresh(user, traced.modules)]
