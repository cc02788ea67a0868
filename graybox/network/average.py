"""The exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(AveragedModel):
    """An exponential average of weights and of buffers, so that batch norm's statistics are those of their weights.

    It gives what PyTorch's own gives with `use_buffers`. That one copies its count to the GPU in every step, and the
    host waits for it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Args:
        decay: what a step leaves of the average so far, 0..1.
        """
        blend = get_ema_multi_avg_fn(decay)
        super().__init__(model, multi_avg_fn=blend, use_buffers=True)
        self.blend = blend

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take up the weights of `model`; those of the first time are taken as they are."""
        mine, new = _tensors(self.module), _tensors(model)
        if self.n_averaged == 0:  # it stays on the CPU
            for averaged, tensor in zip(mine, new, strict=True):
                averaged.copy_(tensor)
        else:
            for dtype in {tensor.dtype for tensor in mine}:
                places = [place for place, tensor in enumerate(mine) if tensor.dtype == dtype]
                self.blend([mine[place] for place in places], [new[place] for place in places], self.n_averaged)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
