"""Receptive fields: the pixels that each place of a map sees, in any network that is a graph of known operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

Fields = NDArray[np.int64]  # [places, 2]: the pixels [first, end) along one axis
Shapes = Mapping[fx.Node, tuple[int, ...]]
Pass = Callable[[Fields, int], Fields]  # the inputs' fields and how many outputs there are -> the outputs' fields


@dataclass(frozen=True)
class Seen:
    """What the places of a tensor see. `dims`: the tensor's dimensions of the rows and of the columns."""

    dims: tuple[int, int]
    fields: tuple[Fields, Fields]


# What is computed at each place by itself. Of the others, what is not named below is taken to see the whole image.
_POINTWISE_MODULES = (
    nn.Identity, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU,
    nn.CELU, nn.SiLU, nn.Mish, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip
_POINTWISE = {
    *("add", "sub", "mul", "truediv", "iadd", "isub", "imul", "itruediv", "div", "neg", "abs", "exp", "square", "pow"),
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "silu", "mish", "gelu", "hardswish", "tanh"),
    *("hardsigmoid", "hardtanh", "sigmoid", "softplus", "clamp", "clip", "dropout", "batch_norm", "stochastic_depth"),
    *("contiguous", "clone", "detach", "to", "float", "half", "bfloat16"),
}


def receptive_fields(
    network: nn.Module, graph: fx.Graph, shapes: Shapes, last: fx.Node, size: tuple[int, int]
) -> tuple[Fields, Fields]:
    """The pixels that each place of a map sees, along the rows and along the columns.

    What an operation sees that is not known, or that mixes all places (attention, the mean of squeeze-and-excitation),
    is the whole image: a field may be given too large, but never too small.

    Args:
        graph, shapes: of the network (`graybox.network.tracing`). `last`: the node that gives the maps, [B, C, h, w].
        size: height and width of the image in pixels.

    Returns:
        int64 [h, 2] and int64 [w, 2]: first pixel and one past the last, clipped at the image's border.
    """
    found: dict[fx.Node, Seen] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = Seen((2, 3), (_each(size[0]), _each(size[1])))
        elif given := [found[one] for one in node.all_input_nodes if one in found]:
            known = _seen(network, node, given, shapes) if node in shapes else given[0]  # a list, as of a chunk
            if known is not None:
                found[node] = known
            else:
                rows, columns = (2, 3) if len(shapes[node]) == 4 else (-1, -1)
                lengths = [shapes[node][dim] if dim > 0 else 1 for dim in (rows, columns)]
                found[node] = Seen((rows, columns), (_whole(lengths[0], size[0]), _whole(lengths[1], size[1])))
        if node is last:
            break
    seen = found[last]
    return seen.fields if seen.dims == (2, 3) else (_whole(shapes[last][2], size[0]), _whole(shapes[last][3], size[1]))


def name_of(node: fx.Node) -> str:
    """The name of a node's function or method, without underscores at its ends; "" for a module."""
    target = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    return str(target).strip("_") if node.op in ("call_method", "call_function") else ""


def _seen(network: nn.Module, node: fx.Node, given: list[Seen], shapes: Shapes) -> Seen | None:
    """What the places of a node's tensor see; None if that is not known."""
    shape, first, name = shapes[node], given[0], name_of(node)
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    passes = _passes(module, node, name)
    if passes is not None:
        if first.dims != (2, 3) or len(shape) != 4:
            return None
        return Seen((2, 3), (passes[0](first.fields[0], shape[2]), passes[1](first.fields[1], shape[3])))
    if name in ("cat", "concat"):
        dim = _argument(node, 1, "dim", 0)
        return _joined(given, shape) if isinstance(dim, int) and dim % len(shape) not in first.dims else None
    if isinstance(module, _POINTWISE_MODULES) or name in _POINTWISE:
        return _joined(given, shape)
    if isinstance(module, nn.Linear | nn.LayerNorm) or name == "layer_norm":
        shapes_of = getattr(module, "normalized_shape", None) or _argument(node, 1, "normalized_shape", (0,))
        last = 1 if isinstance(module, nn.Linear) else len(shapes_of)
        return _joined(given, shape) if max(first.dims) < len(shape) - last else None
    before = shapes.get(node.all_input_nodes[0])
    return _moved(node, name, first, before, shape)


def _moved(node: fx.Node, name: str, seen: Seen, before: tuple[int, ...] | None, shape: tuple[int, ...]) -> Seen | None:
    """The same places in other dimensions: after a permutation or another shape; None if that is not known."""
    if before is None:  # an element of a list of equal parts
        return seen if name == "getitem" and _lengths(shape, seen.dims) == tuple(map(len, seen.fields)) else None
    if seen.dims == (-1, -1):
        return None
    if name in ("permute", "transpose", "swapaxes"):
        numbers = [arg for given in node.args[1:] for arg in (given if isinstance(given, list | tuple) else [given])]
        if not numbers or not all(isinstance(one, int) for one in numbers):
            return None
        moved = [int(str(one)) % len(shape) for one in numbers]
        if name != "permute":
            order = list(range(len(shape)))
            order[moved[0]], order[moved[1]] = moved[1], moved[0]
            moved = order
        return replace(seen, dims=(moved.index(seen.dims[0]), moved.index(seen.dims[1])))
    if name in ("view", "reshape") and seen.dims == (len(before) - 2, len(before) - 1) and before[-2:] == shape[-2:]:
        return replace(seen, dims=(len(shape) - 2, len(shape) - 1))  # row by row, so the last two are what they were
    return None


def _joined(given: list[Seen], shape: tuple[int, ...]) -> Seen | None:
    """Of tensors of the same places, or of one place that all get: all that any of them sees."""
    dims = given[0].dims if len(given) == 1 else next((one.dims for one in given if one.dims != (-1, -1)), (-1, -1))
    if dims == (-1, -1) or max(dims) >= len(shape) or any(one.dims != dims for one in given):
        return None
    both = []
    for axis, dim in enumerate(dims):
        parts = [one.fields[axis] for one in given]
        if any(len(part) not in (1, shape[dim]) for part in parts):
            return None
        wide = np.array([np.broadcast_to(part, (shape[dim], 2)) for part in parts])
        both.append(np.stack([wide[..., 0].min(0), wide[..., 1].max(0)], axis=1))
    return Seen(dims, (both[0], both[1]))


def _passes(module: nn.Module | None, node: fx.Node, name: str) -> tuple[Pass, Pass] | None:
    """How a convolution or a pooling sees its inputs along the rows and the columns; None if the node is neither."""
    adaptive = isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    if adaptive or name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        return _bins, _bins
    if isinstance(module, nn.Conv2d):
        if module.padding_mode == "circular":
            return None
        padding: Any = 0 if module.padding == "valid" else module.padding
        if module.padding == "same":
            padding = tuple(step * (side - 1) // 2 for side, step in zip(module.kernel_size, module.dilation))
        return _pair_of_passes(module.kernel_size, module.stride, padding, module.dilation)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return _pair_of_passes(module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    if name in ("max_pool2d", "avg_pool2d"):
        kernel = _argument(node, 1, "kernel_size", None)
        dilation = _argument(node, 4, "dilation", 1) if name == "max_pool2d" else 1
        return _pair_of_passes(kernel, _argument(node, 2, "stride", None) or kernel, _argument(node, 3, "padding", 0),
                               dilation)  # fmt: skip
    return None


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _pair_of_passes(*values: Any) -> tuple[Pass, Pass] | None:
    """Of kernel, stride, padding and dilation, each one number or two."""
    pairs = [(value, value) if isinstance(value, int) else tuple(value or ()) for value in values]
    if not all(len(pair) in (1, 2) and all(isinstance(one, int) for one in pair) for pair in pairs):
        return None
    return _pass(*[pair[0] for pair in pairs]), _pass(*[pair[-1] for pair in pairs])


def _pass(kernel: int, stride: int, padding: int, dilation: int) -> Pass:
    def seen(fields: Fields, outputs: int) -> Fields:
        first = np.arange(outputs, dtype=np.int64) * stride - padding
        last = first + dilation * (kernel - 1)
        return _hulls(fields, first, last)

    return seen


def _bins(fields: Fields, outputs: int) -> Fields:
    """As adaptive pooling shares its inputs out."""
    place = np.arange(outputs, dtype=np.int64)
    return _hulls(fields, place * len(fields) // outputs, -((-(place + 1) * len(fields)) // outputs) - 1)


def _hulls(fields: Fields, first: NDArray[np.int64], last: NDArray[np.int64]) -> Fields:
    """All that the inputs `first` to `last` see, of those that there are: padding beyond the border sees no pixel."""
    first, last = np.clip(first, 0, len(fields) - 1), np.clip(last, 0, len(fields) - 1)
    spans = [fields[a : b + 1] for a, b in zip(first, last)]
    return np.array([(span[:, 0].min(), span[:, 1].max()) for span in spans], np.int64).reshape(-1, 2)


def _each(size: int) -> Fields:
    first = np.arange(size, dtype=np.int64)
    return np.stack([first, first + 1], axis=1)


def _whole(places: int, pixels: int) -> Fields:
    return np.tile(np.array([0, pixels], np.int64), (places, 1))


def _lengths(shape: tuple[int, ...], dims: tuple[int, int]) -> tuple[int, ...]:
    return tuple(shape[dim] for dim in dims if 0 <= dim < len(shape))
