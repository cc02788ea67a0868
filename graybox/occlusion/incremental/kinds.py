"""How each kind of operation passes on changed rectangles. What no kind knows is computed whole.

A convolution is linear: the result for a changed image is the unchanged result plus the convolution of the difference.
Max pooling and activations are not linear, so they get the values that the map would show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graybox.network.geometry import Slide
from graybox.occlusion.incremental.graph import Affine, Conv
from graybox.occlusion.incremental.patches import Known, Patch
from graybox.occlusion.incremental.receptive import Spans

HERE = (Slide(1), Slide(1))


@dataclass(frozen=True)
class Kind:
    """What a patch of the inputs does to the output.

    Attributes:
        slides: which inputs each output sees, along rows and columns.
        macs: multiply-accumulates for one place of the output map. `weights`: how many there are.
        local: each place of the output depends on the same place of the inputs only.
    """

    slides: tuple[Slide, Slide] = HERE
    macs: int = 0
    weights: int = 0
    local: bool = False

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        """The output's patch.

        Args:
            patches: of the inputs. `rows`, `columns`: where the output changes, for kinds that are not local.
            known: the output for the unoccluded image.
            last: nothing else needs the inputs, so that they may be written over.
        """
        raise NotImplementedError


def _batch(grid: Tensor) -> Tensor:
    """[R, C, h, w, channels] -> [P, channels, h, w]."""
    return grid.flatten(0, 1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Convolve(Kind):
    conv: Conv = field(kw_only=True)

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        (patch,), conv = patches, self.conv
        around = [_around(*spans) for spans in zip((patch.rows, patch.columns), (rows, columns), self.slides)]
        if max(max(pair) for pair in around) > 0 or any(slide.padding for slide in self.slides):
            patch.difference()  # zeros are seen: where the patch ends, and beyond the border
        given, padding, cut = patch.values, [0, 0], []
        for axis, (own, out, slide, (before, after)) in enumerate(
            zip((patch.rows, patch.columns), (rows, columns), self.slides, around)
        ):
            if before < 0:  # the first inputs touch no output that counts
                given, before = given.narrow(2 + axis, -before, own.size + before), 0
            if after < 0:
                given, after = given.narrow(2 + axis, 0, given.shape[2 + axis] + after), 0
            pad = max(before, after)
            pad += (before - pad) % slide.stride
            uneven = pad != before or pad - after >= slide.stride
            if pad >= slide.kernel or (conv.groups == 1 and uneven):  # exactly, with a copy of the inputs
                shape = [before, max(0, after)]
                given = F.pad(given, [0, 0, *shape] if axis == 0 else shape)
                cut.append((0, out.size))
            else:
                padding[axis] = pad
                cut.append(((pad - before) // slide.stride, out.size))
        bias = None if patch.differs else conv.bias
        found = conv.summed(given, bias, padding)
        for axis, (first, size) in enumerate(cut):
            found = found.narrow(2 + axis, first, size)
        return Patch(found, rows, columns, known, differs=patch.differs)


@dataclass(frozen=True)
class Pointwise(Kind):
    """A function of single values, or of the values at one place."""

    local: bool = True
    call: Callable[..., Tensor] = field(kw_only=True)
    over: Callable[[Tensor], Tensor] | None = None  # the same in place

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        patch = patches[0]
        values = patch.shown()
        values = self.over(values) if self.over and last else self.call(values)
        return Patch(values, patch.rows, patch.columns, known, differs=False)


@dataclass(frozen=True)
class Scale(Kind):
    """A batch norm that stands alone: linear for each channel."""

    local: bool = True
    affine: Affine = field(kw_only=True)

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        patch = patches[0]
        values = patch.values * self.affine.scale if patch.differs else self.affine(patch.values)
        return Patch(values, patch.rows, patch.columns, known, differs=patch.differs, clean=patch.clean)


@dataclass(frozen=True)
class Sum(Kind):
    """Of two maps; `sign` is that of the second."""

    local: bool = True
    sign: int = 1

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        one, other = patches
        if one is other:
            values = one.difference() * (1 + self.sign)
            return Patch(_batch(values), one.rows, one.columns, known, differs=True, clean=True)
        one.difference(), other.difference()
        wide = one.widened(rows, columns)
        grid = wide.grid if last or wide is not one else wide.grid.clone()
        small = other.grid
        top, left = other.rows.first - rows.first, other.columns.first - columns.first
        if other.rows.step == rows.step and other.columns.step == columns.step:
            inner = grid[:, :, top : top + other.rows.size, left : left + other.columns.size]
            inner.add_(small, alpha=self.sign)
        else:
            grid.add_(other.widened(rows, columns).grid, alpha=self.sign)
        return Patch(_batch(grid), rows, columns, known, differs=True, clean=True)


@dataclass(frozen=True)
class Together(Kind):
    """A function of several maps of one size, place by place: a product, a concatenation of channels."""

    local: bool = True
    call: Callable[..., Tensor] = field(kw_only=True)
    linear: bool = False

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        differs = self.linear and any(patch.differs for patch in patches)
        for patch in patches:
            patch.difference() if differs else patch.shown()
        values = self.call(*(patch.widened(rows, columns).values for patch in patches))
        return Patch(values, rows, columns, known, differs=differs, clean=differs)


@dataclass(frozen=True)
class Channels(Kind):
    """Some of the channels, or all in another order."""

    local: bool = True
    index: slice | Tensor = field(kw_only=True)

    def whole(self, values: Tensor) -> Tensor:
        return values[:, self.index].clone(memory_format=torch.channels_last)

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        patch = patches[0]
        values = self.whole(patch.values)
        return Patch(values, patch.rows, patch.columns, known, differs=patch.differs, clean=patch.clean)


def largest(values: Tensor, kernel: int, stride: int, dilation: int, size: int, dim: int) -> Tensor:
    """Max pooling along one dimension; on small patches faster than PyTorch's, which also records the places."""
    if kernel == stride == 1:
        return values
    last = (size - 1) * stride + 1
    parts = [values.narrow(dim, place * dilation, last) for place in range(kernel)]
    if stride > 1:
        parts = [part[(slice(None),) * dim + (slice(None, None, stride),)] for part in parts]
    if kernel == 1:
        return parts[0]
    found = torch.maximum(parts[0], parts[1])
    for part in parts[2:]:
        torch.maximum(found, part, out=found)
    return found


@dataclass(frozen=True)
class MaxPool(Kind):
    pool: nn.MaxPool2d = field(kw_only=True)

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        (patch,) = patches
        seen = [out.seen_by(slide) for out, slide in zip((rows, columns), self.slides)]
        # Without padding, only outputs beyond the border see what is beyond the border.
        padded = any(slide.padding for slide in self.slides) or self.pool.ceil_mode
        beyond = -torch.inf if padded else 0.0
        added = patch.difference(clean=padded)
        around = patch.known.windows(seen[0], seen[1], beyond).clone(memory_format=torch.contiguous_format)
        (to_r, from_r), (to_c, from_c) = (
            _common(one, other) for one, other in zip(seen, (patch.rows, patch.columns), strict=True)
        )
        around[:, :, to_r, to_c] += added[:, :, from_r, from_c]
        for axis, out in enumerate((rows, columns)):
            sides = (self.pool.kernel_size, self.pool.stride, self.pool.dilation)
            kernel, stride, dilation = (pair_of(side)[axis] for side in sides)
            around = largest(around, kernel, stride, dilation, out.size, 2 + axis)
        return Patch(_batch(around), rows, columns, known, differs=False)


@dataclass(frozen=True)
class AveragePool(Kind):
    """`parts`: float [1, 1, H', W'], the share of the kernel's full divisor with which each output is divided."""

    kernel: tuple[int, int] = field(kw_only=True)
    stride: tuple[int, int] = field(kw_only=True)
    parts: Known | None = None

    def part(self, patches: Sequence[Patch], rows: Spans, columns: Spans, known: Known, last: bool) -> Patch:
        (patch,), borders = patches, list[int]()
        patch.difference()
        for spans in zip((patch.columns, patch.rows), (columns, rows), self.slides[::-1]):
            borders += _around(*spans)
        found = F.avg_pool2d(F.pad(patch.values, borders), self.kernel, self.stride)
        out = Patch(found, rows, columns, known, differs=True)
        if self.parts is not None:
            out.grid.mul_(self.parts.windows(rows, columns))
        return out


def pair_of(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _around(own: Spans, out: Spans, slide: Slide) -> tuple[int, int]:
    """How many inputs the outputs see before and after the given ones; negative: given and not seen."""
    seen = out.seen_by(slide)
    return own.first - seen.first, seen.first + seen.size - own.first - own.size


def _common(one: Spans, other: Spans) -> tuple[slice, slice]:
    """Where two spans overlap, as positions in the one and in the other."""
    first = max(one.first, other.first)
    size = max(0, min(one.first + one.size, other.first + other.size) - first)
    return slice(first - one.first, first - one.first + size), slice(first - other.first, first - other.first + size)
