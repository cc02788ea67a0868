"""The verdict: the rule's regions, and networks whose habits are known, by construction or by training."""

import io
import json
import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from graybox.data.images import ImageSet
from graybox.figures.reliance import reliance_chart
from graybox.network import training
from graybox.network.params import ModelParams
from graybox.occlusion.evidence import MapEvidence
from graybox.reliance.interventions import Interventions, intervene
from graybox.reliance.rule import (
    BOTH,
    CANNOT_TELL,
    CONTEXT,
    EITHER,
    LEAST_SKILL,
    MIXED,
    NO_VERDICT,
    OBJECT,
    SUFFICIENT_CONTEXT,
    SUFFICIENT_OBJECT,
    TOO_LITTLE,
    UNUSED_CONTEXT,
    UNUSED_OBJECT,
    VERDICTS,
    judge_image,
    per_image,
    rule,
)
from graybox.reliance.validated import LEAST_IMAGES, VALIDATED_SIZES, object_sizes
from graybox.reliance.verdict import judge
from tests.reliance.test_interventions import Patch, coded

TINY = 1e-6
ARRAYS = [field.name for field in fields(Interventions) if field.name not in ("left_out", "object_size")]


@pytest.mark.parametrize(
    ("skilled", "object_alone", "context_alone", "verdict"),
    [
        (0.9, 0.8, 0.0, OBJECT),
        (0.9, 0.8, -0.1, OBJECT),
        (0.9, 1.1, UNUSED_CONTEXT - TINY, OBJECT),
        (0.9, SUFFICIENT_OBJECT, 0.0, OBJECT),
        (0.9, SUFFICIENT_OBJECT - TINY, 0.0, MIXED),
        (0.9, 0.6, UNUSED_CONTEXT, MIXED),
        (0.9, 0.0, 0.9, CONTEXT),
        (0.9, UNUSED_OBJECT - TINY, SUFFICIENT_CONTEXT, CONTEXT),
        (0.9, UNUSED_OBJECT, 0.9, MIXED),
        (0.9, 0.0, SUFFICIENT_CONTEXT - TINY, MIXED),
        (0.9, EITHER / 2, EITHER / 2, BOTH),
        (0.9, EITHER / 2, EITHER / 2 - TINY, MIXED),
        (0.9, EITHER - TOO_LITTLE + TINY, TOO_LITTLE, BOTH),
        (0.9, EITHER, TOO_LITTLE - TINY, MIXED),
        (0.9, TOO_LITTLE - TINY, TOO_LITTLE - TINY, CANNOT_TELL),
        (0.9, TOO_LITTLE, 0.0, MIXED),
        (LEAST_SKILL - TINY, 0.9, 0.0, CANNOT_TELL),
        (LEAST_SKILL, 0.9, 0.0, OBJECT),
        (math.nan, 0.9, 0.0, CANNOT_TELL),
    ],
)
def test_the_regions_of_the_rule(skilled, object_alone, context_alone, verdict):
    assert rule(skilled, object_alone, context_alone) == verdict


def answers(counts: dict[tuple[int, int, int], int], classes: int = 10) -> Interventions:
    """Images by whether they are right as they are, without the box, without the context; the control is always right.

    A right answer has probability 0.91, the true class has 0.01 in a wrong one.
    """
    patterns = np.array([pattern for pattern, count in counts.items() for _ in range(count)], bool).reshape(-1, 3)
    labels = np.arange(len(patterns)) % classes

    def said(right: np.ndarray) -> np.ndarray:
        return np.where(
            np.arange(classes) == np.where(right, labels, (labels + 1) % classes)[:, None], 0.91, 0.01
        ).astype(np.float32)  # fmt: skip

    as_is, box_hidden, context_hidden = (said(right) for right in patterns.T)
    control = np.repeat(said(patterns[:, 0])[:, None], 4, axis=1)
    count = len(patterns)
    return Interventions(
        np.arange(count), labels, as_is, box_hidden, context_hidden, control, np.full(count, 0.3),
        np.ones(count, bool), np.full(count, 0.6), 0,
    )  # fmt: skip


def test_the_shares_are_of_what_is_above_chance():
    found = judge(answers({(1, 0, 1): 500, (1, 0, 0): 200, (1, 1, 0): 150, (0, 0, 0): 150}))
    assert found.chance == 0.1 and found.images == 1000
    assert found.accuracy["as_is"].value == 0.85
    assert found.object_alone.value == pytest.approx((0.5 - 0.1) / (0.85 - 0.1))
    assert found.context_alone.value == pytest.approx((0.15 - 0.1) / (0.85 - 0.1))
    assert found.control_kept.value == 1
    assert found.probability["as_is"].value == pytest.approx(0.85 * 0.91 + 0.15 * 0.01, abs=1e-6)
    assert found.verdict == OBJECT and found.stability > 0.95
    assert {name: share.value for name, share in found.image_verdicts.items()} == {
        OBJECT: 0.5, CONTEXT: 0.15, BOTH: 0, MIXED: 0, CANNOT_TELL: 0.35,
    }  # fmt: skip
    assert found.sentence() == (
        "The model rests on the object: with everything else hidden it keeps 53% (95% CI 50 to 57) of its accuracy "
        "above chance; with the object hidden 7% (95% CI 4 to 10)."
    )


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    """The images are a sample; 95% intervals should miss the figures of what it was drawn from one time in twenty."""
    random, covered = np.random.default_rng(3), 0
    patterns, chances = [(1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 0, 0)], [0.4, 0.1, 0.2, 0.3]
    for trial in range(120):
        counts = dict(zip(patterns, random.multinomial(300, chances)))
        found = judge(answers(counts), resamples=200, seed=trial)
        covered += found.object_alone.low <= (0.6 - 0.1) / (0.7 - 0.1) <= found.object_alone.high
    assert 0.88 <= covered / 120 <= 0.99


def test_the_bootstrap_is_paired_and_seeded():
    # Every image that is right stays right without its context: however images are drawn, all is kept.
    paired = judge(answers({(1, 0, 1): 60, (0, 0, 0): 40}))
    assert (paired.object_alone.low, paired.object_alone.high) == (1, 1)
    some = answers({(1, 0, 1): 40, (1, 1, 0): 20, (0, 0, 0): 40})
    assert judge(some) == judge(some)
    assert judge(some).object_alone != judge(some, seed=1).object_alone


def test_a_close_verdict_is_called_close():
    # The context alone keeps a little less than what would make it mixed.
    close = judge(answers({(1, 0, 1): 174, (1, 1, 0): 71, (0, 0, 0): 55}))
    assert close.verdict == OBJECT and 0.5 < close.stability < 0.9
    end = f" The verdict is close: {close.stability:.0%} of the bootstrap resamples give it."
    assert close.sentence().endswith(end)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({(1, 1, 1): 15, (0, 0, 0): 85}, "is too near to chance (10%)"),
        ({(1, 0, 0): 80, (1, 1, 1): 20}, "hiding either one costs too much"),
    ],
)
def test_what_cannot_be_told_says_why(counts, reason):
    found = judge(answers(counts))
    assert found.verdict == CANNOT_TELL and reason in found.sentence()


@pytest.mark.parametrize(
    ("images", "few", "start"),
    [
        (1, 1, "No verdict: the only object has a size on which the rule was checked, 50% to 75% of "),
        (1, 0, "No verdict: the only object has no size on which the rule was checked, "),
        (24, 24, "No verdict: there are only 24 objects, all of a size on which the rule was checked, "),
        (24, 1, "No verdict: only 1 of the 24 objects has a size on which the rule was checked, "),
        (24, 0, "No verdict: none of the 24 objects has a size on which the rule was checked, "),
    ],
)
@pytest.mark.parametrize("classes", [1, 2])
def test_of_few_images_or_one_class_the_sentence_is_right_too(images, few, start, classes):
    found = answers({(1, 1, 1): images}, classes=max(2, classes))
    found = replace(
        found, labels=np.arange(images) % classes, object_size=np.where(np.arange(images) < few, 0.6, 0.01)
    )  # fmt: skip
    said = judge(found).sentence()
    assert said.startswith(start) and f"and {LEAST_IMAGES} are needed. " in said
    one_class = "a verdict needs images of several classes." in said
    assert one_class == (min(images, classes) == 1) and (f"All {images} images are of one class" in said) == (
        one_class and images > 1
    )


def test_an_accuracy_below_chance_is_not_called_near_it():
    said = judge(answers({(0, 0, 0): 80}, classes=2)).sentence()
    assert said == (
        "It is unclear what the model rests on: its accuracy, 0% (95% CI 0 to 5), is not above chance (50%, the share "
        "of the most frequent class)."
    )
    # One class: no accuracy is above chance, and that is not the network's fault.
    perfect = answers({(1, 0, 1): 80})
    said = judge(replace(perfect, labels=np.zeros(80, np.int64))).sentence()
    assert said.startswith("It is unclear what the model rests on: all 80 images are of one class, so a constant")


def test_too_few_images_to_tell_an_accuracy_from_chance_say_so():
    found = judge(answers({(1, 0, 1): 2, (0, 0, 0): 4}, classes=6), sizes=None)
    assert found.verdict == CANNOT_TELL
    assert "its accuracy on 6 images, 33% (95% CI 10 to 70), may be chance (17%)" in found.sentence()
    enough = answers({(1, 0, 1): 3, (0, 0, 0): 7})
    assert judge(enough, sizes=None).accuracy["as_is"].low > enough.chance


def evidence(**changed) -> MapEvidence:
    figures = {
        "largest_drop": 0.5, "flat": False, "concentration": 0.1, "drop_in_box": 0.7, "box_share": 0.3,
        "peak_in_box": True, "centre_in_box": False,
    }  # fmt: skip
    return MapEvidence(**figures | changed)


FLAT_MAP = evidence(largest_drop=0.01, flat=True, concentration=math.nan, drop_in_box=math.nan, peak_in_box=None)
NO_BOX = evidence(drop_in_box=math.nan, box_share=math.nan, peak_in_box=None, centre_in_box=None)


def test_without_boxes_the_maps_alone_speak():
    nothing = intervene(Patch(8, 8), coded([[np.nan] * 4] * 3))
    found = judge(nothing, [NO_BOX, NO_BOX, NO_BOX, FLAT_MAP])
    assert found.verdict == CANNOT_TELL and found.images == 0 and found.left_out == 3
    assert (
        "half of the drop lies in 10% of the windows in the median (and 25% of the maps are flat)." in found.sentence()
    )
    assert "All 2 confidence maps are flat" in judge(nothing, [FLAT_MAP] * 2).sentence()
    assert "There are no confidence maps" in judge(nothing).sentence()
    metrics = found.metrics()
    assert metrics["maps_concentration"] == 0.1 and "object_alone" not in metrics and "maps_pointing" not in metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_maps_are_set_beside_the_middle_of_the_image():
    found = judge(answers({(1, 0, 1): 5, (0, 0, 0): 5}), [evidence()] * 3 + [evidence(peak_in_box=False)])
    assert found.maps_sentence() == (
        "In 75% (95% CI 30 to 95) of 4 confidence maps the largest drop lies on the object; the middle of the image "
        "does in 0%. Windows on the object cause 70% of the drop and are 30% of the positions."
    )


def test_pixels_that_no_window_hides_are_counted_and_said():
    found = judge(answers({(1, 0, 1): 5, (0, 0, 0): 5}), [evidence(never_hidden=0.5), evidence(never_hidden=0.25)] * 2)
    assert found.maps_sentence().endswith("Their windows never hide 38% of the pixels.")
    assert found.metrics()["maps_never_hidden"] == 0.375


def test_objects_of_other_sizes_are_left_out_of_the_verdict():
    """The network rests on the object where that has an allowed size, and on the context where it is smaller."""
    low, high = VALIDATED_SIZES
    inside, small = answers({(1, 0, 1): 60, (0, 0, 0): 20}), answers({(1, 1, 0): 200})
    both = replace(
        inside,
        **{name: np.concatenate([getattr(inside, name), getattr(small, name)]) for name in ARRAYS},
    )
    sizes = np.concatenate([np.tile([low, high], 40), np.tile([low - 0.01, high + 0.01], 100)])
    mixed, alone = judge(replace(both, object_size=sizes)), judge(inside)
    assert (mixed.verdict, mixed.images, mixed.outside) == (OBJECT, 80, 200)
    assert mixed.object_alone == alone.object_alone and mixed.stability == alone.stability == 1
    assert mixed.metrics()["outside"] == 200
    assert mixed.sentence().startswith(alone.sentence())
    assert mixed.sentence().endswith(
        f" 200 images are left out, as the objects are smaller or larger than {low:.0%} to {high:.0%} of the picture's "
        "side, the sizes on which the rule was checked."
    )
    assert judge(replace(both, object_size=sizes), sizes=None).verdict == MIXED
    rows = per_image(replace(both, object_size=sizes))["verdict"]
    assert (rows[80:] == NO_VERDICT).all() and not (rows[:80] == NO_VERDICT).any()
    assert sum(share.value for share in mixed.image_verdicts.values()) == pytest.approx(1)


def test_with_few_objects_of_an_allowed_size_there_are_only_figures():
    found = answers({(1, 0, 1): 60, (0, 0, 0): 20})
    few = replace(found, object_size=np.where(np.arange(80) < LEAST_IMAGES - 1, 0.6, 0.01))
    none = judge(few)
    assert (none.verdict, none.images, none.outside) == (NO_VERDICT, 80, 80 - LEAST_IMAGES + 1)
    assert none.object_alone == judge(found).object_alone and math.isnan(none.stability)
    assert none.sentence().startswith(
        f"No verdict: only {LEAST_IMAGES - 1} of the 80 objects have a size on which the rule was checked, "
    )
    assert f"No verdict: {none.why_none()}. " in none.sentence() and judge(found).why_none() == ""
    assert "The figures alone: with everything else hidden it keeps 100%" in none.sentence()
    metrics = none.metrics()
    assert metrics["verdict"] == NO_VERDICT and "stability" not in metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert judge(replace(few, object_size=np.where(np.arange(80) < LEAST_IMAGES, 0.6, 0.01))).verdict == OBJECT
    # No object at all: single images have no verdict either.
    tiny = judge(replace(found, object_size=np.full(80, 0.01)))
    assert "none of the 80 objects has a size" in tiny.sentence() and "images_object" not in tiny.metrics()
    chart = reliance_chart({"sentence": tiny.sentence(), **tiny.metrics()})
    chart.savefig(io.BytesIO(), format="png")
    assert not [axes for axes in chart.axes if axes.get_title(loc="left").startswith("single images") and axes.axison]


def test_the_size_of_an_object_is_the_longer_side_of_its_box_in_the_picture():
    boxes = np.array([[0, 0, 12, 6], [3, 3, 6, 12], [np.nan] * 4, [-5, 0, 6, 3]], np.float32)
    assert object_sizes(boxes, 12, 24) == pytest.approx([0.5, 0.75, np.nan, 0.25], nan_ok=True)


@pytest.mark.parametrize(
    ("sizes", "error"), [((0.5, 0.2), ValueError), ((0, 1.5), ValueError), (0.5, TypeError), (("a", 1), TypeError)]
)
def test_sizes_that_are_no_range_are_refused(sizes, error):
    with pytest.raises(error, match="sizes"):
        judge(answers({(1, 0, 1): 60}), sizes=sizes)


def test_metrics_are_flat_rounded_and_json():
    metrics = judge(answers({(1, 0, 1): 55, (1, 1, 0): 12, (0, 0, 0): 33}), [evidence()] * 3 + [FLAT_MAP]).metrics()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["verdict"] in VERDICTS and metrics["images"] == 100
    assert metrics["maps_count"] == 4 and metrics["maps_flat"] == 0.25 and metrics["maps_pointing"] == 1
    assert metrics["accuracy_as_is_low"] < metrics["accuracy_as_is"] == 0.67 < metrics["accuracy_as_is_high"]
    assert all(value == round(value, 6) for value in metrics.values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("probabilities", "verdict"),
    [
        ((0.9, 0.1, 0.8), OBJECT),
        ((0.9, 0.8, 0.05), CONTEXT),
        ((0.9, 0.8, 0.8), BOTH),
        ((0.9, 0.4, 0.6), MIXED),
        ((0.9, 0.1, 0.1), CANNOT_TELL),
        ((0.2, 0.1, 0.2), CANNOT_TELL),
    ],
)
def test_an_image_is_judged_by_its_probabilities(probabilities, verdict):
    assert judge_image(*probabilities, classes=10) == verdict
    assert judge_image(*probabilities, classes=10, correct=False) == CANNOT_TELL


def test_what_every_hidden_image_is_called_counts_as_nothing():
    assert judge_image(0.9, 0.6, 0.9, classes=10) == BOTH
    assert judge_image(0.9, 0.6, 0.9, classes=10, baselines=(0.02, 0.55, 0.1)) == OBJECT
    assert judge_image(0.3, 0.1, 0.3, classes=10, baselines=(0.4, 0.1, 0.1)) == CANNOT_TELL


def test_of_an_answer_that_nothing_changes_nothing_can_be_told():
    assert judge_image(0.9, 0.9, 0.9, classes=10, evidence=FLAT_MAP) == CANNOT_TELL
    assert judge_image(0.9, 0.9, 0.9, classes=10, evidence=evidence()) == BOTH
    # The box as a whole matters although no window does.
    assert judge_image(0.9, 0.1, 0.8, classes=10, evidence=FLAT_MAP) == OBJECT


def test_a_row_for_each_image_with_a_box():
    images = coded([[np.nan] * 4, *[[5, 5, 11, 11]] * 8])
    frame = per_image(intervene(Patch(8, 8), images, gray=1.0), evidence={1: FLAT_MAP})
    assert frame["row"].tolist() == list(range(1, 9))
    assert list(frame.columns) == ["row", "p", "p_box_hidden", "p_context_hidden", "correct", "verdict"]
    # Of white the network says the brightest class, of that class's images as of all others: that is no answer.
    assert frame["p_box_hidden"].to_numpy() == pytest.approx((images.labels[1:] == 3).astype(float), abs=1e-6)
    assert (frame["verdict"] == OBJECT).all()
    assert pd.api.types.is_bool_dtype(frame["correct"])


@pytest.mark.parametrize(("pixel", "verdict"), [((8, 8), OBJECT), ((1, 1), CONTEXT)])
def test_a_network_that_reads_one_pixel_rests_on_what_it_lies_in(pixel, verdict):
    found = judge(intervene(Patch(*pixel), coded([[5, 5, 11, 11]] * 400), gray=0.0))
    assert found.verdict == verdict and found.stability > 0.99
    # Although black reads as class 0, so that its images stay right whatever is hidden.
    assert found.image_verdicts[verdict].value == 1
    assert found.accuracy["box_hidden" if verdict == OBJECT else "context_hidden"].value == 0.25


def test_an_untrained_network_cannot_be_told():
    class Random(Patch):
        def forward(self, images):
            torch.manual_seed(int(images.sum() * 1000) % 2**31)
            return torch.randn(len(images), 4) + 0 * self.levels

    found = judge(intervene(Random(0, 0), coded([[5, 5, 11, 11]] * 200)))
    # Its random answers may lie above or below chance: the sentence says which, and names it.
    assert found.verdict == CANNOT_TELL and "chance (25%" in found.sentence()


def striped(count: int, cue: str) -> ImageSet:
    """Noise with stripes in a box and others around it; their direction in `cue` is the class, elsewhere random."""
    random = np.random.default_rng(len(cue))
    labels, other = np.arange(count) % 2, random.integers(2, size=count)
    inside, outside = (labels, other) if cue == "object" else (other, labels)
    images = random.integers(0, 100, (count, 24, 24, 3), dtype=np.uint8)
    boxes = np.empty((count, 4), np.float32)
    bands = (np.arange(24) // 2 % 2 * 120).astype(np.uint8)
    stripes = [np.broadcast_to(bands[:, None, None], (24, 24, 1)), np.broadcast_to(bands[:, None], (24, 24, 1))]
    for row in range(count):
        x, y = random.integers(0, 12, 2)
        mask = np.zeros((24, 24, 1), bool)
        mask[y : y + 12, x : x + 12] = True
        images[row] += np.where(mask, stripes[inside[row]], stripes[outside[row]])
        boxes[row] = x, y, x + 12, y + 12
    return ImageSet(images, labels, ("rows", "columns"), tuple(map(str, range(count))), boxes)


@pytest.mark.parametrize("cue", [OBJECT, CONTEXT])
def test_a_trained_network_rests_on_what_it_was_taught(cue, params):
    small = ModelParams(**{**params.model.model_dump(), "conv_layers": 2, "filters": 8, "fc_layers": 1})
    schedule = params.train.model_copy(update={"epochs": 6, "device": "cpu", "precision": "fp32", "flip": False})
    images = striped(1200, cue)
    model = training.fit(small, schedule, images, striped(50, cue)).model
    found = judge(intervene(model, striped(300, cue)))
    assert found.accuracy["as_is"].value > 0.8
    assert found.verdict == cue
