"""What is said and drawn of a prepared set is what its summary holds."""

import io

import numpy as np
import pandas as pd

from graybox.figures import data
from tests.support.basics import image_set

SUMMARY = {
    "images": 12,
    "image_size": 16,
    "images_per_split": {"train": 6, "validation": 3, "test": 3},
    "images_per_class": {f"class {label}": {"train": 2, "validation": 1, "test": 1} for label in range(3)},
    "with_box": {"train": 6, "validation": 0, "test": 3},
    "unreadable": 2,
    "ignored": {"hidden": 4},
    "duplicates": {"in train and test": 1, "within test": 0},
    "two_labels": 1,
    "near_duplicates": {"in train and test": 3},
    "near_duplicates_dropped": 3,
    "mean_colour": {"red": 0.25, "green": 0.5, "blue": 0.75},
    "original_size": {"smallest": [20, 30], "median": [40, 30], "largest": [500, 375]},
}


def test_the_facts_name_what_there_is_and_leave_out_what_there_is_not():
    facts = data.facts(SUMMARY)
    assert facts["size"] == "16 x 16, from 20 x 30 to 500 x 375 (median 40 x 30)"
    assert facts["with an object box"] == "6 train, 3 test"
    assert facts["the same pixels twice"] == "1 in train and test (1 with two labels)"
    assert facts["near-duplicates"] == "3 in train and test (3 dropped)"
    assert facts["passed over"] == "4 hidden" and facts["can't be decoded"] == "2"
    assert "something in front of the object" not in facts  # of photographs it is not known
    generated = data.facts({**SUMMARY, "covered": {"train": 3, "validation": 0, "test": 1}})
    assert generated["something in front of the object"] == "3 train, 1 test"
    same = data.facts({**SUMMARY, "original_size": dict.fromkeys(("smallest", "median", "largest"), (16, 16))})
    assert same["size"] == "16 x 16, from 16 x 16"


def test_the_bars_stack_up_to_every_classs_images():
    figure = data.counts_chart(SUMMARY)
    tops = [bar.get_y() + bar.get_height() for bar in figure.axes[0].patches]
    assert sorted(tops) == [2] * 3 + [3] * 3 + [4] * 3
    figure.savefig(io.BytesIO(), format="png")


def test_near_duplicates_are_shown_in_pairs_with_their_splits_and_classes():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 2, 16, 16, 3), dtype=np.uint8)
    pair = {"split": "train", "class": "a $1", "other_split": "test", "other_class": "b", "mirrored": True}
    table = pd.DataFrame([pair | {"dropped": False}] * 2 + [pair | {"mirrored": False, "dropped": True}] * 5)
    figure = data.near_duplicates_chart(table, pictures)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == data.MOST_PAIRS_SHOWN
    for axes, (first, second) in zip(shown, pictures):
        np.testing.assert_array_equal(axes.images[0].get_array()[:, :16], first)
        np.testing.assert_array_equal(axes.images[0].get_array()[:, -16:], second)
        assert axes.get_title(loc="left") == "train: a $1\ntest: b"
    assert [axes.get_xlabel() for axes in shown[1:3]] == ["mirrored", "first dropped"]
    assert "(5 of 7 pairs)" in figure.get_suptitle()
    figure.savefig(io.BytesIO(), format="png")
    one = data.near_duplicates_chart(table[:1], pictures[:1])
    assert len([axes for axes in one.axes if axes.images]) == 1 and "of" not in one.get_suptitle()


def names_and_pictures(figure) -> tuple[list[str], list[np.ndarray]]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts], [np.asarray(image.get_array()) for image in axes.images]


def test_the_contact_sheet_shows_each_class_with_its_own_images():
    images = image_set(40)
    names, shown = names_and_pictures(data.contact_sheet(images, each=3))
    assert names == list(images.class_names) and len(shown) == 3 * len(names)
    for number, picture in enumerate(shown):
        label, place = divmod(number, 3)
        np.testing.assert_array_equal(picture, images.images[np.flatnonzero(images.labels == label)[place]])


def test_of_many_classes_some_are_shown_the_first_and_last_among_them():
    images = image_set(120, classes=4)
    many = images.__class__(
        images.images, np.arange(120) % 60, tuple(f"class {label}" for label in range(60)), images.files, images.boxes
    )
    figure = data.contact_sheet(many, each=2)
    names, shown = names_and_pictures(figure)
    assert len(names) == 24 and names[0] == "class 0" and names[-1] == "class 59" and len(shown) == 48
    assert "24 of 60" in figure.get_suptitle()
    assert max(figure.get_size_inches()) < 11  # a page
    for name, first in zip(names, shown[::2]):
        np.testing.assert_array_equal(first, images.images[int(name.split()[1])])
