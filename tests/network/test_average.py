"""The average of the weights: PyTorch's own, to the last bit."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from graybox.network.average import Average


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.999])
def test_it_is_what_pytorchs_own_gives(decay):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2).double())
    ours = Average(model, decay)
    theirs = AveragedModel(copy.deepcopy(model), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for step in range(5):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(step + 1 if tensor.dtype == torch.int64 else torch.randn_like(tensor))
        ours.update_parameters(model)
        theirs.update_parameters(model)
        # The names too: a checkpoint holds them.
        found, expected = ours.state_dict(), theirs.state_dict()
        assert [*found] == [*expected] and all(torch.equal(found[name], expected[name]) for name in expected)
