"""Random feed-forward networks of the nodes that the incremental engine carries, and of some that it does not."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 5
MOST_VALUES = 60_000
"""Of a map: what grows beyond is drawn again, so that a test stays short."""


class Apply(nn.Module):
    """A function as a module, as networks call functions in their own `forward`."""

    def __init__(self, function: Callable[[Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Joined(nn.Module):
    """Branches of one input, which are joined: added, subtracted, multiplied or concatenated."""

    def __init__(self, how: str, *branches: nn.Module) -> None:
        super().__init__()
        self.how, self.branches = how, nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        if self.how == "cat":
            return torch.cat(parts, 1)
        if self.how == "cat, negative":
            return torch.cat(tuple(parts), dim=-3)
        total = parts[0]
        for part in parts[1:]:
            if self.how == "sum":
                total = total + part
            elif self.how == "in place":
                total += part
            elif self.how == "torch.add":
                total = torch.add(total, part)
            elif self.how == "scaled":
                total = torch.add(total, part, alpha=0.5)
            elif self.how == "method":
                total = total.add(part)
            elif self.how == "difference":
                total = total - part
            else:
                total = total * part.sigmoid()
        return total


class Excited(nn.Module):
    """Squeeze and excitation (Hu et al. 2018), in the forms that networks have it."""

    def __init__(self, channels: int, form: str) -> None:
        super().__init__()
        self.form = form
        if form == "linear":
            self.down, self.up = nn.Linear(channels, 3), nn.Linear(3, channels)
        else:
            self.down, self.up = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "linear":
            scale = self.up(F.relu(self.down(x.mean((2, 3))))).sigmoid()
            return x * scale[:, :, None, None]
        pooled = F.adaptive_avg_pool2d(x, 1) if self.form == "pool" else x.mean((2, 3), keepdim=True)
        return F.hardsigmoid(self.up(F.silu(self.down(pooled)))) * x


class Shuffled(nn.Module):
    """Channels in two halves, of which one goes through a branch; then they are shuffled (Ma et al. 2018)."""

    def __init__(self, branch: nn.Module, form: str) -> None:
        super().__init__()
        self.branch, self.form = branch, form

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        if self.form == "chunk":
            kept, sent = x.chunk(2, dim=1)
        elif self.form == "split":
            kept, sent = torch.split(x, [half, half], 1)
        else:
            kept, sent = x[:, :half], x[:, half:]
        x = torch.cat((kept, self.branch(sent)), dim=1)
        if self.form == "chunk":
            batch, channels, height, width = x.size()
            return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(
                batch, channels, height, width
            )  # fmt: skip
        return F.channel_shuffle(x, 2) if self.form == "split" else x


class Twice(nn.Module):
    """A module that is used twice."""

    def __init__(self, shared: nn.Module, form: str) -> None:
        super().__init__()
        self.shared, self.form = shared, form

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.shared(x)) if self.form == "after itself" else self.shared(x) + self.shared(x.relu())


class Scaled(nn.Module):
    """Weights of each channel outside a layer, as in ConvNeXt's layer scale."""

    def __init__(self, channels: int, form: str) -> None:
        super().__init__()
        self.form = form
        self.scale = nn.Parameter(torch.empty(channels, 1, 1).uniform_(0.5, 1.5))
        self.register_buffer("shift", torch.randn(1, channels, 1, 1) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "affine":
            return (x - self.shift) / self.scale
        return x * self.scale if self.form == "scale" else self.shift + 0.7 * x


class FunctionalLayer(nn.Module):
    """A convolution, a batch norm and max pooling, all called as functions with the weights of this module."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(filters, channels, 3, 3) / (9 * channels) ** 0.5)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, None, stride=1, padding=1)
        x = F.batch_norm(
            x, self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias, training=False
        )
        return F.max_pool2d(F.relu(x, inplace=True), 2, 1)


class RandomNetwork(nn.Module):
    """Layers one after another, then a head. `known`: all its nodes are ones that the engine carries."""

    def __init__(self, layers: list[nn.Module], head: nn.Module, known: bool) -> None:
        super().__init__()
        self.layers, self.head, self.known = nn.Sequential(*layers), head, known

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))


POINTWISE: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU,
    nn.PReLU, nn.Mish, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d,
    lambda: nn.ReLU(inplace=True), lambda: nn.SiLU(inplace=True), lambda: nn.Hardtanh(-0.5, 0.9),
    lambda: nn.GELU("tanh"), lambda: Apply(lambda x: x.relu()), lambda: Apply(torch.relu), lambda: Apply(F.relu),
    lambda: Apply(torch.sigmoid), lambda: Apply(torch.tanh), lambda: Apply(lambda x: F.leaky_relu(x, 0.2)),
    lambda: Apply(lambda x: F.gelu(x)), lambda: Apply(lambda x: x.clamp(-1, 2)), lambda: Apply(lambda x: x * 0.5 + 1),
    lambda: Apply(lambda x: 1 - x), lambda: Apply(lambda x: x / 2), lambda: Apply(lambda x: -x),
    lambda: Apply(lambda x: x.contiguous()), lambda: Apply(lambda x: torch.clamp(x, min=0.0)),
    lambda: Apply(lambda x: x * x.sigmoid()), lambda: Apply(lambda x: F.hardswish(x, True)),
    lambda: Apply(lambda x: F.dropout(x, 0.3, False)), lambda: Apply(F.silu), lambda: Apply(F.relu_),
]  # fmt: skip
"""Functions of one value, as modules, functions and methods, in place and not."""


UNKNOWN: list[Callable[[int], nn.Module]] = [
    lambda channels: nn.GroupNorm(1, channels),
    lambda channels: nn.LocalResponseNorm(3),
    lambda channels: nn.ConvTranspose2d(channels, channels, 2, 2),
    lambda channels: nn.Upsample(scale_factor=2),
    lambda channels: nn.LPPool2d(2, 2),
    lambda channels: nn.ReflectionPad2d(1),
    lambda channels: nn.InstanceNorm2d(channels, affine=True),
    lambda channels: Apply(lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear")),
    lambda channels: Apply(lambda x: x.flip(-1)),
    lambda channels: Apply(lambda x: x.roll(1, 2)),
    lambda channels: Apply(lambda x: x.transpose(2, 3)),
    lambda channels: Apply(lambda x: x.softmax(1)),
    lambda channels: Apply(lambda x: F.softmax(x, dim=3)),
    lambda channels: Apply(lambda x: F.normalize(x)),
    lambda channels: Apply(lambda x: x.cumsum(3) / 10),
    lambda channels: Apply(lambda x: x - x.mean((2, 3), keepdim=True)),
    lambda channels: Apply(lambda x: x / (1 + x.abs().amax((1, 2, 3), keepdim=True))),
    lambda channels: Apply(lambda x: x.sort(3).values),
    lambda channels: Apply(lambda x: F.layer_norm(x, x.shape[1:])),
    lambda channels: Apply(lambda x: torch.fft.fft2(x).real / 10),
    lambda channels: Apply(lambda x: torch.where(x > x.mean((1, 2, 3), keepdim=True), x, x * 0.1)),
    lambda channels: Apply(lambda x: x.flatten(2).unflatten(2, (x.shape[3], x.shape[2]))),
    lambda channels: Apply(lambda x: x[:, :, ::2, 1:]),
    lambda channels: Apply(lambda x: F.pad(x, (1, 0, 2, 1), value=0.3)),
    lambda channels: Apply(lambda x: x + torch.linspace(0, 1, x.shape[3])),
    lambda channels: Apply(lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).flatten(1)[:, :, None, None] / 9),
]
"""What an engine of rectangles does not follow, or not without care."""


class Draw:
    """Draws networks for images of height x width pixels.

    Args:
        unknown: one layer is one of `UNKNOWN`.
    """

    def __init__(self, seed: int, height: int, width: int, unknown: bool = False) -> None:
        self.random, self.seed, self.size, self.unknown = random.Random(seed), seed, (height, width), unknown

    def network(self) -> RandomNetwork:
        """In evaluation mode, with batch-norm statistics as training leaves them."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self.seed)
            x = torch.rand(4, 3, *self.size)
            layers: list[nn.Module] = []
            count = self.random.randint(2, 6)
            strange = self.random.randint(0, count - 1) if self.unknown else -1
            for number in range(count):
                if number == strange:
                    layer, x = self._fitting(x, lambda x: self.random.choice(UNKNOWN)(x.shape[1]))
                    layers.append(layer)
                layer, x = self._fitting(x, self._layer)
                layers.append(layer)
            network = RandomNetwork(layers, self._fitting(x, self._head)[0], not self.unknown)
            settle(network, torch.rand(16, 3, *self.size))
        return network.eval()

    def _fitting(self, x: Tensor, make: Callable[[Tensor], nn.Module]) -> tuple[nn.Module, Tensor]:
        """A layer that can take this map, and what it gives."""
        for _ in range(50):
            try:
                layer = make(x)
                found = layer(x.clone())
            except (RuntimeError, ValueError, ZeroDivisionError):
                continue  # a kernel or padding larger than the map, or half of one channel
            if 0 < found[0].numel() <= MOST_VALUES and found.isfinite().all():
                return layer, found
        return nn.Identity(), x

    def _layer(self, x: Tensor) -> nn.Module:
        draw, channels = self.random, x.shape[1]
        kind = draw.choice(["conv"] * 4 + ["pool"] * 2 + ["pointwise"] * 2 + ["joined"] * 3 + [
            "excited", "shuffled", "twice", "scaled", "function", "norm", "dense", "skip", "skip", "before", "linear",
        ])  # fmt: skip
        if kind == "conv":
            return self._block(channels)
        if kind == "pool":
            return self._pool(x)
        if kind == "pointwise":
            return draw.choice(POINTWISE)()
        if kind == "excited":
            return Excited(channels, draw.choice(["linear", "pool", "mean"]))
        if kind == "shuffled":
            form = draw.choice(["chunk", "split", "slice"])
            half = channels // 2
            return Shuffled(self._same(half if form != "slice" else channels - half), form)
        if kind == "twice":
            return Twice(self._same(channels), draw.choice(["after itself", "of two inputs"]))
        if kind == "scaled":
            return Scaled(channels, draw.choice(["affine", "scale", "shift"]))
        if kind == "function":
            return FunctionalLayer(channels, draw.randint(2, 10))
        if kind == "norm":
            return nn.Sequential(nn.BatchNorm2d(channels), draw.choice(POINTWISE)())
        if kind == "skip":  # a function of a map that is needed as it is, too
            function = draw.choice([nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardtanh, nn.LeakyReLU, nn.Identity])
            return Joined(draw.choice(["sum", "difference", "cat", "product"]), nn.Identity(), function())
        if kind == "before":  # batch norm and activation before the convolution (He et al. 2016, "Identity mappings")
            return Joined(
                "sum", nn.Identity(), nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), self._same(channels))
            )
        if kind == "linear":  # nothing but linear layers, after which a batch norm stands alone
            return nn.Sequential(
                Joined("sum", self._same(channels), nn.AvgPool2d(3, 1, 1)), nn.BatchNorm2d(channels), nn.AvgPool2d(2)
            )
        if kind == "dense":
            return Joined("cat", nn.Identity(), self._same(channels))
        how = draw.choice(
            ["sum", "in place", "torch.add", "scaled", "method", "difference", "product", "cat", "cat, negative"]
        )
        if draw.random() < 0.4 and not how.startswith("cat"):
            shape = self._shape(channels)
            others = [self._block(channels, **shape) for _ in range(draw.randint(1, 2))]
            return Joined(how, self._block(channels, **shape), *others)
        if how == "in place":  # not into the input itself, which others may still need
            return Joined(how, self._same(channels), nn.Identity())
        first = nn.Identity() if draw.random() < 0.6 else self._same(channels)
        return Joined(how, first, *[self._same(channels) for _ in range(draw.randint(1, 2))])

    def _shape(self, channels: int) -> dict[str, int]:
        """What branches that are added must share: filters, stride, and how much larger the map becomes."""
        draw = self.random
        return {"filters": draw.randint(1, 12), "stride": draw.choice([1, 1, 2, 3]), "more": draw.choice([0, 0, 1])}

    def _block(self, channels: int, filters: int = 0, stride: int = 0, more: int | None = None) -> nn.Module:
        """A convolution, perhaps with batch norm and a function after it."""
        draw = self.random
        mode = draw.choice(["zeros"] * 5 + ["reflect", "replicate", "circular"])
        kernel, dilation = draw.choice([1, 1, 1, 3, 3, 3, 3, 5, 7, 2]), draw.choice([1] * 6 + [2, 3])
        sizes: tuple[int, int] | int = kernel
        padding: tuple[int, int] | int = draw.choice([0, kernel // 2, kernel // 2, kernel // 2 + 1])
        steps: tuple[int, int] | int = stride or draw.choice([1, 1, 1, 1, 2, 2, 3, 4])
        if more is not None:  # the same outputs whatever the kernel
            kernel = draw.choice([1, 3, 5])
            sizes, padding = kernel, dilation * (kernel // 2) + more
        elif draw.random() < 0.15:
            sizes, padding = draw.choice([(1, 3), (5, 1), (1, 7), (3, 2)]), (draw.randint(0, 1), draw.randint(0, 1))
            steps = draw.choice([(1, 2), (2, 1), (1, 1)])
        filters = filters or draw.randint(1, 12)
        divisors = [count for count in range(1, 13) if channels % count == filters % count == 0]
        groups = draw.choice([1, divisors[-1]])
        if draw.random() < 0.15:
            filters, groups = channels * draw.choice([1, 2]) if not more and not stride else filters, groups
            groups = channels if filters % channels == 0 else groups
        conv = nn.Conv2d(
            channels, filters, sizes, steps, padding, dilation, groups, draw.random() < 0.5, padding_mode=mode
        )
        parts: list[nn.Module] = [conv]
        if draw.random() < 0.6:
            parts.append(nn.BatchNorm2d(filters))
        if draw.random() < 0.6:
            parts.append(draw.choice(POINTWISE)())
        return nn.Sequential(*parts)

    def _same(self, channels: int) -> nn.Module:
        """A branch that keeps the map's shape: a block, a pooling, two blocks, or a function."""
        draw = self.random
        keeping = {"filters": channels, "stride": 1, "more": 0}
        kind = draw.choice(["block", "block", "pool", "average", "bottleneck", "string", "point"])
        if kind == "pool":
            return nn.MaxPool2d(3, 1, 1)
        if kind == "average":
            return nn.AvgPool2d(3, 1, 1, count_include_pad=draw.random() < 0.5)
        if kind == "bottleneck":
            inner = draw.randint(1, 8)
            return nn.Sequential(self._block(channels, inner, 1, 0), self._block(inner, **keeping))
        if kind == "string":
            return nn.Sequential(nn.Conv2d(channels, channels, 3, padding="same", dilation=2), nn.BatchNorm2d(channels))
        return draw.choice(POINTWISE)() if kind == "point" else self._block(channels, **keeping)

    def _pool(self, x: Tensor) -> nn.Module:
        draw = self.random
        kernel, stride, ceil = draw.choice([2, 3, 3, 4]), draw.choice([None, 1, 2, 3]), draw.random() < 0.4
        padding = draw.randint(0, kernel // 2)
        kind = draw.choice(["max", "max", "average", "adaptive", "adaptive max", "function", "mean function"])
        if kind == "max":
            return nn.MaxPool2d(kernel, stride, padding, draw.choice([1, 1, 2]), ceil_mode=ceil)
        if kind == "average":
            divisor = draw.choice([None, None, None, 3])
            return nn.AvgPool2d(kernel, stride, padding, ceil, draw.random() < 0.5, divisor)
        if kind.startswith("adaptive"):
            size = tuple(draw.randint(1, side + 1) for side in x.shape[2:])
            return nn.AdaptiveAvgPool2d(size) if kind == "adaptive" else nn.AdaptiveMaxPool2d(size)
        if kind == "function":
            return Apply(lambda x: F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil))
        return Apply(lambda x: F.avg_pool2d(x, (kernel, 2), stride))

    def _head(self, x: Tensor) -> nn.Module:
        draw, (_, channels, height, width) = self.random, x.shape
        flat = draw.choice([
            lambda: nn.Flatten(), lambda: Apply(lambda x: torch.flatten(x, 1)), lambda: Apply(lambda x: x.flatten(1)),
            lambda: Apply(lambda x: x.view(x.size(0), -1)), lambda: Apply(lambda x: x.reshape(x.shape[0], -1)),
        ])()  # fmt: skip
        kind = draw.choice(["flat", "flat", "pooled", "mean", "mean in two", "some places", "conv", "max", "window"])
        if kind == "conv":  # as in SqueezeNet: the class scores are the maps' means
            conv = nn.Sequential(nn.Conv2d(channels, CLASSES, 1), nn.LeakyReLU(), nn.AdaptiveAvgPool2d((1, 1)))
            return nn.Sequential(conv, flat)
        inputs = channels
        if kind == "flat":
            inputs, parts = channels * height * width, [flat]
        elif kind == "some places":
            inputs, parts = channels * 6, [nn.AdaptiveAvgPool2d((2, 3)), flat]
        elif kind == "window":
            parts = [Apply(lambda x: F.avg_pool2d(x, x.shape[2:])), flat]
        else:
            parts = {
                "pooled": lambda: [nn.AdaptiveAvgPool2d(1), flat],
                "mean": lambda: [Apply(lambda x: x.mean([2, 3]))],
                "mean in two": lambda: [Apply(lambda x: x.mean(-1).mean(dim=2))],
                "max": lambda: [Apply(lambda x: F.adaptive_max_pool2d(x, 1)), flat],
            }[kind]()
        if draw.random() < 0.5:
            norm = [nn.BatchNorm1d(12)] * (draw.random() < 0.3)
            parts += [nn.Linear(inputs, 12), *norm, draw.choice(POINTWISE[:8])()]
            inputs = 12
        return nn.Sequential(*parts, *[nn.Dropout(0.5)] * (draw.random() < 0.5), nn.Linear(inputs, CLASSES))


def settle(network: nn.Module, images: Tensor) -> None:
    """Give each batch norm statistics that fit what it sees, and values of its own for all that training moves."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = None
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
        norm.running_mean.normal_(0, 0.1)  # kept where the network takes them as numbers
        norm.running_var.uniform_(0.5, 2)
    before = [norm.running_var.clone() for norm in norms]
    with torch.no_grad():
        network.train()(images)
    for norm, first in zip(norms, before):
        norm.momentum = 0.1
        norm.running_var.mul_(torch.empty_like(first).uniform_(0.7, 1.5)).add_(0.01)
    network.eval()
