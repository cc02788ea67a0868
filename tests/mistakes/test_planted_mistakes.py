"""Faults planted in scenes are found as the reasons for the mistakes they cause, and nothing is found where none is.

One small network explains them all, without other networks' answers to help.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import fisher_exact

from graybox import settings
from graybox.data.images import ImageSet
from graybox.data.scenes import OBJECTS, World, draw
from graybox.mistakes.analysis import Analysis, analyse
from graybox.mistakes.reasons import BY_NATURE, MINOR, SUPPORTED, UNKNOWN, UNSUPPORTED
from graybox.mistakes.traits import TRAITS
from graybox.network import inference, training
from graybox.reliance import interventions, rule
from tests.support.basics import ROOT

CLASSES, CLEAN, PLANTED = 4, 240, 80
WORLD = World(image_size=32, classes=CLASSES, object_size=(0.6, 0.85), hidden=0.0, seed=3)


def pictures(world: World, split: str, count: int) -> ImageSet:
    scenes = [draw(world, split, index, index % CLASSES) for index in range(count)]
    return ImageSet(
        np.stack([scene.image for scene in scenes]), np.arange(count) % CLASSES, tuple(OBJECTS[:CLASSES]),
        tuple(f"{split}/{index}" for index in range(count)), np.array([scene.box for scene in scenes], np.float32),
    )  # fmt: skip


@cache
def splits() -> dict[str, ImageSet]:
    return {
        name: pictures(WORLD, name, count) for name, count in (("train", 480), ("validation", 120), ("test", CLEAN))
    }


@pytest.fixture(scope="module")
def network():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    params = settings.load(ROOT / "params.yaml")
    sizes = params.model.model_copy(update={"conv_layers": 3, "filters": 16, "fc_units": 64})
    steps = params.train.model_copy(update={"epochs": 10, "batch_size": 32, "device": "cpu", "precision": "fp32"})
    yield training.fit(sizes, steps, splits()["train"], splits()["validation"]).model
    torch.set_num_threads(threads)


def altered(change) -> ImageSet:
    """Pictures of their own, their pixels changed."""
    plain = pictures(WORLD, "altered", PLANTED)
    return replace(plain, images=change(plain.images.astype(np.float32)).clip(0, 255).astype(np.uint8))


def cut_off(pixels: int = 14) -> ImageSet:
    """The left part of the pictures is lost, and the object's with it."""
    plain = pictures(WORLD, "altered", PLANTED)
    more = np.repeat(plain.images[:, :, -1:], pixels, axis=2)
    boxes = plain.boxes.copy()
    boxes[:, [0, 2]] = np.clip(boxes[:, [0, 2]] - pixels, 0, None)
    return replace(plain, images=np.concatenate([plain.images[:, :, pixels:], more], axis=2), boxes=boxes)


def relabelled() -> ImageSet:
    plain = pictures(WORLD, "relabelled", 60)
    return replace(plain, labels=(plain.labels + 1 + np.arange(60) // CLASSES % (CLASSES - 1)) % CLASSES)


FAULTS = {
    "small_object": lambda: pictures(replace(WORLD, object_size=(0.2, 0.3)), "small", PLANTED),
    "faint_object": lambda: pictures(replace(WORLD, contrast=(0.1, 0.25)), "faint", PLANTED),
    "label_suspect": relabelled,
    "dark": lambda: altered(lambda x: x * 0.12),
    "bright": lambda: altered(lambda x: x * 2.2 + 40),
    "blurred": lambda: altered(lambda x: gaussian_filter(x, (0, 2.2, 2.2, 0))),
    "object_off_centre": cut_off,
}


def together(*parts: ImageSet) -> ImageSet:
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels", "boxes"))
    images, labels, boxes = joined
    return ImageSet(images, labels, parts[0].class_names, sum((part.files for part in parts), ()), boxes)


def explained(network, test: ImageSet) -> Analysis:
    reliance = rule.per_image(interventions.intervene(network, test))
    return analyse(network, {**splits(), "test": test}, {}, reliance)


def finding(found: Analysis, reason: str):
    return found.reasons.set_index("reason").loc[reason]


@pytest.fixture(scope="module")
def clean(network) -> Analysis:
    return explained(network, splits()["test"])


def test_without_a_fault_none_is_claimed(clean):
    assert 0.7 < clean.evidence["correct"].mean() < 0.95  # there are mistakes, and the network has learnt
    table = clean.reasons.set_index("reason")
    assert (table.loc[list(FAULTS), "finding"] == UNSUPPORTED).all()
    assert not clean.mistakes["reason"].isin(FAULTS).any()
    assert table["named"].sum() == len(clean.mistakes)


@pytest.mark.parametrize("reason", FAULTS)
def test_a_planted_fault_is_the_reason_of_the_mistakes_that_it_causes(network, clean, reason):
    found = explained(network, together(splits()["test"], FAULTS[reason]()))
    row, mistakes = finding(found, reason), found.mistakes.set_index("row")
    planted = mistakes[mistakes.index >= CLEAN]
    assert len(planted) > 30  # the fault does harm
    assert row["finding"] == SUPPORTED and row["p_value"] < 0.001 and row["strength"] >= 0.5
    assert row["low"] > row["correct_high"]
    assert (planted["reason"] == reason).mean() > 0.6
    assert planted.loc[planted["reason"] == reason, "because"].str.contains(r"\d%").all()
    # Of the mistakes that were there before few are laid to it; wrong labels are the hardest to tell from mistakes.
    before = (mistakes[mistakes.index < CLEAN]["reason"] == reason).mean()
    assert before < (0.4 if reason == "label_suspect" else 0.15)
    innocent = set(FAULTS) - {reason, "object_off_centre"}
    if reason != "label_suspect":
        assert finding(found, "label_suspect")["finding"] == UNSUPPORTED
    if reason in ("small_object", "faint_object"):
        assert not set(planted["reason"]) & (innocent - {"dark"})


def test_a_cut_off_object_lies_at_the_border(network):
    found = explained(network, together(splits()["test"], cut_off()))
    assert finding(found, "object_cut_off")["finding"] in (SUPPORTED, MINOR)
    said = found.mistakes["reason_title"] + found.mistakes["other_reasons"]
    assert said[found.mistakes["row"] >= CLEAN].str.contains("object at the border").mean() > 0.6


def test_a_hidden_object_is_not_recognised_even_alone(network, clean):
    """Whether an object is hidden or of an unusual look can't be told, so this describes and is not tested."""
    hidden = pictures(replace(WORLD, hidden=1.0, hidden_share=(0.4, 0.55)), "hidden", PLANTED)
    found = explained(network, together(splits()["test"], hidden))
    trait = next(one for one in TRAITS if one.name == "object_not_recognised")
    present = trait.applies(found.evidence) == 1
    table = [[present[CLEAN:].sum(), (~present[CLEAN:]).sum()], [present[:CLEAN].sum(), (~present[:CLEAN]).sum()]]
    assert fisher_exact(table, alternative="greater").pvalue < 1e-3
    wrong = ~found.evidence["correct"].to_numpy()[CLEAN:]
    assert wrong.mean() > 0.4 and present[CLEAN:][wrong].mean() > 0.5
    assert finding(found, "object_not_recognised")["finding"] == BY_NATURE
    for claimed in FAULTS:
        assert finding(found, claimed)["finding"] == UNSUPPORTED


@pytest.mark.usefixtures("network")  # which sees to it that one thread computes
def test_a_background_that_belongs_to_another_class_misleads():
    """A network that goes by the background as well, and test pictures with another class's."""
    params = settings.load(ROOT / "params.yaml")
    sizes = params.model.model_copy(update={"conv_layers": 3, "filters": 16, "fc_units": 64})
    steps = params.train.model_copy(update={"epochs": 10, "batch_size": 32, "device": "cpu", "precision": "fp32"})
    world = replace(WORLD, context_bias=0.7)
    parts = {name: pictures(world, name, count) for name, count in (("train", 400), ("validation", 80))}
    model = training.fit(sizes, steps, parts["train"], parts["validation"]).model
    plain, given_back = pictures(world, "test", 160), []
    for other in (1, 0):  # another class's ground, and the own
        scenes = [draw(world, "test", n, n % CLASSES, background=(n + other) % CLASSES) for n in range(160)]
        test = replace(plain, images=np.stack([scene.image for scene in scenes]))
        reliance = rule.per_image(interventions.intervene(model, test))
        given_back.append(finding(analyse(model, {**parts, "test": test}, {}, reliance), "misled_by_context"))
    misled, at_home = given_back
    assert misled["finding"] == SUPPORTED and misled["strength"] > 0.6
    assert misled["mistakes"] > 15 and misled["share"] > 0.2
    assert at_home["finding"] == UNSUPPORTED and at_home["mistakes"] < 5


def test_no_boxes_at_all(network, clean):
    bare = {name: replace(part, boxes=np.full_like(part.boxes, np.nan)) for name, part in splits().items()}
    reliance = rule.per_image(interventions.intervene(network, bare["test"]))
    found = analyse(network, bare, {}, reliance)
    table = found.reasons.set_index("reason")
    for reason in ("small_object", "faint_object", "object_cut_off", "misled_by_context", "object_not_recognised"):
        assert table.loc[reason, "finding"] == UNKNOWN and table.loc[reason, "known"] == 0
    assert table.loc["dark", "finding"] == UNSUPPORTED
    assert len(found.mistakes) == len(clean.mistakes)


def test_no_mistakes_at_all(network, clean):
    right = np.flatnonzero(clean.evidence["correct"])
    test = splits()["test"]
    part = ImageSet(test.images[right], test.labels[right], test.class_names, ("x",) * len(right), test.boxes[right])
    found = explained(network, part)
    assert len(found.mistakes) == 0 and {"reason", "because", "nearest"} <= set(found.mistakes.columns)
    assert (found.reasons["named"] == 0).all()


def test_the_nearest_training_image_of_a_training_image_is_itself(network):
    train = splits()["train"]
    part = ImageSet(train.images[:50], (train.labels[:50] + 1) % CLASSES, train.class_names, train.files[:50],
                    train.boxes[:50])  # fmt: skip
    found = explained(network, part)
    assert (found.neighbours.rows[:, 0] == np.arange(50)).all()
    assert found.neighbours.similarity[:, 0] == pytest.approx(1, abs=1e-5)
    assert found.mistakes.set_index("row")["nearest"][7].startswith("train/7 (bird, 1.00)")


def test_with_more_views_the_answers_are_those_that_were_scored_and_the_neighbours_stay(network):
    parts, nothing_hidden = (
        splits(),
        pd.DataFrame(columns=["row", "p", "p_box_hidden", "p_context_hidden", "p_control"]),
    )
    views = {"flip": True, "shift": 2}
    plain, both = (analyse(network, parts, {}, nothing_hidden, **chosen) for chosen in ({}, views))
    scored = inference.probabilities(network, parts["test"].images, **views)
    np.testing.assert_allclose(both.probabilities, scored, atol=1e-6)
    assert np.abs(both.probabilities - plain.probabilities).max() > 0.01
    np.testing.assert_array_equal(both.neighbours.rows, plain.neighbours.rows)
