"""How to occlude the cheapest way: how many conv layers to carry patches through, from the predicted work.

A prediction counts multiply-accumulates and adds, in the same currency, what the rest costs on the machine: moving
activations, and starting operations. It need only be right enough to choose between engines that give the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from graybox.network.geometry import slides
from graybox.network.params import ModelParams
from graybox.occlusion.incremental.receptive import Extents, extents


@dataclass(frozen=True)
class Prices:
    """What things cost, in multiply-accumulates of a convolution.

    Attributes:
        value: one sum that a convolution gives, on its way through memory, pooling and ReLU.
        group: one conv layer for one group of positions that are computed together: the starting of operations.
        chunk: positions in a group, about.
        start: the incremental engine itself, once for an image.
        memory: bytes of patches, or of maps computed whole, to hold at a time, at most; one row of positions at least.
    """

    value: float
    group: float
    chunk: int
    start: float = 0.0
    memory: int = 2**28


# CPU: measured with AVX-512, where a core does 60 to 100 multiply-accumulates in a nanosecond: a value takes 2 to 3 ns,
# a group 0.2 ms. Of a chunk of 64 each step's values have room in a core's second cache; 32 and 128 are no faster.
# CUDA: fitted to 15 jobs on an H100 (48 to 128 pixels, strides 1 to 4, every depth), which does about 18
# multiply-accumulates in a picosecond. What these prices choose takes 2.5% longer than the best choice in the mean,
# 25% at most. A GPU computes far more in the time that operations take to start.
PRICES = {
    "cpu": Prices(value=200, group=1.5e7, chunk=64),
    "cuda": Prices(value=100, group=8e9, chunk=4096, start=1.5e11, memory=2**30),
}


@dataclass(frozen=True)
class Job:
    """Which windows are slid over an image, and which network looks at it.

    Attributes:
        params: of the network. `classes`: how many it tells apart.
        size: height and width of the image in pixels.
        rows, columns: the windows' centres.
        window: N of the N x N window, in pixels.
        prices: of the machine.
    """

    params: ModelParams
    classes: int
    size: tuple[int, int]
    rows: range
    columns: range
    window: int
    prices: Prices

    def cheapest(self) -> int:
        """Through how many conv layers to carry patches; 0 is the plain engine."""
        return min(range(self.params.conv_layers + 1), key=self.cost)

    def carried(self) -> int:
        """The same for the incremental engine, which carries them through one layer at least."""
        return min(range(1, self.params.conv_layers + 1), key=self.cost)

    def cost(self, depth: int) -> float:
        """Of carrying patches through the first `depth` conv layers and computing all that follows whole."""
        positions, channels, total = len(self.rows) * len(self.columns), 3, 0.0
        height, width = self.size
        for number, ((conv, pool), filters) in enumerate(zip(slides(self.params), self.params.filters_per_layer)):
            height, width = conv.outputs(height), conv.outputs(width)
            pair = channels * filters * conv.kernel
            if number < depth:
                # A convolution skips what lies above and below a patch, not what lies left and right of it.
                down, across = self._along[0][number], self._along[1][number]
                rows, columns = (
                    extent.outputs + len(centres) * (pool.kernel - 1)
                    for extent, centres in ((down, self.rows), (across, self.columns))
                )
                total += down.taps * across.outputs * pair + self.prices.value * rows * columns * filters
            else:
                total += positions * height * width * (pair * conv.kernel + self.prices.value * filters)
            height, width, channels = pool.outputs(height), pool.outputs(width), filters
            if number + 1 == depth < self.params.conv_layers:
                total += self.prices.value * positions * height * width * channels  # the whole map, for each position
        features = positions * (1 if self.params.global_average_pool else height * width)
        if depth == self.params.conv_layers and not self.params.global_average_pool:
            features = self._along[0][-1].pooled * self._along[1][-1].pooled
        units = self.params.fc_units if self.params.fc_layers > 1 else self.classes
        total += features * channels * units + self.prices.group * depth * self._groups(depth)
        return total + self.prices.start * (depth > 0)

    @cached_property
    def _along(self) -> tuple[list[Extents], list[Extents]]:
        axes = zip(self.size, (self.rows, self.columns))
        down, across = (extents(self.params, size, centres, self.window, border=False) for size, centres in axes)
        return down, across

    def pace(self, depth: int, step: int) -> int:
        """Positions with centres every `step` pixels lie alike on all grids of strides, if so many steps apart.

        The last pooling's stride does not count: no convolution follows it.
        """
        layers = slides(self.params)[:depth]
        period = math.prod(conv.stride * pool.stride for conv, pool in layers[:-1]) * layers[-1][0].stride
        return period // math.gcd(period, step)

    def band(self, depth: int) -> int:
        """Rows of positions to compute at a time, so that positions that lie alike fill one chunk."""
        alike = self.pace(depth, self.rows.step) * self.pace(depth, self.columns.step)
        down, across = self._along[0][depth - 1], self._along[1][depth - 1]
        patches = down.pooled / len(self.rows) * across.pooled * self.params.filters_per_layer[depth - 1]
        row_bytes = 4 * max(patches, len(self.columns) * self._whole(depth))
        limits = self.prices.chunk * alike / len(self.columns), self.prices.memory / max(1, row_bytes), len(self.rows)
        bands = math.ceil(len(self.rows) / max(1, min(limits)))
        return math.ceil(len(self.rows) / bands)

    def _whole(self, depth: int) -> int:
        """Values of the largest map that the layers after `depth` compute whole, for one position."""
        height, width = self.size
        largest = 0
        for number, ((conv, pool), filters) in enumerate(zip(slides(self.params), self.params.filters_per_layer)):
            height, width = conv.outputs(height), conv.outputs(width)
            if number >= depth:
                largest = max(largest, height * width * filters)
            height, width = pool.outputs(height), pool.outputs(width)
        return largest

    def _groups(self, depth: int) -> int:
        """Into how many groups the positions fall, each of them computed together."""
        if not depth:
            return 0
        band = self.band(depth)
        alike = min(self.pace(depth, self.rows.step), band)
        return alike * min(self.pace(depth, self.columns.step), len(self.columns)) * math.ceil(len(self.rows) / band)
