"""Asking a network: by several threads at once, and about images of every shape."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from graybox.network.cnn import CNN
from graybox.network.inference import class_scores, evaluating, probabilities
from graybox.network.params import ModelParams
from graybox.occlusion.maps import occlusion_map


def test_the_mode_comes_back_when_the_last_of_several_threads_is_done():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    model[2].eval()
    first, second = evaluating(model), evaluating(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())  # the second is still at work
    second.__exit__(None, None, None)
    assert [module.training for module in model] == [True, True, False] and model.training
    with evaluating(model):
        pass
    assert [module.training for module in model] == [True, True, False] and model.training


def test_networks_that_share_a_part_give_it_its_mode_back():
    shared = nn.Dropout(0.5)
    one, other = nn.Sequential(shared, nn.Linear(2, 2)), nn.Sequential(shared)
    with evaluating(one):
        with evaluating(other):
            assert not shared.training
        assert not shared.training and other.training
    assert shared.training and one.training


def test_threads_that_ask_one_network_in_training_mode_get_the_answers_of_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = occlusion_map(model.eval(), image, 1, window=3).confidence
    model.train()
    statistics = model[1].running_mean.clone()
    start, found = threading.Barrier(4), []

    def work() -> None:
        start.wait()
        for _ in range(8):
            found.append(occlusion_map(model, image, 1, window=3).confidence)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 32
    for confidence in found:
        np.testing.assert_allclose(confidence, expected, atol=1e-6)
    assert torch.equal(model[1].running_mean, statistics) and all(module.training for module in model.modules())


def test_the_views_of_images_that_are_not_square_are_moved_copies():
    class TopLeft(nn.Module):
        """The scores are one pixel's red and green."""

        def forward(self, images):
            assert images.shape[2:] == (6, 9)
            return images[:, :2, 0, 0] * 20

    images = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    views = [padded[:, top : top + 6, left : left + 9] for top, left in [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]]
    views += [view[:, :, ::-1] for view in views]
    expected = np.mean([(torch.tensor(v[:, 0, 0, :2] / 255.0) * 20).softmax(1).numpy() for v in views], axis=0)
    np.testing.assert_allclose(probabilities(TopLeft(), images, flip=True, shift=2), expected, atol=1e-5)


def test_a_networks_own_error_comes_through_where_the_size_is_right():
    model = CNN(ModelParams(conv_layers=1, filters=2, fc_layers=1), 8, ("a", "b"))
    model.head = nn.Linear(3, 2)
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        class_scores(model, images)
    with pytest.raises(ValueError, match=r"images has 9 x 8 pixels; this network takes 8 x 8"):
        class_scores(model, np.zeros((2, 9, 8, 3), np.uint8))
