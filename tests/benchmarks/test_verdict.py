"""The verdict's benchmark runs from one end to the other, and judges its networks by what they follow."""

import numpy as np
import pytest

from benchmarks import verdict
from benchmarks.known_networks import Truth, pictures, world_of
from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, MIXED, OBJECT


@pytest.mark.parametrize(
    ("truth", "kind"),
    [
        (Truth(0.85, 0.9, 0.0, 1.0, 0.05), OBJECT),
        (Truth(0.99, 0.0, 1.0, 0.02, 1.0), CONTEXT),
        (Truth(1.0, 0.0, 0.85, 0.8, 0.97), BOTH),
        (Truth(0.9, 0.3, 0.35, 0.55, 0.6), MIXED),
        (Truth(0.12, 0.9, 0.0, 1.0, 0.0), CANNOT_TELL),
    ],
)
def test_the_truth_is_what_stays_when_pictures_are_redrawn(truth, kind):
    assert truth.verdict == kind


def test_it_runs_and_prints_every_table(capsys):
    worlds = ["object", "both", "cannot tell"]
    verdict.main(["--quick", "--seeds", "7", "--worlds", *worlds, "--fills", "gray", "--jobs", "1"])
    printed = capsys.readouterr().out
    assert "gray: truth (rows) against verdict" in printed
    assert "without gray: right about" in printed and "gray and without gray: agree on" in printed
    assert "gray: right about" in printed and "untrained 'cannot tell' 1 of 1" in printed
    assert sum(line.startswith(("object ", "both ", "cannot tell ")) for line in printed.splitlines()) >= 3


def test_redrawing_with_another_background_leaves_labels_and_boxes():
    world = world_of(OBJECT, 7)
    as_is = pictures(world, "test", 2)
    swapped = pictures(world, "test", 2, background=lambda i: (i + 1) % 10)
    # One picture in ten happens to stand on that background already.
    assert (as_is.images != swapped.images).any(axis=(1, 2, 3)).mean() > 0.7
    assert (as_is.labels == swapped.labels).all() and (as_is.boxes == swapped.boxes).all()


def test_a_world_between_the_kinds_is_named_by_its_bias():
    assert (world_of("bias 0.5", 3).context_bias, world_of("bias 0.5", 3).object_signal) == (0.5, 1.0)
    with pytest.raises(ValueError, match=r"world 'objects'; allowed: object, .* or 'bias' and a number"):
        world_of("objects", 3)


def test_half_of_the_off_centre_images_have_their_middle_beside_the_object():
    test = pictures(world_of(OBJECT, 7), "test", 40)
    predicted = np.where(np.arange(len(test)) < 20, -1, test.labels)  # the first are misclassified
    rows = verdict.off_centre(test, predicted)
    assert min(rows) >= 20
    half = len(rows) // 2
    middle = [x0 <= 24 < x1 and y0 <= 24 < y1 for x0, y0, x1, y1 in test.boxes[rows]]
    assert half >= 5 and not any(middle[:half]) and all(middle[half:])
