"""What turns gradients into a step of the weights: SGD for all of them, or Muon for the hidden layers' matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from graybox.network.cnn import CNN
from graybox.network.params import TrainParams


def optimizer_of(model: CNN, params: TrainParams) -> SGD | Muon:
    """The optimizer that `train.optimizer` names, for a network's weights in the order of `model.parameters()`.

    Muon has the filters and matrices of the layers between the first, which reads the pixels, and the last, which gives
    the class scores; biases, batch norm and these two are SGD's, as Jordan recommends.
    """
    weights = list(model.parameters())
    if params.optimizer == "sgd":
        return SGD(weights, params)
    ends = {id(weight) for layer in (model.features[0], model.head[-1]) for weight in layer.parameters()}
    hidden = [place for place, weight in enumerate(weights) if weight.dim() > 1 and id(weight) not in ends]
    return Muon(weights, hidden, params)


class SGD:
    """SGD with Nesterov momentum.

    PyTorch's SGD in its functional form: making an optimizer object imports torch._dynamo, which takes 1.7 s for every
    variant and is not used here.
    """

    def __init__(self, weights: Sequence[Tensor], params: TrainParams) -> None:
        self.weights, self.params = list(weights), params
        self.momenta: list[Tensor | None] = [None] * len(weights)

    @torch.no_grad()
    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Move the weights by their gradients, in the same order, at this learning rate."""
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


class Muon:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the hidden layers' weights, SGD for the rest.

    A weight is taken as a matrix with a filter to a row, and its momentum brought near the closest one with orthonormal
    rows (or columns, whichever are fewer): a step then changes all filters about equally, and not mostly along the few
    directions that dominate the gradient. PyTorch does so in bf16, whatever the network's precision.
    """

    # As in Jordan's airbench94_muon. The post has five; these were not compared here.
    NEWTON_SCHULZ_STEPS = 3

    def __init__(self, weights: Sequence[Tensor], hidden: list[int], params: TrainParams) -> None:
        """Args:
        weights: all of a network's. `hidden`: the places among them of those that Muon moves.
        """
        self.params, self.hidden = params, hidden
        self.others = [place for place in range(len(weights)) if place not in hidden]
        self.sgd = SGD([weights[place] for place in self.others], params)
        self.orders = [memory_order(weights[place]) for place in hidden]
        # Views: what is written to a row is written to its filter.
        self.rows = [
            nn.Parameter(weights[place].detach().permute(order).view(len(weights[place]), -1))
            for place, order in zip(hidden, self.orders)
        ]
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
        """Move the weights; Muon's own rate follows the same schedule as `rate`, SGD's."""
        self.sgd.step([gradients[place] for place in self.others], rate)
        for place, order, rows in zip(self.hidden, self.orders, self.rows):
            rows.grad = gradients[place].permute(order).reshape(rows.shape)
        if self.muon:
            self.muon.param_groups[0]["lr"] = rate / self.params.learning_rate * self.params.muon_learning_rate
            self.muon.step()


def memory_order(weight: Tensor) -> list[int]:
    """A weight's dimensions as they lie in memory, the slowest first: [0, 2, 3, 1] for a filter in channels_last.

    In this order a filter's taps are a row without being copied. Muon's step is the same whatever their order.
    """
    return sorted(range(weight.dim()), key=weight.stride, reverse=True)
