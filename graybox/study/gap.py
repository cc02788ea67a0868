"""The generalisation gap: how much better networks do on images that they were trained on than on others.

Both sides are clean images, the same views and the same loss. The figures of a learning curve are no such pair: its
training side is a mean over an epoch in which the network changes, of augmented images, with dropout, label smoothing
and mixup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graybox.statistics import intervals, paired, scores
from graybox.statistics.intervals import Estimate


@dataclass(frozen=True)
class Answers:
    """What the networks of one variant, one per seed, say of the same N images.

    Attributes:
        right: bool [seeds, N], whether they name the true class.
        losses: float [seeds, N], the cross-entropy in nats; NaN for an answer that is not finite.
    """

    right: np.ndarray
    losses: np.ndarray


def read(file: Path | str, labels: Mapping[str, np.ndarray]) -> dict[str, Answers]:
    """A variant's answers to the images of each split, from the file of stage evaluate.

    Args:
        labels: "test" and "validation" -> int [N], the true classes of that split. Those of "train", of which a sample
            is answered, are in the file.
    """
    with np.load(file) as saved:
        true = {**labels, "train": saved["train_labels"]}
        answers = {split: saved[split] for split in true}
    return {
        split: Answers(scores.right(answer, true[split]), scores.losses(answer, true[split]))
        for split, answer in answers.items()
    }


def of_accuracy(answers: Mapping[str, Answers], split: str = "validation") -> Estimate:
    """Training minus validation accuracy, -1..1, with Newcombe's interval; the mean over the seeds.

    The interval is about these networks on other images. With several seeds it is a bit too wide: it is one network's.

    Args:
        answers: by split. `split`: the other images, which must not have chosen the network.
    """
    shares = [
        intervals.share(right.sum() / len(right), right.shape[1])
        for right in (answers["train"].right, answers[split].right)
    ]
    return intervals.minus(*shares)


def of_loss(answers: Mapping[str, Answers], split: str = "validation") -> Estimate:
    """Training minus validation loss in nats, with a 95% interval over images; the mean over the seeds.

    It is mostly below 0; NaN for a network that diverged.
    """
    first, second = (intervals.mean(answers[each].losses.mean(axis=0)) for each in ("train", split))
    return intervals.minus(first, second)


def against(answers: Mapping[str, Answers], other: Mapping[str, Answers], split: str = "validation") -> Estimate:
    """How much larger the accuracy gap of one variant is than another's, -2..2, with a 95% interval.

    Both answered the same images, so each side is the paired interval of `paired.compare`, and the two are independent.
    """
    first, second = (paired.compare(answers[each].right, other[each].right) for each in ("train", split))
    return intervals.minus(*(Estimate(one.difference, one.low, one.high) for one in (first, second)))


def columns(answers: Mapping[str, Answers]) -> dict[str, float]:
    """Both gaps with their intervals, as columns of the study's table."""
    found = {"gap": of_accuracy(answers), "loss_gap": of_loss(answers)}
    return {
        f"{name}{end}": value
        for name, one in found.items()
        for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
