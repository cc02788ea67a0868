"""Which pixels are hidden, exactly, and what networks of known habits say then."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from graybox.data.images import ImageSet
from graybox.reliance.interventions import (
    NAMES,
    SIDES,
    box_mask,
    context_masks,
    hidden_answers,
    hide,
    intervene,
    some_boxed,
)
from tests.support.basics import image_set

boxes = st.tuples(st.integers(0, 11), st.integers(0, 8), st.integers(1, 12), st.integers(1, 9)).map(
    lambda b: np.array([b[0], b[1], min(12, b[0] + b[2]), min(9, b[1] + b[3])], np.float32)
)


class Patch(nn.Module):
    """Reads the class off one pixel's red: 0..255 in steps of 60; sees nothing else."""

    def __init__(self, row: int, column: int, classes: int = 4):
        super().__init__()
        self.row, self.column = row, column
        self.levels = nn.Parameter(torch.arange(classes) * 60 / 255)

    def forward(self, images):
        return -200 * (images[:, 0, self.row, self.column, None] - self.levels).abs()


def coded(boxes) -> ImageSet:
    """White pictures of 12 x 12 pixels; pixel (1, 1) and pixel (8, 8) both say the class."""
    labels = np.arange(len(boxes)) % 4
    images = np.full((len(boxes), 12, 12, 3), 255, np.uint8)
    images[:, 1, 1] = images[:, 8, 8] = (labels * 60)[:, None]
    return ImageSet(images, labels, tuple("abcd"), tuple(map(str, labels)), np.array(boxes, np.float32))


def test_a_box_hides_the_pixels_that_it_touches_and_no_other():
    mask = box_mask(np.array([2, 3, 5, 4]), 6, 8)
    assert np.argwhere(mask).tolist() == [[3, 2], [3, 3], [3, 4]]
    assert np.argwhere(box_mask(np.array([2.5, 3.0001, 4.9999, 3.9]), 6, 8)).tolist() == [[3, 2], [3, 3], [3, 4]]
    assert box_mask(np.array([-4, -4, 99, 99]), 6, 8).all()
    assert not box_mask(np.full(4, np.nan), 6, 8).any()


@given(boxes)
def test_the_control_hides_as_many_context_pixels_as_the_box_has(box):
    mask = box_mask(box, 9, 12)
    sides = context_masks(mask)
    assert not (sides & mask).any()
    assert (sides.sum((1, 2)) == min(mask.sum(), (~mask).sum())).all()


def test_the_control_takes_the_pixels_nearest_to_each_side():
    mask = box_mask(np.array([2, 1, 4, 5]), 6, 6)  # 8 of 36 pixels
    top, bottom, left, right = context_masks(mask)
    assert SIDES == ("top", "bottom", "left", "right")
    assert top[0].all() and np.flatnonzero(top[1]).tolist() == [0, 5] and not top[2:].any()
    assert bottom[5].all() and np.flatnonzero(bottom[4]).tolist() == [0, 5] and not bottom[:4].any()
    assert left[:, 0].all() and np.flatnonzero(left[:, 1]).tolist() == [0, 5] and not left[:, 2:].any()
    assert right[:, 5].all() and np.flatnonzero(right[:, 4]).tolist() == [0, 5] and not right[:, :4].any()


def test_hiding_changes_the_masked_pixels_only():
    image = image_set(1).images[0]
    mask = box_mask(np.array([3, 2, 9, 7]), 16, 16)
    hidden = hide(image, mask, np.full(image.shape, 0.5, np.float32))
    assert (hidden[mask] == 128).all()
    np.testing.assert_array_equal(hidden[~mask], image[~mask])


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_a_network_that_reads_one_pixel_loses_what_hides_it(batch_size):
    images = coded([[6, 6, 11, 11]] * 9)
    guessed = images.labels == 3  # of white, this network says the brightest class
    inside = intervene(Patch(8, 8), images, gray=1.0, batch_size=batch_size).correct()
    assert inside["as_is"].all() and inside["context_hidden"].all() and inside["control"].all()
    assert (inside["box_hidden"] == guessed).all()
    outside = intervene(Patch(1, 1), images, gray=1.0, batch_size=batch_size).correct()
    assert outside["as_is"].all() and outside["box_hidden"].all()
    assert (outside["context_hidden"] == guessed).all()
    # Pixel (1, 1) is among the 25 context pixels nearest to the top, and to the left.
    assert (outside["control"] == np.where(guessed, 1, 0.5)).all()


def test_images_without_a_box_or_without_context_are_left_out():
    nothing, everything, empty = [np.nan] * 4, [0, 0, 12, 12], [3, 3, 3, 9]
    found = intervene(Patch(8, 8), coded([nothing, [6, 6, 11, 11], everything, empty, [0, 0, 12, 9]]))
    assert found.rows.tolist() == [1, 4] and found.left_out == 3
    assert found.labels.tolist() == [1, 0]
    assert found.box_share.tolist() == [25 / 144, 108 / 144]
    assert found.equal_area.tolist() == [True, False]
    # The context has less than the box: the control hides all of it.
    np.testing.assert_array_equal(found.control[1], np.tile(found.context_hidden[1], (4, 1)))


def test_no_boxes_at_all_leave_no_images_but_the_classes():
    found = intervene(Patch(8, 8), coded([[np.nan] * 4] * 3))
    assert len(found) == 0 and found.left_out == 3 and found.classes == 4
    assert found.control.shape == (0, 4, 4)
    assert {name: len(values) for name, values in found.correct().items()} == dict.fromkeys(found.correct(), 0)


def test_another_fill_shows_in_the_hidden_places():
    seen = []

    class Sees(Patch):
        def forward(self, images):
            seen.append(images[:, :, 8, 8])
            return super().forward(images)

    images = coded([[6, 6, 11, 11]])
    intervene(Sees(8, 8), images, fill="mean")
    mean = np.rint(images.images[0].mean()) / 255
    assert seen[0][1].numpy() == pytest.approx(mean) and seen[0][0].numpy() == pytest.approx(0)


def test_a_baseline_is_what_images_of_other_classes_get():
    found = intervene(Patch(8, 8), coded([[6, 6, 11, 11]] * 8), gray=1.0)
    baselines = found.baselines()
    assert baselines["as_is"] == pytest.approx(np.zeros(8), abs=1e-6)
    assert baselines["box_hidden"] == pytest.approx((found.labels == 3).astype(float), abs=1e-6)  # white reads as 3
    alone = intervene(Patch(8, 8), coded([[6, 6, 11, 11]]))
    assert alone.baselines()["control"].tolist() == [0.25]


def test_chance_is_what_the_most_frequent_class_reaches():
    assert intervene(Patch(8, 8), coded([[6, 6, 11, 11]] * 5)).chance == 2 / 5


def test_the_answers_of_some_images_are_those_of_all_with_one_side_of_the_control_in_turn():
    images = coded([[6, 6, 11, 11], [0, 0, 5, 5], [np.nan] * 4, [0, 0, 12, 9], [2, 0, 7, 12]] * 4)
    rows = some_boxed(images, 99)
    whole = intervene(Patch(8, 8), images, gray=1.0)
    assert rows.tolist() == whole.rows.tolist()
    found = hidden_answers(Patch(8, 8), images, rows, gray=1.0)
    for name, own in zip(NAMES[1:3], found):
        np.testing.assert_allclose(own, getattr(whole, name), rtol=1e-6)
    np.testing.assert_allclose(found[2], whole.control[np.arange(16), np.arange(16) % 4], rtol=1e-6)


def test_some_images_are_spread_over_the_classes_and_all_have_a_box():
    images = coded([[6, 6, 11, 11], [np.nan] * 4, [0, 0, 12, 12], [1, 1, 5, 5], [2, 2, 6, 6]] * 40)
    rows = some_boxed(images, 40)
    assert len(rows) == 40 and np.bincount(images.labels[rows]).tolist() == [10] * 4
    assert set(rows % 5) <= {0, 3, 4} and rows[0] < 20 and rows[-1] >= 180
    assert len(some_boxed(images, 0)) == 0 and len(some_boxed(coded([[np.nan] * 4] * 3), 300)) == 0
    assert hidden_answers(Patch(8, 8), images, rows[:0]).shape == (3, 0, 4)
