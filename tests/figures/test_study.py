"""What the charts show can be read."""

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from graybox.figures import reliance, study


def test_the_names_of_variants_that_do_alike_cover_neither_one_another_nor_a_point():
    names = ["baseline", "epochs-half", "pool-none", "stride-3", "filters-64"]
    accuracy = np.array([0.6, 0.601, 0.602, 0.8, 0.9])
    table = pd.DataFrame(
        {
            "variant": names, "test_accuracy": accuracy, "test_low": accuracy - 0.02, "test_high": accuracy + 0.02,
            "gap": 0.01, "gap_low": -0.01, "gap_high": 0.03,
            "macs": [30e6, 31e6, 30.5e6, 9e6, 9e7], "train_seconds": [5.0, 5.1, 5.2, 1.0, 20.0],
        }
    )  # fmt: skip
    fronts = dict.fromkeys(["macs", "train_seconds"], pd.Series([True] * 5))
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


def test_the_gaps_are_drawn_with_their_intervals_beside_their_variants():
    table = pd.DataFrame({
        "variant": ["a", "b"], "test_accuracy": 0.7, "test_low": 0.6, "test_high": 0.8, "macs": [1e6, 2e6],
        "train_seconds": [1.0, 2.0], "gap": [0.3, 0.05], "gap_low": [0.2, -0.02], "gap_high": [0.35, 0.1],
    })  # fmt: skip
    fronts = dict.fromkeys(["macs", "train_seconds"], pd.Series([True] * 2))
    gaps = study.costs(table, fronts).axes[2]
    widths = dict(zip([text.get_text() for text in gaps.get_yticklabels()], [bar.get_width() for bar in gaps.patches]))
    assert widths == {"a": 0.3, "b": 0.05}
    (bars,) = (found for found in gaps.collections if isinstance(found, LineCollection))
    np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], [[-0.02, 0.1], [0.2, 0.35]])


def test_training_and_validation_curves_share_no_axis():
    """The loss that is minimised, on augmented images, is another quantity than the loss of validation."""
    curves = pd.DataFrame({
        "variant": ["a", "a"], "epoch": [1, 2], "train_loss": [3.0, 2.0], "validation_loss": [2.5, 1.5],
        "train_accuracy": [0.1, 0.2], "validation_accuracy": [0.3, 0.4],
    })  # fmt: skip
    figure = study.learning_curves(curves)
    drawn = {axes.get_ylabel(): [line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes}
    assert drawn == {
        "validation loss": [[2.5, 1.5]], "validation accuracy": [[0.3, 0.4]],
        "augmented training loss": [[3.0, 2.0]], "augmented training accuracy": [[0.1, 0.2]],
    }  # fmt: skip
    assert not any(axes.get_shared_y_axes().joined(axes, other) for axes in figure.axes for other in figure.axes
                   if other is not axes)  # fmt: skip
    assert "label smoothing" in figure._supxlabel.get_text()


def test_each_variant_lies_at_what_its_object_keeps_and_its_accuracy_in_the_colour_of_its_verdict():
    table = pd.DataFrame({
        "variant": ["baseline", "conv-2", "chance"], "test_accuracy": [0.8, 0.6, 0.11], "test_low": [0.7, 0.5, 0.05],
        "test_high": [0.9, 0.7, 0.2], "verdict": ["object", "mixed", "cannot tell"],
        "object_alone": [0.9, 0.4, np.nan], "object_alone_low": [0.85, 0.3, np.nan],
        "object_alone_high": [0.95, 0.5, np.nan],
    })  # fmt: skip
    figure = reliance.variants_chart(table, "What each variant rests on.")
    (axes,) = figure.axes
    drawn = {bars.get_label(): bars for bars in axes.containers}
    assert set(drawn) == {"object", "mixed"}
    for verdict, place in {"object": (0.9, 0.8), "mixed": (0.4, 0.6)}.items():
        points, _, (across, up) = drawn[verdict]
        assert [*points.get_xydata()[0]] == [*place] and points.get_color() == reliance.COLOURS[verdict]
        half = {"object": (0.05, 0.1), "mixed": (0.1, 0.1)}[verdict]
        np.testing.assert_allclose(np.ptp(across.get_segments()[0][:, 0]) / 2, half[0])
        np.testing.assert_allclose(np.ptp(up.get_segments()[0][:, 1]) / 2, half[1])
    assert sorted(text.get_text() for text in axes.texts) == ["baseline", "conv-2"]
    assert reliance.variants_chart(table[["variant", "test_accuracy"]], "Not known.").axes == []
