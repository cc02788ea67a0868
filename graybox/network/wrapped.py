"""Any `nn.Module` that gives class scores, as a `Classifier`."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from graybox import arguments
from graybox.network import fields, tracing
from graybox.network.classifier import Classifier
from graybox.network.inference import evaluating
from graybox.network.params import ModelParams

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's training photographs, in 0..1; torchvision's weights expect pixels normalised with them."""

# Between the last maps and the class scores these leave the places as they are, or average them.
_KEEP = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.LayerNorm, nn.BatchNorm2d)
_KEEP_NAMES = {"dropout", "contiguous", "layer_norm", "permute", "to", "float"}
_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_POOL_NAMES = {"adaptive_avg_pool2d", "adaptive_max_pool2d"}


@dataclass(frozen=True)
class Cut:
    """Where a network's maps end: `head(last_maps(images))` is what the network gives.

    Attributes:
        graph: of the network in evaluation mode. `shapes`: of its nodes' tensors, for one image.
        last: the node that gives the last maps, [B, maps, h, w].
    """

    graph: fx.Graph
    shapes: dict[fx.Node, tuple[int, ...]]
    last: fx.Node


class Wrapped(Classifier):
    """Any network as a `Classifier`.

    Its last maps are found in the graph of its operations (`torch.fx`): the last with places before they are averaged
    or flattened for good. `has_maps` is False if there are none, as in a vision transformer, if the network can't be
    traced, or if it answers otherwise than its graph, as one with hooks may. The maps are those in evaluation mode.

    Attributes:
        network: the module itself; it takes normalised images, float [B, 3, H, W]. Only its weights, `mean` and `std`
            are in the state dict.
        code: the hashes of the user's files that the network was built from (`graybox.network.user_code`); {} = none.
    """

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        class_names: Sequence[str],
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
        params: ModelParams | None = None,
    ) -> None:
        """Args:
            network: takes float [B, 3, H, W] and gives class scores (logits), float [B, classes].
            image_size: height and width of its images in pixels. `class_names`: in the order of the scores.
            mean, std: three numbers each, of the pixels in 0..1: the network is given (images - mean) / std.
            params: what `graybox.network.architectures.build` built it from; None = it was built elsewhere, and can't
                be saved.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        arguments.instance("network", network, nn.Module, "a torch.nn.Module")
        size = arguments.integer("image_size", image_size, 1, 2**16)
        if params is not None:
            arguments.instance("params", params, ModelParams)
        super().__init__(params or ModelParams(), size, arguments.names("class_names", class_names))
        self.network = network
        self.code: dict[str, str] = {}
        self.mean.copy_(_channels("mean", mean, -1e6))
        self.std.copy_(_channels("std", std, 1e-6))

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (logits), float [B, classes], of images, float [B, 3, H, W] in 0..1."""
        scores: Tensor = self.network(self.normalised(images))
        return scores

    @property
    def has_maps(self) -> bool:  # type: ignore[override]  # an attribute of other classifiers
        """Whether there are last maps; see the class. The first question takes four runs on one image."""
        return self.cut is not None

    @property
    def cut(self) -> Cut | None:
        """Where the maps end; None if there are none."""
        with _LOCK:
            if "_cut" not in self.__dict__:
                self.__dict__["_cut"] = _cut(self.network, self.image_size)
        found: Cut | None = self.__dict__["_cut"]
        return found

    def last_maps(self, images: Tensor) -> Tensor:
        """The last maps that still have places, float [B, maps, h, w], in evaluation mode. `images`: as `forward`."""
        cut = self._its_cut()
        with evaluating(self.network):
            return tracing.run(self.network, cut.graph, None, cut.last, self.normalised(images))

    def head(self, maps: Tensor) -> Tensor:
        """Class scores, float [B, classes], of last maps, float [B, maps, h, w], in evaluation mode."""
        cut = self._its_cut()
        with evaluating(self.network):
            # A copy, as what follows may change its input in place.
            return tracing.run(self.network, cut.graph, cut.last, None, maps.clone())

    def _its_cut(self) -> Cut:
        if self.cut is None:
            raise NotImplementedError("this network has no last maps")
        return self.cut

    @property
    def first_layer(self) -> nn.Module:
        """The first layer with weights, in the order in which they are computed, else in which they were made."""
        return self._layers()[0]

    @property
    def last_layer(self) -> nn.Module:
        """The last fully connected layer or convolution that gives one number for each class.

        Raises:
            NotImplementedError: there is none.
        """
        found = [layer for layer in self._layers() if classes_of(layer) == len(self.class_names)]
        if not found:
            raise NotImplementedError("this network has no layer that gives the class scores")
        return found[-1]

    def _layers(self) -> list[nn.Module]:
        """The layers with weights, without layers of their own."""
        graph = self.cut.graph if self.cut else None
        called = [str(node.target) for node in graph.nodes if node.op == "call_module"] if graph else []
        layers = [self.network.get_submodule(name) for name in called] if graph else list(self.network.modules())
        return [layer for layer in layers if any(True for _ in layer.parameters(recurse=False))] or [self.network]

    def receptive_fields(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [h, 2] and [w, 2]: the pixels [first, end) that each row and each column of the last maps sees.

        Clipped at the border; of an operation that is not known, the whole image.
        """
        cut = self._its_cut()
        return fields.receptive_fields(self.network, cut.graph, cut.shapes, cut.last, (self.image_size,) * 2)

    @cached_property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates of all convolutions and matrix products for one image."""
        network = copy.deepcopy(self.network).eval()
        try:
            return _work(network.to("meta"), self.image_size)  # which computes nothing
        except Exception:  # of a network that looks at its numbers
            return _work(copy.deepcopy(self.network).eval(), self.image_size)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which find their own cut."""
        return {name: value for name, value in self.__dict__.items() if name != "_cut"}


_LOCK = threading.RLock()


def _work(network: nn.Module, size: int) -> int:
    """Multiply-accumulates of a network for one image."""
    from torch.utils.flop_counter import FlopCounterMode  # only this needs it

    with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # without gradients, attention is not seen
        network(tracing.zeros(network, size))
    return int(counter.get_total_flops()) // 2


def classes_of(layer: nn.Module) -> int:
    """How many numbers a fully connected layer or a convolution gives; 0 for any other layer."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) else 0


def _channels(name: str, values: Sequence[float], least: float) -> Tensor:
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        given = list(values)
    except TypeError as error:
        raise TypeError(f"{name} is {arguments.shown(values)}; it should be three numbers") from error
    found = [arguments.number(name, value, least, 1e6) for value in given]
    if len(found) != 3:
        raise ValueError(f"{name} has {len(found)} numbers; it should have 3")
    return torch.tensor(found).view(3, 1, 1)


def _cut(network: nn.Module, size: int) -> Cut | None:
    """Where the maps of a network end; None if there are none, or its graph is not known."""
    image = tracing.zeros(network, size)
    if image.device.type != "meta":
        image = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
    try:
        graph = tracing.traced(network)
        shapes, given = tracing.shapes(network, graph, image)
    except Exception:  # whatever a network does that can't be traced
        return None
    with torch.no_grad(), evaluating(network):
        wanted = network(image)
    if not isinstance(given, Tensor) or not isinstance(wanted, Tensor) or not _same(given, wanted):
        return None  # such as one with hooks, which no graph has
    last = last_with_places(network, graph, shapes)
    if last is None:
        return None
    with torch.no_grad(), evaluating(network):
        maps = tracing.run(network, graph, None, last, image)
        if not _same(tracing.run(network, graph, last, None, maps), wanted):
            return None  # such as one that changes its values in place beside the way of its graph
    return Cut(graph, shapes, last)


def _same(given: Tensor, wanted: Tensor) -> bool:
    if given.shape != wanted.shape or given.device.type == "meta":
        return given.shape == wanted.shape
    return torch.allclose(given, wanted, rtol=1e-3, atol=1e-5, equal_nan=True)


def last_with_places(network: nn.Module, graph: fx.Graph, shapes: dict[fx.Node, tuple[int, ...]]) -> fx.Node | None:
    """The node of the last maps: [B, maps, h, w], before they are averaged or flattened for good; None if none is."""
    ends = next(node for node in reversed(list(graph.nodes)) if node.op == "output").args[0]
    node: fx.Node | None = ends if isinstance(ends, fx.Node) else None
    # Back from the class scores along what has one input, to where places become units.
    while node is not None and node.op != "placeholder":
        before = _one_input(node, shapes)
        if before is not None and len(shapes[before]) == 4:
            break
        node = before
    if node is None or node.op == "placeholder" or len(shapes[node]) != 2 or before is None:
        return None
    if not _joins_places(network, node, shapes[before]):
        return None
    return _before_pooling(network, before, shapes)


def _before_pooling(network: nn.Module, node: fx.Node, shapes: dict[fx.Node, tuple[int, ...]]) -> fx.Node | None:
    """What a global pooling averages whose averages are flattened next; `node` itself if there is none."""
    at: fx.Node | None = node
    while at is not None and at.op != "placeholder":
        before = _one_input(at, shapes)
        if _is(network, at, _POOLS, _POOL_NAMES) or (fields.name_of(at) == "mean" and len(shapes[at]) == 4):
            return before
        one_place = shapes[at][2:] == (1, 1) or shapes[at][1:3] == (1, 1)
        if not (one_place or _is(network, at, _KEEP, _KEEP_NAMES)) or before is None or len(shapes[before]) != 4:
            break
        if fields.name_of(at) == "avg_pool2d" or isinstance(_module(network, at), nn.AvgPool2d):
            return before
        at = before
    return node if node.op != "placeholder" else None


def _one_input(node: fx.Node, shapes: dict[fx.Node, tuple[int, ...]]) -> fx.Node | None:
    """The one tensor that a node computes with, weights aside; None if there are more."""
    given = [one for one in node.all_input_nodes if one in shapes and one.op != "get_attr"]
    return given[0] if len(given) == 1 else None


def _joins_places(network: nn.Module, node: fx.Node, shape: tuple[int, ...]) -> bool:
    """Whether a node flattens maps [B, maps, h, w], or takes their mean over the places."""
    if isinstance(_module(network, node), nn.Flatten) or fields.name_of(node) in ("flatten", "view", "reshape"):
        return True
    if fields.name_of(node) == "squeeze":
        return shape[2:] == (1, 1)
    if fields.name_of(node) not in ("mean", "amax", "sum"):
        return False
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return isinstance(dims, list | tuple) and {int(str(dim)) % 4 for dim in dims} == {2, 3}


def _module(network: nn.Module, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is(network: nn.Module, node: fx.Node, kinds: tuple[type[nn.Module], ...], names: set[str]) -> bool:
    return isinstance(_module(network, node), kinds) or fields.name_of(node) in names
