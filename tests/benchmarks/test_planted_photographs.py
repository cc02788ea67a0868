"""The marks that are planted in photographs lie where they should and say the class; the truth is what they make."""

import numpy as np
import pytest

from benchmarks import planted_photographs as planted
from benchmarks.planted_photographs import SIDE, Truth, mark, marked, places, taught, with_room
from graybox.data.images import ImageSet
from graybox.reliance.interventions import box_mask
from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, MIXED, OBJECT


def photographs(boxes: list[list[float]]) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 255, (len(boxes), 40, 40, 3), np.uint8)
    labels = np.arange(len(boxes)) % 3
    return ImageSet(pixels, labels, tuple("abc"), tuple(map(str, range(len(boxes)))), np.array(boxes, np.float32))


def test_each_class_has_a_mark_of_its_own_that_mirroring_leaves_as_it_is():
    marks = [mark(label) for label in range(64)]
    assert len({one.tobytes() for one in marks}) == 64
    for one in marks:
        np.testing.assert_array_equal(one, one[:, ::-1])
        assert one.shape == (SIDE, SIDE, 3)


def test_marks_lie_inside_the_box_or_outside_and_change_nothing_else():
    images = photographs([[3, 5, 20, 30], [10, 0, 40, 12], [0.5, 0.5, 25, 39]] * 3)
    inside, outside = (marked(images, [(side,)] * 9, 4) for side in ("inside", "outside"))
    both = marked(images, [("inside", "outside")] * 9, 4)
    assert marked(images, [()] * 9, 4).images.tobytes() == images.images.tobytes()
    for row, box in enumerate(images.boxes):
        mask = box_mask(box, 40, 40)
        (at_in, at_out), label = ([(found.images[row] != images.images[row]).any(-1) for found in (inside, outside)],
                                  int(images.labels[row]))  # fmt: skip
        assert (at_in <= mask).all() and not (at_out & mask).any()
        for found, there in ((inside, at_in), (outside, at_out)):
            rows, columns = np.argwhere(there).min(0), np.argwhere(there).max(0) + 1
            assert (columns - rows <= SIDE).all() and there.sum() > SIDE**2 / 2
            corner = np.argwhere([[np.array_equal(found.images[row, y : y + SIDE, x : x + SIDE], mark(label))
                                   for x in range(33)] for y in range(33)])  # fmt: skip
            assert len(corner) == 1
        np.testing.assert_array_equal(both.images[row][at_in], inside.images[row][at_in])
        np.testing.assert_array_equal(both.images[row][at_out], outside.images[row][at_out])


def test_photographs_without_room_for_a_mark_are_left_out():
    images = photographs([[3, 5, 20, 30], [0, 0, 7, 40], [np.nan] * 4, [2, 2, 38, 38]])
    assert with_room(images).files == ("0",)
    assert len(places(images.boxes[3], 40)["outside"]) == 0 < len(places(images.boxes[3], 40)["inside"])


def test_a_third_learns_from_each_place_alone_where_either_should_be_enough():
    where = taught(BOTH, 10_000, 3)
    shares = {one: where.count(one) / 10_000 for one in set(where)}
    assert shares == pytest.approx({("inside",): 0.35, ("outside",): 0.35, ("inside", "outside"): 0.3}, abs=0.02)
    assert set(taught(OBJECT, 5, 0)) == {("inside",)} and set(taught(CONTEXT, 5, 0)) == {("outside",)}


@pytest.mark.parametrize(
    ("truth", "kind"),
    [
        (Truth(OBJECT, 0.9, 0.1, 1.0, 0.05, 0.05), OBJECT),
        (Truth(OBJECT, 0.9, 0.1, 1.0, 1.0, 0.05), OBJECT),  # it finds its mark elsewhere too
        (Truth(CONTEXT, 0.9, 0.1, 0.05, 1.0, 0.05), CONTEXT),
        (Truth(BOTH, 0.9, 0.1, 0.9, 0.8, 0.05), BOTH),
        (Truth(BOTH, 0.9, 0.1, 0.9, 0.6, 0.05), MIXED),
        (Truth(OBJECT, 0.9, 0.1, 1.0, 0.1, 0.2), MIXED),  # it knows the photographs too
        (Truth(OBJECT, 0.2, 0.1, 1.0, 0.0, 0.0), CANNOT_TELL),
    ],
)
def test_the_truth_is_what_the_marks_make(truth, kind):
    assert truth.verdict == kind


def test_it_ends_with_a_sentence_without_an_archive_or_with_too_many_classes(tmp_path):
    with pytest.raises(planted.UserError, match="there is no such file"):
        planted.main(["--archive", str(tmp_path / "none.zip")])
    with pytest.raises(planted.UserError, match=r"--classes is 65; allowed: 2 to 64"):
        planted.main(["--archive", str(tmp_path), "--classes", "65"])
