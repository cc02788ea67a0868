"""What the first page says: in words, the figures first, and nothing that the figures don't show."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from graybox.network.params import ModelParams, TrainParams
from graybox.report import ending, improving, mistakes, networks, parameters, summary
from graybox.report.results import Results
from graybox.study import comparison, variants, winner

OVERRIDES = {
    "baseline": {},
    "epochs-double": {"train": {"epochs_factor": 2}},
    "fc-1": {"model": {"fc_layers": 1}},
    "filters-same": {"model": {"filters": 64, "filter_growth": 1}},
    "pool-none": {"model": {"max_pool": None, "stride": 2, "stride_layers": "all"}},
    "slow": {"train": {"learning_rate": 0.01}},
}


@pytest.fixture
def results() -> SimpleNamespace:
    """A study with four levels of the six parameters, another variant, and `combined` of two levels."""
    recipes = variants.resolve(ModelParams(), TrainParams(epochs=6), OVERRIDES)
    both = variants.changed(
        recipes["baseline"], {**OVERRIDES["epochs-double"], **OVERRIDES["filters-same"]}, "combined"
    )
    recipes = recipes.extended("combined", both)
    rows = [{"variant": name, **comparison._settings(one.model, one.train)} for name, one in recipes.items()]
    table = pd.DataFrame(rows).assign(
        diverged="",
        macs=1e6,
        parameters=1000,
        train_accuracy=0.7,
        test_accuracy=0.6,
        gap=0.1,
        gap_low=0.05,
        gap_high=0.15,
    )
    levels = [
        {"variant": name, "level": OVERRIDES[name], "given_up": why}
        for name, why in (("filters-same", ""), ("epochs-double", ""), ("fc-1", "it does not fit"), ("baseline", ""))
    ]
    found = SimpleNamespace(recipes=recipes, table=table, combined={"levels": levels})
    found.levels = comparison.factor_levels(recipes, table)
    found.baseline = table.iloc[0]
    found.winner = table.iloc[-1]
    return found


def test_a_variant_is_named_by_what_it_sets(results):
    said = {name: summary.settings(results, name) for name in results.recipes}
    assert said == {
        "baseline": "the baseline",
        "epochs-double": "12 epochs",
        "fc-1": "1 fc layer",
        "filters-same": "64 filters in each",
        "pool-none": "no max pooling, stride 2 everywhere",
        "slow": "learning rate 0.01",
        "combined": "64 filters in each, 12 epochs",
    }
    assert summary.change(results, "epochs-double") == "12 epochs instead of 6"
    assert summary.change(results, "slow") == "learning rate 0.01"
    assert summary.change(results, "pool-none") == ("no max pooling, stride 2 everywhere instead of max pooling 2x2")
    (row,) = results.levels["max pooling"].query("not is_baseline").to_dict("records")
    assert parameters._label(results, row) == "none, stride 2 everywhere instead of max pooling 2x2"


def test_without_a_verdict_the_figures_come_first_and_then_the_reason():
    found = {"why_none": "only 19 of the 86 objects have a size",
             "verdict": "no verdict", "images": 86, "chance": 0.29, "object_alone": 0.3}  # fmt: skip
    for name, value in (("as_is", 0.85), ("context_hidden", 0.45), ("box_hidden", 0.33)):
        found |= {f"accuracy_{name}": value, f"accuracy_{name}_low": value - 0.1, f"accuracy_{name}_high": value + 0.1}
    card = summary.rests(SimpleNamespace(reliance=found, boxes=True))
    assert card.value == "45% right with the object alone, 33% without it, chance 29%"
    assert "45% (95% CI 35 to 55) with only the object visible" in card.detail
    assert card.detail.endswith("can't be said (no verdict): only 19 of the 86 objects have a size.")
    assert card.first == "No verdict, as only 19 of the 86 objects have a size"


def test_the_best_network_is_said_to_overfit_only_where_the_gaps_show_it(results):
    assert improving._overfits(results) == []
    results.table.loc[results.table["variant"] == "epochs-double", ["gap", "gap_low", "gap_high"]] = 0.3, 0.25, 0.35
    results.winner = results.winner.copy()
    results.winner[["train_accuracy", "gap", "gap_low", "gap_high", "parameters"]] = 0.99, 0.4, 0.35, 0.45, 2500
    (said,) = improving._overfits(results)
    assert "99.0% of its training images and 60.0% of the test images" in said
    assert "40.0 points (95% CI 35.0 to 45.0), the baseline's 10.0 points" in said
    assert "2.5 times the weights and 12 epochs instead of 6 over the same images" in said
    assert "wider with 12 epochs (30.0 points) alone, too" in said and "64 filters" not in said
    assert said.endswith("more training images or stronger augmentation may (not tried here).")


@pytest.mark.parametrize("way", [{"mixup": 0.2}, {"shift": 7}, {"flip": False}])
def test_augmentation_that_a_variant_tries_was_tried(results, way):
    results.winner = results.winner.copy()
    results.winner[["train_accuracy", "gap", "gap_low", "gap_high"]] = 0.99, 0.4, 0.35, 0.45
    other = variants.changed(results.recipes["baseline"], {"train": way}, "other")
    results.recipes = results.recipes.extended("other", other)
    (said,) = improving._overfits(results)
    assert said.endswith("more training images or stronger augmentation may.")


@pytest.mark.parametrize(
    ("split", "barred", "images", "said"),
    [
        ("test", [""], 500, ""),
        ("test", ["", ""], 500, "The best network is the one with the highest test accuracy. So its own accuracy can "
         "be a little too high; section A2 says by how much on average."),
        ("test", ["", ""], 1, "The best network is the one with the highest test accuracy. So its own accuracy can be "
         "a little too high."),
        ("test", ["", "", "weights"], 500, "The best network is, of those that may be chosen, the one with the highest "
         "test accuracy. So its own accuracy can be a little too high; section A2 says by how much on average."),
        ("test", ["", "weights"], 500, "The best network is the only one that may be chosen."),
        ("validation", ["", ""], 500,
         "The best network is the one with the highest validation accuracy; no test image had a part in this."),
    ],
)  # fmt: skip
def test_how_the_best_network_was_chosen_is_said_where_there_was_a_choice(split, barred, images, said):
    table = pd.DataFrame({"variant": list("abc")[: len(barred)], "diverged": "", "not_chosen": barred,
                          "images": images, "test_accuracy": 0.5, "test_loss": 1.0})  # fmt: skip
    asked = SimpleNamespace(table=table, best={"selected_on": split})
    assert Results.selection.fget(asked) == said
    measured = "chosen on half" in winner.sentence(
        table.assign(validation_accuracy=0.5, validation_loss=1.0), dict.fromkeys("abc", np.ones(images, bool)), split
    )
    assert measured == ("section A2" in said)


@pytest.mark.parametrize(("low", "said"), [(0.21, True), (0.0, False), (-0.1, False), (None, False)])
def test_without_a_verdict_the_second_test_speaks_only_if_its_interval_leaves_out_zero(low, said):
    found = {"swap_gap": 0.34, "swap_gap_low": low, "swap_gap_high": 0.45, "swap_accuracy_other": 0.43}
    words = summary.exchanged(found if low is not None else {})
    assert bool(words) == said
    assert not said or ("43% of the objects" in words and "34 points (95% CI 21 to 45) fewer" in words)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.3, None), (-0.2, 0.01, "don't point at the object better than"), (-0.3, -0.1, "less often than")],
)
def test_the_limits_say_when_the_maps_show_the_object_no_better_than_the_images_centre(low, high, said):
    pointing = {"maps_advantage_low": low, "maps_advantage_high": high, "maps_pointing": 0.58, "maps_centre": 0.68}
    words = ending.pointing(pointing)
    assert (words == "") == (said is None)
    assert said is None or (said in words and "58% of them, the centre in 68%" in words)


def test_fewer_suspect_labels_than_expected_are_no_finding():
    row = {"reason": "label_suspect", "mistakes": 81, "expected": 85.2, "finding": "", "p_value": 1.0}
    words = mistakes._labels(SimpleNamespace(reasons=pd.DataFrame([row])))
    assert words == "81 labels are suspect, no more than the network's own confident mistakes alone would give (85)."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "batch normalisation and ReLU, max pooling"),
        ({"residual": 1}, "batch normalisation and ReLU, a shortcut around each layer, max pooling"),
        (
            {"residual": 2, "pool_every": 2},
            "batch normalisation and ReLU, a shortcut around each 2 layers, max pooling",
        ),
        (
            {"residual": 3, "pool_every": 4},
            "batch normalisation and ReLU, a shortcut around layers 2 to 4, max pooling",
        ),
        (
            {"residual": 2, "conv_layers": 5, "pool_every": [1, 2]},
            "batch normalisation and ReLU, shortcuts around layers 2 to 3 and 4 to 5, max pooling",
        ),
    ],
)
def test_the_architecture_names_its_shortcuts(changes, said):
    assert said in networks._architecture(ModelParams(**changes), "The baseline")
