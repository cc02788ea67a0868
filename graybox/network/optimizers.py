"""The optimizers: SGD for all weights, or Muon for the hidden layers' filters and matrices and SGD for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd
from torch.overrides import TorchFunctionMode

from graybox.network.checkpoint import State
from graybox.network.classifier import Classifier
from graybox.network.inference import pick_precision
from graybox.network.params import TrainParams


def trained_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a network that are trained: all but those with `requires_grad` off, which stay as they are."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def optimizer_of(model: Classifier, params: TrainParams) -> SGD | Muon:
    """The optimizer that `train.optimizer` names, for a network's weights in the order of `trained_weights`.

    Muon updates the filters and matrices of all layers except the first and the last. SGD updates the first and last
    layer, all biases and batch norm, as Jordan recommends; also tables, such as a transformer's positions, and the
    filters of convolutions in groups: those of a depthwise one have a single channel each, so no directions to balance.
    """
    weights = trained_weights(model)
    if params.optimizer == "sgd":
        return SGD(weights, params)
    ends = {id(weight) for layer in _ends(model) for weight in layer.parameters()}
    matrices = {id(weight) for module in model.modules() for weight in _matrices(module)} - ends
    return Muon(weights, [place for place, weight in enumerate(weights) if id(weight) in matrices], params)


def _ends(model: Classifier) -> list[nn.Module]:
    """The first layer, and the last if there is one that gives the class scores."""
    try:
        return [model.first_layer, model.last_layer]
    except NotImplementedError:
        return [model.first_layer]


def _matrices(module: nn.Module) -> list[Tensor]:
    """The weights of a layer that map all of its inputs to its outputs, an output in a row."""
    if isinstance(module, nn.MultiheadAttention):
        return [] if module.in_proj_weight is None else [module.in_proj_weight]
    whole = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return [cast(Tensor, module.weight)] if whole else []


class SGD:
    """SGD with Nesterov momentum.

    It uses PyTorch's functional SGD, because the SGD class imports torch._dynamo, which costs 1.7 s per variant.
    """

    def __init__(self, weights: Sequence[Tensor], params: TrainParams) -> None:
        self.weights, self.params = list(weights), params
        self.momenta: list[Tensor | None] = [None] * len(weights)

    @torch.no_grad()
    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Update the weights. `gradients`: in the order of the weights; `rate`: the learning rate."""
        sgd(
            self.weights,
            gradients,
            self.momenta,
            fused=gradients[0].device.type in ("cpu", "cuda"),
            lr=rate,
            momentum=self.params.momentum,
            nesterov=self.params.momentum > 0,
            weight_decay=self.params.weight_decay,
            dampening=0,
            maximize=False,
        )

    def state(self) -> State:
        """The momentum of each weight that has one, by the weight's place."""
        return {str(place): momentum for place, momentum in enumerate(self.momenta) if momentum is not None}

    def restore(self, state: State) -> None:
        """Go on where `state` was taken."""
        self.momenta = [
            state[str(place)].to(weight.device) if str(place) in state else None
            for place, weight in enumerate(self.weights)
        ]


class _Float32(TorchFunctionMode):
    """What would be converted to bf16 becomes float32; a copy, as PyTorch's Muon then writes to it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.bfloat16 or (func is Tensor.to and kwargs.get("dtype") is torch.bfloat16):
            return args[0].to(torch.float32, copy=True)
        return func(*args, **kwargs)


def in_fast_type(device: torch.device) -> AbstractContextManager[object]:
    """What PyTorch's Muon has to run in: float32 where bf16 is emulated, which takes up to 20 times as long."""
    emulated = device.type == "cpu" and pick_precision("auto", device) == torch.float32
    return _Float32() if emulated else nullcontext()


class Muon:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the hidden layers' weights, SGD for the rest.

    Each weight is a matrix with one filter per row. Muon replaces its momentum by (nearly) the closest matrix with
    orthonormal rows, or columns if there are fewer. So a step changes all filters about equally, and not mostly along
    the few directions that dominate the gradient. PyTorch computes this in bf16, whatever the network's precision; on a
    CPU that only emulates bf16 it is computed in float32 here (`in_fast_type`).
    """

    # As in Jordan's airbench94_muon. His post uses five; the two were not compared here.
    NEWTON_SCHULZ_STEPS = 3

    def __init__(self, weights: Sequence[Tensor], hidden: list[int], params: TrainParams) -> None:
        """Args:
        weights: all weights of a network. `hidden`: the indices of the weights that Muon updates.
        """
        self.params, self.hidden = params, hidden
        self.others = [place for place in range(len(weights)) if place not in hidden]
        self.sgd = SGD([weights[place] for place in self.others], params)
        self.orders = [memory_order(weights[place]) for place in hidden]
        # Views: writing to a row writes to its filter.
        self.rows = [
            nn.Parameter(weights[place].detach().permute(order).view(len(weights[place]), -1))
            for place, order in zip(hidden, self.orders)
        ]
        self.in_fast_type = in_fast_type(weights[0].device)
        self.muon: torch.optim.Muon | None = None
        if self.rows:
            self.muon = torch.optim.Muon(
                self.rows,
                weight_decay=params.muon_weight_decay,
                momentum=params.momentum,
                nesterov=params.momentum > 0,
                ns_steps=self.NEWTON_SCHULZ_STEPS,
            )

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Update the weights. `rate`: SGD's learning rate; Muon's own follows the same schedule."""
        self.sgd.step([gradients[place] for place in self.others], rate)
        for place, order, rows in zip(self.hidden, self.orders, self.rows):
            rows.grad = gradients[place].permute(order).reshape(rows.shape)
        if self.muon:
            self.muon.param_groups[0]["lr"] = rate / self.params.learning_rate * self.params.muon_learning_rate
            with self.in_fast_type:
                self.muon.step()

    def state(self) -> State:
        """The momenta of both optimizers; Muon's by the place of the matrix among those that it updates."""
        found = {f"sgd.{place}": momentum for place, momentum in self.sgd.state().items()}
        kept = self.muon.state if self.muon else {}
        for place, rows in enumerate(self.rows):
            if rows in kept:
                found[f"muon.{place}"] = kept[rows]["momentum_buffer"]
        return found

    def restore(self, state: State) -> None:
        """Go on where `state` was taken."""
        self.sgd.restore({name[4:]: value for name, value in state.items() if name.startswith("sgd.")})
        for place, rows in enumerate(self.rows):
            if self.muon and f"muon.{place}" in state:
                self.muon.state[rows]["momentum_buffer"] = state[f"muon.{place}"].to(rows.device)


def memory_order(weight: Tensor) -> list[int]:
    """A weight's dimensions in memory order, slowest first: [0, 2, 3, 1] for filters in channels_last.

    In this order each filter is a row without a copy. Muon's step does not depend on the order within a row.
    """
    return sorted(range(weight.dim()), key=weight.stride, reverse=True)
