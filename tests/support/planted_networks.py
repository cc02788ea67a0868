"""Networks in which something is planted that an engine which reads a network's graph could get wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from tests.support.random_networks import Apply, settle

HEIGHT, WIDTH, CHANNELS, CLASSES = 18, 26, 6, 4


def block(inputs: int = CHANNELS, outputs: int = CHANNELS, **options) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


class Network(nn.Module):
    """Two blocks, something in between that a class of its own changes, and a head."""

    def __init__(self, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.last = block(3), block()
        self.middle, self.factor = nn.Identity() if middle is None else middle, 1.5
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, CLASSES))

    def between(self, x: Tensor) -> Tensor:
        return self.middle(x) * self.factor

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.last(self.between(self.first(images))))


def settled(network: Any) -> Any:
    """In evaluation mode; its weights and statistics are always the same ones."""
    with torch.random.fork_rng(devices=[]):
        settle(network, torch.rand(16, 3, HEIGHT, WIDTH))
    return network.eval()


# What a graph cannot show, or shows as something else.


class Branching(Network):
    """Which layer follows depends on the image."""

    def between(self, x):
        return self.middle(x) if x[0, 0, 0, 0] > x[0, 1, 3, 3] else -x


class Trained(Network):
    """Something else while training."""

    def between(self, x):
        return x * x if self.training else F.dropout(x, 0.5, self.training) + 0.3 * x.square()


class Cast(Network):
    """A part computes in bfloat16."""

    def between(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return F.conv2d(x, self.last[0].weight, padding=1).float()


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019): a convolution with a forward of its own."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, 9 * weight, self.bias, self.stride, self.padding)


class Squared(nn.ReLU):
    """A function of the same name as PyTorch's, with a forward of its own."""

    def forward(self, x):
        return super().forward(x) ** 2


class Halved(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x / 2)


class Clipped(nn.Linear):
    def forward(self, x):
        return super().forward(x.clamp(max=0.2))


class OverChannels(nn.Module):
    """A layer of the channels of each place, as in ConvNeXt."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Every place looks at every other."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)

    def forward(self, x):
        places = x.flatten(2).transpose(1, 2)
        return x + self.attention(places, places, places)[0].transpose(1, 2).unflatten(2, x.shape[2:])


class DotProduct(nn.Module):
    def forward(self, x):
        places = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(places, places, places).transpose(1, 2).reshape(x.shape)


class Rows(nn.Module):
    """A recurrent network reads the rows."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS, CHANNELS, batch_first=True)

    def forward(self, x):
        return x + self.lstm(x.mean(3).transpose(1, 2))[0].transpose(1, 2)[..., None]


class SpatialAttention(nn.Module):
    """One map weights all maps, place by place (Woo et al. 2018, CBAM)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        return x * self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()


class Placed(nn.Module):
    """A value of its own for each place."""

    def __init__(self, form: str, *shape: int) -> None:
        super().__init__()
        self.form, self.table = form, nn.Parameter(torch.rand(*shape))

    def forward(self, x):
        return x * self.table if self.form == "times" else x + self.table


class Written(nn.Module):
    """It writes into its map."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, x):
        before = x
        if self.form == "places":
            x = x.clone()
            x[:, 1, 2:5] = 0.7
        elif self.form == "channels":
            x = x.clone()
            x[:, :2] *= 3
        elif self.form == "kept":
            kept = x
            x.mul_(0.5).add_(0.1)
            x = x + kept
        elif self.form == "a view":
            part = x[:, :3]
            part.sub_(0.4)
        elif self.form == "both branches":
            x = F.relu(x - 0.5, inplace=True) + before.sigmoid_()
        else:
            x += before
            x *= before
        return x


class Pooled(nn.Module):
    """The places of the maxima are used."""

    def forward(self, x):
        found, places = F.max_pool2d(x, 2, 2, return_indices=True)
        return F.max_unpool2d(found, places, 2, 2)


class Conditional(nn.Module):
    """Each image has kernels of its own; the images of a batch are groups of one convolution (Yang et al. 2019)."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Linear(CHANNELS, CHANNELS * CHANNELS * 9)

    def forward(self, x):
        batch, channels, height, width = x.shape
        kernels = self.kernels(x.mean((2, 3))).view(batch * channels, channels, 3, 3)
        x = x.reshape(1, batch * channels, height, width)
        return F.conv2d(x, kernels, padding=1, groups=batch).view(batch, channels, height, width)


class Optional(Network):
    """It takes more than the images."""

    def forward(self, images, scale=2.0, mask=None):
        images = images if mask is None else images * mask
        return super().forward(images) * scale


class Saved(Network):
    """Its middle is computed again for the gradients."""

    def between(self, x):
        return checkpoint(self.middle, x, use_reentrant=False)


class Both(nn.Module):
    """The mean answer of two networks, one of which sees the mirror image."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, images):
        return torch.stack([self.one(images), self.other(images.flip(-1))]).mean(0)


class Tied(Network):
    """One weight in two layers."""

    def __init__(self):
        super().__init__(block())
        self.middle[0].weight = self.last[0].weight


class Counted(Network):
    """It keeps statistics of what it sees, without using them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def between(self, x):
        self.seen = self.seen * 0.9 + x.detach().mean() * 0.1
        return x


class Rounded(torch.Tensor):
    """Weights that look like float32 and compute in another way, as quantised ones do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (F.conv2d, torch.conv2d):
            args = [args[0], (args[1].as_subclass(torch.Tensor) * 8).round() / 8, *args[2:]]
        return super().__torch_function__(func, types, args, kwargs or {})


def _rounded() -> nn.Module:
    network = Network()
    network.last[0].weight = nn.Parameter(network.last[0].weight.detach().as_subclass(Rounded))
    return network


def _weight_norm(network: Network) -> None:
    parametrizations.weight_norm(network.last[0])
    with torch.no_grad():
        network.last[0].parametrizations.weight.original0.mul_(2)


def _old_weight_norm(network: Network) -> None:
    nn.utils.weight_norm(network.last[0])
    with torch.no_grad():
        network.last[0].weight_g.mul_(2)


def _own_function(network: Network) -> None:
    network.middle[2].forward = lambda x: x.abs()


def _own_forward(network: Network) -> None:
    network.forward = lambda images: network.head(network.last(network.first(images.flip(2))))


def _own_convolution(network: Network) -> None:
    network.last[0]._conv_forward = lambda x, weight, bias: F.conv2d(x, weight.flip(2), bias, padding=1)


def _dilated(network: Network) -> None:
    network.last[0].dilation = network.last[0].padding = (2, 2)


MIDDLES = {
    "attention": Attention,
    "dot product": DotProduct,
    "LSTM": Rows,
    "spatial attention": SpatialAttention,
    "factors of places": lambda: Placed("times", HEIGHT, WIDTH),
    "factors of places and channels": lambda: Placed("times", 1, CHANNELS, HEIGHT, WIDTH),
    "factors of rows": lambda: Placed("times", HEIGHT, 1),
    "factors of columns": lambda: Placed("times", WIDTH),
    "a value added to places": lambda: Placed("plus", 1, 1, HEIGHT, WIDTH),
    "one factor": lambda: Placed("times", 1),
    "written places": lambda: Written("places"),
    "written channels": lambda: Written("channels"),
    "written, and kept": lambda: Written("kept"),
    "a written view": lambda: Written("a view"),
    "written in both branches": lambda: Written("both branches"),
    "added to itself": lambda: Written("itself"),
    "places of maxima": Pooled,
    "kernels of each image": Conditional,
    "own convolution": lambda: Standardised(CHANNELS, CHANNELS, 3, padding=1),
    "own function": lambda: nn.Sequential(Squared(), Squared(inplace=True)),
    "own batch norm": lambda: Halved(CHANNELS),
    "own linear layer": lambda: OverChannels(Clipped(CHANNELS, CHANNELS)),
    "a scripted part": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Tanh())),
    "softmax over places": lambda: Apply(lambda x: 100 * x.flatten(2).softmax(2).view_as(x)),
    "layer norm over channels": lambda: OverChannels(nn.LayerNorm(CHANNELS)),
    "a fraction of the largest": lambda: Apply(lambda x: x / x.amax((1, 2, 3), keepdim=True)),
    "a global value added": lambda: Apply(lambda x: x + x.mean((2, 3), keepdim=True)),
    "rows and columns exchanged": lambda: Apply(lambda x: x.transpose(2, 3)),
    "places cut off": lambda: Apply(lambda x: x[..., 1:-2]),
    "a larger map": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "pixels from channels": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 4 * CHANNELS, 1), nn.PixelShuffle(2)),
    "a border": lambda: nn.ReflectionPad2d((1, 2, 0, 3)),
    "an uneven border": lambda: nn.ZeroPad2d((1, 0, 2, 0)),
    "transposed convolution": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2),
    "group norm": lambda: nn.GroupNorm(2, CHANNELS),
    "local response": lambda: nn.LocalResponseNorm(5),
}


CHANGES = {
    "a hook": lambda n: n.middle[0].register_forward_hook(lambda m, i, o: o.sign()),
    "a hook before": lambda n: n.last.register_forward_pre_hook(lambda m, i: (i[0].cos(),)),
    "a hook on the head": lambda n: n.head[2].register_forward_hook(lambda m, i, o: o**2),
    "a hook on the network": lambda n: n.register_forward_hook(lambda m, i, o: -o),
    "a hook with arguments": lambda n: n.last.register_forward_hook(lambda m, a, k, o: o + 1, with_kwargs=True),
    "weight norm": _weight_norm,
    "weight norm, old": _old_weight_norm,
    "spectral norm": lambda n: parametrizations.spectral_norm(n.last[0]),
    "spectral norm, old": lambda n: nn.utils.spectral_norm(n.last[0]),
    "orthogonal": lambda n: parametrizations.orthogonal(n.head[2]),
    "pruned": lambda n: prune.l1_unstructured(n.last[0], "weight", 0.6),
    "a function of the object's own": _own_function,
    "a forward of the object's own": _own_forward,
    "a convolution of the object's own": _own_convolution,
    "dilated afterwards": _dilated,
}
"""What is done to a trained network."""


def _step(network: Network) -> None:
    """A step of training."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), 3.0)
    network(torch.rand(8, 3, HEIGHT, WIDTH)).square().sum().backward()
    optimizer.step()
    network.eval()


def _statistics_only(network: Network) -> None:
    network.train()
    for _ in range(5):
        network(5 * torch.rand(8, 3, HEIGHT, WIDTH))
    network.eval()


def _in_place(network: Network) -> None:
    with torch.no_grad():
        network.last[0].weight.neg_()


def _in_numpy(network: Network) -> None:
    weights = network.last[0].weight.detach().numpy()
    weights *= -1


def _loaded(network: Network) -> None:
    network.load_state_dict(
        {name: value.flip(0) if value.ndim else value for name, value in network.state_dict().items()}
    )


def _set(part: nn.Module, **values: object) -> None:
    for name, value in values.items():
        setattr(part, name, value)


LATER = {
    "weights in place": _in_place,
    "weights in numpy": _in_numpy,
    "weights' data in place": lambda n: n.last[0].weight.data.neg_(),
    "weights' data": lambda n: _set(n.last[0].weight, data=-n.last[0].weight.data),
    "new weights": lambda n: _set(n.last[0], weight=nn.Parameter(-n.last[0].weight)),
    "head's weights' data in place": lambda n: n.head[2].weight.data.neg_(),
    "loaded weights": _loaded,
    "a step of training": _step,
    "statistics of other pictures": _statistics_only,
    "a buffer": lambda n: n.middle[1].running_mean.sub_(1),
    "a buffer's data": lambda n: n.middle[1].running_mean.data.sub_(1),
    "a layer exchanged": lambda n: _set(n, middle=nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Hardtanh(0, 0.5))),
    "a layer in a row exchanged": lambda n: n.middle.__setitem__(2, nn.ELU()),
    "a layer added": lambda n: n.middle.append(nn.Hardtanh(0.1, 0.4)),
    "a number of the network's": lambda n: _set(n, factor=-0.5),
    "a number of a layer's": lambda n: _set(n.middle[1], eps=3.0),
    "a stride": lambda n: _set(n.last[0], stride=(2, 2)),
    "a function": lambda n: _set(n, between=lambda x: x.neg()),
}
"""What is done to a network, or happens to it, between two maps."""

PLANTED = {
    "branches of the image": lambda: Branching(block()),
    "depends on training": Trained,
    "part in bfloat16": Cast,
    "optional arguments": Optional,
    "saved for gradients": lambda: Saved(block()),
    "two networks": lambda: Both(Network(), Network(block())),
    "tied weights": Tied,
    "statistics of what is seen": Counted,
    "in data parallel": lambda: nn.DataParallel(Network(), []),
    "rounded weights": _rounded,
    **{name: lambda make=make: Network(make()) for name, make in MIDDLES.items()},
}
"""Each has one right answer for an image, whatever else is in the batch."""


def planted(name: str) -> nn.Module:
    """The network with this of `PLANTED` or `CHANGES`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name in PLANTED:
            return settled(PLANTED[name]())
        network = usual()
        change(network, name)
        return network


def change(network: Network, name: str) -> None:
    """Do one of `CHANGES` and `LATER` to the usual network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        {**CHANGES, **LATER}[name](network)


def usual() -> Network:
    """What `CHANGES` are made to."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return settled(Network(block()))
