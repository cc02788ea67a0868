"""What the charts show can be read."""

import numpy as np
import pandas as pd

from graybox.figures import study


def test_the_names_of_variants_that_do_alike_cover_neither_one_another_nor_a_point():
    names = ["baseline", "epochs-half", "pool-none", "stride-3", "filters-64"]
    accuracy = np.array([0.6, 0.601, 0.602, 0.8, 0.9])
    table = pd.DataFrame(
        {
            "variant": names, "test_accuracy": accuracy, "test_low": accuracy - 0.02, "test_high": accuracy + 0.02,
            "macs": [30e6, 31e6, 30.5e6, 9e6, 9e7], "train_seconds": [5.0, 5.1, 5.2, 1.0, 20.0],
        }
    )  # fmt: skip
    fronts = dict.fromkeys(["macs", "train_seconds"], pd.Series([True] * 5))
    figure = study.costs(table, fronts, pd.Series(0.01, index=names))
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
