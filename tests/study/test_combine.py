"""The combination of the best levels: who is chosen, what is given up, and what validation alone may decide."""

import numpy as np
import pytest

from graybox import settings
from graybox.errors import UserError
from graybox.study import combine, variants


def choose(recipes, accuracies, losses=None, size: int = 48) -> combine.Choice:
    return combine.choose(recipes, scored(recipes, accuracies, losses), size)


def scored(recipes, accuracies: dict[str, float], losses: dict[str, float] | None = None) -> dict[str, combine.Scored]:
    """Every variant right on the first so many of 200 validation images: half of them where nothing is said."""
    return {
        name: combine.Scored(np.arange(200)[None] < 200 * accuracies.get(name, 0.5), (losses or {}).get(name, 1.0))
        for name in recipes
    }


@pytest.fixture
def study(raw_params, write_params):
    """The repository's parameters with other variants, or with other values of `model`."""

    def make(others: dict | None = None, **model) -> variants.Variants:
        raw_params["model"] |= model
        raw_params["variants"] = raw_params["variants"] if others is None else others
        return settings.load(write_params(raw_params)).recipes

    return make


def test_each_parameter_gets_its_best_level(study):
    recipes = study()
    accuracies = {"conv-2": 0.55, "conv-3": 0.6, "pool-3": 0.7, "epochs-double": 0.8, "fc-1": 0.49}
    choice = choose(recipes, accuracies)
    assert choice.overrides == {
        "model": {"max_pool": 3, "pool_stride": 2, "conv_layers": 3},
        "train": {"epochs_factor": 2},
    }
    assert {level.parameter: level.variant for level in choice.levels} == {
        "conv layers": "conv-3", "fc layers": "baseline", "filters": "baseline", "max pooling": "pool-3",
        "epochs": "epochs-double", "stride": "baseline",
    }  # fmt: skip
    best = next(level for level in choice.levels if level.parameter == "max pooling")
    assert (best.validation_accuracy, best.gain) == pytest.approx((0.7, 0.2))
    assert 0.1 < best.gain_low < 0.2 < best.gain_high < 0.3
    assert (choice.baseline, choice.baseline_accuracy, choice.validation_images) == ("baseline", 0.5, 200)


def test_a_tie_goes_to_the_baseline_and_then_to_the_lower_loss(study):
    recipes = study()
    same = choose(recipes, {}, {"conv-5": 0.1})
    assert same.overrides == {} and {level.variant for level in same.levels} == {"baseline"}
    lower = choose(recipes, dict.fromkeys(["conv-2", "conv-3", "conv-5"], 0.6), {"conv-3": 0.9})
    assert lower.overrides == {"model": {"conv_layers": 3}}


def test_a_variant_that_diverged_is_never_taken_however_many_images_it_gets_right(study):
    recipes = study()
    accuracies = {"conv-5": 0.9, "conv-2": 0.7, "fc-1": 0.8}
    scored = {name: scored_as(accuracies.get(name, 0.5)) for name in recipes}
    scored["conv-5"] = scored_as(0.9, "its training loss is not finite in epoch 1")
    scored["fc-1"] = scored_as(0.8, "its weights are not all finite after epoch 2")
    choice = combine.choose(recipes, scored, 48)
    assert choice.overrides == {"model": {"conv_layers": 2}}
    # If the baseline is among them, each parameter has its best other level.
    scored["baseline"] = scored_as(0.95, "its training loss is not finite in epoch 1")
    choice = combine.choose(recipes, scored, 48)
    taken = {level.variant for level in choice.levels}
    assert "conv-2" in taken and not taken & {"conv-5", "fc-1"}


def test_if_every_variant_diverged_one_sentence_says_what_to_change(study):
    recipes = study()
    scored = {name: scored_as(0.1, f"{name} is broken") for name in recipes}
    with pytest.raises(UserError) as error:
        combine.choose(recipes, scored, 48)
    assert str(error.value) == (
        "every variant diverged (baseline: baseline is broken); allowed: a smaller train.learning_rate (now 0.03) or "
        "train.gradient_clip (now 2.0)"
    )


def scored_as(accuracy: float, diverged: str = "") -> combine.Scored:
    return combine.Scored(np.arange(200)[None] < 200 * accuracy, 1.0, diverged)


def test_the_mean_over_seeds_decides(study):
    recipes = study({"baseline": {}, "conv-2": {"model": {"conv_layers": 2}}, "conv-3": {"model": {"conv_layers": 3}}})
    lucky = np.array([[True] * 9 + [False], [False] * 10])
    steady = np.array([[True] * 5 + [False] * 5] * 2)
    found = {"baseline": lucky & False, "conv-2": lucky, "conv-3": steady}
    choice = combine.choose(recipes, {name: combine.Scored(right, 1.0) for name, right in found.items()}, 48)
    assert choice.overrides == {"model": {"conv_layers": 3}}


def test_of_levels_that_set_the_same_key_the_one_that_does_more_stays(study):
    recipes = study()
    choice = choose(recipes, {"pool-none": 0.6, "stride-3": 0.7})
    assert choice.overrides == {"model": {"stride": 3}}
    given_up = {level.variant: level.given_up for level in choice.levels if level.given_up}
    assert given_up == {"pool-none": "stride-3 sets model.stride to 3"}
    choice = choose(recipes, {"pool-none": 0.7, "stride-3": 0.6})
    assert choice.overrides == {"model": {"max_pool": None, "stride": 2, "stride_layers": "all"}}


def test_levels_that_agree_about_a_key_go_together(study):
    recipes = study()
    choice = choose(recipes, {"pool-none": 0.6, "stride-2": 0.7})
    assert choice.overrides == {"model": {"stride": 2, "max_pool": None, "stride_layers": "all"}}
    assert not any(level.given_up for level in choice.levels)


def test_what_would_leave_nothing_of_the_image_gives_up_the_culprit_with_the_smaller_gain(study):
    recipes = study()  # 48 pixels: five poolings fit, but not after a stride of 3
    accuracies = {"conv-5": 0.7, "stride-3": 0.6, "fc-1": 0.55}
    choice = choose(recipes, accuracies)
    assert choice.overrides == {"model": {"conv_layers": 5, "fc_layers": 1}}  # the least gain of all is no culprit
    [given_up] = [level for level in choice.levels if level.given_up]
    assert given_up.variant == "stride-3" and given_up.given_up.endswith("leaves nothing of the 48 x 48 image")
    turned = choose(recipes, accuracies | {"stride-3": 0.8})
    assert turned.overrides == {"model": {"stride": 3, "fc_layers": 1}}


def test_a_list_of_filters_that_does_not_fit_the_layers_is_given_up(study):
    others = {
        "baseline": {}, "conv-3": {"model": {"conv_layers": 3}}, "even": {"model": {"filters": [32, 32, 32, 32]}},
    }  # fmt: skip
    recipes = study(others)
    choice = choose(recipes, {"conv-3": 0.7, "even": 0.6})
    assert choice.overrides == {"model": {"conv_layers": 3}}
    assert "filters lists 4 layers and conv_layers is 3" in choice.levels[1].given_up


def test_other_keys_are_parameters_too_and_a_seed_is_none(study):
    others = {
        "baseline": {}, "dropout": {"model": {"dropout": 0.5}}, "plain": {"train": {"flip": False, "shift": 0}},
        "again": {"train": {"seed": 7}},
    }  # fmt: skip
    recipes = study(others)
    choice = choose(recipes, {"dropout": 0.6, "plain": 0.55, "again": 0.9})
    assert choice.overrides == {"model": {"dropout": 0.5}, "train": {"flip": False, "shift": 0}}
    assert [level.parameter for level in choice.levels] == ["dropout", "flip, shift"]


def test_a_baseline_of_another_name_with_overrides_of_its_own_is_built_upon(study):
    others = {
        "a": {"model": {"filters": 64}, "train": {"epochs": 3}},
        "b-flat": {"model": {"filters": 64, "fc_layers": 1}, "train": {"epochs": 3}},
        "c-default-width": {"train": {"epochs": 3}},
    }
    recipes = study(others)
    assert recipes.baseline == "a"
    choice = choose(recipes, {"b-flat": 0.6})
    assert choice.overrides == {"model": {"fc_layers": 1}}  # on top of what a has
    choice = choose(recipes, {"c-default-width": 0.6})
    assert choice.overrides["model"] == {"filters": 16}


def test_a_study_of_the_baseline_alone_combines_it_with_nothing(study):
    recipes = study({"baseline": {}})
    choice = choose(recipes, {})
    assert choice.overrides == {} and choice.levels == []


def test_what_was_chosen_is_read_back_as_the_last_variant(study, tmp_path):
    recipes = study()
    choice = choose(recipes, {"conv-5": 0.6, "epochs-half": 0.7})
    recipes.save(tmp_path / "settings")
    variants.changed(recipes["baseline"], choice.overrides, "combined").save(tmp_path / "combined.yaml")
    assert list(variants.load(tmp_path / "settings")) == list(recipes)
    again = variants.load(tmp_path / "settings", tmp_path / "combined.yaml")
    assert list(again) == [*recipes, "combined"] and {name: again[name] for name in recipes} == dict(recipes)
    assert (again["combined"].model.conv_layers, again["combined"].train.epochs_factor) == (5, 0.5)
    assert again.parameter_of("combined") is None and again.baseline == "baseline"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("study.json", None, "run `dvc repro settings`"),
        ("study.json", "{", "run `dvc repro settings`"),
        ("study.json", "[]", "run `dvc repro settings`"),
        ("baseline.yaml", None, r"baseline\.yaml: can't be read"),
        ("baseline.yaml", "model: {filtres: 3}", r"baseline\.yaml: model\.filtres is not a known key"),
    ],
)
def test_settings_that_are_not_what_the_stages_write_are_named(study, tmp_path, name, content, told):
    study().save(tmp_path)
    (tmp_path / name).unlink()
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=told):
        variants.load(tmp_path)


def test_a_combination_that_the_first_small_images_do_not_fit_gives_a_level_up(study, raw_params):
    raw_params["sources"]["scenes"]["image_size"] = 64
    raw_params["train"] |= {"start_size": 0.75}
    others = {"baseline": {}, "conv-5": {"model": {"conv_layers": 5}}, "stride-2": {"model": {"stride": 2}}}
    recipes = study(others, global_average_pool=True)
    choice = choose(recipes, {"conv-5": 0.7, "stride-2": 0.6}, size=64)
    assert choice.overrides == {"model": {"conv_layers": 5}}
    given_up = next(level for level in choice.levels if level.given_up)
    assert given_up.variant == "stride-2" and given_up.given_up.endswith(
        "the 48 x 48 image, with which training begins (start_size 0.75)"
    )
