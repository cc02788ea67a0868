"""The incremental engine: compute only what the window changes in every layer.

The window changes a small patch of each layer's map. The patch is carried from layer to layer as a difference from the
unoccluded map (module `difference`). At the end it is added to the unoccluded features, or to the first fully
connected layer's output for them.

Window positions whose patches have the same offset on every layer's stride grid are computed together: the unoccluded
values around them are then evenly spaced in memory and need no copy. `graybox.occlusion.incremental.plan` predicts
whether this saves time, and through how many layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _everywhere

from graybox.network.cnn import CNN
from graybox.occlusion.incremental.difference import (
    ConvLayer,
    Framed,
    Unoccluded,
    convolve_difference,
    fold,
    rectify_difference,
)
from graybox.occlusion.incremental.plan import PRICES, Job
from graybox.occlusion.incremental.receptive import Spans


@dataclass(frozen=True)
class Patches:
    """How the last features change, for a grid of window positions.

    Attributes:
        values: float [R, C, h, w, channels], the difference from the unoccluded features. All patches have the size of
            the largest; smaller ones are padded with zeros. Values beyond the map's border are zero.
        rows, columns: R and C numbers, where in the map each patch begins; it may cross the map's border.
    """

    values: Tensor
    rows: list[int]
    columns: list[int]

    def placed(self, length: Sequence[int]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], Tensor]]:
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
    """Carry the window's difference through the first conv layers of a network, for one image.

    Args:
        model: in evaluation mode, in float32.
        pixels: float32 [3, H, W] in 0..1, on the model's device.
        fill: float32, of a shape that broadcasts to [3, H, W]; what the window shows in its place, 0..1.
        job: where the windows lie. `depth`: conv layers to carry their difference through, at least 1.

    Attributes:
        features: float [1, channels, H', W'], the unoccluded image's features after these layers.
        later: the layers that follow.
    """

    def __init__(self, model: CNN, pixels: Tensor, fill: Tensor, job: Job, depth: int) -> None:
        layers = fold(model)
        self.layers, self.later, self._job = layers[:depth], layers[depth:], job
        x = model.normalised(pixels)[None].contiguous(memory_format=torch.channels_last)
        difference = model.normalised(fill) - x[0]
        self._difference = Framed(difference, job.window // 2, job.window // 2)
        self._known = []
        frames = [self._frames(centres, size) for centres, size in zip((job.rows, job.columns), job.size)]
        for layer, down, across in zip(self.layers, *frames):
            before, x = layer.whole(x)
            self._known.append(Unoccluded(Framed(before[0], down[0], across[0]), Framed(x[0], down[1], across[1])))
        self.features = x

    def _frames(self, centres: range, size: int) -> list[tuple[int, int]]:
        """How far patches of the outermost windows reach over the border of each layer's sums and results."""
        reach = [(0, 0)] * len(self.layers)
        for centre in (centres[0], centres[-1]):
            first, end, length = centre - self._job.window // 2, centre + self._job.window // 2 + 1, size
            for number, layer in enumerate(self.layers):
                length = layer.conv.outputs(length)
                first, end = layer.pool.touched(*layer.conv.touched(first, end))
                stride, kernel = layer.pool.stride, layer.pool.kernel
                before = max(reach[number][0], -first * stride, (end - 1) * stride + kernel - length)
                length = layer.pool.outputs(length)
                reach[number] = before, max(reach[number][1], -first, end - length)
        return reach

    def _changed(self, centre: int) -> tuple[int, int]:
        """Where the features change along one axis for one window centre: first, and one past the last."""
        first, end = centre - self._job.window // 2, centre + self._job.window // 2 + 1
        for layer in self.layers:
            first, end = layer.pool.touched(*layer.conv.touched(first, end))
        return first, end

    def patches(self, rows: range, columns: range) -> Patches:
        """The changes of the features for windows centred at rows x columns, which are among the job's."""
        changed = [[self._changed(centre) for centre in centres] for centres in (rows, columns)]
        size = [max(end - first for first, end in axis) for axis in changed]
        values = self.features.new_zeros(len(rows), len(columns), *size, self.features.shape[1])
        depth = len(self.layers)
        down, across = self._job.pace(depth, rows.step), self._job.pace(depth, columns.step)
        for r, c in itertools.product(range(min(down, len(rows))), range(min(across, len(columns)))):
            alike = values[r::down, c::across]
            for at, found in self._carry(rows[r::down], columns[c::across]):
                alike[at][:, :, : found.shape[2], : found.shape[3]] = found
        return Patches(values, *([first for first, _ in axis] for axis in changed))

    def _carry(self, rows: range, columns: range) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """The changes of the features for positions with the same offset: which positions, and their patches."""
        down, across = (Spans.of_windows(centres, self._job.window) for centres in (rows, columns))
        patch = self._difference.windows(down, across)
        for layer, known in zip(self.layers[:-1], self._known):
            added, down, across = convolve_difference(layer, patch, down, across)
            patch, down, across = rectify_difference(layer, known, added, down, across)
            if not patch.numel():
                return
        layer, known = self.layers[-1], self._known[-1]
        added, down, across = convolve_difference(layer, patch, down, across)
        # No convolution follows, so the offsets on the last pooling's grid may differ: do one offset at a time.
        paces = [layer.pool.stride // math.gcd(layer.pool.stride, spans.step) for spans in (down, across)]
        for r, c in itertools.product(range(min(paces[0], down.count)), range(min(paces[1], across.count))):
            at = slice(r, None, paces[0]), slice(c, None, paces[1])
            yield at, rectify_difference(layer, known, added[at], down.every(r, paces[0]), across.every(c, paces[1]))[0]


class Finisher:
    """What follows the carried layers: later conv layers, computed whole, and the fully connected head.

    Args:
        model: as the Carrier's. `later`, `features`: the Carrier's.
        feature_map: a map of the last conv layer to sum over, or None.
    """

    def __init__(self, model: CNN, later: list[ConvLayer], features: Tensor, feature_map: int | None) -> None:
        self._model, self._later, self._features, self._feature_map = model, later, features, feature_map
        linear, self._first = next(
            (number, module) for number, module in enumerate(model.head) if isinstance(module, nn.Linear)
        )
        self._rest = model.head[linear + 1 :]
        self._averages = any(isinstance(module, nn.AdaptiveAvgPool2d) for module in model.head)
        if not later:
            channels, height, width = features.shape[1:]
            self._known: Tensor = self._first(model.head[:linear](features))[0]
            if not self._averages:
                weight = self._first.weight.view(-1, channels, height, width)
                self._weight = weight.permute(2, 3, 1, 0).reshape(height, width * channels, -1)

    def __call__(self, patches: Patches) -> tuple[Tensor, Tensor | None]:
        """Class scores [R, C, classes] and, if asked, the sums [R, C] of the feature map."""
        if self._later:
            return self._whole(patches)
        sums = None
        if self._feature_map is not None:
            sums = self._features[0, self._feature_map].sum() + patches.values[..., self._feature_map].sum((2, 3))
        return self._rest(self._first_layer(patches)), sums

    def _first_layer(self, patches: Patches) -> Tensor:
        """The first fully connected layer: the unoccluded result plus what the changed features add."""
        *positions, _, _, channels = patches.values.shape
        size = self._features.shape[2:]
        if self._averages:
            return self._known + patches.values.sum((2, 3)) @ self._first.weight.T / size.numel()
        found = self._known.repeat(*positions, 1)
        for alike, (down, across), values in patches.placed(size):
            added = found[alike].clone().flatten(0, 1)
            for row, changed in zip(range(down.start, down.stop), values.unbind(2)):
                weight = self._weight[row, across.start * channels : across.stop * channels]
                added.addmm_(changed.reshape(len(added), -1), weight)
            found[alike] = added.unflatten(0, found[alike].shape[:2])
        return found

    def _whole(self, patches: Patches) -> tuple[Tensor, Tensor | None]:
        *positions, _, _, _ = patches.values.shape
        x = self._features[0].permute(1, 2, 0).repeat(*positions, 1, 1, 1)
        for alike, part, values in patches.placed(self._features.shape[2:]):
            x[alike + part] += values
        x = x.flatten(0, 1).permute(0, 3, 1, 2)
        for layer in self._later:
            x = layer.whole(x)[1]
        scores = self._model.head(x).unflatten(0, positions)
        return scores, None if self._feature_map is None else x[:, self._feature_map].sum((1, 2)).unflatten(
            0, positions
        )


def knows(model: nn.Module) -> TypeGuard[CNN]:
    """Whether the engine computes what this network does: a float32 `CNN` with the very layers that it was built with.

    The engine does not run the network's own `forward`, so that anything else would get another network's maps: a
    subclass, an exchanged or added layer, a hook, a `forward` of the object's own.
    """
    if type(model) is not CNN or not all(map(_is_plain, _floating(model))) or _is_watched():
        return False
    with torch.device("meta"):  # shapes without numbers
        built = CNN(model.params, model.image_size, model.class_names)
    return _layers(model) == _layers(built) and not any(map(_is_altered, model.modules()))


def _floating(model: nn.Module) -> Iterator[Tensor]:
    return (tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point())


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is float32 and computes as PyTorch's own: not a quantised one that only looks like it, for example."""
    return tensor.dtype == torch.float32 and type(tensor) in (Tensor, nn.Parameter)


def _layers(model: nn.Module) -> list[tuple[str, type[nn.Module], str, list[tuple[str, torch.Size]]]]:
    """Of each module its name, class, settings, and the shapes of its weights and buffers."""
    return [
        (name, type(module), module.extra_repr(), [
            (own, tensor.shape)
            for own, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        ])
        for name, module in model.named_modules()
    ]  # fmt: skip


def _is_altered(module: nn.Module) -> bool:
    """Whether it has a hook, or a method of its own in place of its class's: `net.forward = ...`."""
    own = {name for name in vars(module) if callable(getattr(type(module), name, None))}
    return bool(module._forward_hooks or module._forward_pre_hooks or own)


def _is_watched() -> bool:
    """Whether a hook is registered for all modules, as `torch.nn.modules.module.register_module_forward_hook` does."""
    return bool(_everywhere._global_forward_hooks or _everywhere._global_forward_pre_hooks)


def job_of(model: CNN, size: Sequence[int], rows: range, columns: range, window: int) -> Job:
    """The job of sliding a window over an image of this height and width, on the model's device."""
    height, width = size
    prices = PRICES.get(model.mean.device.type, PRICES["cuda"])
    return Job(model.params, len(model.class_names), (height, width), rows, columns, window, prices)


@torch.inference_mode()
def window_scores(
    model: CNN,
    pixels: Tensor,
    rows: range,
    columns: range,
    *,
    window: int,
    fill: Tensor,
    feature_map: int | None = None,
    depth: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> tuple[Tensor, Tensor | None]:
    """The network's answer for every position of a gray window.

    Args:
        model: in evaluation mode, in float32.
        pixels: float32 [3, H, W] in 0..1, on the model's device.
        rows, columns: the windows' centres, in pixels; a window is clipped at the image's border.
        window: N of the N x N window, odd, in pixels.
        fill: float32, of a shape that broadcasts to [3, H, W]; what the window shows in its place, 0..1.
        feature_map: a map of the last conv layer to sum over, or None.
        depth: conv layers to carry differences through; None = as many as costs the least.
        on_windows: called with the number of newly finished windows.

    Returns:
        Class scores, float32 [R, C, classes], and the sums over the feature map (after pooling and ReLU), float32
        [R, C], or None.
    """
    job = job_of(model, pixels.shape[1:], rows, columns, window)
    depth = depth or job.carried()
    carrier = Carrier(model, pixels, fill, job, depth)
    finish = Finisher(model, carrier.later, carrier.features, feature_map)
    band = job.band(depth)
    found = []
    for at in range(0, len(rows), band):
        some = rows[at : at + band]
        found.append(finish(carrier.patches(some, columns)))
        on_windows(len(some) * len(columns))
    sums = [part for _, part in found if part is not None]
    return torch.cat([scores for scores, _ in found]), torch.cat(sums) if sums else None
