"""What the report says of `combined`: won, lost and why it may have, or nothing new; never more than the figures."""

import numpy as np
import pytest

from graybox.study import combine, comparison, outcome, variants
from tests.support.answers import answers_of

IMAGES = 1000


@pytest.fixture
def said(params):
    """The sentences for a study in which each variant is right on so many of 1,000 images of each split."""

    def say(
        test: dict[str, float],
        validation: dict[str, float],
        seeds: int = 1,
        losses: dict[str, float] | None = None,
        **train: float,
    ) -> str:
        def right(accuracy: float) -> np.ndarray:
            return np.tile(np.arange(IMAGES) < IMAGES * accuracy, (seeds, 1))

        recipes = variants.resolve(params.model, params.train, params.variants)
        scored = {name: combine.Scored(right(validation.get(name, 0.5)), 1.0) for name in recipes}
        choice = combine.choose(recipes, scored, 48).record()
        study = recipes.extended("combined", variants.changed(recipes["baseline"], choice["overrides"], "combined"))
        accuracy = {name: test.get(name, 0.5) for name in study}
        metrics = {
            name: {**dict.fromkeys(["test_top5", "validation_loss", "train_loss", "parameters", "macs"], 1),
                   "test_loss": (losses or {}).get(name, 1.0),
                   "test_accuracy": accuracy[name], "validation_accuracy": validation.get(name, 0.5), "seeds": seeds}
            for name in study
        }  # fmt: skip
        correct = {name: right(found) for name, found in accuracy.items()}
        answers = {
            name: answers_of(
                correct[name], right(validation.get(name, 0.5)), right(train.get(name.replace("-", "_"), 0.6))
            )
            for name in study
        }
        table = comparison.table(study, metrics, {name: {"seconds": 1} for name in accuracy}, answers)
        return " ".join(outcome.sentences(study, table, answers, choice, params.select.split))

    return say


LEVELS = {"fc-1": 0.6, "pool-3": 0.7, "combined": 0.65}


def test_a_combination_that_wins_says_so_and_gives_no_excuse(said):
    text = said({"combined": 0.9, "pool-3": 0.7}, LEVELS)
    assert text.startswith("combined takes fc layers from fc-1 and max pooling from pool-3, the best levels of their ")
    assert "1,000 validation images; conv layers, filters, epochs and stride stay as in the baseline." in text
    assert "combined against the baseline: +40.0 points (95% CI 36.9 to 43.0; p < 0.001)." in text
    assert "combined against pool-3, the best single variant on test: +20.0 points" in text
    assert text.endswith(", corrected for the choice among 15).") and "lost" not in text
    assert "best of all" not in text  # the sentence of the best variant, which follows, says it


def test_a_combination_that_loses_says_by_how_much_and_why_it_may_have(said):
    text = said({"combined": 0.65, "pool-3": 0.7}, LEVELS, combined=0.8, pool_3=0.75)
    assert "combined is 5.0 points of test accuracy behind pool-3, so it lost. Why it may have:" in text
    gained = "the parameters gained +10.0 and +20.0 points on validation; together they gained +15.0, less than the sum"
    assert gained in text
    assert "pool-3 is the best of 15 on these same test images, which favours it" in text
    higher = (
        "overfitting: its accuracy is +15.0 (11.1 to 18.8) points higher on training images than on validation images"
    )
    assert f"{higher}, that of pool-3 +5.0 (1.1 to 8.9): +10.0 (" in text
    assert "luck" not in text and "underfitting" not in text and "disagree" not in text


def test_levels_taken_for_gains_within_the_noise_are_counted(said):
    text = said({"pool-3": 0.7}, {"filters-32": 0.501, "fc-1": 0.502, "pool-3": 0.7})
    assert "2 of its 3 levels (fc-1 and filters-32) were taken for a gain whose 95% interval" in text


def test_too_little_training_and_splits_that_disagree_are_named(said):
    text = said({"combined": 0.6, "pool-3": 0.7}, LEVELS | {"combined": 0.8}, combined=0.5, pool_3=0.8)
    fitted = (
        "underfitting: after 8 epochs it gets 50.0% of the training images right (without augmentation), pool-3 80.0%"
    )
    assert f"{fitted}: -30.0 (" in text
    assert "the splits disagree: on validation, which chose its levels, combined has 80.0% and pool-3 70.0%" in text
    assert "overfitting" not in text and "interactions" not in text  # 80% is just what the gains add up to


def test_what_noise_may_do_is_no_reason(said):
    """Of 1,000 validation images 3 points are within the noise, and gains may add up to less by luck."""
    validation = {"fc-1": 0.55, "pool-3": 0.7, "combined": 0.74}
    text = said({"combined": 0.65, "pool-3": 0.7}, validation, combined=0.77, pool_3=0.72)
    assert "it lost" in text and "interactions" not in text and "fitting" not in text


def test_a_gap_like_that_of_the_other_is_no_overfitting(said):
    text = said({"combined": 0.65, "pool-3": 0.7}, LEVELS, combined=0.95, pool_3=0.99)
    assert "it lost" in text and "overfitting" not in text


def test_the_images_that_chose_the_best_variant_do_not_measure_its_gap(said, params):
    """On validation pool-3 is ahead because it was chosen there; on test, which chose nothing, the gaps are equal."""
    params.__dict__["select"] = params.select.model_copy(update={"split": "validation"})
    text = said({"combined": 0.65, "pool-3": 0.65}, LEVELS | {"combined": 0.6}, combined=0.9, pool_3=0.9)
    assert "it lost" in text and "overfitting" not in text
    text = said({"combined": 0.6, "pool-3": 0.65}, LEVELS | {"combined": 0.6}, combined=0.9, pool_3=0.9)
    assert "+30.0 (26.4 to 33.5) points higher on training images than on test images, that of pool-3 +25.0" in text


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_loss_that_may_be_luck_is_given_no_cause(said, params, split):
    params.__dict__["select"] = params.select.model_copy(update={"split": split})
    scores = {"fc-1": 0.6, "pool-3": 0.7, "combined": 0.698}
    text = said(scores, scores, combined=0.9)
    assert text.endswith(
        f"combined is 0.2 points of {split} accuracy behind pool-3, which may be luck, and pool-3 is taken."
    )
    assert "it lost" not in text


def test_splits_that_differ_within_the_noise_do_not_disagree(said):
    text = said({"combined": 0.6, "pool-3": 0.7}, LEVELS | {"combined": 0.704})
    assert "it lost" in text and "disagree" not in text


def test_a_small_difference_is_not_claimed(said):
    text = said({"combined": 0.701, "pool-3": 0.7}, LEVELS)
    assert "variant on test: no difference found, +0.1 points (95% CI -0.2 to 0.4; p = 1.000, corrected for" in text


def test_no_better_level_makes_the_baseline_again(said):
    text = said({"pool-3": 0.7}, {})
    assert text.startswith("combined is the baseline itself, trained again: no level was better than the baseline's")
    assert "combined against the baseline: no difference found, +0.0 points" in text


def test_one_better_level_makes_that_variant_again(said):
    text = said({"pool-3": 0.7, "combined": 0.7}, {"pool-3": 0.7, "combined": 0.7})
    assert "combined has the same settings as pool-3, so it is the same network." in text
    assert text.endswith("so it is the same network.") and "no difference found" not in text


def test_a_tie_says_by_what_it_was_broken(said):
    tied, levels = {"pool-3": 0.7, "combined": 0.7}, {"pool-3": 0.7, "fc-1": 0.6, "combined": 0.7}
    text = said(tied, levels, losses={"pool-3": 0.8, "combined": 0.9})
    assert "combined is no better than pool-3 on test, so the one with the lower loss is taken." in text
    assert "so the earlier of the two is taken." in said(tied, levels)
    won = said(tied, levels, losses={"pool-3": 0.9, "combined": 0.8})
    assert "is taken" not in won and "no better than pool-3" not in won


def test_a_winner_says_too_which_of_its_levels_may_be_luck(said):
    text = said({"combined": 0.9}, {"fc-1": 0.501, "pool-3": 0.7})
    within = "the noise of the 1,000 validation images (its 95% interval includes 0)"
    assert text.endswith(f"The gain of fc-1 is within {within}.")


def test_what_was_given_up_is_said(said):
    text = said({}, {"pool-none": 0.6, "stride-3": 0.7})
    assert "pool-none, the best level of max pooling, was given up: stride-3 sets model.stride to 3." in text


def test_several_seeds_are_compared_with_their_spread(said):
    text = said({"combined": 0.9, "pool-3": 0.7}, LEVELS, seeds=2)
    assert (
        "+20.0 points (95% CI 17.5 to 22.5; p < 0.001, corrected for the choice among 15)" in text
    )  # the seeds agree: the images' alone


def test_the_rival_was_chosen_on_these_images_and_that_is_counted(said):
    """7 of 1,000 images apart, all to one side: p is 0.016 for two networks, and 15 were looked at."""
    text = said({"combined": 0.7, "pool-3": 0.707}, LEVELS)
    assert "p = 0.234, corrected for the choice among 15)" in text and "so it lost" not in text
