"""Confidence maps against one window at a time, against Captum, and on a network whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from torch import nn

from graybox.errors import UserError
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion import maps
from graybox.occlusion.choice import choose_images
from tests.support.basics import image_set


@pytest.fixture
def network(params) -> CNN:
    torch.manual_seed(0)
    small = ModelParams(**{**params.model.model_dump(), "conv_layers": 2, "filters": 6})
    return CNN(small, 16, ("a", "b", "c", "d")).eval()


@pytest.mark.parametrize("window", [1, 3, 7, 15])
def test_each_value_is_the_answer_to_one_occluded_image(network, window):
    image = image_set(1).images[0]
    found = maps.occlusion_map(network, image, 2, window=window, fill=0.3, batch_size=37)
    assert found.confidence.shape == found.predicted.shape == (16, 16)
    for row, column in [(0, 0), (0, 9), (8, 8), (15, 15), (15, 1), (4, 12)]:
        hidden = image.astype(np.float32) / 255
        half = window // 2
        hidden[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] = 0.3
        answer = network(torch.tensor(hidden).permute(2, 0, 1)[None]).softmax(1)[0]
        assert found.confidence[row, column] == pytest.approx(answer[2].item(), abs=1e-6)
        assert found.predicted[row, column] == answer.argmax()


def test_stride_takes_every_so_manieth_centre_of_the_full_map(network):
    image = image_set(1).images[0]
    full = maps.occlusion_map(network, image, 1, window=5)
    some = maps.occlusion_map(network, image, 1, window=5, stride=3)
    np.testing.assert_array_equal(some.rows, [0, 3, 6, 9, 12, 15])
    np.testing.assert_allclose(some.confidence, full.confidence[::3, ::3], atol=1e-6)


@pytest.mark.parametrize("window", [3, 5])
def test_captums_attributions_can_be_computed_from_the_map(network, window):
    """Captum gives each pixel the mean drop over all windows that cover it and lie inside the image."""
    image = image_set(1, seed=4).images[0]
    size, half = 16, window // 2
    found = maps.occlusion_map(network, image, 1, window=window, fill=0.5)
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    theirs = Occlusion(lambda x: network(x).softmax(1)).attribute(
        pixels, sliding_window_shapes=(3, window, window), target=1, baselines=0.5, perturbations_per_eval=32
    )
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for row in range(half, size - half):
        for column in range(half, size - half):
            covered = np.s_[row - half : row + half + 1, column - half : column + half + 1]
            total[covered] += found.drop[row, column]
            count[covered] += 1
    np.testing.assert_allclose(theirs[0, 0].detach().numpy(), total / count, atol=1e-5)


@pytest.mark.parametrize("engine", ["plain", "incremental"])
def test_progress_counts_every_window_once_and_the_feature_map_is_kept(network, engine):
    counts = []
    found = maps.occlusion_map(
        network, image_set(1).images[0], 0, window=5, stride=3, feature_map=4, engine=engine, on_windows=counts.append
    )
    assert sum(counts) == found.confidence.size == 36
    assert found.activation.shape == (6, 6) and "activation" in found.arrays()
    image = torch.tensor(image_set(1).images[0]).permute(2, 0, 1)[None] / 255
    sums = network.features((image - network.mean) / network.std)[0].sum((1, 2))
    assert found.unoccluded_activation == pytest.approx(sums[4].item(), rel=1e-5)


class Brightness(nn.Module):
    """Says class 1 the surer, the brighter one patch is; nothing else matters to it."""

    def __init__(self, rows: slice, columns: slice):
        super().__init__()
        self.patch = (slice(None), slice(None), rows, columns)
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, images):
        score = self.scale * (images[self.patch].mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-score, score], dim=1)


def test_the_confidence_falls_exactly_where_the_window_touches_what_counts():
    image = np.full((20, 20, 3), 255, np.uint8)
    found = maps.occlusion_map(Brightness(slice(12, 16), slice(3, 7)), image, 1, window=5, fill=0.0)
    touches = np.zeros((20, 20), bool)
    touches[12 - 2 : 16 + 2, 3 - 2 : 7 + 2] = True
    np.testing.assert_array_equal(found.drop > 1e-6, touches)
    row, column = found.lowest
    assert 12 <= row < 16 and 3 <= column < 7
    assert found.predicted[row, column] == 0 and found.predicted[0, 19] == 1


def test_the_images_are_spread_over_the_classes_and_correct_where_possible():
    images = image_set(40)
    predicted = images.labels.copy()
    predicted[[0, 4]] = 3  # the first two of class 0 are misclassified
    predicted[images.labels == 2] = 0  # class 2 is never right
    rows = choose_images(images, predicted, 4)
    assert rows.tolist() == [8, 1, 2, 3]
    assert sorted(images.labels[choose_images(images, predicted, 8)]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(set(images.labels[choose_images(images, predicted, 3)])) == 3
    assert sorted(choose_images(images, predicted, 99)) == list(range(40))


def test_of_enough_images_at_least_two_are_misclassified_if_so_many_are():
    images = image_set(40)
    predicted = images.labels.copy()
    assert (
        predicted[choose_images(images, predicted, 10)] == images.labels[choose_images(images, predicted, 10)]
    ).all()
    for wrong in ([21], [21, 38], [20, 24, 28], [12, 13, 14, 15]):
        answers = predicted.copy()
        answers[wrong] = (answers[wrong] + 1) % 4
        rows = choose_images(images, answers, 6)
        assert len(set(rows.tolist())) == 6
        assert np.isin(rows, wrong).sum() == min(2, len(wrong))
        # Mistakes take the places of their own class where there are any.
        if len({images.labels[row] for row in wrong}) > 1:
            assert np.bincount(images.labels[rows]).tolist() == [2, 2, 1, 1]
    assert not np.isin(choose_images(images, answers, 4), wrong).any()


def test_images_with_a_box_come_first():
    images = image_set(40)
    boxes, boxed = images.boxes.copy(), [5, 9, 22, 27, 31]  # classes 1, 1, 2, 3, 3
    boxes[~np.isin(np.arange(40), boxed)] = np.nan
    images, predicted = replace(images, boxes=boxes), images.labels.copy()
    assert choose_images(images, predicted, 3).tolist() == [5, 22, 27]
    assert sorted(choose_images(images, predicted, 4).tolist()) == [5, 9, 22, 27]
    rows = choose_images(images, predicted, 8)
    assert sorted(rows[:5].tolist()) == boxed and rows[5:].tolist() == [0, 2, 3]
    predicted[[9, 0, 1, 31]] = 2  # two mistakes with a box, two without
    rows = choose_images(images, predicted, 5)
    assert sorted(rows.tolist()) == boxed
    predicted[[9, 31]], predicted[[0, 1, 3, 7]] = images.labels[[9, 31]], 2  # now only without
    rows = choose_images(images, predicted, 5)
    assert np.isin(rows, [0, 1, 3, 7]).sum() == 2 and np.isin(rows, boxed).sum() == 3


def test_listed_images_are_taken_and_an_unknown_one_is_named():
    images = image_set(10)
    assert choose_images(images, images.labels, ["007.png", "002.png"]).tolist() == [7, 2]
    with pytest.raises(UserError, match=r"images lists 'cat\.png'.*000\.png"):
        choose_images(images, images.labels, ["007.png", "cat.png"])
