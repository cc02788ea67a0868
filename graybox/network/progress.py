"""How far a training is, and how it goes: the figures of each epoch, and the state from which training can go on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from graybox.network.checkpoint import State, prefixed, under

if TYPE_CHECKING:
    from graybox.network.augmentation import Batches
    from graybox.network.training import Step


@dataclass(frozen=True)
class Epoch:
    """Figures after one epoch: loss and accuracy (0..1) on both splits, and the learning rate.

    Those of training are means over the epoch's steps of what is minimised: augmented images, with dropout, label
    smoothing and mixup, by a network that changes. Those of validation are of the network after the epoch, on images as
    they are, and its loss is the plain cross-entropy. So their difference is not the generalisation gap.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float

    def figures(self) -> dict[str, float]:
        """All figures except the epoch's number, by name."""
        return {name: value for name, value in asdict(self).items() if name != "epoch"}


class Progress:
    """How far a training is: with its state it can go on as if it had never stopped.

    Attributes:
        curve: the epochs so far.
    """

    def __init__(self, step: Step, loader: Batches) -> None:
        self.step, self.loader = step, loader
        self.curve: list[Epoch] = []
        self._losses: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Training time so far, without the time between a stop and its continuation."""
        return time.perf_counter() - self._started

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """One more step: its loss and accuracy. They stay on the device."""
        self._losses.append(loss)
        self._correct.append(correct)

    def epoch(self, scores: Tensor, labels: Tensor) -> Epoch:
        """The figures of the epoch that ends here. `scores` [N, classes] of the validation images, `labels` [N]."""
        found = Epoch(
            epoch=len(self.curve) + 1,
            train_loss=torch.stack(self._losses).mean().item(),
            train_accuracy=torch.stack(self._correct).mean().item(),
            validation_loss=nn.functional.cross_entropy(scores, labels).item(),
            validation_accuracy=(scores.argmax(1) == labels).float().mean().item(),
            learning_rate=self.step.rate,
        )
        self._losses, self._correct = [], []
        return found

    def state(self) -> State:
        """Everything that the rest of training depends on, and what its result will tell of the part so far."""
        return {
            **prefixed("step.", self.step.state()),
            **prefixed("batches.", self.loader.state()),
            **prefixed("random.", _random_state(self.step.device)),
            "losses": torch.stack(self._losses),
            "correct": torch.stack(self._correct),
            "curve": [asdict(epoch) for epoch in self.curve],
            "seconds": self.seconds,
        }

    def restore(self, state: State) -> None:
        """Go on where `state` was taken."""
        self.step.restore(under("step.", state))
        self.loader.restore(under("batches.", state))
        _restore_random(self.step.device, under("random.", state))
        self._losses = list(state["losses"].to(self.step.device).unbind())
        self._correct = list(state["correct"].to(self.step.device).unbind())
        self.curve = [Epoch(**epoch) for epoch in state["curve"]]
        self._started = time.perf_counter() - state["seconds"]


def _random_state(device: torch.device) -> State:
    """PyTorch's own random numbers, which dropout draws."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["device"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["device"] = torch.mps.get_rng_state()
    return found


def _restore_random(device: torch.device, state: State) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["device"], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state["device"])
