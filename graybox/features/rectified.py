"""A copy of any network up to its last maps in which each ReLU is a module of its own, as captum needs them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from graybox.network.fields import name_of
from graybox.network.wrapped import Wrapped

_OTHERS = (
    nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Mish, nn.GELU, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax, nn.MultiheadAttention,
)  # fmt: skip
_OTHER_NAMES = {
    *("relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "silu", "mish", "gelu", "hardswish", "hardsigmoid"),
    *("hardtanh", "sigmoid", "tanh", "softplus", "softmax", "clamp", "clip", "scaled_dot_product_attention", "exp"),
    *("shifted_window_attention", "einsum", "matmul"),
}


class Maps(nn.Module):
    """From images, float [B, 3, H, W] in 0..1, to the last maps of a network, as `Classifier.last_maps`."""

    def __init__(self, mean: Tensor, std: Tensor, network: fx.GraphModule) -> None:
        super().__init__()
        self.mean, self.std, self.network = mean, std, network

    def last_maps(self, images: Tensor) -> Tensor:
        """float [B, maps, h, w]."""
        maps: Tensor = self.network((images - self.mean) / self.std)
        return maps


def rectified(model: Wrapped) -> Maps | None:
    """A copy of a network up to its last maps, in evaluation mode; None if it has another activation than ReLU,
    or needs its ReLUs to change their input in place."""
    cut = model.cut
    if cut is None:
        return None
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    network = copy.deepcopy(model.network).eval()
    for node in cut.graph.nodes:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        name = name_of(node)
        if isinstance(module, _OTHERS) or name in _OTHER_NAMES:
            return None
        if isinstance(module, nn.ReLU) or name == "relu":
            own = f"relu_of_{node.name}"
            network.add_module(own, nn.ReLU())
            copied[node] = graph.call_module(own, (copied[node.all_input_nodes[0]],))
        else:
            copied[node] = graph.node_copy(node, copied.__getitem__)
        if node is cut.last:
            break
    graph.output(copied[cut.last])
    if not any(node.op == "call_module" and str(node.target).startswith("relu_of_") for node in graph.nodes):
        return None
    found = Maps(model.mean.clone(), model.std.clone(), fx.GraphModule(network, graph).eval())
    return found if _gives_its_maps(found, model) else None


@torch.no_grad()
def _gives_its_maps(found: Maps, model: Wrapped) -> bool:
    """Whether the copy gives what the network does: one that goes on with what a ReLU in place has changed does not."""
    image = torch.rand((1, 3, model.image_size, model.image_size), generator=torch.Generator().manual_seed(0))
    image = image.to(model.mean)
    return torch.allclose(found.last_maps(image), model.last_maps(image), rtol=1e-3, atol=1e-5, equal_nan=True)
