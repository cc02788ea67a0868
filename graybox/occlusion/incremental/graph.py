"""A traced network, simplified: batch norms and parallel shortcuts are folded into the convolutions.

Folding is done in float64 and rounded once: in float32 it would move a deep network's scores as far as everything else
that is rounded.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from graybox.occlusion.incremental.trace import Traced, is_normalisation

IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
ADD = (operator.add, operator.iadd, torch.add)


class Conv(nn.Module):
    """A convolution of a map with zeros around it; its own weights are folded ones.

    Attributes:
        weight: float32 [out, in / groups, K, K], in channels_last. `bias`: float32 [out].
    """

    def __init__(self, weight: Tensor, bias: Tensor, like: nn.Conv2d) -> None:
        super().__init__()
        self.exact = weight, bias
        self.stride, self.dilation, self.groups = like.stride, like.dilation, like.groups
        self.padding: tuple[int, int] = like.padding  # type: ignore[assignment]  # no string: see `_plain_conv`
        self.weight, self.bias = weight, bias

    def place(self, device: torch.device) -> None:
        """Round the weights to float32 and move them to the device."""
        weight, bias = self.exact
        self.weight = weight.float().to(device, memory_format=torch.channels_last)
        self.bias = bias.float().to(device)

    def forward(self, x: Tensor) -> Tensor:
        return self.summed(x, self.bias, self.padding)

    def summed(self, x: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
        """The convolution with another padding, with or without the bias."""
        single = self.weight.shape[2:] == (1, 1) and self.groups == 1
        if single and x.device.type == "cpu" and tuple(padding) == (0, 0):
            # A matrix product over the channels, which come last in memory. PyTorch's convolution is slower if small.
            places = x[:, :, :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1)
            return F.linear(places, self.weight.flatten(1), bias).permute(0, 3, 1, 2)
        return F.conv2d(x, self.weight, bias, self.stride, padding, self.dilation, self.groups)


class Affine(nn.Module):
    """A batch norm that no convolution can take in: x * scale + shift for each channel."""

    def __init__(self, scale: Tensor, shift: Tensor, device: torch.device) -> None:
        super().__init__()
        self.scale = scale.float().view(-1, 1, 1).to(device)
        self.shift = shift.float().view(-1, 1, 1).to(device)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


def simplify(traced: Traced, device: torch.device) -> None:
    """Change the graph in place; the network's own layers stay as they are."""
    graph, modules = traced.graph, traced.modules
    for node in graph.nodes:
        if node.op == "call_module" and _plain_conv(modules[str(node.target)]):
            _set(traced, node, Conv(*_exact(modules[str(node.target)]), modules[str(node.target)]))  # type: ignore[arg-type]
        elif node.op == "call_module" and is_normalisation(modules[str(node.target)]):
            mean, std = (torch.tensor(getattr(modules[str(node.target)], name)).double() for name in ("mean", "std"))
            _set(traced, node, Affine(1 / std, -mean / std, device))
    for node in list(graph.nodes):
        if _is_idle(node, modules):
            _drop(traced, node, node.args[0])
        elif node.op == "call_module" and type(modules[str(node.target)]) is nn.BatchNorm2d:
            _fold_norm(traced, node, device)
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in ADD and not node.kwargs and len(node.args) == 2:
            _fold_shortcut(traced, node)
    for node in list(graph.nodes):
        _pool_first(traced, node)
    for module in modules.values():
        if isinstance(module, Conv):
            module.place(device)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("output", "placeholder"):
            graph.erase_node(node)


def _plain_conv(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _exact(module: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(module, nn.Conv2d)
    weight = module.weight.detach().cpu().double()
    bias = torch.zeros(len(weight)).double() if module.bias is None else module.bias.detach().cpu().double()
    return weight, bias


def _set(traced: Traced, node: fx.Node, module: nn.Module) -> None:
    """Let a node call this module."""
    name = f"{node.name}#folded"
    traced.modules[name] = module
    node.target = name


def _drop(traced: Traced, node: fx.Node, instead: Any) -> None:
    node.replace_all_uses_with(instead)
    for place in ("scores", "maps"):
        if getattr(traced, place) is node:
            object.__setattr__(traced, place, instead)
    traced.graph.erase_node(node)


def _conv_of(traced: Traced, node: Any) -> Conv | None:
    """The convolution that gives this node's value to nobody else than its one user."""
    if not isinstance(node, fx.Node) or node.op != "call_module" or len(node.users) != 1 or node is traced.maps:
        return None
    module = traced.modules[str(node.target)]
    return module if isinstance(module, Conv) else None


def _is_idle(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether it gives back what it gets, in evaluation mode."""
    if len(node.all_input_nodes) != 1 or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return type(modules[str(node.target)]) in IDLE
    if node.op == "call_method":
        return node.target in ("contiguous", "detach", "float")
    if node.op != "call_function":
        return False
    if node.target in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout):
        return node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True) is False
    if getattr(node.target, "__name__", "") == "stochastic_depth":
        return node.kwargs.get("training", node.args[3] if len(node.args) > 3 else True) is False
    return node.target is torch.detach


def _fold_norm(traced: Traced, node: fx.Node, device: torch.device) -> None:
    norm = traced.modules[str(node.target)]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    values = [tensor.detach().cpu().double() for tensor in (norm.running_mean, norm.running_var)]
    scale = (values[1] + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().cpu().double()
    shift = -values[0] * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().cpu().double()
    if conv := _conv_of(traced, node.args[0] if node.args else None):
        weight, bias = conv.exact
        conv.exact = weight * scale[:, None, None, None], bias * scale + shift
        _drop(traced, node, node.args[0])
    else:
        _set(traced, node, Affine(scale, shift, device))


def _fold_shortcut(traced: Traced, node: fx.Node) -> None:
    """conv(x) + x, and conv(x) + conv1x1(x), are one convolution (Ding et al. 2021, "RepVGG", section 3.3)."""
    for one, other in (node.args, node.args[::-1]):
        conv, beside = _conv_of(traced, one), _conv_of(traced, other)
        if conv is None or not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
            continue
        kernel, size = conv.exact[0].shape[2:], conv.exact[0].shape[:2]
        centred = all(k == 2 * p + 1 for k, p in zip(kernel, conv.padding)) and conv.dilation == (1, 1)
        if not centred or conv.groups != 1:
            continue
        middle = kernel[0] // 2, kernel[1] // 2
        weight, bias = conv.exact[0].clone(), conv.exact[1]
        if one.args[0] is other and conv.stride == (1, 1) and size[0] == size[1]:
            weight[:, :, *middle] += torch.eye(size[0], dtype=torch.float64)
        elif (
            beside is not None
            and other.args[0] is one.args[0]
            and beside.exact[0].shape[2:] == (1, 1)
            and (beside.stride, beside.padding, beside.groups) == (conv.stride, (0, 0), 1)
        ):
            weight[:, :, *middle] += beside.exact[0][:, :, 0, 0]
            bias = bias + beside.exact[1]
        else:
            continue
        conv.exact = weight, bias
        _drop(traced, node, one)
        return


def _pool_first(traced: Traced, node: fx.Node) -> None:
    """max_pool(relu(x)) is relu(max_pool(x)), which leaves the activation fewer values."""
    modules = traced.modules
    if node.op != "call_module" or type(modules[str(node.target)]) is not nn.MaxPool2d or len(node.args) != 1:
        return
    act = node.args[0]
    if not isinstance(act, fx.Node) or act.op != "call_module" or len(act.users) != 1 or traced.maps is act:
        return
    if type(modules[str(act.target)]) not in (nn.ReLU, nn.ReLU6) or len(act.args) != 1:
        return
    before = act.args[0]
    assert isinstance(before, fx.Node)
    node.target, act.target = act.target, node.target  # the first becomes the pooling, the second the activation
