"""The folding of batch norms and shortcuts into convolutions, with the exact weights: the answers stay."""

import pytest
import torch
from torch import fx, nn

from graybox.occlusion.incremental.graph import Conv, simplify
from graybox.occlusion.incremental.trace import trace
from tests.occlusion.incremental.test_engine import network


def answer(traced, images):
    """What the graph gives in float64, with the weights that are not rounded yet."""
    env = {}
    for node in traced.graph.nodes:
        args, kwargs = fx.map_arg((node.args, node.kwargs), env.__getitem__)
        if node.op == "placeholder":
            env[node] = images
        elif node.op == "get_attr":
            env[node] = traced.constants[node.target].double()
        elif node.op == "call_method":
            env[node] = getattr(args[0], node.target)(*args[1:], **kwargs)
        elif node.op == "call_function":
            env[node] = node.target(*args, **kwargs)
        elif node.op == "call_module":
            module = traced.modules[node.target]
            if isinstance(module, Conv):
                module.weight, module.bias = module.exact
            env[node] = module(*args, **kwargs)
    return env[traced.scores]


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("residual", [1, 0])
def test_a_folded_network_has_one_convolution_for_each_layer_and_gives_the_same(batch_norm, stride, residual):
    net = network(32, residual=residual, batch_norm=batch_norm, filters=[4, 6, 6], conv_layers=3, stride=stride)
    traced = trace(net)
    simplify(traced, torch.device("cpu"))
    kinds = [type(traced.modules[node.target]) for node in traced.graph.nodes if node.op == "call_module"]
    assert kinds.count(Conv) == 3 and not {nn.Conv2d, nn.BatchNorm2d} & set(kinds)
    images = torch.rand(2, 3, *[net.image_size] * 2, dtype=torch.float64)
    expected = net.double()(images)  # which makes the layers float64 that are not folded, too
    torch.testing.assert_close(answer(traced, images), expected, rtol=1e-10, atol=1e-10)
