"""In words: how `combined` did against the baseline and the best single variant, and if it lost, possible reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from graybox.statistics import paired
from graybox.statistics.intervals import share
from graybox.study import comparison
from graybox.study.variants import COMBINED, Variants

# Training accuracy is measured on augmented images, with dropout, by the network being trained. If two variants differ
# in one of these parameters, their training accuracies can't be compared.
NOT_COMPARABLE = (
    "dropout",
    "flip", "shift", "zoom", "color_jitter", "cutout", "mixup", "start_size", "full_size_from", "weight_average",
)  # fmt: skip


def sentences(
    variants: Variants,
    frame: pd.DataFrame,
    correct: Mapping[str, np.ndarray],
    curves: pd.DataFrame,
    choice: Mapping[str, Any],
    split: str,
) -> list[str]:
    """The levels of `combined`, its result, and if it lost, the reasons that the figures support.

    The comparison with the best single variant follows the same rule as those with the baseline. It is a single test,
    so its p-value is not corrected.

    Args:
        variants: including `combined`.
        frame: the table. `correct`: bool [seeds, N] for each variant, as in `comparison.table`.
        curves: from `comparison.learning_curves`.
        choice: from `combine.Choice.record`. `split`: the split that selects the best variant.
    """
    single = comparison.best(frame[frame["variant"] != COMBINED], split)
    row = comparison.row_of(frame, COMBINED)
    found = [_made_of(choice)]
    if row["diverged"]:
        return [*found, f"combined diverged, so {single} is taken: {row['diverged']}."]
    same = next((name for name in variants if variants[name] == variants[COMBINED]), COMBINED)
    if same not in (COMBINED, choice["baseline"]):
        found.append(f"combined has the same settings as {same}, so it is the same network.")
    against = _against(correct[COMBINED], correct[single])
    found.append(f"combined against the baseline: {comparison.in_words(row)}.")
    said = comparison.in_words(against, note=", not corrected")
    if single != choice["baseline"]:
        found.append(f"combined against {single}, the best single variant on {split}: {said}.")
    if comparison.best(frame, split) == COMBINED:
        found.append(f"combined is the best of all on {split}.")
        if unsure := _unsure(choice):
            within = f"the noise of the {choice['validation_images']:,} validation images (its 95% interval includes 0)"
            found.append(f"The gain of {_listed(unsure)} is within {within}.")
        return found
    winner = comparison.row_of(frame, single)
    lost = winner[f"{split}_accuracy"] - row[f"{split}_accuracy"]
    if lost == 0:
        sooner = "earlier of the two" if winner[f"{split}_loss"] == row[f"{split}_loss"] else "one with the lower loss"
        return [*found, f"combined is no better than {single} on {split}, so the {sooner} is taken."]
    behind = f"combined is {100 * lost:.1f} points of {split} accuracy behind {single}"
    if same == single:
        return [*found, f"{behind}, so it lost."]
    noise = _noise(winner["validation_accuracy"], choice["validation_images"])
    if lost <= noise if split == "validation" else comparison.doubt(against):
        return [*found, f"{behind}, which may be luck, and {single} is taken."]
    reasons = _reasons(variants, frame, curves, choice, single, noise, split)
    why = "; ".join(reasons) if reasons else "nothing in the figures says why"
    return [*found, f"{behind}, so it lost. Why it may have: {why}."]


def _made_of(choice: Mapping[str, Any]) -> str:
    taken, left = [], []
    for level in choice["levels"]:
        parameter, variant = level["parameter"], level["variant"]
        if level["given_up"]:
            left.append(f"{variant}, the best level of {parameter}, was given up: {level['given_up']}")
        elif level["level"]:
            taken.append(f"{parameter} from {variant}")
    kept = [level["parameter"] for level in choice["levels"] if not level["level"] or level["given_up"]]
    images = f"{choice['validation_images']:,} validation images"
    if not taken:
        why = f"no level was better than the baseline's on the {images}" if kept else "there is no other level"
        text = f"combined is the baseline itself, trained again: {why}"
    else:
        text = f"combined takes {_listed(taken)}, each the best of its parameter on the {images}"
        text += f"; {_listed(kept)} stay{'s' * (len(kept) == 1)} as in the baseline" if kept else ""
    return ". ".join([text, *left]) + "."


def _against(correct: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    found = asdict(paired.compare(correct, other))
    return found | {"difference_low": found["low"], "difference_high": found["high"]}


def _taken(choice: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [level for level in choice["levels"] if level["level"] and not level["given_up"]]


def _unsure(choice: Mapping[str, Any]) -> list[str]:
    """The variants that may have been chosen by luck: the interval of their gain includes 0."""
    return [level["variant"] for level in _taken(choice) if level["gain_low"] <= 0]


def _reasons(
    variants: Variants,
    frame: pd.DataFrame,
    curves: pd.DataFrame,
    choice: Mapping[str, Any],
    single: str,
    noise: float,
    split: str,
) -> list[str]:
    """Why `combined` may have lost to `single`: only reasons that the figures support beyond validation noise."""
    reasons = []
    taken, unsure = _taken(choice), _unsure(choice)
    row = comparison.row_of(frame, COMBINED)
    accuracy, other = row["validation_accuracy"], comparison.row_of(frame, single)["validation_accuracy"]
    epochs = int(row["epochs"])
    if unsure:
        reasons.append(
            f"luck in the choice: {len(unsure)} of its {len(taken)} levels ({_listed(unsure)}) "
            f"{'was' if len(unsure) == 1 else 'were'} taken for a gain whose 95% interval on the "
            f"{choice['validation_images']:,} validation images includes 0"
        )
    gains = [level["gain"] for level in taken]
    together = accuracy - choice["baseline_accuracy"]
    if len(taken) > 1 and together < sum(level["gain_low"] for level in taken):
        alone = _listed([f"{100 * gain:+.1f}" for gain in gains])
        reasons.append(
            f"interactions: tried one at a time, the parameters gained {alone} points on validation; "
            f"together they gained {100 * together:+.1f}, less than the sum of the lower ends of their intervals"
        )
    if split == "test" and accuracy > other + noise:
        reasons.append(
            f"the splits disagree: on validation, which chose its levels, combined has "
            f"{accuracy:.1%} and {single} {other:.1%}"
        )
    others = len(frame) - 1
    if split == "test" and others > 1:
        reasons.append(f"{single} is the best of {others} on these same test images, which favours it")
    mine, theirs = (
        {key: value for section in variants[name].model_dump().values() for key, value in section.items()}
        for name in (COMBINED, single)
    )
    if any(mine[key] != theirs[key] for key in NOT_COMPARABLE):
        return reasons
    ahead, last = comparison.overfitting(curves), curves.groupby("variant").last()["train_accuracy"]
    if ahead[COMBINED] - ahead[single] > noise:
        reasons.append(
            f"overfitting: in the last epoch its training accuracy is {100 * ahead[COMBINED]:.1f} points above its "
            f"validation accuracy; for {single} it is {100 * ahead[single]:.1f}"
        )
    if last[single] - last[COMBINED] > noise:
        reasons.append(
            f"training too short for its size: in the last of {epochs} epoch{'s' * (epochs > 1)} it gets "
            f"{last[COMBINED]:.1%} of the augmented training images right, {single} {last[single]:.1%}"
        )
    return reasons


def _noise(accuracy: float, images: int) -> float:
    """Half the width of the accuracy's 95% interval on this many images: a smaller difference is no reason."""
    interval = share(round(accuracy * images), images)
    return (interval.high - interval.low) / 2


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
