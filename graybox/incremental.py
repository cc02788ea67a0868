"""The incremental engine: of every layer, compute only what the gray window changes.

A convolution is a sum, so an occluded image's is the unoccluded one plus the convolution of the *difference* that the
window makes, and the difference is zero but for a small patch. The patch is carried from layer to layer: convolve it,
add the unoccluded values around it, pool, rectify, and take the unoccluded result off again. What is left at the end
is added to the unoccluded features. `graybox.receptive` says where the patches lie.

Window positions whose patches lie alike on every layer's grid of strides are computed together: their unoccluded
surroundings are then evenly spaced in memory, a view that nobody has to copy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graybox.model import CNN
from graybox.receptive import Slide, Spans, slides


@dataclass(frozen=True)
class ConvLayer:
    """One conv layer: convolution with the batch norm folded in, max pooling, ReLU.

    Attributes:
        weight: float [out, in, K, K]. `bias`: float [out].
        conv, pool: where their kernels lie; no pooling is one of a single pixel.
    """

    weight: Tensor
    bias: Tensor
    conv: Slide
    pool: Slide

    def whole(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, in, H, W] -> what the convolution gives, and what the layer gives."""
        summed = F.conv2d(x, self.weight, self.bias, self.conv.stride, self.conv.padding)
        pooled = F.max_pool2d(summed, self.pool.kernel, self.pool.stride) if self.pool != Slide(1) else summed
        return summed, pooled.relu()


def fold(model: CNN) -> list[ConvLayer]:
    """The model's conv layers with batch norm folded into the convolutions; folded in float64, then rounded once."""
    layers: list[ConvLayer] = []
    where = iter(slides(model.params))
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            bias = module.weight.new_zeros(module.out_channels) if module.bias is None else module.bias
            layers.append(ConvLayer(module.weight.double(), bias.double(), *next(where)))
        elif isinstance(module, nn.BatchNorm2d):
            scale = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
            bias = (layers[-1].bias - module.running_mean.double()) * scale + module.bias.double()
            layers[-1] = replace(layers[-1], weight=layers[-1].weight * scale[:, None, None, None], bias=bias)
    return [
        replace(
            layer,
            weight=layer.weight.float().contiguous(memory_format=torch.channels_last),
            bias=layer.bias.float(),
        )
        for layer in layers
    ]


class Framed:
    """One map of activations [H, W, C] with a frame of zeros around it, so that a window may reach over its border."""

    def __init__(self, values: Tensor, rows: int, columns: int) -> None:
        self.size = values.shape[:2]
        self._frame = rows, columns
        self._framed = F.pad(values, (0, 0, columns, columns, rows, rows)).contiguous()

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
    """Max pooling along one dimension. For the few values of a patch faster than PyTorch's, which notes where."""
    if kernel == stride == 1:
        return values
    last = values.shape[dim] - kernel
    parts = [
        values[(slice(None),) * dim + (slice(place, place + last + 1, stride),)] for place in range(kernel)
    ]
    found = torch.maximum(parts[0], parts[1])
    for part in parts[2:]:
        torch.maximum(found, part, out=found)
    return found


def convolve_difference(layer: ConvLayer, patch: Tensor, rows: Spans, columns: Spans) -> tuple[Tensor, Spans, Spans]:
    """What a difference in the inputs adds to the convolution: [R, C, h, w, in] -> [R, C, h', w', out]."""
    conv = layer.conv
    to_rows, to_columns = rows.through(conv), columns.through(conv)
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
    """Pooling and ReLU of the unoccluded sums plus what was added to them, less the unoccluded result."""
    to_rows, to_columns = rows.through(layer.pool), columns.through(layer.pool)
    if not to_rows.size or not to_columns.size:
        empty = added.new_zeros(rows.count, columns.count, to_rows.size, to_columns.size, added.shape[-1])
        return empty, to_rows, to_columns
    from_rows, from_columns = to_rows.seen_by(layer.pool), to_columns.seen_by(layer.pool)
    sums = known.before.windows(from_rows, from_columns).clone(memory_format=torch.contiguous_format)
    (here_r, there_r), (here_c, there_c) = _common(from_rows, rows), _common(from_columns, columns)
    sums[:, :, here_r, here_c] += added[:, :, there_r, there_c]
    found = largest(sums, layer.pool.kernel, layer.pool.stride, 2)
    found = largest(found, layer.pool.kernel, layer.pool.stride, 3)
    found.clamp_min_(0).sub_(known.after.windows(to_rows, to_columns))
    inside = [torch.from_numpy(span.inside(size)) for span, size in zip((to_rows, to_columns), known.after.size)]
    if not all(places.all() for places in inside):
        # Past the map's border there is nothing that could change.
        found *= (inside[0][:, None, :, None, None] & inside[1][None, :, None, :, None]).to(found.device)
    return found, to_rows, to_columns


def _common(one: Spans, other: Spans) -> tuple[slice, slice]:
    """Where two spans overlap, counted from the first of the one and from the first of the other."""
    first = max(one.first, other.first)
    size = max(0, min(one.first + one.size, other.first + other.size) - first)
    return slice(first - one.first, first - one.first + size), slice(first - other.first, first - other.first + size)


@dataclass(frozen=True)
class Patches:
    """How the last features change, for a grid of window positions.

    Attributes:
        values: float [R, C, h, w, channels], the difference from the unoccluded features, in a patch large enough for
            every position; a smaller one is followed by zeros. What lies past the border is zero.
        rows, columns: R and C numbers, where in the map each patch begins; it may begin before it or end after it.
    """

    values: Tensor
    rows: list[int]
    columns: list[int]

    def placed(self, length: tuple[int, int]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], Tensor]]:
        """Positions that change the same part of an H x W map: their rows and columns, the part, and the changes in it.

        Yields:
            Slices of R and C; slices of H and W; a view [r, c, h, w, channels].
        """
        for (r, top), (c, left) in itertools.product(_runs(self.rows), _runs(self.columns)):
            part, inner = [], []
            for first, size, end in zip((top, left), self.values.shape[2:4], length):
                part.append(slice(max(first, 0), min(first + size, end)))
                inner.append(slice(part[-1].start - first, part[-1].stop - first))
            if all(here.start < here.stop for here in part):
                yield (r, c), (part[0], part[1]), self.values[r, c, inner[0], inner[1]]


def _runs(numbers: Sequence[int]) -> list[tuple[slice, int]]:
    """Stretches of equal numbers: [5, 5, 7] -> [(0:2, 5), (2:3, 7)]."""
    found, begin = [], 0
    for number, same in itertools.groupby(numbers):
        end = begin + len(list(same))
        found.append((slice(begin, end), number))
        begin = end
    return found


class Carrier:
    """Carries the window's difference through the first conv layers of one network, for one image.

    Args:
        model: in evaluation mode, in float32.
        pixels: float32 [3, H, W] in 0..1, on the model's device.
        rows, columns: the windows' centres.
        window: N of the N x N window, odd, in pixels. `gray`: its value, 0..1.
        depth: conv layers to carry it through.

    Attributes:
        features: float [1, channels, H', W'], what the unoccluded image has after these layers.
    """

    def __init__(
        self, model: CNN, pixels: Tensor, rows: range, columns: range, *, window: int, gray: float, depth: int
    ) -> None:
        self.layers, self.window = fold(model)[:depth], window
        mean, std = model.mean, model.std
        x = ((pixels - mean) / std)[None].contiguous(memory_format=torch.channels_last)
        frames = [self._frames(centres, size) for centres, size in zip((rows, columns), pixels.shape[1:])]
        difference = (gray - mean) / std - x[0]
        self._difference = Framed(difference.permute(1, 2, 0), window // 2, window // 2)
        self._known = []
        for layer, down, across in zip(self.layers, *frames):
            before, x = layer.whole(x)
            self._known.append(
                Unoccluded(
                    Framed(before[0].permute(1, 2, 0), down[0], across[0]),
                    Framed(x[0].permute(1, 2, 0), down[1], across[1]),
                )
            )
        self.features = x

    def _frames(self, centres: range, size: int) -> list[tuple[int, int]]:
        """How far patches reach over the border of each layer's sums and results; the outermost windows' the farthest."""
        reach = [(0, 0)] * len(self.layers)
        for centre in (centres[0], centres[-1]):
            span, length = Spans.of_windows(range(centre, centre + 1), self.window), size
            for number, layer in enumerate(self.layers):
                length = layer.conv.outputs(length)
                span = span.through(layer.conv).through(layer.pool)
                first, end = span.first, span.first + span.size
                before = max(-first * layer.pool.stride, (end - 1) * layer.pool.stride + layer.pool.kernel - length)
                length = layer.pool.outputs(length)
                known = reach[number]
                reach[number] = (max(known[0], before), max(known[1], -first, end - length))
        return reach

    def pace(self, step: int) -> int:
        """Positions lie alike on every layer's grid if they are so many steps of `step` pixels apart."""
        period = math.prod(layer.conv.stride * layer.pool.stride for layer in self.layers[:-1])
        period *= self.layers[-1].conv.stride
        return period // math.gcd(period, step)

    def last_span(self, centre: int) -> Spans:
        """Where the features change along one axis for one window centre."""
        span = Spans.of_windows(range(centre, centre + 1), self.window)
        for layer in self.layers:
            span = span.through(layer.conv).through(layer.pool)
        return span

    def patches(self, rows: range, columns: range) -> Patches:
        """The changes of the features for windows centred at rows x columns."""
        spans = [[self.last_span(centre) for centre in centres] for centres in (rows, columns)]
        sizes = [max(span.size for span in axis) for axis in spans]
        values = self.features.new_zeros(len(rows), len(columns), *sizes, self.features.shape[1])
        paces = self.pace(rows.step), self.pace(columns.step)
        for r, c in itertools.product(range(min(paces[0], len(rows))), range(min(paces[1], len(columns)))):
            alike = values[r :: paces[0], c :: paces[1]]
            for at, found in self._carry(rows[r :: paces[0]], columns[c :: paces[1]]):
                alike[at][:, :, : found.shape[2], : found.shape[3]] = found
        return Patches(values, *([span.first for span in axis] for axis in spans))

    def _carry(self, rows: range, columns: range) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """The changes of the features for positions that lie alike: which of the positions, and their patches."""
        down, across = Spans.of_windows(rows, self.window), Spans.of_windows(columns, self.window)
        patch = self._difference.windows(down, across)
        for layer, known in zip(self.layers, self._known):
            added, down, across = convolve_difference(layer, patch, down, across)
            if layer is not self.layers[-1]:
                patch, down, across = rectify_difference(layer, known, added, down, across)
                if not patch.numel():
                    return
        # The positions need not lie alike on the last pooling's grid, as no convolution follows: one part at a time.
        pool = layer.pool.stride
        paces = pool // math.gcd(pool, down.step), pool // math.gcd(pool, across.step)
        for r, c in itertools.product(range(min(paces[0], down.count)), range(min(paces[1], across.count))):
            at = slice(r, None, paces[0]), slice(c, None, paces[1])
            yield at, rectify_difference(layer, known, added[at], down.every(r, paces[0]), across.every(c, paces[1]))[0]


class Finisher:
    """What follows the carried layers: later conv layers, computed whole, and the fully connected head.

    Args:
        model: as the Carrier's. `later`: its conv layers that were not carried. `features`: the Carrier's.
        feature_map: a map of the last conv layer to sum over, or None.
    """

    def __init__(self, model: CNN, later: list[ConvLayer], features: Tensor, feature_map: int | None) -> None:
        self.model, self.later, self.features, self.feature_map = model, later, features, feature_map
        linear = next(number for number, module in enumerate(model.head) if isinstance(module, nn.Linear))
        self.first, self.rest = model.head[linear], model.head[linear + 1 :]
        self.averaged = model.params.global_average_pool
        if not later:
            channels, *size = features.shape[1:]
            self.known = self.first(model.head[:linear](features))[0]
            if not self.averaged:
                weight = self.first.weight.view(-1, channels, *size)
                self.weight = weight.permute(2, 3, 1, 0).reshape(size[0], size[1] * channels, -1)

    def __call__(self, patches: Patches) -> tuple[Tensor, Tensor | None]:
        """Class scores [R, C, classes] and, if asked, the sums [R, C] of the feature map."""
        if self.later:
            return self._whole(patches)
        sums = None
        if self.feature_map is not None:
            sums = self.features[0, self.feature_map].sum() + patches.values[..., self.feature_map].sum((2, 3))
        return self.rest(self._first(patches)), sums

    def _first(self, patches: Patches) -> Tensor:
        """The first fully connected layer: the unoccluded result plus what the changed features add."""
        R, C, channels = *patches.values.shape[:2], patches.values.shape[-1]
        size = self.features.shape[2:]
        if self.averaged:
            return self.known + patches.values.sum((2, 3)) @ self.first.weight.T / size.numel()
        found = self.known.repeat(R, C, 1)
        for (r, c), (down, across), values in patches.placed(size):
            added = found[r, c].clone().flatten(0, 1)
            for row, changed in zip(range(down.start, down.stop), values.unbind(2)):
                weight = self.weight[row, across.start * channels : across.stop * channels]
                added.addmm_(changed.reshape(len(added), -1), weight)
            found[r, c] = added.view(found[r, c].shape)
        return found

    def _whole(self, patches: Patches) -> tuple[Tensor, Tensor | None]:
        R, C, channels = *patches.values.shape[:2], patches.values.shape[-1]
        x = self.features[0].permute(1, 2, 0).repeat(R, C, 1, 1, 1)
        for (r, c), (down, across), values in patches.placed(self.features.shape[2:]):
            x[r, c, down, across] += values
        x = x.flatten(0, 1).permute(0, 3, 1, 2)
        for layer in self.later:
            x = layer.whole(x)[1]
        scores = self.model.head(x).unflatten(0, (R, C))
        return scores, None if self.feature_map is None else x[:, self.feature_map].sum((1, 2)).view(R, C)


@torch.inference_mode()
def window_scores(
    model: CNN,
    pixels: Tensor,
    rows: range,
    columns: range,
    *,
    window: int,
    gray: float,
    depth: int | None = None,
    feature_map: int | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor | None]:
    layers = fold(model)
    depth = len(layers) if depth is None else depth
    carrier = Carrier(model, pixels, rows, columns, window=window, gray=gray, depth=depth)
    finish = Finisher(model, layers[depth:], carrier.features, feature_map)
    alike = carrier.pace(rows.step) * carrier.pace(columns.step)
    band = max(1, min(len(rows), round(chunk * alike / len(columns))))
    band = math.ceil(len(rows) / round(len(rows) / band))
    found = [finish(carrier.patches(rows[at : at + band], columns)) for at in range(0, len(rows), band)]
    scores = torch.cat([part[0] for part in found])
    return scores, None if feature_map is None else torch.cat([part[1] for part in found])
