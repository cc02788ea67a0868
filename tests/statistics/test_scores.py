"""Scores, mistakes and the comparison table: known answers."""

import numpy as np
import pandas as pd
import pytest

from graybox import settings
from graybox.errors import UserError
from graybox.figures import study as figures
from graybox.mistakes import confusions
from graybox.statistics import intervals, paired, scores
from graybox.statistics.intervals import share
from graybox.study import comparison, gap, variants
from tests.support.answers import answers_of
from tests.support.basics import image_set


def test_known_scores():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], np.float32)
    found = scores.summarize(probabilities, np.array([0, 2, 1, 1]))
    assert found["accuracy"] == 0.75 and found["top5"] == 1.0
    assert found["loss"] == pytest.approx(-np.log([0.5, 0.7, 0.3, 0.5]).mean(), abs=1e-6)


def test_top_5_counts_the_five_most_probable():
    probabilities = np.tile(np.array([0.3, 0.25, 0.2, 0.1, 0.08, 0.07]), (6, 1))
    assert scores.summarize(probabilities, np.arange(6))["top5"] == pytest.approx(5 / 6)


def test_a_class_that_never_occurs_is_no_obstacle():
    assert scores.summarize(np.full((2, 7), 1 / 7), np.array([3, 3]))["loss"] == pytest.approx(np.log(7))


def test_wilsons_interval():
    found = intervals.share(80, 100)
    assert (found.low, found.high) == pytest.approx((0.71117, 0.86663), abs=1e-5)  # Wilson 1927's formula, by hand
    assert intervals.share(50, 50).high == 1.0


def test_confused_pairs_count_both_ways():
    images = image_set(12, classes=3)
    predicted = images.labels.copy()
    predicted[[0, 3, 6]] = 1
    predicted[1] = 0
    predicted[2] = 0
    pairs = confusions.confused_pairs(images, predicted, 5)
    assert pairs.values.tolist() == [["class 0", "class 1", 3, 1, 4], ["class 0", "class 2", 0, 1, 1]]
    assert len(confusions.confused_pairs(images, images.labels, 5)) == 0


def test_calibration_is_the_gap_between_being_sure_and_being_right():
    sure = np.array([0.95] * 10 + [0.65] * 10)
    probabilities = np.column_stack([sure, 1 - sure])
    labels = np.array([0] * 8 + [1] * 2 + [0] * 7 + [1] * 3)
    bins, error = confusions.calibration(probabilities, labels)
    assert bins["count"].tolist() == [0] * 6 + [10, 0, 0, 10]
    assert bins.loc[9, ["confidence", "accuracy"]].tolist() == pytest.approx([0.95, 0.8])
    assert bins["accuracy"].isna().sum() == 8
    assert error == pytest.approx((0.15 + 0.05) / 2)
    assert confusions.calibration(np.eye(3), np.arange(3))[1] == 0  # sure and right: the last bin holds 1


def all_answers(correct: dict[str, np.ndarray]) -> dict[str, dict[str, gap.Answers]]:
    return {name: answers_of(found) for name, found in correct.items()}


@pytest.fixture
def recipes(params) -> variants.Variants:
    return params.recipes


@pytest.fixture
def table(recipes) -> pd.DataFrame:
    metrics, timings = {}, {}
    for place, name in enumerate(recipes):
        accuracy = 0.5 + place / 100
        metrics[name] = {
            "test_accuracy": accuracy, "test_top5": 0.9, "test_loss": 1.0, "validation_accuracy": 0.9 - place / 100,
            "validation_loss": 1.0, "train_loss": 1.0, "parameters": 1000, "macs": 10**6,
        }  # fmt: skip
        timings[name] = {"seconds": 12.3}
    metrics["conv-2"]["test_accuracy"] = 0.99
    correct = {name: np.arange(1000) < 1000 * row["test_accuracy"] for name, row in metrics.items()}
    correct["fc-3"] = np.roll(correct["baseline"], 300)  # as good as the baseline, on other images
    return comparison.table(recipes, metrics, timings, all_answers(correct))


def test_the_terminals_table_fits_100_columns_and_has_the_figures_of_the_whole_one(table):
    table.loc[table["variant"] == "conv-3", ["variant", "macs", "train_seconds"]] = ["long" * 16, 123.4e9, 123_456.0]
    head, rule, *rows = comparison.short(table).splitlines()
    assert max(map(len, [head, rule, *rows])) <= 100 and len(rows) == len(table)
    whole = comparison.readable(table)
    for row, (_, of) in zip(rows, whole.iterrows()):
        assert of["test accuracy (95% CI)"] in row and of["training time"] in row and of["MACs"] in row
        assert of["variant"][:15] in row
    assert "longlonglonglon…" in comparison.short(table)


def test_what_dvc_shows_of_a_variant_is_rounded_and_says_if_it_diverged():
    row = {"test_accuracy": 0.73333, "validation_accuracy": 0.5, "test_loss": 1.23456, "macs": 34_433_536, "seeds": 2}
    found = {"test_accuracy": 0.733, "validation_accuracy": 0.5, "test_loss": 1.235, "macs_millions": 34.434}
    assert scores.shown(row) == found
    lost = {**row, "test_loss": None, "diverged": "its loss is not finite"}
    assert scores.shown(lost) == {**found, "test_loss": None, "diverged": "its loss is not finite"}


def test_the_table_has_a_row_per_variant_with_its_own_settings(recipes, table):
    assert table["variant"].tolist() == list(recipes)
    rows = table.set_index("variant")
    assert rows.loc["conv-5", "conv_layers"] == 5 and rows.loc["baseline", "conv_layers"] == 4
    assert rows.loc["epochs-double", "epochs"] == 2 * rows.loc["baseline", "epochs"]
    assert rows.loc["pool-3", "max_pooling"] == "3x3 by 2" and rows.loc["pool-none", "max_pooling"] == "none"
    assert rows.loc["pool-none", "stride"] == "2 everywhere"


def test_the_table_shows_the_best_on_either_split(table):
    rows = table.set_index("variant")["best_on"]
    assert rows["conv-2"] == "test" and rows["baseline"] == "validation"
    text = comparison.markdown(table)
    assert "**conv-2**" in text and "**fc-1**" not in text and "99.0%" in text
    assert len(text.splitlines()) == len(table) + 2


def test_the_table_compares_each_variant_with_the_baseline_on_the_same_images(table):
    rows = table.set_index("variant")
    assert rows.loc["baseline", ["difference", "difference_low", "p_value"]].isna().all()
    assert rows.loc["conv-2", "difference"] == pytest.approx(0.49)
    assert 0.45 < rows.loc["conv-2", "difference_low"] < 0.49 < rows.loc["conv-2", "difference_high"] < 0.53
    assert rows.loc["conv-2", "p_value"] < 1e-6
    assert rows.loc["fc-3", "difference"] == 0 and rows.loc["fc-3", "difference_low"] < -0.03


def test_the_table_shows_the_gap_between_training_and_validation(recipes, table):
    assert (table["gap"] == 0).all() and (table["gap_low"] == -table["gap_high"]).all()
    answers = {name: answers_of(np.arange(1000) < 500) for name in recipes}
    answers["conv-2"]["train"] = answers_of(np.arange(400) < 300)["train"]
    metrics = {
        name: dict.fromkeys(["test_accuracy", "test_top5", "test_loss", "validation_accuracy", "validation_loss",
                             "train_accuracy", "train_loss", "parameters", "macs"], 1.0)
        for name in recipes
    }  # fmt: skip
    metrics["conv-3"]["train_loss"] = None
    found = comparison.table(recipes, metrics, {name: {"seconds": 1} for name in recipes}, answers)
    row = comparison.row_of(found, "conv-2")
    assert row["gap"] == pytest.approx(0.25) and row["loss_gap"] == pytest.approx(-0.25)
    assert row["loss_gap_low"] < -0.25 < row["loss_gap_high"] < 0
    words = comparison.readable(found).set_index("variant")["generalisation gap (95% CI), points"]["conv-2"]
    assert words == f"+25.0 ({100 * row['gap_low']:.1f} to {100 * row['gap_high']:.1f})"


def test_the_table_is_read_as_it_was_saved(table, tmp_path):
    table.to_csv(tmp_path / "table.csv", index=False)
    again = comparison.read(tmp_path / "table.csv")
    assert comparison.markdown(again) == comparison.markdown(table)


def test_an_answer_that_is_not_finite_is_wrong():
    """All NaN has its first class as argmax, and no probability is at least NaN: it would count among the best five."""
    answers = np.array([[0.7, 0.3], [np.nan, np.nan], [0.2, np.inf], [0.4, 0.6]])
    labels = np.array([0, 0, 1, 1])
    found = scores.summarize(answers, labels)
    assert (found["accuracy"], found["top5"]) == (0.5, 0.5) and np.isnan(found["loss"])
    assert scores.right(np.stack([answers, answers]), labels).tolist() == [[True, False, False, True]] * 2
    assert scores.faults({0: ""}) == scores.faults({0: "", 1: ""}) == ""
    assert scores.faults({4: "it broke"}) == "it broke"
    assert scores.faults({4: "it broke", 5: "", 6: "too"}) == "with seed 4 it broke; with seed 6 too"


def test_a_variant_that_diverged_is_marked_and_never_the_best(recipes, tmp_path):
    correct = {name: np.arange(400) < 200 for name in recipes} | {"conv-5": np.arange(400) < 399}
    correct["filters-8"] = correct["conv-5"]
    metrics = {
        name: {**dict.fromkeys(["test_top5", "test_loss", "validation_accuracy", "validation_loss", "train_loss"],
                               found.mean()),
               "test_accuracy": found.mean(), "parameters": 1, "macs": 1}
        for name, found in correct.items()
    }  # fmt: skip
    metrics["conv-5"] |= {"test_loss": None, "validation_loss": None, "diverged": "its weights are not all finite"}
    table = comparison.table(recipes, metrics, {name: {"seconds": 1} for name in correct}, all_answers(correct))
    assert comparison.best(table, "test") == comparison.best(table, "validation") == "filters-8"
    table.to_csv(tmp_path / "table.csv", index=False)
    again = comparison.read(tmp_path / "table.csv")
    for frame in (table, again):
        assert comparison.best(frame, "test") == "filters-8"
        shown = comparison.readable(frame).set_index("variant")
        assert shown.loc["conv-5 (diverged)", "test loss"] == "" and "**conv-5" not in comparison.markdown(frame)
        said = comparison.sentences(recipes, frame)
        assert said[-1] == "conv-5 diverged, so it is never chosen: its weights are not all finite."
        assert "; 5: diverged." in said[0]
    with pytest.raises(UserError, match="every variant diverged"):
        comparison.best(table.assign(diverged="its weights"), "test")


def test_the_sentences_claim_only_what_the_interval_supports(recipes, table):
    said = {sentence.split(",")[0]: sentence for sentence in comparison.sentences(recipes, table)}
    assert list(said) == ["conv layers", "fc layers", "filters", "max pooling", "epochs", "stride"]
    assert said["conv layers"].startswith(
        "conv layers, against 4: 2: +49.0 points (95% CI 45.8 to 52.0; p < 0.001); 3: +2.0"
    )
    assert "3: no difference found, +0.0 points (95% CI -4.8 to 4.8; p = 1.000)" in said["fc layers"]
    assert "max pooling, against 2x2:" in said["max pooling"] and "none, stride 2 everywhere: +" in said["max pooling"]


def table_of(recipes, correct: dict[str, np.ndarray]) -> pd.DataFrame:
    """The table of variants of which nothing but the right answers is of interest."""
    metrics = {
        name: {**dict.fromkeys(["test_top5", "test_loss", "validation_accuracy", "validation_loss", "train_loss"], 0.5),
               "test_accuracy": found.mean(), "parameters": 1, "macs": 1}
        for name, found in correct.items()
    }  # fmt: skip
    return comparison.table(recipes, metrics, {name: {"seconds": 1} for name in correct}, all_answers(correct))


def test_levels_can_be_told_apart_and_other_parameters_have_a_sentence_too(raw_params, write_params):
    raw_params["variants"] = {
        "baseline": {},
        "even": {"model": {"filter_growth": 1}},
        "late": {"model": {"pool_every": 2}},
        "uneven": {"model": {"pool_every": [1, 2]}},
        "sparse": {"model": {"dropout": 0.5}},
        "again": {"train": {"seed": 1}},
        "without": {"model": {"max_pool": None}},
        "without-late": {"model": {"max_pool": None, "pool_every": 2}},
    }
    recipes = settings.load(write_params(raw_params)).recipes
    correct = {name: np.arange(400) < 200 + 40 * place for place, name in enumerate(recipes)}
    table = table_of(recipes, correct)
    assert len(table.drop_duplicates(["filters", "max_pooling"])) == 6  # all but sparse and again
    said = comparison.sentences(recipes, table)
    assert [sentence.split(" (")[0] for sentence in said] == [
        "filters, against 16: 16 in each: +10.0 points",
        "max pooling, against 2x2: 2x2 after every 2: +20.0 points",
        "dropout, against the baseline's: sparse: +30.0 points",
    ]
    assert "; 2x2 after 1, 3: +40.0 points" in said[1]
    assert "; none: +40.0 points" in said[1] and "; none, growth after every 2: +40.0 points" in said[1]


def test_a_small_difference_is_claimed_alone_but_not_among_many(recipes):
    """Holm's correction: p = 0.016 is enough for one comparison and not for fourteen."""
    correct = {name: np.arange(500) < 300 for name in recipes}
    correct["conv-5"] = (np.arange(500) < 307) & (np.arange(500) != 300)
    correct["conv-5"][300] = True
    table = table_of(recipes, correct)
    row = table.set_index("variant").loc["conv-5"]
    assert paired.compare(correct["conv-5"], correct["baseline"]).p_value == pytest.approx(2 * 0.5**7)
    assert row["p_value"] == pytest.approx(14 * 2 * 0.5**7)
    conv = comparison.sentences(recipes, table)[0]
    assert "5: no difference found, +1.4 points (95% CI 0.2 to 2.6; p = 0.219)" in conv


def test_a_tie_goes_to_the_lower_loss_and_then_to_the_earlier_row():
    frame = pd.DataFrame({"variant": ["a", "b", "c"], "test_accuracy": [0.5, 0.5, 0.4], "test_loss": [1.0, 0.9, 0.1]})
    assert comparison.best(frame, "test") == "b"
    frame["test_loss"] = 1.0
    assert comparison.best(frame, "test") == "a"


def test_each_parameter_gets_the_variants_that_change_it(recipes, table):
    levels = comparison.factor_levels(recipes, table)
    assert {name: rows["variant"].tolist() for name, rows in levels.items()} == {
        "conv layers": ["conv-2", "conv-3", "baseline", "conv-5"],
        "fc layers": ["fc-1", "baseline", "fc-3"],
        "filters": ["filters-8", "baseline", "filters-32", "filters-same"],
        "max pooling": ["baseline", "pool-3", "pool-none"],
        "epochs": ["epochs-half", "baseline", "epochs-double"],
        "stride": ["baseline", "stride-2", "stride-3"],
    }


def test_what_else_a_variant_changes_stands_below_its_level(recipes, table):
    levels = comparison.factor_levels(recipes, table)
    assert levels["max pooling"]["level"].tolist() == ["2x2", "3x3 by 2", "none\nstride 2 everywhere"]
    assert levels["stride"]["is_baseline"].tolist() == [True, False, False]


def test_a_level_names_what_is_changed_beside_the_six_parameters(raw_params, write_params):
    raw_params["variants"] = {
        "baseline": {},
        "deep": {"model": {"conv_layers": 5, "kernel_size": 5, "batch_norm": False}, "train": {"schedule": "constant"}},
    }
    recipes = settings.load(write_params(raw_params)).recipes
    table = table_of(recipes, {name: np.arange(400) < 200 for name in recipes})
    levels = comparison.factor_levels(recipes, table)["conv layers"]["level"]
    assert levels.tolist() == ["4", "5\nkernel size 5\nbatch norm false\nschedule constant"]
    assert "5, kernel size 5, batch norm false, schedule constant: no diff" in comparison.sentences(recipes, table)[0]


def test_learning_curves_of_all_variants_in_one_table(tmp_path):
    for variant, losses in {"a": [3.0, 2.0], "b": [5.0]}.items():
        rows = "".join(f"0,{epoch},{loss}\n" for epoch, loss in enumerate(losses, start=1))
        (tmp_path / f"{variant}.csv").write_text(f"seed,epoch,train_loss\n{rows}")
    curves = comparison.learning_curves({"b": tmp_path / "b.csv", "a": tmp_path / "a.csv"})
    assert curves.values.tolist() == [["b", 1, 5.0], ["a", 1, 3.0], ["a", 2, 2.0]]


def test_the_pareto_front_has_what_nothing_beats_on_both_counts():
    cost, accuracy = pd.Series([1, 2, 3, 3, 4, 2]), pd.Series([0.5, 0.7, 0.7, 0.9, 0.8, 0.7])
    assert comparison.pareto_front(cost, accuracy).tolist() == [True, True, False, True, False, True]


def test_a_variant_that_diverged_is_on_no_front_and_drives_none_from_it():
    table = pd.DataFrame({"macs": [2, 1, 3], "test_accuracy": [0.5, 0.9, 0.7], "diverged": ["", "not finite", ""]})
    assert comparison.on_front(table, "macs").tolist() == [True, False, True]


def test_params_of_the_repository_are_valid():
    assert settings.load().variants


def test_the_figures_of_several_seeds_are_means_and_the_network_is_chosen_on_validation():
    def row(test, validation, loss):
        return {"test_accuracy": test, "validation_accuracy": validation, "validation_loss": loss}

    one = scores.over_seeds({5: row(0.5, 0.6, 1.0)})
    assert one == row(0.5, 0.6, 1.0)
    several = scores.over_seeds({5: row(0.9, 0.5, 0.1), 6: row(0.5, 0.6, 1.0), 7: row(0.4, 0.6, 0.9)})
    assert several["test_accuracy"] == pytest.approx(0.6) and several["validation_loss"] == pytest.approx(2 / 3)
    assert several["test_accuracy_sd"] == pytest.approx(np.sqrt(0.07))
    assert (several["seeds"], several["best_seed"]) == (3, 7)


def test_curves_of_several_seeds_are_their_mean(tmp_path):
    (tmp_path / "a.csv").write_text("seed,epoch,train_loss\n0,1,3.0\n0,2,2.0\n1,1,5.0\n1,2,1.0\n")
    curves = comparison.learning_curves({"a": tmp_path / "a.csv"})
    assert curves.values.tolist() == [["a", 1, 4.0], ["a", 2, 1.5]]


@pytest.fixture
def several(params, recipes):
    """Three seeds of each variant: epochs-double and conv-5 beat the baseline on the images, conv-5 by lucky seeds."""
    counts = {"conv-5": (760, 840, 800), "epochs-double": (860, 862, 861)}
    correct = {name: np.arange(1000) < np.array(counts.get(name, (740, 760, 750)))[:, None] for name in recipes}
    metrics = {
        name: {**dict.fromkeys(["test_top5", "test_loss", "validation_accuracy", "validation_loss", "train_loss"], 0.5),
               "test_accuracy": found.mean(), "parameters": 1, "macs": 1, "seeds": 3, "best_seed": 2,
               "test_accuracy_sd": found.mean(axis=1).std(ddof=1)}
        for name, found in correct.items()
    }  # fmt: skip
    study = variants.resolve(params.model, params.train.model_copy(update={"seeds": 3}), params.variants)
    timings = {name: {"seconds": 1} for name in correct}
    return study, comparison.table(study, metrics, timings, all_answers(correct)), correct


def test_a_difference_that_seeds_alone_could_make_is_not_claimed(several):
    recipes, table, correct = several
    said = {sentence.split(",")[0]: sentence for sentence in comparison.sentences(recipes, table)}
    alone = paired.compare(correct["conv-5"][-1], correct["baseline"][-1])
    assert alone.p_value < 1e-6 and alone.low > 0  # one network against one would claim it
    assert "5: no difference found, +5.0 points (95% CI -4." in said["conv layers"]
    assert "16: +11.1 points (95% CI 8." in said["epochs"]
    assert "other training runs" in comparison.method(recipes) and "McNemar" not in comparison.method(recipes)


def test_the_table_of_several_seeds_shows_their_spread_and_survives_saving(several, tmp_path):
    _, table, _ = several
    shown = comparison.readable(table).set_index("variant")
    assert shown.loc["conv-5", "SD over seeds (their number)"] == "4.0 (3)"
    table.to_csv(tmp_path / "table.csv", index=False)
    again = comparison.read(tmp_path / "table.csv")
    assert comparison.markdown(again) == comparison.markdown(table)
    assert again["best_seed"].tolist() == [2] * len(table)


def test_seeds_of_the_baseline_alone_say_nothing_of_other_training_runs(recipes, params):
    correct = {name: (np.arange(1000) < 800)[None] for name in recipes}
    correct["baseline"] = np.arange(1000) < np.array([740, 760, 750])[:, None]
    row = table_of(recipes, correct).set_index("variant").loc["conv-5"]
    assert row["difference"] == pytest.approx(0.05) and not row["covers_seeds"]
    study = variants.resolve(params.model, params.train, {**params.variants, "baseline": {"train": {"seeds": 3}}})
    assert study.baseline == "baseline" and study.parameter_of("conv-5") == "conv layers"
    assert study.changes("conv-5") == {"model": {"conv_layers": 5}}
    assert "(baseline 3)" in comparison.method(study)
    assert "Where one side has one seed, they cover other images only." in comparison.method(study)


def test_nothing_is_compared_with_a_baseline_that_diverged(recipes):
    correct = {name: np.arange(400) < 200 for name in recipes}
    figures = ["test_accuracy", "test_top5", "test_loss", "validation_accuracy", "validation_loss", "train_loss"]
    metrics = {name: {**dict.fromkeys(figures, 0.5), "parameters": 1, "macs": 1} for name in correct}  # fmt: skip
    metrics["baseline"]["diverged"] = "its loss is not finite"
    table = comparison.table(recipes, metrics, {name: {"seconds": 1} for name in correct}, all_answers(correct))
    assert table[["difference", "p_value"]].isna().all(axis=None)
    said = comparison.sentences(recipes, table)
    assert "2: not compared, as one of the two diverged" in said[0]


def test_a_handful_of_images_says_nothing(recipes):
    correct = {name: np.arange(19) < 10 for name in recipes}
    correct["conv-5"] = np.arange(19) < 19
    row = table_of(recipes, correct).set_index("variant").loc["conv-5"]
    assert comparison.in_words(row).startswith("too few images to say, +47.4 points")


def test_with_one_seed_the_table_has_no_word_of_seeds(recipes, table):
    assert table["test_accuracy_sd"].isna().all() and not table["covers_seeds"].any()
    assert not any("seed" in column for column in comparison.readable(table))
    assert table["best_seed"].tolist() == [0] * len(table) and set(table["seeds"]) == {1}
    assert "McNemar's exact test" in comparison.method(recipes)


def test_the_chart_shows_each_seeds_network(several):
    recipes, table, correct = several
    levels = comparison.factor_levels(recipes, table)
    by_seed = {name: found.mean(axis=1) for name, found in correct.items()}
    axes = figures.accuracy_by_parameter(levels, by_seed).axes[0]
    drawn = [line.get_ydata().tolist() for line in axes.lines if line.get_markersize() == 3]
    assert drawn == [by_seed[name].tolist() for name in levels["conv layers"]["variant"]]
    alone = {name: found[:1] for name, found in by_seed.items()}
    assert not [
        line for line in figures.accuracy_by_parameter(levels, alone).axes[0].lines if line.get_markersize() == 3
    ]


def test_the_combination_is_a_row_and_no_level(recipes, table):
    overrides = {"model": {"conv_layers": 5}, "train": {"epochs_factor": 2}}
    study = recipes.extended("combined", variants.changed(recipes["baseline"], overrides, "combined"))
    row = table.iloc[[0]].assign(variant="combined", epochs=12, conv_layers=5)
    levels = comparison.factor_levels(study, pd.concat([table, row], ignore_index=True))
    assert not any("combined" in set(rows["variant"]) for rows in levels.values())


@pytest.mark.parametrize("total", [1, 20, 250, 300, 400, 2000])
def test_an_interval_holds_its_figure_at_either_end(total):
    for count in (0, total):
        found = share(count, total)
        assert found.low <= found.value <= found.high
