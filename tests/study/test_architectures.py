"""Variants with another architecture or initial weights: their parameters, their row, and who may win."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from graybox import settings
from graybox.errors import UserError
from graybox.network.params import load
from graybox.study import combine, comparison, outcome, variants, winner
from tests.support.answers import answers_of

RESNET = {"model": {"architecture": "resnet18"}}
WEIGHTS = {"model": {"architecture": "resnet18", "weights": "IMAGENET1K_V1"}}
IMAGES = 1000


@pytest.fixture
def study(raw_params, write_params):
    """The repository's parameters with these variants, and with other values of `model`."""

    def make(others: dict, **model) -> variants.Variants:
        raw_params["model"] |= model
        raw_params["variants"] = others
        return settings.load(write_params(raw_params)).recipes

    return make


def test_the_layers_of_the_cnn_are_not_in_another_architectures_file(study, tmp_path):
    files = []
    for filters in (32, 64):
        recipes = study({"baseline": {}, "resnet18": RESNET}, filters=filters)
        recipes["resnet18"].save(tmp_path / "resnet18.yaml")
        files.append((tmp_path / "resnet18.yaml").read_text())
        assert load(tmp_path / "resnet18.yaml") == recipes["resnet18"]
    assert files[0] == files[1]
    assert yaml.safe_load(files[0])["model"] == {"architecture": "resnet18", "weights": None}
    study({"baseline": {}})["baseline"].save(tmp_path / "baseline.yaml")
    written = yaml.safe_load((tmp_path / "baseline.yaml").read_text())["model"]
    assert written["filters"] == 64 and not {"architecture", "weights", "files"} & set(written)


@pytest.mark.parametrize(
    ("variant", "common", "said"),
    [
        (
            {**RESNET["model"], "filters": 8},
            {},
            r"filters is about the layers of cnn.*'resnet18'; allowed: leave it out$",
        ),
        ({"filters": 8}, {"architecture": "resnet50"}, "leave it out, or variants.other.model.architecture: cnn"),
        ({**RESNET["model"], "filtres": 8}, {}, "filtres is not a known key; did you mean filters"),
        ({"architecture": "Resnet 18"}, {}, "architecture is 'Resnet 18'; it should be cnn, a classifier of"),
        ({"architecture": 18}, {}, "architecture is 18; it should be text"),
        ({"architecture": "cnn", "weights": "IMAGENET1K_V1"}, {}, "which starts from random weights"),
        ({"weights": "IMAGENET1K_V1"}, {}, "which starts from random weights"),
        ({"architecture": "mine:build"}, {}, "mine:build; allowed: a function of a module in the folder networks"),
        ({**RESNET["model"], "weights": "/tmp/w.pth"}, {}, "or a file in the folder networks"),
        ({**RESNET["model"], "weights": "networks/../w.pth"}, {}, "or a file in the folder networks"),
    ],
)
def test_what_an_architecture_does_not_have_is_refused_in_a_sentence(variant, common, said, study):
    with pytest.raises(UserError, match=said) as found:
        study({"baseline": {}, "other": {"model": variant}}, **common)
    assert "variants.other.model" in str(found.value) and "\n" not in str(found.value)


def test_the_common_sections_layers_are_those_of_its_cnns_whatever_its_architecture(study):
    small = {"model": {"architecture": "cnn", "conv_layers": 2}}
    recipes = study({"baseline": {}, "small": small, "other": RESNET}, architecture="resnet50", filters=7)
    assert recipes["baseline"].model.used() == {"architecture": "resnet50", "weights": None}
    assert (recipes["small"].model.filters, recipes["small"].model.conv_layers) == (7, 2)
    assert recipes.parameter_of("small") == recipes.parameter_of("other") == "architecture"


def test_weights_are_inherited_by_their_own_architecture_alone(study):
    others = {"other": {"model": {"architecture": "resnet50"}}, "half": {"train": {"epochs": 3}}}
    recipes = study({"baseline": {}, **others}, architecture="resnet18", weights="IMAGENET1K_V1")
    weights = {name: recipe.model.weights for name, recipe in recipes.items()}
    assert weights == {"baseline": "IMAGENET1K_V1", "other": None, "half": "IMAGENET1K_V1"}


def test_another_network_is_no_level_of_a_parameter(study):
    longer = {"model": {"architecture": "resnet18"}, "train": {"epochs_factor": 2}}
    recipes = study({"baseline": {}, "conv-3": {"model": {"conv_layers": 3}}, "resnet18": RESNET, "longer": longer})
    assert recipes.changes("resnet18") == RESNET
    assert [recipes.parameter_of(name) for name in recipes] == [None, "conv layers", "architecture", "architecture"]
    right = {"baseline": 0.5, "conv-3": 0.6, "resnet18": 0.9, "longer": 0.95}
    scored = {name: combine.Scored(np.arange(200)[None] < 200 * share, 1.0) for name, share in right.items()}
    choice = combine.choose(recipes, scored, 48)
    assert choice.overrides == {"model": {"conv_layers": 3}}
    made = variants.changed(recipes["baseline"], choice.overrides, "combined")
    assert made.model.parametric and made.model.conv_layers == 3


def test_a_baseline_of_another_architecture_is_combined_with_levels_of_its_training(study):
    recipes = study({"baseline": {}, "double": {"train": {"epochs_factor": 2}}}, architecture="resnet18")
    scored = {name: combine.Scored(np.arange(200)[None] < 100 + 20 * (name == "double"), 1.0) for name in recipes}
    choice = combine.choose(recipes, scored, 48)
    made = variants.changed(recipes["baseline"], choice.overrides, "combined")
    assert made.model.architecture == "resnet18" and made.train.epochs_factor == 2


def table(recipes: variants.Variants, right: dict[str, float], pretrained: bool = False) -> tuple[pd.DataFrame, dict]:
    study = recipes.extended("combined", recipes["baseline"])
    shares = {name: right.get(name, 0.5) for name in study}
    plain = dict.fromkeys(["test_top5", "test_loss", "validation_loss", "train_loss", "parameters", "macs"], 1)
    metrics = {name: {**plain, "test_accuracy": share, "validation_accuracy": share} for name, share in shares.items()}
    answers = {name: answers_of(np.arange(IMAGES) < IMAGES * share) for name, share in shares.items()}
    timings = {name: {"seconds": 1} for name in study}
    return comparison.table(study, metrics, timings, answers, pretrained), answers


def test_another_network_competes_and_its_row_says_what_it_is(study, tmp_path):
    recipes = study({"baseline": {}, "conv-3": {"model": {"conv_layers": 3}}, "resnet18": RESNET})
    found, answers = table(recipes, {"resnet18": 0.9, "conv-3": 0.6})
    assert comparison.best(found, "test") == "resnet18"
    found.to_csv(tmp_path / "table.csv", index=False)
    again = comparison.read(tmp_path / "table.csv")
    assert comparison.best(again, "validation") == "resnet18"
    shown = comparison.readable(again).set_index("variant")
    assert list(shown["architecture"]) == ["cnn", "cnn", "resnet18", "cnn"]
    assert list(shown["conv layers"]) == ["4", "3", "-", "4"]
    study_ = recipes.extended("combined", recipes["baseline"])
    levels = comparison.factor_levels(study_, again)
    assert {name for rows in levels.values() for name in rows["variant"]} == {"baseline", "conv-3"}
    said = comparison.sentences(study_, again)
    assert said[0].startswith("conv layers, against 4: 3: +10.0 points")
    assert said[1].startswith("architecture, against the baseline's: resnet18: +40.0 points") and len(said) == 2
    choice = combine.choose(recipes, {name: combine.Scored(answers[name]["test"].right, 1.0) for name in recipes}, 48)
    text = " ".join(outcome.sentences(study_, again, answers, choice.record(), "test"))
    assert "combined against resnet18, the best single variant on test: -40.0 points" in text
    assert winner.sentence(again, {name: one["test"].right for name, one in answers.items()}, "test").startswith(
        "resnet18 is best on test with 90.0%"
    )


def test_a_table_of_cnns_alone_has_no_further_columns(study):
    found, _ = table(study({"baseline": {}, "conv-3": {"model": {"conv_layers": 3}}}), {})
    assert not {"architecture", "initial_weights", "not_chosen"} & set(found)
    assert list(found["conv_layers"]) == [4, 3, 4]


def test_one_that_starts_from_weights_is_marked_and_wins_only_if_asked(study, tmp_path):
    recipes = study({"baseline": {}, "conv-3": {"model": {"conv_layers": 3}}, "known": WEIGHTS})
    found, answers = table(recipes, {"known": 0.9, "conv-3": 0.6})
    found.to_csv(tmp_path / "table.csv", index=False)
    again = comparison.read(tmp_path / "table.csv")
    correct = {name: one["test"].right for name, one in answers.items()}
    for each in (found, again):
        assert comparison.best(each, "test") == comparison.best(each, "validation") == "conv-3"
        assert winner.sentence(each, correct, "test").startswith("conv-3 is best on test with 60.0%")
    assert "resnet18, from IMAGENET1K_V1" in comparison.markdown(again)
    study_ = recipes.extended("combined", recipes["baseline"])
    mark = comparison.sentences(study_, again)[-1]
    assert "known from IMAGENET1K_V1" in mark and "never chosen" in mark and "mini-ImageNet's" in mark
    asked, _ = table(recipes, {"known": 0.9, "conv-3": 0.6}, pretrained=True)
    assert comparison.best(asked, "test") == "known"
    assert "never chosen" not in comparison.sentences(study_, asked)[-1]


def test_if_every_variant_starts_from_weights_one_sentence_says_what_to_change(study):
    recipes = study({"baseline": {}}, architecture="resnet18", weights="IMAGENET1K_V1")
    with pytest.raises(UserError, match=r"select\.pretrained true"):
        table(recipes, {})
