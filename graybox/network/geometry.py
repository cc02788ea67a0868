"""What a convolution or a pooling sees: interval arithmetic along one axis of the image, rows or columns."""

from __future__ import annotations

from dataclasses import dataclass

from graybox.network.params import ModelParams
from graybox.network.sizes import conv_stride, pools_after


@dataclass(frozen=True)
class Slide:
    """The kernel of a convolution or a pooling along one axis.

    Output o sees `kernel` inputs, from o * stride - padding on.
    """

    kernel: int
    stride: int = 1
    padding: int = 0

    def outputs(self, inputs: int) -> int:
        """How many outputs there are; the last kernel lies wholly inside the padded input."""
        return (inputs + 2 * self.padding - self.kernel) // self.stride + 1

    def touched(self, first: int, end: int) -> tuple[int, int]:
        """The outputs that see any of the inputs [first, end), as an interval that ignores the border."""
        if end <= first:
            return first, first
        first = -((self.kernel - 1 - self.padding - first) // self.stride)  # the division rounds up
        return first, max(first, (end - 1 + self.padding) // self.stride + 1)

    def seen(self, first: int, end: int) -> tuple[int, int]:
        """The inputs that the outputs [first, end) see, as an interval that ignores the border."""
        return first * self.stride - self.padding, (end - 1) * self.stride - self.padding + self.kernel


def slides(params: ModelParams) -> list[tuple[Slide, Slide]]:
    """The convolution and the pooling of each conv layer; without pooling, a kernel of a single pixel."""
    pool, kernel = Slide(params.max_pool or 1, params.pool_stride or params.max_pool or 1), params.kernel_size
    return [
        (Slide(kernel, conv_stride(params, number), kernel // 2), pool if pools_after(params, number) else Slide(1))
        for number in range(1, params.conv_layers + 1)
    ]


def receptive_fields(params: ModelParams, image_size: int) -> list[tuple[int, int]]:
    """The pixels [first, end) that each place of the last conv layer's maps, after pooling, sees along either axis."""
    passes = [slide for layer in slides(params) for slide in layer]
    lengths = [image_size]
    for slide in passes:
        lengths.append(slide.outputs(lengths[-1]))
    fields = [(place, place + 1) for place in range(lengths[-1])]
    for slide, length in zip(reversed(passes), reversed(lengths[:-1])):
        # Clip in each layer: padding beyond the border sees no pixel.
        seen = (slide.seen(*field) for field in fields)
        fields = [(max(first, 0), min(end, length)) for first, end in seen]
    return fields
