"""Which kind of step each node of a graph is; None for what no kind knows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from graybox.network.geometry import Slide
from graybox.occlusion.incremental.graph import Affine, Conv
from graybox.occlusion.incremental.kinds import (
    AveragePool,
    Channels,
    Convolve,
    Kind,
    MaxPool,
    Pointwise,
    Scale,
    Sum,
    Together,
    pair_of,
)
from graybox.occlusion.incremental.patches import Known
from graybox.occlusion.incremental.trace import Traced

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU,
    nn.SELU, nn.CELU, nn.Softplus, nn.Softsign, nn.Mish, nn.Hardtanh, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink,
    nn.Hardshrink, nn.Threshold, nn.PReLU,
)  # fmt: skip
FUNCTIONS = {
    F.relu, F.relu_, F.relu6, F.silu, F.gelu, F.hardswish, F.hardsigmoid, F.sigmoid, F.tanh, F.leaky_relu,
    F.leaky_relu_, F.elu, F.elu_, F.selu, F.celu, F.softplus, F.softsign, F.mish, F.hardtanh, F.hardtanh_,
    F.logsigmoid, F.tanhshrink, F.softshrink, F.hardshrink, torch.relu, torch.relu_, torch.sigmoid, torch.tanh,
    torch.abs, torch.exp, torch.neg, torch.square, torch.sqrt, torch.rsqrt, torch.clamp, torch.clip, torch.erf,
    torch.sin, torch.cos, torch.clone, operator.neg, operator.abs, torch.selu, torch.celu,
}  # fmt: skip
METHODS = {
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "abs", "exp", "neg", "square", "sqrt", "rsqrt", "clamp",
    "clamp_", "clip", "clip_", "clone", "erf", "sin", "cos", "clamp_min", "clamp_max", "clamp_min_", "clamp_max_",
}  # fmt: skip
PAIRS = {
    operator.add: 1, operator.iadd: 1, torch.add: 1, operator.sub: -1, operator.isub: -1, torch.sub: -1,
    operator.mul: 0, operator.imul: 0, torch.mul: 0, torch.multiply: 0, operator.truediv: 0, operator.itruediv: 0,
    torch.div: 0, torch.divide: 0, torch.maximum: 0, torch.minimum: 0, torch.subtract: -1,
}  # fmt: skip
PAIR_METHODS = {"add": 1, "add_": 1, "sub": -1, "sub_": -1, "mul": 0, "mul_": 0, "div": 0, "div_": 0}
CAT = (torch.cat, torch.concat, torch.concatenate)
VIEWS = ("view", "reshape", "flatten")


class Recogniser:
    """Args:
    traced: the simplified graph.
    values: what each node gives for the unoccluded image.
    call: run a node on inputs in the place of its own: (node, {input: value}) -> value.
    """

    def __init__(self, traced: Traced, values: Mapping[fx.Node, Any], call: Callable[..., Any]) -> None:
        self._traced, self._values, self._call = traced, values, call

    def is_map(self, node: Any) -> bool:
        value = self._values.get(node) if isinstance(node, fx.Node) else None
        return isinstance(value, Tensor) and value.ndim == 4 and len(value) == 1 and value.dtype == torch.float32

    def kind(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        """The kind, and the maps that it takes its patches from."""
        if not self.is_map(node):
            return None
        if node.op == "call_module":
            return self._of_module(node)
        name = node.target if node.op == "call_method" else None
        if (node.op == "call_function" and node.target in FUNCTIONS) or name in METHODS:
            alone = [one for one in node.all_input_nodes if isinstance(self._values[one], Tensor)]
            if alone == list(node.args[:1]) and self._same_size(node, *alone):
                return Pointwise(call=partial(self._one, node), over=self._over(node)), alone
            return None
        if (node.op == "call_function" and node.target in PAIRS) or name in PAIR_METHODS:
            return self._of_pair(node, PAIRS[node.target] if name is None else PAIR_METHODS[str(name)])  # type: ignore[index]
        if node.op == "call_function" and node.target in CAT:
            return self._of_cat(node)
        if node.op == "call_function" and node.target is operator.getitem:
            return self._of_item(node)
        if node.op == "call_function" and node.target in (torch.channel_shuffle, F.channel_shuffle):
            if len(node.args) != 2:
                return None
            source, groups = node.args
            if isinstance(source, fx.Node) and isinstance(groups, int) and self.is_map(source):
                return self._shuffled(source, groups)
            return None
        if name in VIEWS[:2] or node.target is torch.reshape:
            return self._of_shuffle(node)
        if node.op == "call_function" and node.target in (F.max_pool2d, torch.max_pool2d, F.avg_pool2d):
            return self._of_pool_function(node)
        if node.op == "call_function" and node.target is F.adaptive_avg_pool2d and isinstance(node.args[0], fx.Node):
            return self._adaptive(node, node.args[0])
        return None

    def _one(self, node: fx.Node, value: Tensor) -> Tensor:
        return self._call(node, {node.all_input_nodes[0]: value})  # type: ignore[no-any-return]

    def _same_size(self, node: fx.Node, *sources: fx.Node) -> bool:
        return all(
            self.is_map(source) and self._values[source].shape[2:] == self._values[node].shape[2:] for source in sources
        )

    def _over(self, node: fx.Node) -> Callable[[Tensor], Tensor] | None:
        """The commonest activations in place."""
        module = self._traced.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ReLU) or node.target in (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"):
            return torch.relu_
        if type(module) is nn.ReLU6 or node.target is F.relu6:
            return partial(torch.clamp_, min=0, max=6)
        if type(module) is nn.Hardswish:
            return partial(F.hardswish, inplace=True)
        if type(module) is nn.SiLU:
            return partial(F.silu, inplace=True)
        return None

    def _of_module(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        module, source = self._traced.modules[str(node.target)], node.args[0] if len(node.args) == 1 else None
        if not isinstance(source, fx.Node) or not self.is_map(source) or node.kwargs:
            return None
        if isinstance(module, Conv):
            weight = module.weight
            slides = [
                Slide((kernel - 1) * dilation + 1, stride, padding)
                for kernel, dilation, stride, padding in zip(
                    weight.shape[2:], module.dilation, module.stride, module.padding
                )
            ]
            return Convolve((slides[0], slides[1]), weight.numel(), weight.numel(), conv=module), [source]
        if type(module) in ACTIVATIONS:
            return Pointwise(call=partial(self._one, node), over=self._over(node)), [source]
        if isinstance(module, Affine):
            return Scale(affine=module), [source]
        if type(module) is nn.ChannelShuffle:
            return self._shuffled(source, module.groups)
        if type(module) is nn.MaxPool2d and not module.return_indices:
            return self._max_pool(module, node, source)
        if type(module) is nn.AvgPool2d:
            return self._average(module, node, source)
        if type(module) is nn.AdaptiveAvgPool2d:
            return self._adaptive(node, source)
        return None

    def _max_pool(self, pool: nn.MaxPool2d, node: fx.Node, source: fx.Node) -> tuple[Kind, list[fx.Node]]:
        kernel, padding, dilation = pair_of(pool.kernel_size), pair_of(pool.padding), pair_of(pool.dilation)
        stride = pair_of(kernel if pool.stride is None else pool.stride)
        slides = [Slide((k - 1) * d + 1, s, p) for k, d, s, p in zip(kernel, dilation, stride, padding)]
        return MaxPool((slides[0], slides[1]), pool=pool), [source]

    def _average(self, pool: nn.AvgPool2d, node: fx.Node, source: fx.Node) -> tuple[Kind, list[fx.Node]]:
        kernel, padding = pair_of(pool.kernel_size), pair_of(pool.padding)
        stride = pair_of(kernel if pool.stride is None else pool.stride)
        ones = torch.ones_like(self._values[source][:, :1])
        # With the input's ones divided by the whole kernel, and by the divisor in force: their ratio for each output.
        within = pool(ones)
        sums = F.avg_pool2d(ones, kernel, stride, padding, pool.ceil_mode, count_include_pad=True, divisor_override=1)
        share = kernel[0] * kernel[1] * within / sums.clamp(min=1e-30)
        parts = None if bool((share - 1).abs().max() < 1e-6) else Known(share, 2**6, 2**6)
        slides = [Slide(k, s, p) for k, s, p in zip(kernel, stride, padding)]
        return AveragePool((slides[0], slides[1]), kernel=kernel, stride=stride, parts=parts), [source]

    def _adaptive(self, node: fx.Node, source: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        """An adaptive pooling whose kernels all have one size is an ordinary one."""
        into, out = self._values[source].shape[2:], self._values[node].shape[2:]
        if into == out:
            return Pointwise(call=torch.clone), [source]
        if any(a % b for a, b in zip(into, out)):
            return None
        kernel = into[0] // out[0], into[1] // out[1]
        slides = Slide(kernel[0], kernel[0]), Slide(kernel[1], kernel[1])
        return AveragePool(slides, kernel=kernel, stride=kernel), [source]

    def _of_pool_function(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        source, *given = node.args
        if not isinstance(source, fx.Node) or not self.is_map(source) or len(node.all_input_nodes) > 1:
            return None
        names = ["kernel_size", "stride", "padding"]
        names += ["ceil_mode", "count_include_pad"] if node.target is F.avg_pool2d else ["dilation", "ceil_mode"]
        settings: dict[str, Any] = {**dict(zip(names, given)), **node.kwargs}
        if len(given) > len(names) or settings.pop("return_indices", False) or settings.get("divisor_override"):
            return None
        settings["stride"] = settings.get("stride") or None
        if node.target is F.avg_pool2d:
            return self._average(nn.AvgPool2d(**settings), node, source)
        return self._max_pool(nn.MaxPool2d(**settings), node, source)

    def _of_pair(self, node: fx.Node, sign: int) -> tuple[Kind, list[fx.Node]] | None:
        if node.kwargs or len(node.args) != 2:
            return None
        maps = [one for one in node.args if isinstance(one, fx.Node) and one.op != "get_attr" and self._varies(one)]
        if len(maps) == 2:
            if not self._same_size(node, *maps) or any(self._values[m].shape != self._values[node].shape for m in maps):
                return None
            if sign:
                return Sum(sign=sign), maps
            return Together(call=partial(self._several, node, maps)), maps
        if len(maps) != 1 or not self._same_size(node, maps[0]):
            return None
        other = node.args[1] if node.args[0] is maps[0] else node.args[0]
        if isinstance(other, fx.Node):
            constant = self._values[other]
            if isinstance(constant, Tensor) and any(size != 1 for size in constant.shape[-2:]):
                return None  # another number at each place
            if isinstance(constant, Tensor) and constant.ndim == 1 and len(constant) != 1:
                return None
        return Pointwise(call=lambda value: self._call(node, {maps[0]: value})), maps

    def _varies(self, node: fx.Node) -> bool:
        return isinstance(self._values[node], Tensor)

    def _several(self, node: fx.Node, sources: list[fx.Node], *values: Tensor) -> Tensor:
        return self._call(node, dict(zip(sources, values)))  # type: ignore[no-any-return]

    def _of_cat(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        parts = node.args[0]
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        if dim not in (1, -3) or not isinstance(parts, list | tuple) or not all(map(self.is_map, parts)):
            return None
        return Together(call=lambda *values: torch.cat(values, 1), linear=True), list(parts)

    def _of_item(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        """One of the parts of `chunk` or `split` over the channels, or a slice of channels."""
        whole, index = node.args
        if not isinstance(whole, fx.Node):
            return None
        if self.is_map(whole):
            everything = slice(None)
            if isinstance(index, tuple) and len(index) == 2 and index[0] == everything and isinstance(index[1], slice):
                bounds = index[1].start, index[1].stop, index[1].step
                if all(bound is None or isinstance(bound, int) for bound in bounds):
                    return Channels(index=index[1]), [whole]
            return None
        names = ("chunk", "split")
        if not (whole.target in names or getattr(whole.target, "__name__", "") in names) or not isinstance(index, int):
            return None
        source, dim = whole.args[0], whole.kwargs.get("dim", whole.args[2] if len(whole.args) > 2 else 0)
        if not isinstance(source, fx.Node) or not self.is_map(source) or dim not in (1, -3):
            return None
        sizes = [part.shape[1] for part in self._values[whole]]
        first = sum(sizes[: index % len(sizes)])
        return Channels(index=slice(first, first + sizes[index])), [source]

    def _of_shuffle(self, node: fx.Node) -> tuple[Kind, list[fx.Node]] | None:
        """view(b, groups, n, h, w).transpose(1, 2).view(b, -1, h, w): channels in another order (ShuffleNet)."""
        turned = node.args[0]
        if not isinstance(turned, fx.Node) or turned.target not in ("transpose", torch.transpose):
            return None
        split = turned.args[0]
        if set(turned.args[1:]) != {1, 2} or not isinstance(split, fx.Node) or split.target not in VIEWS[:2]:
            return None
        source, shape = split.args[0], self._values[split].shape
        if not isinstance(source, fx.Node) or not self.is_map(source) or len(shape) != 5:
            return None
        same = self._values[source].shape == self._values[node].shape and shape[3:] == self._values[source].shape[2:]
        if not same or len(shape) != 5:
            return None
        return self._shuffled(source, shape[1])

    def _shuffled(self, source: fx.Node, groups: int) -> tuple[Kind, list[fx.Node]]:
        order = torch.arange(self._values[source].shape[1]).view(groups, -1).T.flatten()
        return Channels(index=order.to(self._values[source].device)), [source]
