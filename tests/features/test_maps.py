"""Projections against an independent implementation; peaks and patches against brute force and poked pixels."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from graybox.features import maps as feature_maps
from graybox.network.cnn import CNN
from graybox.network.inference import class_scores
from graybox.network.params import ModelParams
from graybox.occlusion import maps as occlusion
from tests.support.basics import image_set

SHAPES = {
    "plain": {},
    "overlapping pools": {"max_pool": 3, "pool_stride": 2},
    "strides instead of pools": {"max_pool": None, "stride": 2, "stride_layers": "all"},
    "large kernel, wide stride, no batch norm": {"kernel_size": 5, "stride": 3, "conv_layers": 2, "batch_norm": False},
}


@pytest.fixture(params=SHAPES)
def network(params, request) -> CNN:
    """A network whose batch norms are not the identity."""
    torch.manual_seed(1)
    changes = {"conv_layers": 3, "filters": 6, "fc_units": 8} | SHAPES[request.param]
    model = CNN(ModelParams(**params.model.model_dump() | changes), 22, ("a", "b", "c", "d"))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, around in ((layer.weight, 1), (layer.bias, 0.1), (layer.running_mean, 0.1)):
                nn.init.normal_(values, around, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return model.eval()


@pytest.fixture
def image() -> np.ndarray:
    return image_set(1, size=22, seed=3).images[0]


class Rectified(torch.autograd.Function):
    """ReLU, with the backward pass of one of the two methods."""

    @staticmethod
    def forward(context, values, guided):
        context.save_for_backward(values)
        context.guided = guided
        return values.clamp(min=0)

    @staticmethod
    def backward(context, signal):
        (values,) = context.saved_tensors
        passes = (signal > 0) & (values > 0) if context.guided else signal > 0
        return signal * passes, None


@pytest.mark.parametrize("method", ["guided", "deconvnet"])
def test_a_projection_is_what_another_implementation_says(network, image, method):
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float().div(255).requires_grad_()
    values = (pixels - network.mean) / network.std
    for layer in network.features:
        values = Rectified.apply(values, method == "guided") if isinstance(layer, nn.ReLU) else layer(values)
    signal = torch.zeros_like(values)
    feature_map = feature_maps.strongest_map(feature_maps.last_maps(network, image))
    signal[:, feature_map] = values[:, feature_map].detach()
    expected = torch.autograd.grad(values, pixels, signal)[0][0].permute(1, 2, 0).numpy()
    found = feature_maps.project(network, image, feature_map, method)
    assert found.shape == image.shape and found.dtype == np.float32
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_a_projection_leaves_the_network_as_it_was_and_works_in_inference_mode(network, image):
    before, pixels = copy.deepcopy(network.state_dict()), torch.rand(2, 3, 22, 22)
    scores = network(pixels)
    outside = feature_maps.project(network, image, 0)
    with torch.inference_mode():
        np.testing.assert_array_equal(feature_maps.project(network, image, 0), outside)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
                   for layer in network.modules())  # fmt: skip
    assert not network.training and all(weight.grad is None for weight in network.parameters())
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, before[name], rtol=0, atol=0)
    torch.testing.assert_close(network(pixels), scores, rtol=0, atol=0)


def test_projections_in_several_threads_are_the_same_and_say_nothing(network, image):
    expected = [feature_maps.project(network, image, number) for number in range(4)] * 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda number: feature_maps.project(network, image, number % 4), range(32)))
    np.testing.assert_array_equal(found, expected)


def test_a_projection_shows_nothing_where_the_map_sees_nothing(network, image):
    """Only the pixels that the map's active places see can be lit."""
    peaks = feature_maps.map_peaks(network, image[None])
    with torch.no_grad():
        maps = network.features((torch.tensor(image).permute(2, 0, 1)[None] / 255 - network.mean) / network.std)[0]
    for feature_map in range(len(maps)):
        seen = np.zeros(image.shape[:2], bool)
        for row, column in maps[feature_map].nonzero().tolist():
            seen[slice(*peaks.fields[0][row]), slice(*peaks.fields[1][column])] = True
        assert not feature_maps.project(network, image, feature_map, "deconvnet")[~seen].any()


def test_an_unknown_method_is_refused(network, image):
    with pytest.raises(ValueError, match="'saliency'; allowed: guided, deconvnet"):
        feature_maps.project(network, image, 0, "saliency")


def test_the_strongest_map_is_the_one_with_the_largest_sum_that_the_window_records(network, image):
    sums = [
        occlusion.window_scores(network, image, window=3, stride=11, feature_map=number).unoccluded_activation
        for number in range(network.params.filters_per_layer[-1])
    ]
    assert feature_maps.strongest_map(feature_maps.last_maps(network, image)) == int(np.argmax(sums))


def activation(model: CNN, image: np.ndarray, feature_map: int, row: int, column: int) -> float:
    pixels = torch.tensor(image).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return model.features((pixels - model.mean) / model.std)[0, feature_map, row, column].item()


def test_a_patch_is_all_that_its_activation_sees_and_no_more(network):
    images = image_set(6, size=22, seed=5).images
    peaks = feature_maps.map_peaks(network, images, batch_size=4)
    random = np.random.default_rng(0)
    for feature_map in range(peaks.activation.shape[1]):
        for patch in feature_maps.top_patches(peaks, feature_map, 3):
            place = feature_map, peaks.row[patch.image, feature_map], peaks.column[patch.image, feature_map]
            image = images[patch.image]
            assert activation(network, image, *place) == pytest.approx(patch.activation, rel=1e-5)
            x0, y0, x1, y1 = patch.box
            assert 0 <= x0 < x1 <= 22 and 0 <= y0 < y1 <= 22
            other = random.integers(0, 256, image.shape, dtype=np.uint8)
            other[y0:y1, x0:x1] = image[y0:y1, x0:x1]
            assert activation(network, other, *place) == pytest.approx(patch.activation, rel=1e-5)


@pytest.mark.parametrize("network", ["plain", "overlapping pools"], indirect=True)
def test_every_pixel_at_a_fields_edge_is_seen(network):
    """With all weights positive and no ReLU in the way, each place answers to exactly the pixels of its field."""
    for name, values in network.named_parameters():
        if name.startswith("features"):
            nn.init.uniform_(values, 0.1, 1)
    for pool_number, layer in enumerate(network.features):
        if isinstance(layer, nn.MaxPool2d):  # the mean of the same window: a maximum hides what is not the largest
            network.features[pool_number] = nn.AvgPool2d(layer.kernel_size, layer.stride)
    fields, _ = network.receptive_fields()
    pixels = torch.rand(1, 3, 22, 22).add(2).requires_grad_()
    maps = network.features(pixels)
    assert maps.shape[-1] == len(fields)
    for row in range(len(fields)):
        for column in range(len(fields)):
            seen = torch.autograd.grad(maps[0, 0, row, column], pixels, retain_graph=True)[0][0].sum(0) != 0
            expected = torch.zeros(22, 22, dtype=torch.bool)
            expected[slice(*fields[row]), slice(*fields[column])] = True
            torch.testing.assert_close(seen, expected)


def test_the_answers_that_come_with_the_peaks_are_the_networks(network):
    images = image_set(12, size=22, seed=5).images
    with torch.no_grad():
        # Else an untrained network may give one answer to all.
        network.head[-1].bias -= class_scores(network, images).mean(0)
    expected = class_scores(network, images).argmax(1).numpy()
    np.testing.assert_array_equal(feature_maps.map_peaks(network, images, batch_size=5).predicted, expected)
    assert len(set(expected)) > 1


def test_top_patches_are_the_strongest_of_other_images_one_of_each(network):
    images = image_set(12, size=22, seed=5).images
    peaks = feature_maps.map_peaks(network, images, batch_size=5)
    whole = feature_maps.map_peaks(network, images, batch_size=50)
    np.testing.assert_allclose(peaks.activation, whole.activation, rtol=1e-5)
    feature_map = feature_maps.strongest_map(feature_maps.last_maps(network, images[7]))
    best = feature_maps.top_patches(peaks, feature_map, 1)[0].image
    patches = feature_maps.top_patches(peaks, feature_map, 5, exclude=best)
    rows = [patch.image for patch in patches]
    assert best not in rows and len(set(rows)) == len(rows) == 5
    assert all(first.activation >= second.activation for first, second in pairwise(patches))
    others = np.delete(peaks.activation[:, feature_map], best)
    assert [patch.activation for patch in patches] == pytest.approx(sorted(others, reverse=True)[:5])
    assert feature_maps.top_patches(peaks, feature_map, 0) == []


def test_a_silent_map_has_no_patches(network):
    nn.init.constant_(network.features[-3 if network.params.max_pool else -2].weight, 0)
    nn.init.constant_(network.features[-3 if network.params.max_pool else -2].bias, -1)
    peaks = feature_maps.map_peaks(network, image_set(4, size=22).images)
    assert not peaks.activation.any()
    assert feature_maps.top_patches(peaks, 0, 3) == []
    assert feature_maps.strongest_map(feature_maps.last_maps(network, image_set(1, size=22).images[0])) == 0
