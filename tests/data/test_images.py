"""ImageSet: what is saved comes back, split by split, without being read into memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from graybox.data import images
from graybox.data.images import BOX_COLUMNS, SPLITS
from graybox.errors import UserError

CLASSES = ['a "quoted", name', "null", "нож"]


def saved(folder, splits=("train", "train", "train", "validation", "test", "test")) -> np.ndarray:
    """Write a small set; row r's pixels are all r. Returns its boxes."""
    count = len(splits)
    pixels = np.empty((count, 8, 8, 3), np.uint8)
    pixels[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    folder.mkdir(exist_ok=True)
    np.save(folder / "images.npy", pixels)
    boxes = np.arange(count * 4, dtype=np.float32).reshape(count, 4) / 3
    boxes[1] = np.nan
    table = pd.DataFrame({"split": list(splits), "row": range(count), "label": np.arange(count) % 3})
    table["class"] = [CLASSES[label] for label in table["label"]]
    table["file"] = [f"NA/0{row}.png" if row else "None" for row in range(count)]
    table[BOX_COLUMNS] = boxes
    images.save_table(folder, table, CLASSES)
    return boxes


def test_each_split_comes_back_as_it_was(tmp_path):
    boxes = saved(tmp_path)
    for split, rows in zip(SPLITS, ([0, 1, 2], [3], [4, 5]), strict=True):
        part = images.load(tmp_path, split)
        assert part.images.shape == (len(rows), 8, 8, 3) and part.images.dtype == np.uint8
        assert part.images[:, 0, 0, 0].tolist() == rows
        assert part.labels.tolist() == [row % 3 for row in rows] and part.labels.dtype == np.int64
        assert part.class_names == tuple(CLASSES)
        assert part.files == tuple(f"NA/0{row}.png" if row else "None" for row in rows)
        np.testing.assert_array_equal(part.boxes, boxes[rows])
        assert part.boxes.dtype == np.float32
        assert (len(part), part.size) == (len(rows), 8)


def test_a_missing_box_is_known_to_be_missing(tmp_path):
    saved(tmp_path)
    assert images.load(tmp_path, "train").has_box.tolist() == [True, False, True]


def test_what_covers_an_object_is_unknown_unless_it_is_said(tmp_path):
    saved(tmp_path)
    part = images.load(tmp_path, "train")
    assert part.covered.dtype == np.float32 and part.covered.shape == (3,) and np.isnan(part.covered).all()
    assert images.load_uncovered(tmp_path) == {}
    given = (part.images, part.labels, part.class_names, part.files, part.boxes)
    assert np.isnan(images.ImageSet(*given).covered).all()
    few = replace(part, images=part.images[:2], labels=part.labels[:2], files=part.files[:2], boxes=part.boxes[:2])
    assert few.covered.shape == (2,)  # of unknown shares any number is right
    known = images.ImageSet.from_arrays(*given[:3], covered=np.array([0, 0.5, np.nan]))
    assert known.covered[1] == 0.5
    with pytest.raises(ValueError, match=r"covered has the shape \[3\]; allowed with these labels: \[2\]"):
        replace(known, images=part.images[:2], labels=part.labels[:2])
    with pytest.raises(ValueError, match=r"covered has the shape \[2\]; allowed with these images: \[3\]"):
        images.ImageSet.from_arrays(*given[:3], covered=np.zeros(2))
    with pytest.raises(ValueError, match="covered has values outside 0 to 1"):
        images.ImageSet.from_arrays(*given[:3], covered=np.array([0, 12, 0]))
    with pytest.raises(TypeError, match="covered is of <U1; allowed: numbers"):
        images.ImageSet.from_arrays(*given[:3], covered=np.array(["a", "b", "c"]))


def test_images_stay_on_disk(tmp_path):
    saved(tmp_path)
    part = images.load(tmp_path, "test")
    assert isinstance(part.images, np.memmap) and not part.images.flags.writeable


def test_a_split_in_pieces_is_refused(tmp_path):
    saved(tmp_path, ("train", "test", "train"))
    with pytest.raises(ValueError, match="train are not one slice"):
        images.load(tmp_path, "train")


@pytest.mark.parametrize("name", ["table.csv", "images.npy", "classes.json"])
def test_a_file_that_is_missing_is_named(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"holds no prepared images \({name}: No such file"):
        images.load(tmp_path, "test")


def test_a_split_without_images_is_named(tmp_path):
    saved(tmp_path, ("train", "test"))
    with pytest.raises(UserError, match="holds no validation images"):
        images.load(tmp_path, "validation")


def test_the_same_set_is_saved_as_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        saved(tmp_path / name)
    for file in ("images.npy", "table.csv", "classes.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
