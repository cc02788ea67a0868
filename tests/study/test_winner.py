"""What is said of the best variant: who it is, and how much the choice flatters it."""

import numpy as np
import pandas as pd
import pytest

from graybox.study import winner


def frame_of(test: dict[str, float], validation: dict[str, float], images: int = 1000) -> pd.DataFrame:
    names = list(test)
    return pd.DataFrame({
        "variant": names, "test_accuracy": [test[name] for name in names], "test_loss": 1.0, "diverged": "",
        "images": images,
        "validation_accuracy": [validation[name] for name in names], "validation_loss": 1.0,
    })  # fmt: skip


def test_equal_variants_are_flattered_and_the_other_half_is_not():
    """20 variants of 70%: the best of them looks better; on other images it is one of 70% again."""
    random = np.random.default_rng(0)
    gained, fitted = [], []
    for _ in range(30):
        correct = {str(variant): random.random(300) < 0.7 for variant in range(20)}
        gained.append(max(found.mean() for found in correct.values()) - 0.7)
        fitted.append(winner.cross_fitted(correct, 20) - 0.7)
    assert np.mean(gained) > 0.03  # what the choice makes of luck
    # Of one study 300 images' own luck is left; of the mean over 30 studies at most 3 standard errors.
    assert abs(np.mean(fitted)) < 3 * np.std(fitted, ddof=1) / np.sqrt(30)


def test_a_winner_far_ahead_is_not_flattered():
    correct = {"a": np.arange(200) % 10 > 0, "b": np.arange(200) % 2 > 0}
    assert winner.cross_fitted(correct, 20) == pytest.approx(0.9)
    said = winner.sentence(frame_of({"a": 0.9, "b": 0.5}, {"a": 0.9, "b": 0.5}), correct, "test")
    assert said.startswith("a is best on test with 90.0%, also on validation.")
    assert "The choice flatters its score by less than 0.1 points on average" in said


def test_seeds_count_with_their_mean():
    correct = {"a": np.array([[True, False] * 50, [False, True] * 50]), "b": np.array([False] * 100)}
    assert winner.cross_fitted(correct, 10) == pytest.approx(0.5)


def test_the_validation_winner_stands_beside_the_test_winner():
    correct = {"a": np.arange(1000) < 700, "b": np.arange(1000) < 690}
    table = frame_of({"a": 0.7, "b": 0.69}, {"a": 0.6, "b": 0.65})
    said = winner.sentence(table, correct, "test")
    assert said.startswith("a is best on test with 70.0%, on validation it is b, with 69.0% of test.")
    said = winner.sentence(table, correct, "validation")
    assert said == "b is best on validation; its test accuracy of 69.0% played no part in the choice."


def test_one_variant_or_one_image_leaves_no_choice():
    for correct, images in (({"a": np.ones(10, bool)}, 10), ({"a": np.ones(1, bool), "b": np.ones(1, bool)}, 1)):
        table = frame_of(dict.fromkeys(correct, 1.0), dict.fromkeys(correct, 1.0), images)
        assert "flattered" not in winner.sentence(table, correct, "test")
