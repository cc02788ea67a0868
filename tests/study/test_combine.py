"""The combination of the best levels: who is chosen, what is given up, and what validation alone may decide."""

import json

import numpy as np
import pytest

from graybox import config
from graybox.errors import UserError
from graybox.study import combine, comparison


def scored(params, accuracies: dict[str, float], losses: dict[str, float] | None = None) -> dict[str, combine.Scored]:
    """Every variant right on the first so many of 200 validation images: half of them where nothing is said."""
    return {
        name: combine.Scored(np.arange(200)[None] < 200 * accuracies.get(name, 0.5), (losses or {}).get(name, 1.0))
        for name in params.variants
    }


@pytest.fixture
def study(raw_params, write_params):
    """The repository's parameters with other variants, or with other values of `model`."""

    def make(variants: dict | None = None, **model) -> config.Params:
        raw_params["model"] |= model
        raw_params["variants"] = raw_params["variants"] if variants is None else variants
        return config.load(write_params(raw_params))

    return make


def test_each_parameter_gets_its_best_level(study):
    params = study()
    accuracies = {"conv-2": 0.55, "conv-3": 0.6, "pool-3": 0.7, "epochs-double": 0.8, "fc-1": 0.49}
    choice = combine.choose(params, scored(params, accuracies))
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
    params = study()
    same = combine.choose(params, scored(params, {}, {"conv-5": 0.1}))
    assert same.overrides == {} and {level.variant for level in same.levels} == {"baseline"}
    lower = combine.choose(params, scored(params, dict.fromkeys(["conv-2", "conv-3", "conv-5"], 0.6), {"conv-3": 0.9}))
    assert lower.overrides == {"model": {"conv_layers": 3}}


def test_the_mean_over_seeds_decides(study):
    params = study({"baseline": {}, "conv-2": {"model": {"conv_layers": 2}}, "conv-3": {"model": {"conv_layers": 3}}})
    lucky = np.array([[True] * 9 + [False], [False] * 10])
    steady = np.array([[True] * 5 + [False] * 5] * 2)
    found = {"baseline": lucky & False, "conv-2": lucky, "conv-3": steady}
    choice = combine.choose(params, {name: combine.Scored(right, 1.0) for name, right in found.items()})
    assert choice.overrides == {"model": {"conv_layers": 3}}


def test_of_levels_that_set_the_same_key_the_one_that_does_more_stays(study):
    params = study()
    choice = combine.choose(params, scored(params, {"pool-none": 0.6, "stride-3": 0.7}))
    assert choice.overrides == {"model": {"stride": 3}}
    given_up = {level.variant: level.given_up for level in choice.levels if level.given_up}
    assert given_up == {"pool-none": "stride-3 sets model.stride to 3"}
    choice = combine.choose(params, scored(params, {"pool-none": 0.7, "stride-3": 0.6}))
    assert choice.overrides == {"model": {"max_pool": None, "stride": 2, "stride_layers": "all"}}


def test_levels_that_agree_about_a_key_go_together(study):
    params = study()
    choice = combine.choose(params, scored(params, {"pool-none": 0.6, "stride-2": 0.7}))
    assert choice.overrides == {"model": {"stride": 2, "max_pool": None, "stride_layers": "all"}}
    assert not any(level.given_up for level in choice.levels)


def test_what_would_leave_nothing_of_the_image_gives_up_the_culprit_with_the_smaller_gain(study):
    params = study()  # 48 pixels: five poolings fit, but not after a stride of 3
    accuracies = {"conv-5": 0.7, "stride-3": 0.6, "fc-1": 0.55}
    choice = combine.choose(params, scored(params, accuracies))
    assert choice.overrides == {"model": {"conv_layers": 5, "fc_layers": 1}}  # the least gain of all is no culprit
    [given_up] = [level for level in choice.levels if level.given_up]
    assert given_up.variant == "stride-3" and given_up.given_up.endswith("leaves nothing of the 48 x 48 image")
    turned = combine.choose(params, scored(params, accuracies | {"stride-3": 0.8}))
    assert turned.overrides == {"model": {"stride": 3, "fc_layers": 1}}


def test_a_list_of_filters_that_does_not_fit_the_layers_is_given_up(study):
    variants = {
        "baseline": {}, "conv-3": {"model": {"conv_layers": 3}}, "even": {"model": {"filters": [32, 32, 32, 32]}},
    }  # fmt: skip
    params = study(variants)
    choice = combine.choose(params, scored(params, {"conv-3": 0.7, "even": 0.6}))
    assert choice.overrides == {"model": {"conv_layers": 3}}
    assert "filters lists 4 layers and conv_layers is 3" in choice.levels[1].given_up


def test_other_keys_are_parameters_too_and_a_seed_is_none(study):
    variants = {
        "baseline": {}, "dropout": {"model": {"dropout": 0.5}}, "plain": {"train": {"flip": False, "shift": 0}},
        "again": {"train": {"seed": 7}},
    }  # fmt: skip
    params = study(variants)
    choice = combine.choose(params, scored(params, {"dropout": 0.6, "plain": 0.55, "again": 0.9}))
    assert choice.overrides == {"model": {"dropout": 0.5}, "train": {"flip": False, "shift": 0}}
    assert [level.parameter for level in choice.levels] == ["dropout", "flip, shift"]


def test_a_baseline_of_another_name_with_overrides_of_its_own_is_built_upon(study):
    variants = {
        "a": {"model": {"filters": 64}, "train": {"epochs": 3}},
        "b-flat": {"model": {"filters": 64, "fc_layers": 1}, "train": {"epochs": 3}},
        "c-default-width": {"train": {"epochs": 3}},
    }
    params = study(variants)
    assert comparison.baseline_of(params) == "a"
    choice = combine.choose(params, scored(params, {"b-flat": 0.6}))
    assert choice.overrides == {"model": {"filters": 64, "fc_layers": 1}, "train": {"epochs": 3}}
    choice = combine.choose(params, scored(params, {"c-default-width": 0.6}))
    assert choice.overrides["model"] == {"filters": params.model.filters}


def test_a_study_of_the_baseline_alone_combines_it_with_nothing(study):
    params = study({"baseline": {}})
    choice = combine.choose(params, scored(params, {}))
    assert choice.overrides == {} and choice.levels == []


def test_the_record_is_read_back_as_the_last_variant(study, tmp_path, write_params, raw_params):
    params = study()
    choice = combine.choose(params, scored(params, {"conv-5": 0.6, "epochs-half": 0.7}))
    (tmp_path / "combined.json").write_text(json.dumps(choice.record()))
    path = write_params(raw_params)
    again = config.load_with_combined(path, tmp_path / "combined.json")
    assert list(again.variants) == [*params.variants, "combined"]
    network, schedule = again.variant("combined")
    assert (network.conv_layers, schedule.epochs_factor) == (5, 0.5)
    assert comparison.parameter_of(again, "combined") is None and comparison.baseline_of(again) == "baseline"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "run `dvc repro combine`"),
        ("{", "run `dvc repro combine`"),
        ("[]", "run `dvc repro combine`"),
        ('{"overrides": {"model": {"filtres": 3}}}', "filtres is not a known key"),
        ('{"overrides": 3}', "variants.combined is 3"),
    ],
)
def test_a_choice_that_can_not_be_is_named(tmp_path, write_params, raw_params, content, told):
    if content:
        (tmp_path / "combined.json").write_text(content)
    with pytest.raises(UserError, match=told):
        config.load_with_combined(write_params(raw_params), tmp_path / "combined.json")


def test_a_combination_that_the_first_small_images_do_not_fit_gives_a_level_up(study, raw_params):
    raw_params["sources"]["scenes"]["image_size"] = 64
    raw_params["train"] |= {"start_size": 0.75}
    variants = {"baseline": {}, "conv-5": {"model": {"conv_layers": 5}}, "stride-2": {"model": {"stride": 2}}}
    params = study(variants, global_average_pool=True)
    choice = combine.choose(params, scored(params, {"conv-5": 0.7, "stride-2": 0.6}))
    assert choice.overrides == {"model": {"conv_layers": 5}}
    given_up = next(level for level in choice.levels if level.given_up)
    assert given_up.variant == "stride-2" and given_up.given_up.endswith("leaves nothing of the 48 x 48 image")
