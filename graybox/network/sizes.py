"""The size and cost of each layer, and the check that the layers leave at least one pixel of the image."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graybox.errors import UserError
from graybox.network.params import ModelParams, TrainParams

MOST_WEIGHTS = 10**9
"""Of a network; training holds 3 to 4 numbers of 4 bytes for each weight."""
MOST_VALUES = 2**28
"""Of all layers' outputs for one image; they take 1 GiB, and training holds them for a whole batch."""


@dataclass(frozen=True)
class LayerSize:
    """One layer's output size and cost.

    Attributes:
        name: such as "conv layer 2" or "max pooling 2" or "fc layer 1".
        channels: feature maps, or units of a fully connected layer.
        size: height and width of a feature map in pixels; 1 for a fully connected layer.
        macs: multiply-accumulates for one image (convolutions and fully connected layers; the rest is not counted).
        weights: trained numbers, with biases and batch norms.
    """

    name: str
    channels: int
    size: int
    macs: int
    weights: int


def layer_sizes(params: ModelParams, image_size: int, classes: int) -> list[LayerSize]:
    """The size and cost of every layer of the network for `image_size` x `image_size` images.

    Raises:
        UserError: a layer would leave nothing of the image.
    """
    layers: list[LayerSize] = []
    channels, size, around = 3, image_size, shortcuts(params)
    for number, filters in enumerate(params.filters_per_layer, start=1):
        kernel, stride = params.kernel_size, conv_stride(params, number)
        # Padding keeps the size at stride 1, so a convolution never leaves nothing.
        size = (size - 1) // stride + 1
        kernels, others = filters * channels * kernel**2, filters * (2 if params.batch_norm else 1)
        if shortcut := around.get(number):  # counted with the last layer that it spans
            kernels += filters * shortcut.inputs * shortcut.projects
            others *= 1 + shortcut.projects
        weights = kernels + others
        layers.append(LayerSize(f"conv layer {number}", filters, size, size**2 * kernels, weights))
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
            layers.append(LayerSize(f"max pooling {pooling}", channels, size, 0, 0))
    if params.global_average_pool:
        size = 1
        layers.append(LayerSize("global average pooling", channels, size, 0, 0))
    inputs = channels * size**2
    for number in range(1, params.fc_layers + 1):
        units = classes if number == params.fc_layers else params.fc_units
        layers.append(LayerSize(f"fc layer {number}", units, 1, inputs * units, (inputs + 1) * units))
        inputs = units
    return layers


def check_fits(network: ModelParams, schedule: TrainParams, image_size: int) -> None:
    """Check that the layers leave at least one pixel of the smallest training images (`train.start_size`).

    A network of another architecture than cnn is built, and asked for one image.

    Raises:
        UserError: a layer would leave nothing of the image, a conv layer's stride is larger than what the layer is
            given, or the network is too large to be meant: it has more than
            MOST_WEIGHTS weights, or gives more than MOST_VALUES values for one image.
    """
    if not network.parametric:
        from graybox.network import architectures  # which needs torch, and most networks are no others

        return architectures.check_fits(network, schedule, image_size)
    _check_strides(network, schedule.size_at(0, image_size))
    layers = layer_sizes(network, image_size, classes=2)
    weights = sum(layer.macs // layer.size**2 for layer in layers)
    if weights > MOST_WEIGHTS:
        raise UserError(
            f"model: the network would have {weights:,} weights; allowed: at most {MOST_WEIGHTS:,}, "
            f"by fewer filters or fc_units, a smaller filter_growth or kernel_size, or more pooling"
        )
    values = sum(layer.channels * layer.size**2 for layer in layers)
    if values > MOST_VALUES:
        raise UserError(
            f"model: the layers would give {values:,} values for one image; allowed: at most {MOST_VALUES:,}, "
            f"by fewer filters, a larger stride, more pooling, or smaller images"
        )


def _check_strides(network: ModelParams, image_size: int) -> None:
    """Refuse a stride beyond what there is: in bf16 on a CPU its gradient is not a number, by chance (PyTorch 2.15)."""
    size, given = image_size, list[int]()  # pixels that each conv layer is given
    for layer in layer_sizes(network, image_size, classes=2):
        if layer.name.startswith("conv layer"):
            given.append(size)
        size = layer.size
    strides = [(f"conv layer {n}", pixels, conv_stride(network, n)) for n, pixels in enumerate(given, start=1)]
    for shortcut in shortcuts(network).values():
        first, last = shortcut.layers[0], shortcut.layers[-1]
        strides.append((f"the shortcut around conv layers {first} to {last}", given[first - 1], shortcut.stride))
    for name, pixels, stride in strides:
        if stride > pixels:
            raise UserError(
                f"model: {name} has the stride {stride} and is given only {pixels} x {pixels} pixels of the "
                f"{image_size} x {image_size} image; allowed: a stride up to that, fewer conv_layers, less pooling, "
                f"or larger images"
            )


def conv_stride(params: ModelParams, number: int) -> int:
    """Stride of conv layer `number`, counted from 1."""
    return params.stride if params.stride_layers == "all" or number == 1 else 1


def pools_after(params: ModelParams, number: int) -> bool:
    """Whether max pooling follows conv layer `number`, counted from 1."""
    return params.max_pool is not None and number in params.block_ends


@dataclass(frozen=True)
class Shortcut:
    """The way around some conv layers (He et al. 2016, "Deep residual learning for image recognition", section 3.2).

    Attributes:
        layers: the conv layers around which it leads, counted from 1.
        inputs: the channels that the first of them is given.
        stride: the strides of these layers, multiplied.
        projects: whether it is a 1 x 1 convolution, as the layers change the shape of what they are given, or are given
            the image; else it is the identity.
    """

    layers: range
    inputs: int
    stride: int
    projects: bool


def shortcuts(params: ModelParams) -> dict[int, Shortcut]:
    """Each shortcut by the last conv layer that it spans, counted from 1."""
    found: dict[int, Shortcut] = {}
    filters = [3, *params.filters_per_layer]
    for layers in params.shortcut_spans:
        first, last = layers[0], layers[-1]
        stride = prod(conv_stride(params, layer) for layer in layers)
        projects = first == 1 or filters[first - 1] != filters[last] or stride > 1
        found[last] = Shortcut(layers, filters[first - 1], stride, projects)
    return found


def multiply_accumulates(params: ModelParams, image_size: int, classes: int) -> int:
    """Multiply-accumulates (MACs) that the network needs for one image."""
    return sum(layer.macs for layer in layer_sizes(params, image_size, classes))
