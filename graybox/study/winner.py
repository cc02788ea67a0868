"""The best variant: what the choice is worth, and how much it flatters the chosen one's score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from graybox.statistics import paired
from graybox.study import comparison


def cross_fitted(correct: Mapping[str, np.ndarray], halvings: int = 200, seed: int = 0) -> float:
    """The accuracy of the best variant on images that did not choose it, 0..1.

    The images are halved at random; one half chooses the most accurate variant (a tie goes to the earlier one), and the
    other half scores it. Returned is the mean over all halvings, each half in both roles. With half of the images the
    choice is a little worse than with all, so the figure is on average rather too low than too high.

    Args:
        correct: for each variant bool [seeds, N] (or [N]), which of the same N images its networks get right; N of at
            least 2.
    """
    by_image = np.stack([np.atleast_2d(found).mean(axis=0) for found in correct.values()])
    random, images = np.random.default_rng(seed), by_image.shape[1]
    scores = []
    for _ in range(halvings):
        order = random.permutation(images)
        halves = [by_image[:, order[: images // 2]].mean(axis=1), by_image[:, order[images // 2 :]].mean(axis=1)]
        scores += [theirs[mine.argmax()] for mine, theirs in (halves, halves[::-1])]
    return float(np.mean(scores))


def is_measured(frame: pd.DataFrame) -> bool:
    """Whether `sentence` says how much a choice on test flatters: not for a single candidate or on too few images."""
    images = comparison.row_of(frame, comparison.best(frame, "test"))["images"]
    return bool(comparison.can_win(frame).sum() > 1 and images >= paired.FEWEST)


def sentence(frame: pd.DataFrame, correct: Mapping[str, np.ndarray], split: str) -> str:
    """Who is best on test and on validation, and how much a choice on test flatters.

    Args:
        frame: from `comparison.table`. `correct`: as given to it. `split`: the split that selects the best variant.
    """
    names = {each: comparison.best(frame, each) for each in ("test", "validation")}
    row = {each: comparison.row_of(frame, name) for each, name in names.items()}
    if split == "validation":
        return (
            f"{names[split]} is best on validation; its test accuracy of {row[split]['test_accuracy']:.1%} played no "
            "part in the choice."
        )
    same = names["test"] == names["validation"]
    other = "also on validation" if same else (
        f"on validation it is {names['validation']}, with {row['validation']['test_accuracy']:.1%} of test"
    )  # fmt: skip
    best = f"{names['test']} is best on test with {row['test']['test_accuracy']:.1%}, {other}."
    if not is_measured(frame):
        return best
    sound = frame.loc[comparison.can_win(frame), "variant"]
    fitted = cross_fitted({name: correct[name] for name in sound})
    flattered = f"{100 * (row['test']['test_accuracy'] - fitted):.1f}"
    amount = f"about {flattered}" if float(flattered) > 0 else "less than 0.1"
    return (
        f"{best} The choice flatters its score by {amount} points on average: chosen on half of "
        f"the test images, the best variant gets {fitted:.1%} of the other half right (mean over 200 random halvings)."
    )
