"""The second witness: which pictures it shows, and what it says of networks that read what is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from graybox.data.images import ImageSet
from graybox.network import inference
from graybox.reliance import witness
from graybox.reliance.interventions import box_mask, intervene
from graybox.reliance.rule import BOTH, CANNOT_TELL, CONTEXT, LEAST_SKILL, MIXED, NO_VERDICT, OBJECT, VERDICTS
from graybox.reliance.swaps import KINDS, Partners, Swaps, filled, softness, swap
from graybox.reliance.validated import LEAST_IMAGES
from graybox.reliance.verdict import STARTS, judge
from graybox.reliance.witness import DECIDES, EITHER, ENOUGH_ALONE, UNUSED, UNUSED_ALONE, swap_rule
from tests.reliance.test_interventions import Patch, coded
from tests.support.basics import image_set

BOX, TINY = [5, 5, 11, 11], 1e-6


class Prefers(nn.Module):
    """Reads the class off the pixel outside the box if a class is there, else off the one inside: either is enough."""

    def __init__(self, together: bool = False):
        super().__init__()
        self.outside, self.inside, self.together = Patch(1, 1), Patch(8, 8), together

    def forward(self, images):
        outside, inside = self.outside(images), self.inside(images)
        if self.together:  # it needs both: where one is missing or says another class, it says class 0
            agree = (outside.argmax(1) == inside.argmax(1)) & (outside.amax(1) > -1) & (inside.amax(1) > -1)
            return torch.where(agree[:, None], outside, torch.tensor([100.0, 0, 0, 0]))
        return torch.where((outside.amax(1) > -1)[:, None], outside, inside)


def asked(network: nn.Module, count: int = 80, most: int = 1000) -> Swaps:
    return swap(network, coded([BOX] * count), most)


@pytest.mark.parametrize(
    ("network", "verdict", "decides", "suffices"),
    [
        (Patch(8, 8), OBJECT, (1, -1 / 3), (1, 0)),  # reads the box only; of white it says one class
        (Patch(1, 1), CONTEXT, (-1 / 3, 1), (0, 1)),  # of a blend of all levels, one class
        (Prefers(), BOTH, (-1 / 3, 1), (1, 1)),
        (Prefers(together=True), MIXED, (0, 0), (0, 0)),
    ],
)
def test_networks_that_read_what_is_known(network, verdict, decides, suffices):
    found = witness.testify(asked(network))
    assert (found.verdict, found.stability, found.images, found.chance) == (verdict, 1.0, 80, 0.25)
    if verdict != MIXED:
        assert (found.object_decides.value, found.context_decides.value) == pytest.approx(decides)
        assert (found.object_suffices.value, found.context_suffices.value) == pytest.approx(suffices, abs=0.01)
        assert found.accuracy["same"].value == 1
        assert found.gap.value == pytest.approx(0 if verdict == OBJECT else 1)
        assert (found.gap.low > 0.8) == (verdict != OBJECT)


@pytest.mark.parametrize(
    ("skilled", "shares", "verdict"),
    [
        (0.8, (DECIDES, UNUSED - TINY, 1, UNUSED_ALONE[CONTEXT] - TINY), OBJECT),
        (0.8, (DECIDES - TINY, 0, 1, 0), MIXED),
        (0.8, (DECIDES, UNUSED, 1, 0), MIXED),
        (0.8, (DECIDES, 0, 1, UNUSED_ALONE[CONTEXT]), MIXED),
        (0.8, (UNUSED - TINY, DECIDES, UNUSED_ALONE[OBJECT] - TINY, 1), CONTEXT),
        (0.8, (0, DECIDES - TINY, 0, 1), MIXED),
        (0.8, (UNUSED, DECIDES, 0, 1), MIXED),
        (0.8, (0, DECIDES, UNUSED_ALONE[OBJECT], 1), MIXED),
        (0.8, (0, 1, ENOUGH_ALONE, EITHER - ENOUGH_ALONE), BOTH),
        (0.8, (1, 0, ENOUGH_ALONE - TINY, 1.2), MIXED),
        (0.8, (1, 0, EITHER / 2 - TINY, EITHER / 2), MIXED),
        (LEAST_SKILL - TINY, (1, 0, 1, 0), CANNOT_TELL),
    ],
)
def test_the_regions_of_the_rule(skilled, shares, verdict):
    assert swap_rule(skilled, np.array(shares)) == verdict


def test_an_untrained_network_and_no_boxes_cannot_be_told():
    torch.manual_seed(0)
    blind = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    found = witness.testify(asked(blind))
    assert found.verdict == CANNOT_TELL and math.isnan(found.object_decides.value)
    assert not [name for name in found.metrics() if "decides" in name]
    for images in (coded([[np.nan] * 4] * 8), coded([BOX])):  # the second has no other image
        none = witness.testify(swap(blind, images, 100))
        assert (none.verdict, none.images, none.metrics()) == (CANNOT_TELL, 0, {})
    assert len(asked(blind, most=0)) == 0


def test_the_pictures_have_the_object_in_its_place_and_the_others_background():
    seen = []

    class Sees(Patch):
        def forward(self, images):
            seen.append((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
            return super().forward(images)

    images = image_set(12)
    rng = np.random.default_rng(1)
    boxes = np.stack([[x, y, x + 8, y + 7] for x, y in rng.integers(0, 7, (12, 2))]).astype(np.float32)
    images = ImageSet(images.images, np.arange(12) % 3, ("a", "b", "c"), images.files, boxes)
    found = swap(Sees(8, 8, classes=3), images, 12)
    pictures = np.concatenate(seen).reshape(12, len(KINDS), 16, 16, 3)
    partners = Partners.drawn(images.labels, 0)
    assert found.others.tolist() == images.labels[partners.other].tolist()
    for place, (as_is, same, other, blend, removed) in enumerate(pictures):
        mask = box_mask(boxes[place], 16, 16)
        core = softness(boxes[place], 16, 16)[..., 0] == 1
        np.testing.assert_array_equal(as_is, images.images[place])
        assert core.sum() >= 20 and (core <= mask).all()
        for picture in (same, other, blend):
            np.testing.assert_array_equal(picture[core], as_is[core])
        for picture, partner in ((same, partners.same[place]), (other, partners.other[place])):
            emptied = filled(images.images[partner], box_mask(boxes[partner], 16, 16))
            np.testing.assert_array_equal(picture[~mask], emptied[~mask])
            np.testing.assert_array_equal(emptied, pictures[partner, KINDS.index("removed")])
        np.testing.assert_array_equal(removed[~mask], as_is[~mask])


def test_nothing_of_what_is_in_the_box_is_left_when_it_is_filled():
    image, mask = image_set(1).images[0], box_mask(np.array([4, 3, 12, 10]), 16, 16)
    other = image.copy()
    other[mask] = 255 - other[mask]
    np.testing.assert_array_equal(filled(image, mask), filled(other, mask))
    flat = np.full((16, 16, 3), 90, np.uint8)
    flat[mask] = 7
    assert np.abs(filled(flat, mask).astype(int) - 90).max() <= 2  # it rounds


def test_partners_are_other_images_of_the_same_and_of_another_class():
    labels = np.repeat([0, 1, 2, 4, 7, 8, 9, 10, 11, 12], [2, 9, 3, 2, 2, 5, 2, 2, 2, 2])
    found, places = Partners.drawn(labels, 3), np.arange(31)
    assert (labels[found.same] == labels).all() and (found.same != places).all()
    assert (labels[found.other] != labels).all()
    assert found.blend.shape == (31, 8) and (found.blend != places[:, None]).all()
    assert all(len(set(labels[some])) == 8 for some in found.blend)
    assert not np.array_equal(found.other, Partners.drawn(labels, 4).other)


def test_soft_edges_rise_inside_the_box_and_not_at_the_images_end():
    soft = softness(np.array([0, 10, 40, 48], np.float32), 48, 48)[..., 0]
    assert soft[:10].max() == 0 and soft[:, 40:].max() == 0
    np.testing.assert_allclose(soft[10:13, 20], [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(soft[30, 37:40], [1, 2 / 3, 1 / 3])
    assert soft[30, 0] == soft[47, 20] == 1


def outcomes(random: np.random.Generator, skills: dict[str, float], count: int = 300, classes: int = 10) -> Swaps:
    """Answers that are right at these rates and else any other class, whatever the background."""
    labels = np.arange(count) % classes
    others = (labels + random.integers(1, classes, count)) % classes
    answers = {}
    for name in KINDS:
        wrong = (labels + random.integers(1, classes, count)) % classes
        answers[name] = np.eye(classes, dtype=np.float32)[np.where(random.random(count) < skills[name], labels, wrong)]
    return Swaps(np.arange(count), labels, others, np.full(count, 0.6), **answers)


def test_a_network_that_ignores_the_background_is_seldom_said_to_use_it():
    random, skills = np.random.default_rng(2), {**dict.fromkeys(KINDS, 0.7), "removed": 0.1}
    found = [witness.testify(outcomes(random, skills), resamples=20) for _ in range(300)]
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([one.gap.low > 0 or one.gap.high < 0 for one in found]) <= most
    assert np.mean([not one.object_decides.low <= 1 <= one.object_decides.high for one in found]) <= most
    expected = (0.3 / 9 - 0.1) / 0.6
    assert np.mean([not one.context_decides.low <= expected <= one.context_decides.high for one in found]) <= most
    assert {one.verdict for one in found} == {OBJECT}


def test_the_weaker_of_two_verdicts_is_claimed():
    for one in VERDICTS:
        assert witness.weaker(one, one) == one
        assert witness.weaker(one, CANNOT_TELL) == CANNOT_TELL == witness.weaker(CANNOT_TELL, one)
        for other in VERDICTS:
            assert witness.weaker(one, other) == witness.weaker(other, one) in (one, other, MIXED, CANNOT_TELL)
    assert witness.weaker(OBJECT, CONTEXT) == CANNOT_TELL
    assert witness.weaker(OBJECT, MIXED) == witness.weaker(BOTH, OBJECT) == witness.weaker(CONTEXT, BOTH) == MIXED


def test_the_sentence_says_whether_the_witnesses_agree():
    images = coded([BOX] * 80)
    gray = judge(intervene(Patch(8, 8), images, gray=1.0))
    agreed = witness.sentence(gray, witness.testify(asked(Patch(8, 8))))
    assert agreed.startswith(gray.sentence()) and "second test, in which nothing is hidden, agrees: before" in agreed
    other = witness.testify(asked(Prefers()))
    said = witness.sentence(gray, other)
    assert witness.claim(gray, other) == MIXED and said.startswith(STARTS[MIXED] + ": two tests disagree")
    assert "verdict is “object”: with everything else hidden" in said and "it is “both”: before backgrounds" in said
    against = witness.sentence(gray, witness.testify(asked(Patch(1, 1))))
    assert against.startswith("It is unclear what the model rests on: two tests disagree")
    few = witness.testify(asked(Patch(8, 8), most=LEAST_IMAGES - 10))
    assert few.verdict == NO_VERDICT == few.metrics()["swap_verdict"] and witness.claim(gray, few) == gray.verdict
    assert f" A second test has {LEAST_IMAGES - 10} images, too few for a verdict" in witness.sentence(gray, few)
    assert witness.testify(asked(Patch(8, 8), most=LEAST_IMAGES - 10), sizes=None).verdict == OBJECT
    small = coded([[8, 8, 10, 10]] * 80)
    none, also = judge(intervene(Patch(8, 8), small)), witness.testify(swap(Patch(8, 8), small, 80))
    assert none.verdict == also.verdict == witness.claim(none, also) == NO_VERDICT
    assert witness.sentence(none, also) == none.sentence() and none.sentence().startswith("No verdict: none of the 80")
    nothing = witness.testify(swap(Patch(8, 8), coded([[np.nan] * 4] * 8), 100))
    assert witness.sentence(gray, nothing) == gray.sentence() and witness.claim(gray, nothing) == gray.verdict


def test_the_answers_are_those_of_the_network_at_any_batch_size():
    whole, single = (swap(Patch(8, 8), coded([BOX] * 12), 12, batch_size=size) for size in (None, 1))
    for name in KINDS:
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name), atol=1e-6)
    expected = inference.probabilities(Patch(8, 8), coded([BOX] * 12).images)
    np.testing.assert_allclose(whole.as_is, expected, atol=1e-6)
