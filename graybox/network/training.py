"""Fit one network: SGD or Muon on a one-cycle schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from graybox import arguments
from graybox.data.images import ImageSet
from graybox.errors import UserError
from graybox.network import cores, inference, streams
from graybox.network.architectures import build
from graybox.network.augmentation import Batches
from graybox.network.average import Average
from graybox.network.checkpoint import Checkpoint, State, key_of, libraries, prefixed, under
from graybox.network.classifier import Classifier
from graybox.network.cnn import placed
from graybox.network.divergence import divergence
from graybox.network.optimizers import optimizer_of, trained_weights
from graybox.network.params import ModelParams, Recipe, TrainParams
from graybox.network.progress import Epoch, Progress
from graybox.network.sizes import check_fits
from graybox.network.strided import thinned
from graybox.network.weights import load as load_weights


@dataclass(frozen=True)
class Fit:
    """A trained network, its learning curve, and its training time on this machine.

    Attributes:
        model: in evaluation mode, on the device that it was trained on. Its `diverged` says why it is no result; it is
            empty if training went well.
        curve: one entry for each epoch. `seconds`: training time, validation included, whether interrupted or not.
        device: the device and precision in words, such as "NVIDIA H100, bf16".
        resumed: the steps that were taken from a checkpoint; 0 = all were trained now.
    """

    model: Classifier
    curve: list[Epoch]
    seconds: float
    device: str
    resumed: int = 0


class Diverged(UserError):
    """The training loss is no longer finite.

    Attributes:
        fit: the network as it is, with the curve up to the epoch in which it happened.
    """

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit


def fit(
    model_params: ModelParams,
    train_params: TrainParams,
    train: ImageSet,
    validation: ImageSet,
    on_epoch: Callable[[Epoch], object] = lambda epoch: None,
    name: str = "train",
    device: str | torch.device = "auto",
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train a network with SGD or Muon on a one-cycle schedule (Smith & Topin 2018, arXiv:1708.07120).

    The same seed, images and parameters give the same weights on the same machine and number of threads, also if
    training was interrupted and went on from a checkpoint (on a CPU to the last bit). Networks with the same seed and
    batch size see the same images in the same order, whatever else differs; see `graybox.network.streams`.

    Args:
        model_params: the layers, or another architecture. `train_params`: the training.
        train: the images to learn from; square.
        validation: other images of the same size and classes, only used to score the network after each epoch.
        on_epoch: called after each epoch, for logging; if training goes on from a checkpoint, first for each epoch
            that was finished before.
        name: the progress bar's label.
        device: "auto" (CUDA, else Apple's MPS, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        checkpoint: where the state of training is written from time to time. If one is there of the same code,
            settings, data, device and number of threads, training goes on from it; any other is ignored. It stays until
            you call its `remove`, once the network is saved.

    Raises:
        TypeError: an argument is of another class, or on_epoch is no function.
        ValueError: the images are not square, `validation` has another size or other classes, or the parameters do
            not go together.
        UserError: this machine lacks the device, a layer would leave nothing of the image, or the network can't be
            built (`graybox.network.architectures.build`).
        Diverged: a UserError; the training loss is no longer finite.
    """
    arguments.instance("model_params", model_params, ModelParams)
    arguments.instance("train_params", train_params, TrainParams)
    arguments.instance("train", train, ImageSet)
    arguments.instance("validation", validation, ImageSet)
    arguments.function("on_epoch", on_epoch)
    arguments.instance("name", name, str, "text")
    if checkpoint is not None:
        arguments.instance("checkpoint", checkpoint, Checkpoint)
    height, width = train.images.shape[1:3]
    if height != width:
        raise ValueError(f"train has images of {height} x {width} pixels; they should be square")
    if validation.images.shape[1:3] != (height, width):
        shown = " x ".join(map(str, validation.images.shape[1:3]))
        raise ValueError(f"validation has images of {shown} pixels; they should be {height} x {width}, as train's")
    if validation.class_names != train.class_names:
        raise ValueError("validation has other class_names than train; they should be the same, in the same order")
    Recipe(model=model_params, train=train_params)  # raises where the two don't go together
    place = inference.pick_device(device)
    precision = inference.pick_precision(train_params.precision, place)
    check_fits(model_params, train_params, train.size)  # raises before any work
    # Leave the caller's random state as it was.
    with torch.random.fork_rng([place] if place.type == "cuda" else []):
        torch.manual_seed(streams.torch_seed(train_params.seed, "weights"))
        return _fitted(model_params, train_params, train, validation, on_epoch, name, place, precision, checkpoint)


def _fitted(
    model_params: ModelParams,
    train_params: TrainParams,
    train: ImageSet,
    validation: ImageSet,
    on_epoch: Callable[[Epoch], object],
    name: str,
    place: torch.device,
    precision: torch.dtype,
    checkpoint: Checkpoint | None,
) -> Fit:
    cores.reuse_memory()
    model = build(model_params, train.size, train.class_names)
    if not model_params.weights:  # which expect pixels normalised as those that they have learned from
        set_pixel_statistics(model, train.images)
    model = placed(model, place)
    torch.manual_seed(streams.torch_seed(train_params.seed, "dropout"))
    loader = Batches(train, train_params, place)
    step = Step(model, train_params, loader.steps_per_epoch, precision)
    validation_images = torch.as_tensor(np.array(validation.images)).to(place)
    validation_labels = torch.as_tensor(validation.labels)
    progress = Progress(step, loader)
    key = ""
    if checkpoint:
        machine = f"{describe(place, precision)}, {libraries()}"
        key = key_of(model_params, train_params, train, validation, machine)
        if state := checkpoint.read(key):
            progress.restore(state)
            for epoch in progress.curve:
                on_epoch(epoch)
    curve, resumed = progress.curve, step.taken
    with tqdm(total=step.steps, initial=resumed, desc=name, unit="step", disable=None) as bar:
        for number in range(len(curve) + 1, train_params.total_epochs + 1):
            model.train()
            loader.resize(train_params.size_at((number - 1) / train_params.total_epochs, train.size))
            for images, labels in loader.epoch():
                progress.add(*step(images, labels))
                bar.update()
                if checkpoint and checkpoint.due:
                    checkpoint.write(key, progress.state())
            scores = inference.class_scores(step.result, validation_images, precision=precision)
            curve.append(progress.epoch(scores, validation_labels))
            on_epoch(curve[-1])
            if not np.isfinite(curve[-1].train_loss):
                break
            bar.set_postfix(loss=f"{curve[-1].train_loss:.3f}", val_acc=f"{curve[-1].validation_accuracy:.1%}")
    step.result.diverged = divergence(curve[-1], step.result)
    fitted = Fit(step.result.eval(), curve, progress.seconds, describe(place, precision), resumed)
    if not np.isfinite(curve[-1].train_loss):
        raise Diverged(f"{name}: training diverged in epoch {len(curve)}; allowed: {_calmer(train_params)}", fitted)
    return fitted


def _calmer(params: TrainParams) -> str:
    rates = ["learning_rate", *["muon_learning_rate"] * (params.optimizer == "muon")]
    now = [f"a smaller {rate} (now {getattr(params, rate)})" for rate in rates]
    return f"{' or '.join(now)}, or a smaller gradient_clip"


class Step:
    """One step of training: forward, loss, backward, clipped gradients, optimizer, schedule, average of the weights."""

    def __init__(self, model: Classifier, params: TrainParams, steps_per_epoch: int, precision: torch.dtype) -> None:
        self.model, self.params, self.precision = model, params, precision
        self.loss = nn.CrossEntropyLoss(label_smoothing=params.label_smoothing)
        self.steps, self.taken = params.total_epochs * steps_per_epoch, 0
        self.optimizer = optimizer_of(model, params)
        self.weights = trained_weights(model)
        self.safely = thinned(model, self.device)
        self.average: Average | None = None
        if params.weight_average:
            steps = params.weight_average * steps_per_epoch
            self.average = Average(model, steps / (1 + steps))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.weights[0].device

    def state(self) -> State:
        """The weights, their average, the optimizer's momenta and the number of steps."""
        found = {**prefixed("model.", self.model.state_dict()), **prefixed("optimizer.", self.optimizer.state())}
        if self.average:
            found |= prefixed("average.", self.average.state_dict())
        return {**found, "taken": self.taken}

    def restore(self, state: State) -> None:
        """Go on where `state` was taken."""
        load_weights(self.model, under("model.", state))
        self.optimizer.restore(under("optimizer.", state))
        if self.average:
            load_weights(self.average, under("average.", state))
        self.taken = state["taken"]

    @property
    def result(self) -> Classifier:
        """The network so far, with averaged weights (exponential; Polyak & Juditsky 1992) if `weight_average` is on."""
        return cast(Classifier, self.average.module) if self.average else self.model

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        if self.params.schedule == "constant":
            return self.params.learning_rate
        return one_cycle(self.taken, self.steps, self.params.learning_rate, self.params.warmup_fraction)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from float images [B, 3, H, W] in 0..1; return the batch's loss and accuracy (0..1).

        Both stay on the device: reading their values at every step would make a GPU wait.
        """
        with self.safely, inference.autocast(images.device, self.precision):
            scores = self.model(images)
        loss = self.loss(scores.float(), labels)
        gradients = list(torch.autograd.grad(loss, self.weights, materialize_grads=True))
        if self.params.gradient_clip:
            norm = nn.utils.get_total_norm(gradients)
            scale = (self.params.gradient_clip / (norm + 1e-6)).clamp(max=1)
            gradients = [gradient * scale for gradient in gradients]
        self.optimizer.step(gradients, self.rate)
        self.taken += 1
        if self.average:
            self.average.update_parameters(self.model)
        # With mixup, the class with the larger share counts as the label.
        classes = labels if labels.dim() == 1 else labels.argmax(1)
        return loss.detach(), (scores.detach().argmax(1) == classes).float().mean()


def one_cycle(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """The learning rate at step 0, 1, ... of the one-cycle schedule: a cosine up to the peak, then a cosine down.

    It starts at peak / 25 and ends at peak / 250,000, as PyTorch's OneCycleLR.
    """
    climb = warmup_fraction * (steps + 1) - 1
    if step < climb:
        low, share = peak / 25, 1 - step / climb
    else:
        low, share = peak / 250_000, (step - climb) / (steps - climb)
    return low + (peak - low) * (1 + math.cos(math.pi * share)) / 2


def set_pixel_statistics(model: Classifier, images: np.ndarray) -> None:
    """Set the network's `mean` and `std` to those of each channel of uint8 images [N, H, W, 3]; std at least 0.001."""
    mean, std = pixel_statistics(images)
    model.mean.copy_(torch.as_tensor(mean).view(3, 1, 1))
    model.std.copy_(torch.as_tensor(std).clamp_min(1e-3).view(3, 1, 1))


def pixel_statistics(images: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of uint8 images [N, H, W, 3], divided by 255: float64 [3] each.

    Of 4,000 images or more, 2,000 to 4,000 evenly spread ones are used: the third decimal does not matter.

    The pixels of each value are counted, so nothing is lost to rounding however many there are, and only a few images
    are in memory at a time.
    """
    images = images[:: max(1, len(images) // 2000)]
    at_once = max(1, 2**20 // images[0].size)
    counts = np.zeros((3, 256), np.int64)
    for first in range(0, len(images), at_once):
        part = images[first : first + at_once]
        for channel in range(3):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    return mean, np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))


def describe(device: torch.device, precision: torch.dtype) -> str:
    """The device and precision in words, such as "NVIDIA H100, bf16" or "CPU AVX512, 2 threads, fp32"."""
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif device.type == "mps":
        kind = "Apple MPS"
    else:
        threads = torch.get_num_threads()
        kind = f"CPU {torch.backends.cpu.get_cpu_capability()}, {threads} thread{'s' * (threads > 1)}"
    return f"{kind}, {'bf16' if precision == torch.bfloat16 else 'fp32'}"
