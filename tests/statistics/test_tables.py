"""What one stage wrote is what the next one reads, whatever a class or a variant is called."""

import numpy as np
import pandas as pd

from graybox.statistics import tables


def test_names_stay_names_and_only_what_is_empty_is_missing(tmp_path):
    written = pd.DataFrame(
        {
            "variant": ["NA", "32"],
            "true_class": ["None", "nan"],
            "predicted_class": ["007", "12"],
            "class_there": ["null", np.nan],
            "p": [0.5, np.nan],
            "correct": [True, False],
            "rank": [1, 2],
        }
    )
    written.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(tables.read(tmp_path / "table.csv"), written, check_dtype=False)
