"""What the tests of the benchmarks share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graybox.data import images
from graybox.data.images import BOX_COLUMNS, SPLITS
from tests.support.basics import image_set


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A prepared folder of 256 training images and 16 of either other split, of 16 x 16 pixels."""
    parts = {split: image_set(count, seed=seed) for seed, (split, count) in enumerate(zip(SPLITS, (256, 16, 16)))}
    (tmp_path / "prepared").mkdir()
    np.save(tmp_path / "prepared/images.npy", np.concatenate([part.images for part in parts.values()]))
    table = pd.DataFrame({"split": np.repeat(SPLITS, [len(part) for part in parts.values()]), "row": range(288)})
    table["label"] = np.concatenate([part.labels for part in parts.values()])
    table["class"], table["file"] = table["label"].map("class {}".format), table["row"].map("{}.png".format)
    table[BOX_COLUMNS] = np.concatenate([part.boxes for part in parts.values()])
    images.save_table(tmp_path / "prepared", table, list(parts["test"].class_names))
    return tmp_path / "prepared"
