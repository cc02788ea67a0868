"""Answers of networks of which a test says only which images they get right."""

from __future__ import annotations

import numpy as np

from graybox.study.gap import Answers


def answers_of(
    test: np.ndarray, validation: np.ndarray | None = None, train: np.ndarray | None = None
) -> dict[str, Answers]:
    """By split; bool [seeds, N] or [N]. Without the others, as on test; the loss is 0.5 if right and 1.5 if wrong."""
    found = {"test": test, "validation": test if validation is None else validation,
             "train": test if train is None else train}  # fmt: skip
    return {split: Answers(np.atleast_2d(right), 1.5 - np.atleast_2d(right)) for split, right in found.items()}
