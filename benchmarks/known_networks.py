"""Networks with a known truth: worlds that teach what to follow, and redrawn pictures that measure what is followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from graybox import settings
from graybox.data.images import ImageSet
from graybox.data.scenes import NEUTRAL, OBJECTS, World, draw
from graybox.network import inference, training
from graybox.network.cnn import CNN
from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, LEAST_SKILL, MIXED, OBJECT, kept, skill

ROOT = Path(__file__).parent.parent
CLASSES = 10
CHANCE = 1 / CLASSES
"""The accuracy of the best constant answer, as in the verdict: each class has the same number of pictures here."""
WORLDS = {
    OBJECT: {"object_signal": 1.0, "context_bias": 0.0},
    CONTEXT: {"object_signal": 0.0, "context_bias": 1.0},
    BOTH: {"object_signal": 1.0, "context_bias": 1.0},
    MIXED: {"object_signal": 1.0, "context_bias": 0.8},
    CANNOT_TELL: {"object_signal": 1.0, "context_bias": 0.0},
}
"""The worlds that should make each kind of network; the network of the last one stays untrained."""
CUE_DROPOUT = 0.35
"""In the world that teaches both: the share of training pictures with a neutral background, and the same share with a
neutral object. Without them the network learns only the background, which is easier."""

# The truth's rule, on shares of the accuracy above chance.
UNUSED, USED, ENOUGH = 0.15, 0.50, 0.70


@dataclass(frozen=True)
class Size:
    """The size of a run: pictures per class, number of maps, epochs, filters, and the pictures themselves.

    The filters don't follow params.yaml: the kinds of network must stay what they were when the rules were made. With
    16 filters the networks of the world that teaches both come out between "both" and "mixed".
    """

    train: int = 187
    validation: int = 33
    test: int = 100
    truth: int = 30
    maps: int = 40
    epochs: int = 8
    filters: int = 32
    image_size: int = 48
    object_size: tuple[float, float] = (0.5, 0.75)


QUICK = Size(train=8, validation=2, test=6, truth=3, maps=2, epochs=1)


@dataclass(frozen=True)
class Truth:
    """What a network follows, measured on redrawn pictures: the share of its accuracy above chance that remains.

    Attributes:
        accuracy: on the unchanged pictures.
        object_decides: the share with another class's background. `context_decides`: with another class's object.
        object_suffices: the share with a neutral background. `context_suffices`: with a neutral object.
    """

    accuracy: float
    object_decides: float
    context_decides: float
    object_suffices: float
    context_suffices: float

    @property
    def verdict(self) -> str:
        """Object (or context): it decides, and the other neither decides nor suffices. Both: each alone suffices,
        whichever decides when they disagree. Mixed: anything else."""
        if skill(self.accuracy, CHANCE) < LEAST_SKILL:
            return CANNOT_TELL
        if max(self.context_decides, self.context_suffices) < UNUSED and self.object_decides >= USED:
            return OBJECT
        if max(self.object_decides, self.object_suffices) < UNUSED and self.context_decides >= USED:
            return CONTEXT
        return BOTH if min(self.object_suffices, self.context_suffices) >= ENOUGH else MIXED


def world_of(kind: str, seed: int, size: Size = Size()) -> World:
    """The world that should make such a network.

    Raises:
        ValueError: `kind` is neither in WORLDS nor "bias" and a number.
    """
    looks = {"seed": seed, "image_size": size.image_size, "object_size": size.object_size}
    if kind in WORLDS:
        return World(**looks, **WORLDS[kind])
    name, _, bias = kind.partition(" ")
    try:
        return World(**looks, object_signal=1.0, context_bias=float(bias if name == "bias" else "none"))
    except ValueError:
        raise ValueError(f"world {kind!r}; allowed: {', '.join(WORLDS)}, or 'bias' and a number from 0 to 1") from None


def pictures(world: World, split: str, per_class: int, start: int = 0, **changed) -> ImageSet:
    """The world's pictures, the classes taking turns; `changed`: a function of the index that gives draw's options."""
    indices = range(start * CLASSES, (start + per_class) * CLASSES)
    scenes = [
        draw(world, split, i, i % CLASSES, **{key: choose(i) for key, choose in changed.items()}) for i in indices
    ]
    return ImageSet(
        images=np.stack([scene.image for scene in scenes]),
        labels=np.array(indices, np.int64) % CLASSES,
        class_names=OBJECTS[:CLASSES],
        files=tuple(f"{split}/{index:05d}.png" for index in indices),
        boxes=np.array([scene.box for scene in scenes], np.float32),
    )


def network(kind: str, seed: int, size: Size) -> CNN:
    """A network of one kind; its world, first weights and order of images all come from `seed`."""
    params = settings.load(ROOT / "params.yaml")
    world, settled = world_of(kind, seed, size), params.model.model_copy(update={"filters": size.filters})
    schedule = params.train.model_copy(update={"seed": seed, "epochs": size.epochs})
    dropped = {}
    if kind == BOTH:
        chance = np.random.default_rng(seed).random((size.train + size.validation) * CLASSES)
        dropped = {
            "background": lambda i: NEUTRAL if chance[i] < CUE_DROPOUT else None,
            "object": lambda i: NEUTRAL if CUE_DROPOUT <= chance[i] < 2 * CUE_DROPOUT else None,
        }
    train = pictures(world, "train", size.train, **dropped)
    if kind == CANNOT_TELL:
        torch.manual_seed(seed)
        model = CNN(settled, train.size, train.class_names)
        training.set_pixel_statistics(model, train.images)
        return model.to(memory_format=torch.channels_last).eval()
    validation = pictures(world, "train", size.validation, start=size.train, **dropped)
    return training.fit(settled, schedule, train, validation, name=f"{kind} {seed}", device="cpu").model


def truth(model: CNN, kind: str, seed: int, size: Size) -> Truth:
    """Redraw test pictures of the network's world and measure which answers stay the same."""
    world = world_of(kind, seed, size)

    def another(i: int) -> int:
        return (i + 1 + i // CLASSES % (CLASSES - 1)) % CLASSES

    def neutral(i: int) -> int:
        return NEUTRAL

    def accuracy(**changed) -> float:
        found = pictures(world, "test", size.truth, **changed)
        return float((inference.class_scores(model, found.images).argmax(1).numpy() == found.labels).mean())

    as_is = accuracy()
    return Truth(
        as_is,
        *(kept(accuracy(**changed), as_is, CHANCE) for changed in (
            {"background": another}, {"object": another}, {"background": neutral}, {"object": neutral},
        )),
    )  # fmt: skip
