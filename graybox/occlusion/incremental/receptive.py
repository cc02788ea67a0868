"""Which activations a window can change, layer by layer: interval arithmetic, and the work that it predicts.

The changed activations of a layer form a rectangle, so everything here treats one axis (rows or columns) at a time: an
interval [first, end) of pixels, then of the activations that see them.
"""

from __future__ import annotations

from dataclasses import dataclass

from graybox.network.geometry import Slide, slides
from graybox.network.params import ModelParams
from graybox.network.sizes import layer_sizes


@dataclass(frozen=True)
class Spans:
    """Evenly spaced intervals of one axis: interval k is [first + k * step, first + k * step + size), k < count."""

    first: int
    size: int
    step: int
    count: int

    @classmethod
    def of_windows(cls, centres: range, window: int) -> Spans:
        """The pixels that the windows cover, as if the image had no border."""
        return cls(centres.start - window // 2, window, centres.step, len(centres))

    def through(self, slide: Slide) -> Spans:
        """The outputs that see any of these inputs; `step` must be a multiple of the slide's stride."""
        first, end = slide.touched(self.first, self.first + self.size)
        return Spans(first, end - first, self.step // slide.stride, self.count)

    def seen_by(self, slide: Slide) -> Spans:
        """The inputs that these outputs see."""
        size = (self.size - 1) * slide.stride + slide.kernel if self.size else 0
        return Spans(self.first * slide.stride - slide.padding, size, self.step * slide.stride, self.count)

    def every(self, start: int, pace: int) -> Spans:
        """Intervals start, start + pace, ..."""
        return Spans(self.first + start * self.step, self.size, self.step * pace, len(range(start, self.count, pace)))

    def crossing(self, length: int) -> list[int]:
        """The intervals that do not lie wholly on an axis of this length."""
        firsts = (self.first + place * self.step for place in range(self.count))
        return [place for place, first in enumerate(firsts) if first < 0 or first + self.size > length]


@dataclass(frozen=True)
class Extents:
    """The size of one conv layer's changes along one axis, summed over the windows' positions on that axis.

    Attributes:
        taps: pairs of a changed input and an output of the convolution that sees it.
        outputs: changed outputs of the convolution.
        pooled: changed outputs of the pooling.
    """

    taps: int
    outputs: int
    pooled: int


def extents(params: ModelParams, size: int, centres: range, window: int) -> list[Extents]:
    """The changes of each conv layer along an axis of `size` pixels, clipped at the border of each layer's map."""

    def clipped(interval: tuple[int, int], length: int) -> tuple[int, int]:
        first, end = interval
        return max(first, 0), max(first, 0, min(end, length))

    sums = [[0, 0, 0] for _ in range(params.conv_layers)]
    for centre in centres:
        length = size
        span = clipped((centre - window // 2, centre + window // 2 + 1), length)
        for layer, (conv, pool) in zip(sums, slides(params)):
            length = conv.outputs(length)
            seen = [clipped(conv.touched(place, place + 1), length) for place in range(*span)]
            outputs = clipped(conv.touched(*span), length)
            length = pool.outputs(length)
            span = clipped(pool.touched(*outputs), length)
            layer[0] += sum(end - first for first, end in seen)
            layer[1] += outputs[1] - outputs[0]
            layer[2] += span[1] - span[0]
    return [Extents(*layer) for layer in sums]


@dataclass(frozen=True)
class LayerWork:
    """Multiply-accumulates of one layer for all positions of the window together.

    Attributes:
        name: as in `graybox.network.sizes.layer_sizes`.
        full: of the whole layer, for every position.
        recomputed: of the outputs that may change, each computed from all of its inputs.
        changed: of the inputs that may change, each with the outputs that see it. The smallest of the three, as an
            output is its unoccluded value plus what the changed inputs add.
    """

    name: str
    full: int
    recomputed: int
    changed: int


def window_work(params: ModelParams, image_size: int, classes: int, window: int, stride: int = 1) -> list[LayerWork]:
    """The multiply-accumulates of a window at every position of an image_size x image_size image, by formula.

    Args:
        params: of a network without shortcuts (`residual`), whose own convolutions would come on top.
        window: N of the N x N window, odd, in pixels; clipped at the image's border, as are its effects in each layer.
        stride: pixels between window centres, from pixel 0 on.

    Returns:
        One entry for each convolution and each fully connected layer.
    """
    centres = range(0, image_size, stride)
    positions = len(centres) ** 2
    sizes = [layer for layer in layer_sizes(params, image_size, classes) if layer.macs]
    along = extents(params, image_size, centres, window)  # the two axes are alike
    work, channels = [], 3
    for layer, sums in zip(sizes[: params.conv_layers], along, strict=True):
        pair = layer.channels * channels
        work.append(
            LayerWork(
                layer.name,
                layer.macs * positions,
                sums.outputs**2 * pair * params.kernel_size**2,
                sums.taps**2 * pair,
            )
        )
        channels = layer.channels
    for number, layer in enumerate(sizes[params.conv_layers :]):
        changed = layer.macs * positions
        if number == 0 and not params.global_average_pool:
            changed = along[-1].pooled ** 2 * channels * layer.channels
        work.append(LayerWork(layer.name, layer.macs * positions, layer.macs * positions, changed))
    return work
