"""Changed rectangles of one map, for a grid of window positions.

A map is [H, W, C] here and patches are [R, C, h, w, channels], for R x C positions of the window. Channels come last in
memory (`channels_last`): PyTorch's convolutions on a CPU are then fastest, and so is copying.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from graybox.occlusion.incremental.receptive import Spans


class Known:
    """What one step computes for the image as it is, with a frame around it: patches may reach over its border.

    Args:
        values: float [1, C, H, W]. `rows`, `columns`: how wide the frame is above and below, left and right.
    """

    def __init__(self, values: Tensor, rows: int, columns: int) -> None:
        self.values = values
        self.channels, self.height, self.width = values.shape[1:]
        self._frame = rows, columns
        self._framed: dict[float, Tensor] = {}

    def windows(self, rows: Spans, columns: Spans, beyond: float = 0.0) -> Tensor:
        """A view [rows.count, columns.count, rows.size, columns.size, C]: nothing is copied. `beyond`: the frame."""
        if beyond not in self._framed:
            down, right = self._frame
            framed = F.pad(self.values[0], (right, right, down, down), value=beyond)
            self._framed[beyond] = framed.permute(1, 2, 0).contiguous()
        framed = self._framed[beyond]
        down, right, _ = framed.stride()
        return framed.as_strided(
            (rows.count, columns.count, rows.size, columns.size, self.channels),
            (rows.step * down, columns.step * right, down, right, 1),
            (rows.first + self._frame[0]) * down + (columns.first + self._frame[1]) * right,
        )

    def whole(self, count: int) -> Tensor:
        """Copies [count, C, H, W], in channels_last."""
        return self.values.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)


class Patch:
    """How a map looks, or how it differs from the unoccluded one, in a rectangle for each position.

    Attributes:
        values: float [P, channels, h, w], in channels_last, for P = R * C positions.
        rows, columns: where the rectangles lie; they may reach over the map's border.
        differs: the values are differences from the unoccluded map, not the map's own.
        clean: differences beyond the border are zero.
    """

    def __init__(
        self, values: Tensor, rows: Spans, columns: Spans, known: Known, *, differs: bool, clean: bool = False
    ) -> None:
        self.values, self.rows, self.columns, self.known = values, rows, columns, known
        self.differs, self.clean = differs, clean

    @property
    def grid(self) -> Tensor:
        """A view of the values, [R, C, h, w, channels]."""
        size = self.rows.count, self.columns.count
        return self.values.permute(0, 2, 3, 1).unflatten(0, size)  # type: ignore[no-any-return]

    def difference(self, clean: bool = True) -> Tensor:
        """Its values as differences, a view [R, C, h, w, channels]. `clean`: zero beyond the border, else anything."""
        grid = self.grid
        if not self.differs:
            grid.sub_(self.known.windows(self.rows, self.columns))
            self.differs, self.clean = True, False
        if clean and not self.clean:
            for axis, (spans, length) in enumerate(((self.rows, self.known.height), (self.columns, self.known.width))):
                for places, outside in _beyond(spans, length, axis, grid.device):
                    grid.narrow(axis, places.start, len(places)).masked_fill_(outside, 0)
            self.clean = True
        return grid

    def shown(self) -> Tensor:
        """Its values as the map's own: the view [P, channels, h, w]. What lies beyond the border means nothing."""
        if self.differs:
            self.grid.add_(self.known.windows(self.rows, self.columns))
            self.differs = False
        return self.values

    def widened(self, rows: Spans, columns: Spans) -> Patch:
        """The same changes in larger rectangles, which hold these inside the map."""
        if (rows, columns) == (self.rows, self.columns):
            return self
        size = rows.count, columns.count, rows.size, columns.size, self.known.channels
        if self.differs:
            self.difference()
            wider = self.values.new_zeros(size)
        else:
            wider = self.known.windows(rows, columns).clone(memory_format=torch.contiguous_format)
        paste(
            wider, self.grid,
            _shared(rows, self.rows, self.known.height), _shared(columns, self.columns, self.known.width),
        )  # fmt: skip
        values = wider.flatten(0, 1).permute(0, 3, 1, 2)
        return Patch(values, rows, columns, self.known, differs=self.differs, clean=self.differs)

    def every(self, rows: tuple[int, int], columns: tuple[int, int]) -> Patch:
        """Of the positions every `pace`-th from `start` on, along each axis: (start, pace)."""
        grid = self.grid[rows[0] :: rows[1], columns[0] :: columns[1]].flatten(0, 1).permute(0, 3, 1, 2)
        return Patch(
            grid, self.rows.every(*rows), self.columns.every(*columns), self.known,
            differs=self.differs, clean=self.clean,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _beyond(spans: Spans, length: int, axis: int, device: torch.device) -> list[tuple[range, Tensor]]:
    """Which positions' rectangles reach over the border, and where: bool, to broadcast with [R, C, h, w, channels]."""
    found = []
    crossing = spans.crossing(length)
    for _, run in itertools.groupby(enumerate(crossing), lambda one: one[1] - one[0]):
        numbers = [number for _, number in run]
        places = range(numbers[0], numbers[-1] + 1)
        pixels = spans.first + torch.tensor(places)[:, None] * spans.step + torch.arange(spans.size)
        outside = (pixels < 0) | (pixels >= length)
        shape = [1] * 5
        shape[axis], shape[axis + 2] = outside.shape
        found.append((places, outside.view(shape).to(device)))
    return found


class Piece(NamedTuple):
    """Along an axis, where a part of one position's rectangle goes.

    Attributes:
        source, target: the position's number here and there. `inner`, `outer`: where the part begins in its rectangle
            here and there. `size`: of the part.
    """

    source: int
    target: int
    inner: int
    outer: int
    size: int


def paste(target: Tensor, source: Tensor, rows: Sequence[Piece], columns: Sequence[Piece]) -> None:
    """Copy rectangles of all positions, [r, c, h, w, channels], into larger ones, [R, C, H, W, channels].

    Positions that are evenly spaced, in evenly spaced places, are copied at once: each copy costs a start.

    Args:
        target: written to; its memory is in the order of its axes.
    """
    stride = target.stride()
    for down, right in itertools.product(_runs(rows), _runs(columns)):
        (y, y_step), (x, x_step) = ((run[0], _step(run)) for run in (down, right))
        given = source[
            y.source : y.source + y_step.source * len(down) : y_step.source,
            x.source : x.source + x_step.source * len(right) : x_step.source,
            y.inner : y.inner + y.size,
            x.inner : x.inner + x.size,
        ]
        first = y.target * stride[0] + x.target * stride[1] + y.outer * stride[2] + x.outer * stride[3]
        place = target.as_strided(
            given.shape,
            (
                y_step.target * stride[0] + y_step.outer * stride[2],
                x_step.target * stride[1] + x_step.outer * stride[3],
                *stride[2:],
            ),
            target.storage_offset() + first,
        )
        place.copy_(given)


def _step(run: Sequence[Piece]) -> Piece:
    """From each part of a run to the next; of a single one, any."""
    return Piece(*(b - a for a, b in zip(run[0], run[1]))) if len(run) > 1 else Piece(1, 0, 0, 0, 0)


def _runs(parts: Sequence[Piece]) -> list[list[Piece]]:
    """Stretches of parts of one size that move on by the same step, forwards."""
    found: list[list[Piece]] = []
    for part in parts:
        if found:
            step = Piece(*(b - a for a, b in zip(found[-1][-1], part)))
            forwards = step.source > 0 and step.inner == step.size == 0
            if forwards and (len(found[-1]) == 1 or step == _step(found[-1])):
                found[-1].append(part)
                continue
        found.append([part])
    return found


def _shared(outer: Spans, inner: Spans, length: int) -> list[Piece]:
    """Where the inner spans lie in the outer ones and in the map."""
    found = []
    for place in range(inner.count):
        first, other = inner.first + place * inner.step, outer.first + place * outer.step
        begin, end = max(first, 0, other), min(first + inner.size, length, other + outer.size)
        if begin < end:
            found.append(Piece(place, place, begin - first, begin - other, end - begin))
    return found
