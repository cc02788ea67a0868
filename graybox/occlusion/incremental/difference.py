"""How a difference in a conv layer's inputs changes its outputs: the arithmetic of the incremental engine.

A convolution is linear: the result for a changed image is the unchanged result plus the convolution of the difference.
Pooling and ReLU are not linear, so add the unchanged sums before them and subtract the unchanged results after them.

Maps are [H, W, C] and patches [R, C, h, w, channels], for R x C positions of the window. Channels come last in memory
(`channels_last`): PyTorch's convolutions on a CPU are then fastest, and so is copying.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graybox.network.cnn import CNN, Residual, folded
from graybox.network.geometry import Slide, slides
from graybox.occlusion.incremental.receptive import Spans


@dataclass(frozen=True)
class ConvLayer:
    """One conv layer: convolution with the batch norm folded in, max pooling, ReLU.

    Attributes:
        weight: float [out, in, K, K]. `bias`: float [out].
        conv, pool: the geometry of their kernels; without pooling, a kernel of a single pixel.
    """

    weight: Tensor
    bias: Tensor
    conv: Slide
    pool: Slide

    def whole(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, in, H, W] -> the output of the convolution, and of the layer."""
        summed = F.conv2d(x, self.weight, self.bias, self.conv.stride, self.conv.padding)
        pooled = F.max_pool2d(summed, self.pool.kernel, self.pool.stride) if self.pool != Slide(1) else summed
        return summed, pooled.relu()


def fold(model: CNN) -> list[ConvLayer]:
    """The model's conv layers; batch norms and shortcuts are folded into them in float64, then rounded once."""
    convolutions: list[nn.Module] = []
    for module in model.features:
        if isinstance(module, (nn.Conv2d, Residual)):
            convolutions.append(module)
        elif isinstance(module, nn.BatchNorm2d):
            convolutions[-1] = nn.Sequential(convolutions[-1], module)
    device = model.mean.device
    return [
        ConvLayer(weight.float().to(device, memory_format=torch.channels_last), bias.float().to(device), conv, pool)
        for (weight, bias), (conv, pool) in zip(map(folded, convolutions), slides(model.params), strict=True)
    ]


class Framed:
    """A map with a frame of zeros around it, so that patches may reach over its border.

    Args:
        values: float [C, H, W]. `rows`, `columns`: how wide the frame is above and below, left and right.
    """

    def __init__(self, values: Tensor, rows: int, columns: int) -> None:
        self.size = values.shape[1:]
        self._frame = rows, columns
        self._framed = F.pad(values, (columns, columns, rows, rows)).permute(1, 2, 0).contiguous()

    def windows(self, rows: Spans, columns: Spans) -> Tensor:
        """A view [rows.count, columns.count, rows.size, columns.size, C]: nothing is copied."""
        down, right, _ = self._framed.stride()
        return self._framed.as_strided(
            (rows.count, columns.count, rows.size, columns.size, self._framed.shape[2]),
            (rows.step * down, columns.step * right, down, right, 1),
            (rows.first + self._frame[0]) * down + (columns.first + self._frame[1]) * right,
        )


@dataclass(frozen=True)
class Unoccluded:
    """What one conv layer computes for the image as it is: before pooling and ReLU, and after."""

    before: Framed
    after: Framed


def largest(values: Tensor, kernel: int, stride: int, dim: int) -> Tensor:
    """Max pooling along one dimension; on small patches faster than PyTorch's, which also records the places."""
    if kernel == stride == 1:
        return values
    last = values.shape[dim] - kernel
    parts = [values[(slice(None),) * dim + (slice(place, place + last + 1, stride),)] for place in range(kernel)]
    found = torch.maximum(parts[0], parts[1])
    for part in parts[2:]:
        torch.maximum(found, part, out=found)
    return found


def convolve_difference(layer: ConvLayer, patch: Tensor, rows: Spans, columns: Spans) -> tuple[Tensor, Spans, Spans]:
    """The convolution of a difference in the inputs: [R, C, h, w, in] -> [R, C, h', w', out]."""
    conv = layer.conv
    to_rows, to_columns = rows.through(conv), columns.through(conv)
    if not to_rows.size or not to_columns.size:  # with a stride above the kernel's size some pixels are never seen
        return _nothing(patch, to_rows, to_columns, len(layer.bias)), to_rows, to_columns
    batch = patch.flatten(0, 1).permute(0, 3, 1, 2)
    if conv.stride == 1:
        summed = F.conv2d(batch, layer.weight, padding=conv.kernel - 1)
    else:
        borders = []
        for given, wanted in ((columns, to_columns), (rows, to_rows)):
            seen = wanted.seen_by(conv)
            borders += [given.first - seen.first, seen.first + seen.size - given.first - given.size]
        summed = F.conv2d(F.pad(batch, borders), layer.weight, stride=conv.stride)
    return summed.permute(0, 2, 3, 1).unflatten(0, patch.shape[:2]), to_rows, to_columns


def rectify_difference(
    layer: ConvLayer, known: Unoccluded, added: Tensor, rows: Spans, columns: Spans
) -> tuple[Tensor, Spans, Spans]:
    """Pooling and ReLU of the unoccluded sums plus `added`, minus the unoccluded result."""
    to_rows, to_columns = rows.through(layer.pool), columns.through(layer.pool)
    if not to_rows.size or not to_columns.size:
        return _nothing(added, to_rows, to_columns, len(layer.bias)), to_rows, to_columns
    from_rows, from_columns = to_rows.seen_by(layer.pool), to_columns.seen_by(layer.pool)
    sums = known.before.windows(from_rows, from_columns).clone(memory_format=torch.contiguous_format)
    (here_r, there_r), (here_c, there_c) = _common(from_rows, rows), _common(from_columns, columns)
    sums[:, :, here_r, here_c] += added[:, :, there_r, there_c]
    found = largest(sums, layer.pool.kernel, layer.pool.stride, 2)
    found = largest(found, layer.pool.kernel, layer.pool.stride, 3)
    found.clamp_min_(0).sub_(known.after.windows(to_rows, to_columns))
    inside = [torch.from_numpy(span.inside(size)) for span, size in zip((to_rows, to_columns), known.after.size)]
    if not all(places.all() for places in inside):
        # Nothing can change beyond the map's border.
        found *= (inside[0][:, None, :, None, None] & inside[1][None, :, None, :, None]).to(found.device)
    return found, to_rows, to_columns


def _nothing(like: Tensor, rows: Spans, columns: Spans, channels: int) -> Tensor:
    return like.new_zeros(rows.count, columns.count, rows.size, columns.size, channels)


def _common(one: Spans, other: Spans) -> tuple[slice, slice]:
    """Where two spans overlap, as positions in the one and in the other."""
    first = max(one.first, other.first)
    size = max(0, min(one.first + one.size, other.first + other.size) - first)
    return slice(first - one.first, first - one.first + size), slice(first - other.first, first - other.first + size)
