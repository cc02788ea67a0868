"""Feature maps, projections, correspondence and neighbours of networks that are no parametric CNN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from graybox.features import correspondence
from graybox.features import maps as feature_maps
from graybox.mistakes.neighbours import answers_and_features
from graybox.network.cnn import CNN
from graybox.network.inference import class_scores
from graybox.network.params import ModelParams
from graybox.network.wrapped import Wrapped
from tests.support.basics import image_set

NAMES = ("a", "b", "c", "d")
SIZE = 22


def cnn(**changes) -> CNN:
    torch.manual_seed(1)
    return CNN(ModelParams(**{"conv_layers": 3, "filters": 6, "fc_units": 8} | changes), SIZE, NAMES).eval()


def wrapped(network: nn.Module) -> Wrapped:
    """With the same normalisation as an untrained CNN's."""
    return Wrapped(network, SIZE, NAMES, (0.5,) * 3, (0.25,) * 3).eval()


class Functional(nn.Module):
    """A CNN's layers with one ReLU for all, in the forms that networks have it in."""

    def __init__(self, model: CNN) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer in model.features if not isinstance(layer, nn.ReLU))
        self.head, self.relu = model.head, nn.ReLU(inplace=True)

    def forward(self, x):
        forms = iter((nn.functional.relu, self.relu, torch.relu, self.relu))
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                x = next(forms)(x)
        return self.head(x)


@pytest.fixture
def images() -> np.ndarray:
    return image_set(10, size=SIZE, seed=3).images


@pytest.mark.parametrize("made", [lambda model: nn.Sequential(*model.features, *model.head), Functional])
def test_a_wrapped_cnn_gives_what_the_cnn_gives(made, images):
    """Its own modules in another module: what is found in the graph is what the CNN says of itself."""
    model = cnn()
    other = wrapped(made(model))
    for ours, theirs in zip(other.receptive_fields(), model.receptive_fields()):
        np.testing.assert_array_equal(ours, theirs)
    expected, found = (feature_maps.map_peaks(one, images) for one in (model, other))
    for name in ("activation", "row", "column", "predicted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert feature_maps.top_patches(found, 2, 5) == feature_maps.top_patches(expected, 2, 5)
    for method in ("guided", "deconvnet"):
        for feature_map in (0, 5):
            one, two = (feature_maps.project(each, images[0], feature_map, method) for each in (model, other))
            np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-8)
            assert np.abs(one).max() > 0
    pixels = torch.rand(3, 3, SIZE, SIZE)
    with torch.no_grad():
        layers, same = (correspondence.layer_features(one, pixels) for one in (other, model))
    assert layers.keys() == same.keys()
    for name in layers:
        torch.testing.assert_close(layers[name], same[name])
    for one, two in zip(answers_and_features(other, images), answers_and_features(model, images)):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fc_layers", [1, 3])
def test_the_features_that_are_compared_are_those_of_the_papers_layers(fc_layers):
    model, pixels = cnn(fc_layers=fc_layers), torch.rand(3, 3, SIZE, SIZE)
    with torch.no_grad():
        found, maps = correspondence.layer_features(model, pixels), model.last_maps(pixels)
        last = model.head[:-1](maps) if fc_layers > 1 else model(pixels)
    name = correspondence.LAST_FC if fc_layers > 1 else correspondence.SCORES
    expected = {correspondence.LAST_CONV: maps.flatten(1), correspondence.LAST_MAPS: maps.sum((2, 3)), name: last}
    assert found.keys() == expected.keys()
    for key in found:
        torch.testing.assert_close(found[key], expected[key])


@pytest.mark.parametrize("activation", [nn.SiLU, nn.ReLU6, nn.Tanh, nn.Sigmoid])
def test_a_map_behind_another_activation_than_relu_is_not_projected(activation, images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), activation(), nn.Flatten(),
                            nn.Linear(4 * 18 * 18, 4))  # fmt: skip
    assert feature_maps.project(wrapped(network), images[0], 0) is None


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.scores = nn.Conv2d(3, 8, 11, 11), nn.Linear(8, 4)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.scores(self.mix(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def test_of_a_network_without_maps_its_answers_are_known_and_the_rest_is_said_to_be_missing(images):
    model, test = wrapped(Tokens()), image_set(10, size=SIZE, seed=3)
    peaks = feature_maps.map_peaks(model, images)
    np.testing.assert_array_equal(peaks.predicted, class_scores(model, images).argmax(1))
    assert peaks.activation.shape == (10, 0)
    found = correspondence.measure(model, test, test.labels)
    assert found.summary.empty and "no last maps" in found.sentence


class Product(nn.Module):
    """The class scores are a product with a table: no layer gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(3, 5, 3), nn.Parameter(torch.randn(4, 5))

    def forward(self, x):
        return self.conv(x).mean((2, 3)) @ self.table.T


@pytest.mark.parametrize("kind", ["convolution", "product"])
def test_neighbours_are_found_by_what_enters_the_last_layer_or_by_the_scores(kind, images):
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 3)
    network = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = wrapped(network if kind == "convolution" else Product())
    probabilities, features = answers_and_features(model, images)
    with torch.no_grad():
        pixels = model.normalised(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
        units = first(pixels).relu().mean((2, 3)) if kind == "convolution" else model.network(pixels)
    np.testing.assert_allclose(features, nn.functional.normalize(units, dim=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
