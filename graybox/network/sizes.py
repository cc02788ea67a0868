"""The size and cost of each layer, and the check that the layers leave at least one pixel of the image."""

from __future__ import annotations

from dataclasses import dataclass

from graybox.errors import UserError
from graybox.network.params import ModelParams, TrainParams


@dataclass(frozen=True)
class LayerSize:
    """One layer's output size and cost.

    Attributes:
        name: such as "conv layer 2" or "max pooling 2" or "fc layer 1".
        channels: feature maps, or units of a fully connected layer.
        size: height and width of a feature map in pixels; 1 for a fully connected layer.
        macs: multiply-accumulates for one image (convolutions and fully connected layers; the rest is not counted).
    """

    name: str
    channels: int
    size: int
    macs: int


def layer_sizes(params: ModelParams, image_size: int, classes: int) -> list[LayerSize]:
    """The size and cost of every layer of the network for `image_size` x `image_size` images.

    Raises:
        UserError: a layer would leave nothing of the image.
    """
    layers: list[LayerSize] = []
    channels, size = 3, image_size
    for number, filters in enumerate(params.filters_per_layer, start=1):
        kernel, stride = params.kernel_size, conv_stride(params, number)
        # Padding keeps the size at stride 1, so a convolution never leaves nothing.
        size = (size - 1) // stride + 1
        taps = kernel**2 + (1 if projects(params, number) else 0)
        layers.append(LayerSize(f"conv layer {number}", filters, size, size**2 * filters * channels * taps))
        channels = filters
        if params.max_pool and pools_after(params, number):
            pooling = params.block_ends.index(number) + 1
            if size < params.max_pool:
                raise UserError(
                    f"model: max pooling {pooling} (max_pool {params.max_pool}) finds only {size} x {size} pixels, "
                    f"which leaves nothing of the {image_size} x {image_size} image; allowed: fewer conv_layers, "
                    f"a smaller stride, a smaller max_pool, or larger images"
                )
            size = (size - params.max_pool) // (params.pool_stride or params.max_pool) + 1
            layers.append(LayerSize(f"max pooling {pooling}", channels, size, 0))
    if params.global_average_pool:
        size = 1
        layers.append(LayerSize("global average pooling", channels, size, 0))
    inputs = channels * size**2
    for number in range(1, params.fc_layers + 1):
        units = classes if number == params.fc_layers else params.fc_units
        layers.append(LayerSize(f"fc layer {number}", units, 1, inputs * units))
        inputs = units
    return layers


def check_fits(network: ModelParams, schedule: TrainParams, image_size: int) -> None:
    """Check that the layers leave at least one pixel of the smallest training images (`train.start_size`).

    Raises:
        UserError: a layer would leave nothing of the image.
    """
    layer_sizes(network, schedule.size_at(0, image_size), classes=2)


def conv_stride(params: ModelParams, number: int) -> int:
    """Stride of conv layer `number`, counted from 1."""
    return params.stride if params.stride_layers == "all" or number == 1 else 1


def pools_after(params: ModelParams, number: int) -> bool:
    """Whether max pooling follows conv layer `number`, counted from 1."""
    return params.max_pool is not None and number in params.block_ends


def projects(params: ModelParams, number: int) -> bool:
    """Whether the shortcut of conv layer `number` is a 1 x 1 convolution: the layer changes the shape of its input."""
    filters = params.filters_per_layer
    changes = number == 1 or filters[number - 1] != filters[number - 2] or conv_stride(params, number) > 1
    return params.residual and changes


def multiply_accumulates(params: ModelParams, image_size: int, classes: int) -> int:
    """Multiply-accumulates (MACs) that the network needs for one image."""
    return sum(layer.macs for layer in layer_sizes(params, image_size, classes))
