"""What the charts show can be read."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from graybox.figures import reliance, study, style


def test_the_names_of_variants_that_do_alike_cover_neither_one_another_nor_a_point():
    names = ["baseline", "epochs-half", "pool-none", "stride-3", "filters-64"]
    accuracy = np.array([0.6, 0.601, 0.602, 0.8, 0.9])
    table = pd.DataFrame(
        {
            "variant": names, "test_accuracy": accuracy, "test_low": accuracy - 0.02, "test_high": accuracy + 0.02,
            "gap": 0.01, "gap_low": -0.01, "gap_high": 0.03,
            "macs": [30e6, 31e6, 30.5e6, 9e6, 9e7], "training_work": [5.0, 5.1, 5.2, 1.0, 20.0], "diverged": "",
        }
    )  # fmt: skip
    fronts = dict.fromkeys(study.COSTS, pd.Series([True] * 5))
    figure = study.costs(table, fronts)
    figure.draw_without_rendering()
    for axes, cost in zip(figure.axes, fronts):
        texts = [text for text in axes.texts if text.get_text() in names]
        assert sorted(text.get_text() for text in texts) == sorted(names)
        boxes = [text.get_window_extent() for text in texts]
        points = axes.transData.transform(table[[cost, "test_accuracy"]])
        for place, box in enumerate(boxes):
            assert box.count_overlaps(boxes[:place] + boxes[place + 1 :]) == 0
            assert not any(box.contains(*point) for point in points)
            assert box.x1 <= axes.bbox.x1


def test_variants_on_the_same_point_share_its_name_and_no_name_is_said_to_be_missing_if_none_is():
    table = pd.DataFrame({"variant": ["a", "b", "combined"], "test_accuracy": [0.5, 0.9, 0.9], "macs": [1e6, 3e6, 3e6]})
    table = table.assign(test_low=table["test_accuracy"] - 0.02, test_high=table["test_accuracy"] + 0.02, diverged="")
    front = {"macs": pd.Series([True, True, False])}
    figure = study.costs(table, front)
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["a", "b, combined"]
    assert "Two names at one dot" in figure.get_supxlabel().replace("\n", " ")
    assert "without a name" not in figure.get_supxlabel()
    crowd = pd.DataFrame({"variant": [f"a long name of a variant {n}" for n in range(30)], "macs": 1e6})
    crowd = crowd.assign(test_accuracy=0.5 + crowd.index / 1000, test_low=0.4, test_high=0.6, diverged="")
    assert "without a name" in study.costs(crowd, {"macs": pd.Series([False] * 30)}).get_supxlabel().replace("\n", " ")


def test_a_name_without_room_is_left_out_unless_its_variant_is_on_the_front():
    table = pd.DataFrame({"x": [1.0] * 9 + [2.0], "y": [0.5 + place / 1000 for place in range(9)] + [0.9]})
    table = table.assign(low=table["y"] - 0.2, high=table["y"] + 0.2, name=[f"a long name, {n}" for n in range(10)])
    always = [place == 4 for place in range(10)]
    figure = Figure(figsize=(4, 2))
    axes = figure.subplots()
    axes.scatter(table["x"], table["y"])
    axes.set(xlim=(0, 3), ylim=(0, 1.2))
    figure.draw_without_rendering()
    style.name_points(axes, table, always)
    named = [text.get_text() for text in axes.texts]
    assert "a long name, 4" in named and "a long name, 9" in named and len(named) < 10


def test_the_gaps_are_drawn_with_their_intervals_beside_their_variants():
    table = pd.DataFrame({"variant": ["a", "b"], "gap": [0.3, 0.05], "gap_low": [0.2, -0.02], "gap_high": [0.35, 0.1]})
    (axes,) = study.gaps(table).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"] and axes.yaxis_inverted()
    assert axes.lines[0].get_xdata().tolist() == [0.3, 0.05]
    (bars,) = (found for found in axes.collections if isinstance(found, LineCollection))
    np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], [[0.2, 0.35], [-0.02, 0.1]])


def curves_of(*variants: str, epochs: int = 2) -> pd.DataFrame:
    rows = [{"variant": name, "epoch": epoch, "train_loss": 4.0 - epoch, "validation_loss": 3.5 - epoch,
             "train_accuracy": epoch / 10, "validation_accuracy": epoch / 5}
            for name in variants for epoch in range(1, epochs + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def test_training_and_validation_curves_share_no_axis():
    """The loss that is minimised, on augmented images, is another quantity than the loss of validation."""
    figure = study.learning_curves(curves_of("a"), {}, "a")
    drawn = {axes.get_title(loc="left"): [line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes}
    assert drawn == {
        "validation\nloss": [[2.5, 1.5]], "validation\naccuracy": [[0.2, 0.4]],
        "augmented training\nloss": [[3.0, 2.0]], "augmented training\naccuracy": [[0.1, 0.2]],
    }  # fmt: skip
    assert not any(axes.get_shared_y_axes().joined(axes, other) for axes in figure.axes for other in figure.axes
                   if other is not axes)  # fmt: skip
    assert "label smoothing" in figure._supxlabel.get_text()


def test_each_row_of_the_curves_has_its_parameters_variants_and_the_baseline_in_gray():
    groups = {"filters": {"a": "32", "b": "64"}, "others": {f"c{n}": f"c{n}" for n in range(8)}}
    figure = study.learning_curves(curves_of("a", "b", *groups["others"]), groups, "a")
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes if axes.get_legend()]
    assert legends == [["32", "64"], ["baseline", *(f"c{n}" for n in range(6))], ["baseline", "c6", "c7"]]
    for row in range(3):
        colours = [line.get_color() for line in figure.axes[4 * row].lines]
        assert colours[0] == style.BASELINE and style.BASELINE not in colours[1:]


@pytest.mark.parametrize(("epochs", "seen"), [(1, True), (30, False)])
def test_a_single_epoch_is_a_point_that_is_seen(epochs, seen):
    (line,) = study.learning_curves(curves_of("a", epochs=epochs), {}, "a").axes[0].lines
    assert (line.get_marker() == "o") == seen


def test_a_line_joins_the_levels_of_a_parameter_only_where_they_are_numbers():
    rows = pd.DataFrame({"variant": ["a", "b"], "is_baseline": [True, False], "test_accuracy": [0.5, 0.6],
                         "test_low": [0.4, 0.5], "test_high": [0.6, 0.7]})  # fmt: skip
    levels = {"filters": rows.assign(level=["32", "64"]), "max pooling": rows.assign(level=["2x2", "none"]),
              "stride": rows.head(1).assign(level=["1"])}  # fmt: skip
    figure = study.accuracy_by_parameter(levels, {"a": np.ones(1), "b": np.ones(1)})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "filters",
        "max pooling",
    ]  # a lone level says nothing
    joined = [any(len(line.get_xdata()) == 2 and line.get_ydata().tolist() == [0.5, 0.6] for line in axes.lines)
              for axes in figure.axes]  # fmt: skip
    assert joined == [True, False]


def test_where_no_variant_changes_a_parameter_each_variants_accuracy_is_drawn():
    table = pd.DataFrame({"variant": ["baseline", "resnet"], "test_accuracy": [0.5, 0.61], "test_low": [0.4, 0.5],
                          "test_high": [0.6, 0.7]})  # fmt: skip
    figure = study.accuracy_by_variant(table, "baseline")
    assert "resnet has the highest, 61.0%" in figure.get_suptitle().replace("\n", " ")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.5, 0.61]


def test_each_variants_row_has_what_object_and_context_alone_keep_and_its_verdict():
    table = pd.DataFrame({
        "variant": ["baseline", "conv-2", "chance"], "verdict": ["object", "mixed", "cannot tell"],
        "object_alone": [0.9, 0.4, np.nan], "object_alone_low": [0.85, 0.3, np.nan],
        "object_alone_high": [0.95, 0.5, np.nan], "context_alone": [0.1, 0.5, np.nan],
        "context_alone_low": [0.05, 0.4, np.nan], "context_alone_high": [0.2, 0.6, np.nan],
    })  # fmt: skip
    figure = reliance.variants_chart(table, "A long sentence.")
    assert figure.get_suptitle() == "What the variants rest on: object (1), mixed (1)"
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes.lines if "alone" in str(line.get_label())}
    assert drawn == {"object alone": [0.9, 0.4], "context alone": [0.1, 0.5]}
    ends = [[segment[:, 0].tolist() for segment in bars.get_segments()] for bars in axes.collections]
    assert ends == [[[0.85, 0.95], [0.3, 0.5]], [[0.05, 0.2], [0.4, 0.6]]]
    assert [text.get_text() for text in axes.texts] == ["object", "mixed", "rests on"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["baseline", "conv-2"]
    assert reliance.variants_chart(table[["variant"]], "Not known.").axes == []
