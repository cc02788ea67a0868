"""A way around a fault of PyTorch's CPU library that kills the process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LANES = 8
"""AVX2 holds this many float32; a number of channels that is a multiple of it is safe."""


class _Thinned(TorchFunctionMode):
    """Convolutions of single pixels with a stride are given those pixels only, and no stride: the sums are the same."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d and len(args) == 7 and not kwargs and isinstance(args[3], tuple):  # as nn.Conv2d calls it
            images, weight, bias, stride, padding, dilation, groups = args
            if _is_at_risk(weight.shape, images.shape[-3], stride, padding):
                few = images[..., :: stride[0], :: stride[1]]
                return func(few, weight, bias, (1, 1), padding, dilation, groups)
        return func(*args, **(kwargs or {}))


def thinned(model: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """What a training step's forward pass has to run in.

    On a CPU with AVX2, oneDNN's gradient of the weights of a 1 x 1 convolution with a stride can write beyond its
    memory where the number of input channels is no multiple of 8 and the images are channels_last (seen with 3 to 7
    channels and PyTorch 2.15): a first layer with `model.kernel_size` 1, or the shortcut around one with a stride.
    Other networks run unchanged. In your own network, only convolutions that are modules are guarded, and not within
    `torch.utils.checkpoint`.
    """
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    # Another mode pads the images first, and the convolution itself is without padding.
    risky = any(_is_at_risk(one.weight.shape, one.in_channels, one.stride, _padding(one)) for one in convolutions)
    return _Thinned() if device.type == "cpu" and risky else nullcontext()


def _padding(layer: nn.Conv2d) -> Any:
    return layer.padding if layer.padding_mode == "zeros" else (0, 0)


def _is_at_risk(weight: tuple[int, ...], channels: int, stride: Any, padding: Any) -> bool:
    single = tuple(weight[2:]) == (1, 1) and padding in ((0, 0), "valid", "same")
    return single and tuple(stride) != (1, 1) and channels % LANES != 0
