"""The verdict's benchmark runs from one end to the other, and judges its networks by what they follow."""

import pytest

from benchmarks import verdict
from benchmarks.verdict import BOTH, CANNOT_TELL, CONTEXT, MIXED, OBJECT, Truth


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
    assert "gray: right about" in printed and "untrained 'cannot tell' 1 of 1" in printed
    assert sum(line.startswith(("object ", "both ", "cannot tell ")) for line in printed.splitlines()) >= 3


def test_redrawing_with_another_background_leaves_labels_and_boxes():
    world = verdict.World(seed=7, **verdict.WORLDS[OBJECT])
    as_is = verdict.pictures(world, "test", 2)
    swapped = verdict.pictures(world, "test", 2, background=lambda i: (i + 1) % 10)
    # One picture in ten happens to stand on that background already.
    assert (as_is.images != swapped.images).any(axis=(1, 2, 3)).mean() > 0.7
    assert (as_is.labels == swapped.labels).all() and (as_is.boxes == swapped.boxes).all()
