"""B1: what speaks for the configured N and what against it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from graybox.occlusion.confidence import OcclusionMap
from graybox.report import occlusion


def a_map(window: int, drop: np.ndarray, stride: int) -> OcclusionMap:
    """A map of a 12 x 12 image in which the network is sure of the true class."""
    centres = np.arange(0, 12, stride)
    return OcclusionMap(
        (1 - drop[::stride, ::stride]).astype(np.float32), np.zeros(drop[::stride, ::stride].shape, np.int64), centres,
        centres, np.array([1, 0], np.float32), 0, window,
    )  # fmt: skip


def study(drops: list[tuple[np.ndarray, np.ndarray]], window: int = 7, boxes: object = None) -> SimpleNamespace:
    """Experiments with a main map with stride 1, and one of N = 3 with stride 3."""
    made = [
        SimpleNamespace(
            maps={3: a_map(3, small, 3), window: a_map(window, large, 1)}, box=np.full(4, np.nan), look=None,
            evidence=SimpleNamespace(flat=False),
        )
        for large, small in drops
    ]  # fmt: skip
    for one, box in zip(made, boxes or []):
        one.box = np.array(box, float)
    return SimpleNamespace(experiments=made, occlusion=SimpleNamespace(window=window), data={"image_size": 12})


def noise(seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.3, (12, 12)) + shift


def test_more_window_centres_are_no_larger_drop():
    """The same drops for both N: over 9 times as many centres the largest is larger, at the same ones it is not."""
    fields = [noise(seed) for seed in range(10)]
    for field in fields:
        field[4, 4] = 0.9  # a centre that stride 3 leaves out
    results = study([(field, field) for field in fields])
    said = occlusion._why(results, None)
    assert "no difference is found, +0.0 points (95% CI 0.0 to 0.0)." in said and "90 points" not in said
    assert occlusion._of_size(results, 7, None)[-2:] == [*occlusion._of_size(results, 3, None)[-2:]]


@pytest.mark.parametrize(("shift", "said"), [(0.2, "+20.0 points (95% CI 1"), (-0.05, "-5.0 points (95% CI -")])
def test_the_largest_drop_speaks_for_a_larger_window_or_against_it(shift, said):
    pairs = [(noise(seed, shift + seed % 2 / 100 - 0.005), noise(seed)) for seed in range(10)]
    words = occlusion._why(study(pairs), None)
    assert "with N = 7 and" in words and f"with N = 3: {said}" in words and "no difference" not in words


def test_few_images_and_no_smaller_window_claim_nothing():
    pairs = [(noise(seed, 0.2), noise(seed)) for seed in range(10)]
    assert "largest drop" not in occlusion._why(study(pairs[:4]), None)
    results = study(pairs)
    results.occlusion.window = 3
    assert "largest drop" not in occlusion._why(results, None)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 10, 10), "49% of an object's box (the median of these images): a part of an object, not the whole."),
        ((0, 0, 9, 9), "60% of an object's box (the median of these images): most of an object at once."),
        ((2, 2, 6, 6), "100% of an object's box (the median of these images): most of an object at once."),
        # 49 pixels are more than half of the box's 72, but only 6 x 7 of these lie in it.
        ((0, 0, 12, 6), "58% of an object's box (the median of these images): most of an object at once."),
        ((0, 0, 12, 4), "58% of an object's box (the median of these images): most of an object at once."),
    ],
)  # fmt: skip
def test_a_window_hides_a_part_or_most_by_the_objects_area(box, said):
    results = study([(noise(0), noise(1))], boxes=[box])
    assert f"It can hide {said}" in occlusion._why(results, None)
    assert occlusion._of_size(results, 7, None)[2] == said.split(" ")[0]
