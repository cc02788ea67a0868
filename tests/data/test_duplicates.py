"""Copies of images: what is dropped, from where, and what summary.json says of a prepared folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graybox.data import duplicates, images
from graybox.data.prepare import prepare
from graybox.data.sources import Catalogue, UnreadableError
from graybox.errors import UserError
from tests.data.test_prepare import bytes_of, params


@dataclass(frozen=True)
class Contents:
    """A `load` whose picture i has the colour (number i, 100, 0), or can't be read where that is negative."""

    numbers: tuple[int, ...]

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        number = self.numbers[index]
        if number < 0:
            raise UnreadableError("it is planted")
        box = np.array([0, 0, 5, 5] if number % 2 else [np.nan] * 4, np.float32)
        return Image.new("RGB", (10 + number, 8), (number, 100, 0)), box


def catalogue_of(**contents: list[int]) -> Catalogue:
    """Pictures by class and split, such as cat_train=[1, 2]; the same number is the same picture."""
    rows = [(*key.split("_"), number) for key, numbers in contents.items() for number in numbers]
    names = sorted({name for name, _, _ in rows})
    return Catalogue(
        class_names=names,
        class_keys=names,
        files=[f"{split}/{name}/{place}.png" for place, (name, split, _) in enumerate(rows)],
        labels=np.array([names.index(name) for name, _, _ in rows], np.int64),
        splits=[split for _, split, _ in rows],
        load=Contents(tuple(number for _, _, number in rows)),
        ignored={".txt": 2},
    )


COPIES = catalogue_of(
    cat_train=[1, 2, 3, 4, 4, 5],
    dog_train=[11, 12, 1, 20],
    cat_validation=[2, 6],
    dog_validation=[13, 30, -1, 6],
    cat_test=[3, 7, 7],
    dog_test=[30, 14, 2],
)


def kept(folder: Path, split: str) -> list[int]:
    """The pictures that a split has, by their colour."""
    return images.load(folder, split).images[:, 0, 0, 0].tolist()


def test_copies_are_dropped_from_the_side_of_training(tmp_path):
    prepared = prepare(COPIES, params(max_unreadable=1), 8, tmp_path, workers=1)
    assert kept(tmp_path, "test") == [3, 7, 7, 30, 14, 2]
    assert kept(tmp_path, "validation") == [6, 13, 6]  # 2 and 30 are test images
    assert kept(tmp_path, "train") == [1, 4, 4, 5, 11, 12, 1, 20]  # 2 and 3 are
    assert prepared.duplicates == {
        "in train and test": 2,
        "in validation and test": 2,
        "within test": 1,
        "within train": 2,
        "within validation": 1,
    }
    assert "; 2 duplicates in train and test (dropped from train); " in prepared.summary()
    assert "; 1 duplicates within validation; " in prepared.summary()
    # An image of two classes is told apart from other copies.
    assert prepared.two_labels == 4 and "; 4 of the duplicates have two labels" in prepared.summary()
    lines = (tmp_path / "duplicates.txt").read_text().splitlines()
    assert lines == [
        "train/cat/1.png (train): as test/dog/21.png (test); two labels: cat and dog",
        "train/cat/2.png (train): as test/cat/16.png (test)",
        "validation/cat/10.png (validation): as test/dog/21.png (test); two labels: cat and dog",
        "validation/dog/13.png (validation): as test/dog/19.png (test)",
        "train/cat/4.png (train): as train/cat/3.png (train), kept",
        "train/dog/8.png (train): as train/cat/0.png (train), kept; two labels: dog and cat",
        "validation/dog/15.png (validation): as validation/cat/11.png (validation), kept; two labels: dog and cat",
        "test/cat/18.png (test): as test/cat/17.png (test), kept",
    ]
    for split in images.SPLITS:  # each row's file is still its own
        part = images.load(tmp_path, split)
        numbers = [COPIES.load.numbers[COPIES.files.index(file)] for file in part.files]
        assert numbers == kept(tmp_path, split)


def test_a_copy_of_a_validation_image_is_dropped_from_train(tmp_path):
    catalogue = catalogue_of(
        cat_train=[1, 2], dog_train=[3], cat_validation=[2], dog_validation=[5], cat_test=[6], dog_test=[7]
    )
    prepared = prepare(catalogue, params(), 8, tmp_path, workers=1)
    assert kept(tmp_path, "train") == [1, 3] and kept(tmp_path, "validation") == [2, 5]
    assert prepared.duplicates == {"in train and validation": 1}


def test_splits_carved_out_of_copies_share_none(tmp_path):
    numbers = [number for number in range(1, 31) for _ in range(2)]
    rows = catalogue_of(cat_train=numbers, dog_train=[number + 100 for number in numbers])
    prepare(rows, params(), 8, tmp_path, workers=2)
    train, validation, test = (set(kept(tmp_path, split)) for split in images.SPLITS)
    assert not (train & validation or train & test or validation & test)
    assert train | validation | test == set(rows.load.numbers)


def test_a_class_of_nothing_but_copies_is_named(tmp_path):
    catalogue = catalogue_of(
        cat_train=[1, 2], dog_train=[3], cat_validation=[4], dog_validation=[5], cat_test=[1, 2], dog_test=[7]
    )
    with pytest.raises(UserError, match="class 'cat' has 0 train, 1 validation, 2 test images that can be used and are "
                       "no copies of a later split's; at least 1 is needed in each split"):  # fmt: skip
        prepare(catalogue, params(), 8, tmp_path, workers=1)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    numbers = {
        name: [number // 2 for number in range(start, start + 160)] for name, start in (("cat", 2), ("dog", 300))
    }
    for workers in (1, 3):
        catalogue = catalogue_of(cat_train=numbers["cat"], dog_train=numbers["dog"])
        prepared = prepare(catalogue, params(), 8, tmp_path / str(workers), workers=workers)
        assert prepared.duplicates["in train and test"] > 5
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "3")


def test_the_summary_says_what_there_is(tmp_path):
    prepare(COPIES, params(max_unreadable=1), 8, tmp_path, workers=2)
    summary = json.loads((tmp_path / "summary.json").read_text())
    everything = [number for split in images.SPLITS for number in kept(tmp_path, split)]
    assert summary == {
        "images": 17,
        "image_size": 8,
        "images_per_split": {"train": 8, "validation": 3, "test": 6},
        "images_per_class": {
            "cat": {"train": 4, "validation": 1, "test": 3},
            "dog": {"train": 4, "validation": 2, "test": 3},
        },
        "with_box": {split: int(images.load(tmp_path, split).has_box.sum()) for split in images.SPLITS},
        "unreadable": 1,
        "ignored": {".txt": 2},
        "duplicates": {
            "in train and test": 2,
            "in validation and test": 2,
            "within test": 1,
            "within train": 2,
            "within validation": 1,
        },
        "two_labels": 4,
        "near_duplicates": {},
        "near_duplicates_dropped": 0,
        "mean_colour": {
            "red": pytest.approx(np.mean(everything) / 255, abs=1e-6),
            "green": pytest.approx(100 / 255, abs=1e-6),
            "blue": 0,
        },
        "original_size": {"smallest": [11, 8], "median": [10 + sorted(everything)[8], 8], "largest": [40, 8]},
        "constant_answer": {"class": "cat", "train": 0.5, "validation": 0.333333, "test": 0.5, "balanced": 0.5},
        "covered": None,
        "made": "",
        "remarks": [],
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(images.SPLITS), st.integers(0, 6), st.integers(0, 1)), max_size=40))
def test_no_picture_is_in_two_splits_and_none_is_lost(rows):
    table = pd.DataFrame(rows, columns=["split", "number", "label"])
    found = duplicates.find(table, [bytes([number]) for number in table["number"]])
    rest = table.drop(index=list(found.dropped))
    assert rest.groupby("number")["split"].nunique().le(1).all()
    assert set(rest["number"]) == set(table["number"])
    assert (rest["split"] == "test").sum() == (table["split"] == "test").sum()
    for row, other in found.dropped.items():
        assert table["number"][row] == table["number"][other] and other in rest.index
        assert images.SPLITS.index(table["split"][row]) < images.SPLITS.index(table["split"][other])
    within = len(rest) - len(rest.drop_duplicates(["split", "number"]))
    assert len(found.within) == within
    for row, other in {**found.dropped, **found.within}.items():
        assert table["number"][row] == table["number"][other]
        assert (row in found.two_labels) == (table["label"][row] != table["label"][other])
    assert sum(found.counts.values()) == len(found.dropped) + within
