"""In words: how `combined` did against the baseline and the best single variant, and if it lost, possible reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from graybox.statistics import paired
from graybox.statistics.intervals import Estimate
from graybox.study import comparison, gap
from graybox.study.gap import Answers
from graybox.study.variants import COMBINED, Variants


def sentences(
    variants: Variants,
    frame: pd.DataFrame,
    answers: Mapping[str, Mapping[str, Answers]],
    choice: Mapping[str, Any],
    split: str,
) -> list[str]:
    """The levels of `combined`, its result, and if it lost, the reasons that the figures support.

    The comparison with the best single variant follows the same rule as those with the baseline. On the split that
    chose that variant, its p-value is multiplied by the number of variants that it was chosen from (Bonferroni).

    Args:
        variants: including `combined`.
        frame: the table. `answers`: as in `comparison.table`.
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
        if same == single:
            return found
    rivals = int((comparison.can_win(frame) & (frame["variant"] != COMBINED)).sum())
    deciding = _against(answers[COMBINED][split], answers[single][split], looks=rivals)
    test = deciding if split == "test" else _against(answers[COMBINED]["test"], answers[single]["test"])
    found.append(f"combined against the baseline: {comparison.in_words(row)}.")
    chosen = f", corrected for the choice among {rivals}" if split == "test" else ", not corrected"
    said = comparison.in_words(test, note=chosen)
    if single != choice["baseline"]:
        found.append(f"combined against {single}, the best single variant on {split}: {said}.")
    if comparison.best(frame, split) == COMBINED:
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
    if comparison.doubt(deciding):
        return [*found, f"{behind}, which may be luck, and {single} is taken."]
    reasons = _reasons(frame, answers, choice, single, split)
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
        best = "the best levels of their parameters" if len(taken) > 1 else "the best level of its parameter"
        text = f"combined takes {_listed(taken)}, {best} on the {images}"
        text += f"; {_listed(kept)} stay{'s' * (len(kept) == 1)} as in the baseline" if kept else ""
    return ". ".join([text, *left]) + "."


def _against(answers: Answers, other: Answers, looks: int = 1) -> dict[str, Any]:
    found = asdict(paired.compare(answers.right, other.right))
    found["p_value"] = min(1.0, looks * found["p_value"])
    return found | {"difference_low": found["low"], "difference_high": found["high"]}


def _taken(choice: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [level for level in choice["levels"] if level["level"] and not level["given_up"]]


def _unsure(choice: Mapping[str, Any]) -> list[str]:
    """The variants that may have been chosen by luck: the interval of their gain includes 0."""
    return [level["variant"] for level in _taken(choice) if level["gain_low"] <= 0]


def _reasons(
    frame: pd.DataFrame,
    answers: Mapping[str, Mapping[str, Answers]],
    choice: Mapping[str, Any],
    single: str,
    split: str,
) -> list[str]:
    """Why `combined` may have lost to `single`: only reasons of which the intervals leave no doubt."""
    reasons = []
    taken, unsure = _taken(choice), _unsure(choice)
    row = comparison.row_of(frame, COMBINED)
    accuracy, other = row["validation_accuracy"], comparison.row_of(frame, single)["validation_accuracy"]
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
    validation = _against(answers[COMBINED]["validation"], answers[single]["validation"])
    if split == "test" and accuracy > other and not comparison.doubt(validation):
        reasons.append(
            f"the splits disagree: on validation, which chose its levels, combined has "
            f"{accuracy:.1%} and {single} {other:.1%}"
        )
    others = int(comparison.can_win(frame).sum()) - 1
    if split == "test" and others > 1:
        reasons.append(f"{single} is the best of {others} on these same test images, which favours it")
    return reasons + of_training(answers, single, split, int(row["epochs"]))


def of_training(answers: Mapping[str, Mapping[str, Answers]], single: str, split: str, epochs: int) -> list[str]:
    """Whether `combined` overfits more than `single`, or learns the training images less well.

    Each is claimed if a 95% interval lies on that side of 0: without a true difference 2.5% for each, 5% together.
    """
    mine, theirs = answers[COMBINED], answers[single]
    # The images that chose `single` flatter it.
    others = "validation" if split == "test" else "test"
    if min(found[each].right.shape[1] for found in (mine, theirs) for each in ("train", others)) < paired.FEWEST:
        return []
    reasons = []
    ahead, other = (gap.of_accuracy(each, others) for each in (mine, theirs))
    more = gap.against(mine, theirs, others)
    if ahead.low > 0 and more.low > 0:
        reasons.append(
            f"overfitting: its accuracy is {_in_points(ahead)} points higher on training images than on {others} "
            f"images, that of {single} {_in_points(other)}: {_in_points(more)} points more"
        )
    fitted = paired.compare(mine["train"].right, theirs["train"].right)
    if fitted.high < 0:
        reasons.append(
            f"underfitting: after {epochs} epoch{'s' * (epochs > 1)} it gets {mine['train'].right.mean():.1%} of the "
            f"training images right (without augmentation), {single} {theirs['train'].right.mean():.1%}: "
            f"{comparison.points(fitted.difference, fitted.low, fitted.high)} points; more epochs may help"
        )
    return reasons


def _in_points(found: Estimate) -> str:
    return comparison.points(found.value, found.low, found.high)


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
