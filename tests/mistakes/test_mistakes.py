"""The evidence of mistakes and what is made of it: known answers, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from graybox.figures import mistakes as charts_mistakes
from graybox.mistakes import evidence, picture_measures, reasons, reasons_table
from graybox.mistakes.label_suspects import LabelSuspects, recalibrated, suspects, temperature
from graybox.mistakes.neighbours import Neighbours, nearest
from graybox.mistakes.picture_measures import measure, ordinary, place
from graybox.mistakes.traits import TRAITS
from tests.support.basics import image_set


def one_picture(image: np.ndarray, box=(np.nan,) * 4) -> pd.Series:
    images = replace(image_set(1, size=len(image)), images=image[None], boxes=np.array([box], np.float32))
    return measure(images).iloc[0]


def test_known_measures_of_a_picture():
    image = np.zeros((8, 8, 3), np.uint8)
    image[2:6, 2:6] = 255
    found = one_picture(image, (2, 2, 6, 6))
    assert found["brightness"] == pytest.approx(16 / 64, abs=1e-5)
    assert found["contrast"] == pytest.approx(np.sqrt(1 / 4 * 3 / 4), abs=1e-5)
    assert found["box_area"] == 16 / 64 and found["box_off_centre"] == 0 and found["box_at_border"] == 0
    assert found["object_contrast"] == pytest.approx(1 / np.sqrt(1 / 4 * 3 / 4), abs=1e-4)
    assert one_picture(image // 4, (2, 2, 6, 6))["object_contrast"] == pytest.approx(found["object_contrast"], rel=0.02)
    assert one_picture(image, (0, 2, 4, 6))["box_at_border"] == 1
    assert one_picture(image, (0, 0, 8, 8))["box_at_border"] == 0  # from side to side: large, not cut off
    assert one_picture(image, (6, 6, 8, 8))["box_off_centre"] == pytest.approx(0.75)
    bare = one_picture(image)
    assert bare[["box_area", "box_off_centre", "box_at_border", "object_contrast"]].isna().all()
    assert bare["contrast"] == found["contrast"]


def test_a_fainter_picture_is_not_a_less_sharp_one_and_a_smoother_one_is():
    random = np.random.default_rng(0)
    image = random.integers(60, 200, (16, 16, 3)).astype(np.uint8)
    faint = (image * 0.5 + 60).astype(np.uint8)
    smooth = np.repeat(np.repeat(image[::4, ::4], 4, 0), 4, 1)
    assert one_picture(faint)["sharpness"] == pytest.approx(one_picture(image)["sharpness"], rel=0.03)
    assert one_picture(smooth)["sharpness"] < 0.8 * one_picture(image)["sharpness"]
    assert one_picture(np.full((8, 8, 3), 90, np.uint8))["sharpness"] == 0


def test_a_place_is_unusual_only_if_it_is_so_in_the_class_and_overall():
    reference = np.concatenate([np.arange(100.0), np.arange(100.0) + 1000])
    labels = np.repeat([0, 1], 100)
    values, own = np.array([-1.0, -1.0, 1001.0, 5000.0, np.nan, 50.0]), np.array([0, 1, 1, 1, 0, 1])
    found = place(values, own, reference, labels)
    # The lowest of all; of the other class likewise; low for its class, but not overall; the highest; unknown; and low
    # for its class, a quarter of all below.
    assert found[:4] == pytest.approx([0, 0, 0.5, 1]) and np.isnan(found[4]) and found[5] == pytest.approx(0.2525)
    assert np.isnan(place(values, own, np.full(3, np.nan), np.arange(3))).all()
    few = place(np.array([5.0]), np.array([7]), reference, labels)  # a class that the reference hasn't
    assert few[0] == pytest.approx(5.5 / 200)


def test_what_no_training_picture_shows_is_not_ordinary():
    reference = pd.DataFrame({name: np.linspace(0.2, 0.8, 100) for name in picture_measures.MEASURES})
    found = reference.iloc[[50, 50, 50]].reset_index(drop=True)
    found.loc[1, "brightness"], found.loc[2, "box_area"] = 0.01, np.nan
    assert ordinary(found, reference).tolist() == [True, False, True]
    assert ordinary(found, reference.assign(brightness=np.nan)).tolist() == [True, True, True]


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])


def three_classes(labels) -> object:
    return replace(image_set(len(labels), classes=3), labels=np.array(labels))


def test_known_answers():
    found = evidence.answers(three_classes([0, 1, 0, 1]), PROBABILITIES)
    assert found["correct"].tolist() == [True, False, False, False]
    assert found["margin"].tolist() == pytest.approx([0.5, -0.2, -0.7, 0])
    assert found["rank"].tolist() == [1, 2, 3, 2]  # ties count against the network
    assert (found.loc[found["correct"], "margin"] > 0).all()
    even = evidence.answers(three_classes([0]), np.full((1, 3), 1 / 3))
    assert even["entropy"][0] == pytest.approx(1)


def test_the_other_networks_are_counted_each_training_by_itself_and_the_network_itself_is_not():
    other = np.roll(PROBABILITIES, 1, axis=1)
    given = {"a": PROBABILITIES, "b": np.stack([other, PROBABILITIES, other])}
    networks = evidence.each_network(given)
    assert list(networks) == ["a", "b 0", "b 1", "b 2"]
    others = evidence.without(networks, "a")
    assert list(others) == ["b 0", "b 2"]  # b 1 has the same answers to the last digit: it is the same network
    found = evidence.agreement(PROBABILITIES, others, three_classes([1, 0, 2, 0]))
    assert found["other_networks"].tolist() == [2] * 4
    assert found["others_right"].tolist() == [1, 0, 0, 0]
    assert found["others_wrong_class"].tolist() == ["", "class 1", "class 0", "class 1"]
    assert found["others_agree"].tolist() == [0, 0, 0, 0]
    alone = evidence.agreement(PROBABILITIES, {}, three_classes([1, 0, 2, 0]))
    assert alone["others_right"].isna().all() and (alone["other_networks"] == 0).all()


def test_a_network_with_nearly_the_same_answers_is_another_network():
    """Trainings that all end sure of the same answers differ by little; each has its vote."""
    sure = np.tile([0.99, 0.005, 0.005], (4, 1))
    networks = {"a": sure, "b": sure + [-0.001, 0.001, 0], "c": sure - [0.01, 0, -0.01], "d": sure * np.nan}
    assert list(evidence.without(networks, "a")) == ["b", "c"]  # d diverged
    assert list(evidence.without(networks, "c")) == ["a", "b"]
    assert list(evidence.without(networks, None)) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="explained is 'e'; allowed: a, b, c, d, or None"):
        evidence.without(networks, "e")


def test_the_nearest_are_nearest_by_angle():
    training = np.array([[1, 0], [0, 1], [5, 5]], np.float32)
    found = nearest(np.array([[2, 0.1], [0.1, 3]], np.float32), training, np.array([4, 5, 6]), 2)
    assert found.rows.tolist() == [[0, 2], [1, 2]] and found.labels.tolist() == [[4, 6], [5, 6]]
    assert nearest(training, training, np.arange(3), 10).rows.shape == (3, 3)


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are exactly as often right as they say, and labels drawn from them."""
    random = np.random.default_rng(1)
    scores = random.normal(0, 1, (3000, 4)) + 4 * np.eye(4)[random.integers(4, size=3000)]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > random.random((3000, 1))).argmax(axis=1)
    return probabilities, labels


def test_honest_doubt_accounts_for_the_suspects_unless_labels_are_wrong(calibrated):
    probabilities, labels = calibrated
    found = suspects(probabilities, labels, probabilities)
    assert found.p_value > 0.01 and found.suspect.sum() == pytest.approx(found.expected, rel=0.3)
    wrong = np.arange(len(labels)) % 20 == 0
    changed = np.where(wrong, (labels + 1) % 4, labels)
    planted = suspects(probabilities, changed, probabilities)
    assert planted.p_value < 1e-6 and planted.suspect.sum() - planted.expected > 0.6 * wrong.sum()
    assert planted.suspect[wrong].mean() > 0.5
    assert planted.quality[wrong].mean() < 0.2 < 0.7 < planted.quality[~wrong].mean()
    none = suspects(probabilities, changed, probabilities, np.zeros(len(labels), bool))
    assert not none.suspect.any() and none.p_value == 1


def test_a_class_without_images_is_no_obstacle(calibrated):
    probabilities, labels = calibrated
    some = labels != 3
    found = suspects(probabilities[some], labels[some], probabilities[some])
    assert found.suspect.shape == (some.sum(),) and 0 <= found.p_value <= 1
    one = suspects(probabilities[labels == 0], labels[labels == 0], probabilities[labels == 0])
    assert not one.suspect.any()


def test_temperature_undoes_what_made_a_network_too_sure(calibrated):
    probabilities, labels = calibrated
    for by in (0.5, 1.0, 2.0):
        found = temperature(recalibrated(probabilities, 1 / by), labels)
        assert found == pytest.approx(by, rel=0.1)
    assert temperature(probabilities[:100], labels[:100], greatest=True) > temperature(probabilities, labels)
    assert recalibrated(probabilities, 1) == pytest.approx(probabilities)


def frame_of(count: int = 400, wrong: int = 80, seed: int = 0) -> pd.DataFrame:
    """Of images that nothing is the matter with, the first `wrong` of them misclassified."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"correct": np.arange(count) >= wrong, "file": [f"{n}.png" for n in range(count)]})
    frame["true_class"], frame["predicted_class"] = "a", np.where(frame["correct"], "a", "b")
    frame["predicted_probability"] = random.uniform(0.5, 0.9, count)
    frame["true_probability"] = np.where(frame["correct"], frame["predicted_probability"], 0.05)
    for name in picture_measures.MEASURES:
        frame[name], frame[f"{name}_place"] = 0.3, random.uniform(0.1, 0.9, count)
    frame["box_at_border"] = 0.0
    frame["covered"], frame["uncovered_class"], frame["uncovered_probability"] = np.nan, "", np.nan
    frame["label_suspect"], frame["label_quality"] = False, 0.5
    frame["p_as_is"] = frame["true_probability"]
    frame["p_box_hidden"], frame["p_context_hidden"] = 0.1, np.where(frame["correct"], 0.9, 0.3 * random.random(count))
    frame["other_networks"], frame["others_right"], frame["others_agree"] = 5, 0.4, 0.2
    frame["others_wrong_class"], frame["others_wrong_share"] = "b", 0.2
    frame["neighbours_true"], frame["neighbours_wrong_class"], frame["neighbours_wrong_share"] = 0.5, "b", 0.5
    return frame.assign(rank=2, margin=-0.1, entropy=0.5, neighbours_similarity=0.9)


NOBODY = LabelSuspects(np.full(400, 0.5), np.zeros(400, bool), 2.0, 1.0)


def test_a_trait_is_a_reason_only_if_it_is_more_frequent_among_the_mistakes():
    frame = frame_of()
    frame.loc[frame.index % 5 == 0, "brightness_place"] = 0.01  # as frequent where the network is right
    frame.loc[:39, "box_area_place"] = 0.01  # half of the mistakes
    frame.loc[100:104, "box_area_place"] = 0.01  # and few others
    mistakes, table = reasons.explain(frame, NOBODY)
    rows = table.set_index("reason")
    assert rows.loc["dark", "finding"] == reasons.UNSUPPORTED and rows.loc["dark", "named"] == 0
    small = rows.loc["small_object"]
    assert small["finding"] == reasons.SUPPORTED and small["named"] == 40
    assert (small["mistakes"], small["known"], small["share"], small["correct_share"]) == (40, 80, 0.5, 5 / 320)
    assert (small["correct"], small["correct_known"]) == (5, 320) and np.isnan(small["expected"])
    assert small["failing"] == pytest.approx(40 / 45) and small["failing_without"] == pytest.approx(40 / 355)
    assert small["strength"] == pytest.approx(1 - (40 / 355) / (40 / 45))
    exact = fisher_exact([[40, 40], [5, 315]], alternative="greater").pvalue
    tested = table["p_value"].notna().sum()
    assert small["p_value"] == pytest.approx(exact * tested, rel=1e-6)  # Holm: the least p times the number of tests
    said = mistakes.set_index("row").sort_index().loc[3, "because"]
    assert said.startswith("small object: the object's box is 30% of the picture, less than in 99%")
    assert said.endswith("(of such images 89% fail, of the others 11%)")
    assert "dark" not in "".join(mistakes["other_reasons"])
    assert table["named"].sum() == len(mistakes) == 80


def test_more_frequent_is_not_enough_if_most_would_fail_without_it():
    frame = frame_of(wrong=200)
    frame.loc[:59, "brightness_place"] = 0.01
    frame.loc[200:219, "brightness_place"] = 0.01  # 75% fail with it, and 44% without
    mistakes, table = reasons.explain(frame, NOBODY)
    row = table.set_index("reason").loc["dark"]
    assert row["finding"] == reasons.MINOR and row["named"] == 0 and row["strength"] < 0.5
    assert (mistakes.set_index("row").sort_index()["other_reasons"].loc[:59] == "dark picture").all()


def test_the_label_comes_first_then_the_strongest_and_the_rest_is_listed():
    frame = frame_of()
    frame.loc[:29, "box_area_place"] = 0.01
    frame.loc[:29, "contrast_place"] = 0.01
    frame.loc[100:109, "contrast_place"] = 0.01
    frame.loc[:4, "label_suspect"] = True
    labels = replace(NOBODY, suspect=frame["label_suspect"].to_numpy(), expected=0.1, p_value=1e-8)
    mistakes, table = reasons.explain(frame, labels)
    rows = mistakes.set_index("row").sort_index()
    assert (rows.loc[:4, "reason"] == "label_suspect").all()
    assert (rows.loc[5:29, "reason"] == "small_object").all()
    assert rows.loc[5:29, "other_reasons"].str.startswith("low contrast").all()
    assert table["reason"].tolist()[0] == "label_suspect" and table["reason"].iloc[-1] == "no_reason"
    assert set(rows.loc[30:, "reason"]) == {"object_not_recognised"}


def test_what_the_networks_say_describes_and_is_marked_so():
    frame = frame_of()
    frame.loc[:9, ["neighbours_wrong_share", "others_wrong_share"]] = 0.8
    frame.loc[10:19, "others_right"] = 0.8
    frame.loc[20:29, "others_right"] = 0.0
    frame["p_context_hidden"] = 0.4
    mistakes, table = reasons.explain(frame, NOBODY)
    named = mistakes.set_index("row").sort_index()["reason"]
    assert set(named.loc[:9]) == {"looks_like_another"} and set(named.loc[10:19]) == {"quirk"}
    assert set(named.loc[20:29]) == {"hard_for_all"} and set(named.loc[30:]) == {"no_reason"}
    rows = table.set_index("reason")
    assert rows.loc["looks_like_another", "finding"] == rows.loc["quirk", "finding"] == reasons.BY_NATURE
    assert np.isnan(rows.loc["quirk", "p_value"])
    # Networks of the same training images fail together: that is no finding about these mistakes.
    assert rows.loc["hard_for_all", "finding"] == reasons.BY_NATURE and np.isnan(rows.loc["hard_for_all", "p_value"])
    frame["other_networks"] = 1  # one other's opinion isn't everybody's
    rows = reasons.explain(frame, NOBODY)[1].set_index("reason")
    assert rows.loc["hard_for_all", "finding"] == reasons.UNKNOWN


def test_what_hiding_the_context_corrects_is_described_and_no_cause_is_claimed():
    frame = frame_of()
    frame.loc[:19, "p_context_hidden"] = 0.9
    found = _finding(frame, "right_without_context")
    assert (found["finding"], found["kind"], found["mistakes"]) == (reasons.BY_NATURE, "networks", 20)
    assert np.isnan(found["p_value"]) and np.isnan(found["strength"])
    frame.loc[:17, "p_box_hidden"] = 0.8  # hiding the object did nearly as much
    assert _finding(frame, "right_without_context")["mistakes"] == 2


def _finding(frame: pd.DataFrame, reason: str) -> pd.Series:
    frame = frame.copy()
    frame.loc[~frame["correct"] & (frame["p_context_hidden"] < 0.9), "p_context_hidden"] *= 0.5
    return reasons.explain(frame, NOBODY)[1].set_index("reason").loc[reason]


def test_a_thing_in_front_is_the_reason_if_covered_objects_fail_more_often():
    frame = frame_of(1000, 60)
    frame["covered"] = 0.0
    frame.loc[:32, ["covered", "uncovered_class", "uncovered_probability"]] = [0.12, "a", 0.93]
    frame.loc[33:40, ["covered", "uncovered_class", "uncovered_probability"]] = [0.019, "a", 0.9]  # too little
    frame.loc[100:216, ["covered", "uncovered_class", "uncovered_probability"]] = [0.3, "a", 0.9]
    frame.loc[0, ["uncovered_class", "uncovered_probability"]] = ["c", 0.6]
    frame.loc[1, ["uncovered_class", "uncovered_probability"]] = ["", np.nan]
    mistakes, table = reasons.explain(frame, NOBODY)
    row, said = table.set_index("reason").loc["object_partly_covered"], mistakes.set_index("row")["because"]
    assert row["finding"] == reasons.SUPPORTED and (row["mistakes"], row["named"]) == (33, 32)
    assert row["failing"] == 33 / 150 and row["failing_without"] == 27 / 850
    fails = " (of such images 22% fail, of the others 3%)"
    covers = "object partly covered: something in front covers 12% of the object"
    assert said[2] == f"{covers}; without it the network is right with 93%{fails}"
    assert "covered" not in said[0]  # without the thing the answer is wrong too
    assert said[1] == covers + fails
    photographs = reasons.explain(frame_of(), NOBODY)[1].set_index("reason").loc["object_partly_covered"]
    assert photographs["finding"] == reasons.UNKNOWN and np.isnan(photographs["p_value"])


def test_a_thing_in_front_without_an_effect_is_seldom_blamed():
    """As many covered objects as in the default study, and as many mistakes, but independent of one another."""
    trait = next(trait for trait in TRAITS if trait.name == "object_partly_covered")
    random, studies, blamed = np.random.default_rng(7), 1000, 0
    frame = frame_of(1000, 0)
    for _ in range(studies):
        frame["covered"] = np.where(random.random(1000) < 0.15, random.uniform(0.05, 0.3, 1000), 0.0)
        frame["correct"] = random.random(1000) >= 0.06
        found = reasons._finding(trait, trait.applies(frame), frame, NOBODY)
        assert found.mistakes > 0  # there is something to blame
        blamed += found.p_value < 0.05
    assert blamed / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def test_the_answers_to_the_uncovered_pictures_stand_in_the_rows_of_their_images():
    found = evidence.without_cover(three_classes([0, 1, 2, 0]), [2, 0], PROBABILITIES[[0, 2]])
    assert found["uncovered_class"].tolist() == ["class 2", "", "class 0", ""]
    assert found["uncovered_probability"].tolist() == pytest.approx([0.8, np.nan, 0.7, np.nan], nan_ok=True)


def test_the_chart_compares_a_reason_only_with_what_its_test_compares_it_with():
    frame = frame_of()
    frame.loc[:39, "box_area_place"] = 0.01
    frame.loc[:29, "label_suspect"] = True
    frame.loc[10:59, "others_right"] = 0.0
    labels = replace(NOBODY, suspect=frame["label_suspect"].to_numpy(), expected=31.0, p_value=0.6)
    _, table = reasons.explain(frame, labels)
    assert table.set_index("reason").loc["label_suspect", "expected"] == 31
    figure = charts_mistakes.reasons_chart(table)
    axes, beside = figure.axes[:2]
    drawn = {str(line.get_label()): line for line in axes.lines}
    names = [label.get_text() for label in axes.get_yticklabels()]

    def rows_of(line) -> set[str]:
        return {names[round(place)] for place in np.asarray(line.get_ydata(), float)}

    assert rows_of(drawn["misclassified"]) == set(names)
    assert rows_of(drawn["expected without wrong labels"]) == {"label suspect"}
    assert drawn["expected without wrong labels"].get_xdata()[0] == pytest.approx(31 / 80)
    tested = table[(table["compared_with"] == reasons_table.CORRECT) & table["share"].notna()]
    assert rows_of(drawn["correctly classified"]) == set(tested["title"])
    bold = {label.get_text() for label in axes.get_yticklabels() if label.get_fontweight() == "bold"}
    assert bold == {"small object"}
    note = figure.get_supxlabel().replace("\n", " ")
    assert "30 found, 31.0 expected" in note and "below 0.05 and at least 50%" in note
    # Nothing lies outside of the picture.
    figure.draw_without_rendering()
    for text in [*axes.texts, *beside.texts, *axes.get_yticklabels()]:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("wrong", [0, 400])
def test_all_right_or_all_wrong(wrong):
    frame = frame_of(wrong=wrong)
    mistakes, table = reasons.explain(frame, NOBODY)
    assert len(mistakes) == wrong == table["named"].sum()
    assert (table["finding"] != reasons.SUPPORTED).all()
    assert reasons_table.figures(table, wrong, 0.1)["misclassified"] == wrong
    charts_mistakes.reasons_chart(table)


def test_the_shares_of_the_figures_are_all_of_the_mistakes():
    frame = frame_of()
    frame.loc[:39, "box_area_place"] = 0.01
    found = reasons_table.figures(reasons.explain(frame, NOBODY)[1], 80, 0.12345678)
    assert found["calibration_error"] == 0.123457 and found["with_a_cause"] == 0.5
    assert found["with_a_cause"] + found["described"] + found["no_reason"] == pytest.approx(1)


def test_mistakes_are_ordered_by_confidence_and_a_class_that_is_never_right_is_no_obstacle():
    images = three_classes([0, 1, 0, 1] * 10)
    probabilities = np.tile(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.9, 0.1, 0.0]]), (10, 1))
    labels = suspects(probabilities, images.labels, probabilities)
    neighbours = Neighbours(np.zeros((40, 2), int), np.zeros((40, 2), int), np.ones((40, 2)))
    measures = evidence.pictures(images, images, probabilities.argmax(axis=1) == images.labels)
    reliance = pd.DataFrame(columns=["row", "p", "p_box_hidden", "p_context_hidden"])
    alone = evidence.agreement(probabilities, {}, images)
    found = evidence.gather(images, probabilities, alone, neighbours, labels, measures, reliance)
    mistakes, _ = reasons.explain(found, labels)
    assert mistakes["row"].tolist() == [*range(3, 40, 4), *range(1, 40, 4)]
    assert (mistakes["true_class"] == "class 1").all() and (mistakes["reason"] == "looks_like_another").all()


def test_a_picture_whose_object_is_partly_covered_is_not_ordinary():
    images = image_set(40)
    covered = np.where(np.arange(40) < 3, 0.2, np.where(np.arange(40) < 6, np.nan, 0.0)).astype(np.float32)
    everything = np.ones(40, bool)
    plain = evidence.pictures(images, images, everything)["ordinary"]
    found = evidence.pictures(replace(images, covered=covered), images, everything)["ordinary"]
    assert plain[:3].any() and not found[:3].any() and (found[3:] == plain[3:]).all()


def test_the_pages_are_drawn(tmp_path):
    images = image_set(8)
    frame = frame_of(8, 6).assign(correct=[False] * 6 + [True] * 2)
    frame["true_class"], frame["predicted_class"] = "class 0", "class 1"
    mistakes, table = reasons.explain(frame, replace(NOBODY, suspect=np.zeros(8, bool)))
    headline = charts_mistakes.headline(table.iloc[-1], len(mistakes))
    for shown in (mistakes, mistakes.head(0)):
        page = charts_mistakes.reason_page(images, images, shown, np.zeros((8, 5), int), headline, most=4)
        assert len(page.axes[0].images) == min(4, len(shown)) * 6
    covered = mistakes.assign(uncovered_class="class 0", uncovered_probability=0.93)
    without = {int(covered["row"][1]): np.full((16, 16, 3), 7, np.uint8)}
    axes = charts_mistakes.reason_page(
        images, images, covered, np.zeros((8, 5), int), headline, most=4, uncovered=without
    ).axes[0]
    said = charts_mistakes.headline(table.set_index("reason", drop=False).loc["object_partly_covered"], 6)
    assert "without the thing in front" in said and "without the thing" not in headline
    beside = [image for image in axes.images if (np.asarray(image.get_array()) == 7).all()]
    assert len(beside) == 1 and len(axes.images) == 3 * 6 + 2 + charts_mistakes.BESIDE_UNCOVERED
    first = axes.images[6 * int(covered["row"].iloc[0] != covered["row"][1])].get_extent()
    assert beside[0].get_extent()[0] > first[1]  # on the right of the picture as it is
    pairs = pd.DataFrame({"class_a": ["class 0"], "class_b": ["class 1"]})
    predicted = np.array([0, 0, 2, 3, 1, 1, 2, 3])  # labels 0 1 2 3 0 1 2 3: one each of a, b, a as b and b as a
    chart = charts_mistakes.confused_pairs_chart(images, predicted, np.ones(8), pairs)
    texts = [text.get_text() for text in chart.axes[0].texts]
    assert texts[0] == "class 0 taken for class 1: 1; class 1 taken for class 0: 1"
    assert texts[1:] == ["class 0\nright", "class 1\nright", "class 1\nas class 0", "class 0\nas class 1"]
    shown = [np.asarray(image.get_array()) for image in chart.axes[0].images]
    for row, picture in zip((0, 5, 1, 4), shown, strict=True):
        np.testing.assert_array_equal(picture, images.images[row])
    charts_mistakes.confused_pairs_chart(images, predicted, np.ones(8), pairs.head(0))
