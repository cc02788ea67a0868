"""The sentences under a panel, word for word."""

from dataclasses import replace

import numpy as np
import pytest

from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.evidence import map_evidence
from graybox.reliance.commentary import commentary, place

NAMES = ("mug", "fish", "boat")
BOX = [0, 0, 8, 8]


def drawn(lowest: tuple[int, int], to: float, probabilities=(0.9, 0.06, 0.04), there: int = 1) -> OcclusionMap:
    """A map of a mug, 24 x 24, with a dip of 3 x 3 windows and the class `there` in it."""
    confidence = np.full((24, 24), probabilities[0], np.float32)
    predicted = np.full((24, 24), int(np.argmax(probabilities)))
    around = np.s_[lowest[0] - 1 : lowest[0] + 2, lowest[1] - 1 : lowest[1] + 2]
    confidence[around], predicted[around] = (probabilities[0] + to) / 2, there
    confidence[lowest] = to
    pixels = np.arange(24)
    return OcclusionMap(confidence, predicted, pixels, pixels, np.array(probabilities, np.float32), 0, 5)


def row(verdict: str, box_hidden: float, context_hidden: float) -> dict:
    return {"p_box_hidden": box_hidden, "p_context_hidden": context_hidden, "verdict": verdict}


def said(found, box, interventions=None) -> str:
    return commentary(found, map_evidence(found, box), interventions, NAMES)


def test_an_answer_that_rests_on_the_object():
    assert said(drawn((4, 4), 0.1), BOX, row("object", 0.04, 0.85)) == (
        "The model gives the true class, mug, 90%. This falls most with the window at the upper left, on the object: "
        "to 10%, and the answer becomes fish. Windows centred in the object box cause 100% of the drop and are 11% of "
        "the positions. With the whole object hidden mug keeps 4%, with all else hidden 85%. This answer rests on the "
        "object."
    )


def test_an_answer_that_rests_on_the_context():
    assert said(drawn((20, 12), 0.5, there=0), BOX, row("context", 0.88, 0.002)) == (
        "The model gives the true class, mug, 90%. This falls most with the window at the bottom, beside the object: "
        "to 50%, and the answer stays. Windows centred in the object box cause 0% of the drop and are 11% of "
        "the positions. With the whole object hidden mug keeps 88%, with all else hidden under 1%. This answer rests "
        "on the context."
    )


@pytest.mark.parametrize(
    ("verdict", "end"),
    [
        ("both", "This answer rests on both: either is enough."),
        ("mixed", "This answer mixes object and context."),
        ("cannot tell", "It is unclear what this answer rests on."),
    ],
)
def test_the_other_verdicts(verdict, end):
    assert said(drawn((4, 4), 0.1), BOX, row(verdict, 0.5, 0.5)).endswith(end)


def test_a_flat_map_says_nothing_about_places():
    assert said(drawn((4, 4), 0.88), BOX, row("context", 0.9, 0.1)) == (
        "The model gives the true class, mug, 90%. No window lowers this by 5% (at most by 2%): the map is flat, "
        "and its lowest place means nothing. With the whole object hidden mug keeps 90%, with all else hidden "
        "10%. This answer rests on the context."
    )


def test_without_a_box_there_is_no_word_of_the_object():
    assert said(drawn((12, 12), 0.3), None) == (
        "The model gives the true class, mug, 90%. This falls most with the window at the middle: to 30%, and the "
        "answer becomes fish."
    )


def test_without_a_true_class_the_answer_is_neither_right_nor_wrong():
    found = drawn((4, 4), 0.1)
    assert commentary(found, map_evidence(found, None), None, NAMES, labelled=False) == (
        "The model's answer is mug, 90%; the true class is not known. This falls most with the window at the upper "
        "left: to 10%, and the answer becomes fish."
    )


def test_what_no_window_hides_is_said_of_a_flat_map_too():
    found = replace(drawn((4, 4), 0.88), never_hidden=0.64)
    assert said(found, None).endswith(
        "the map is flat, and its lowest place means nothing. No window hides 64% of the pixels: the map says nothing "
        "about them."
    )


def test_a_misclassified_image_says_so_first():
    wrong = drawn((4, 20), 0.02, probabilities=(0.2, 0.7, 0.1), there=1)
    assert said(wrong, BOX, row("cannot tell", 0.1, 0.1)).startswith(
        "Misclassified: the model says fish (70%), and gives the true class, mug, 20%. This falls most with the window "
        "at the upper right, beside the object: to 2%, and the answer stays fish."
    )


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "upper left"),
        (7, 8, "top"),
        (8, 7, "left"),
        (23, 23, "lower right"),
        (16, 8, "bottom"),
        (8, 15, "middle"),
    ],
)
def test_places_go_by_thirds(row, column, words):
    assert place(row, column, 24, 24) == words


def test_nearly_all_and_nearly_nothing_are_not_rounded_to_all_and_nothing():
    sure = said(drawn((4, 4), 0.0004, probabilities=(0.9991, 0.0005, 0.0004)), BOX)
    assert "mug, over 99%" in sure and "to under 1%" in sure
