"""The maps' benchmark: known values of the other maps, a planted order is found, new weights are where they say."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import maps
from benchmarks.attributions import GRAD_CAM, GRADIENT, by_gradient, layers_of, randomised, ranks_agree, usual
from graybox.network import inference
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion import faithfulness
from tests.support.basics import image_set

SUMMED = f"{GRADIENT}, summed 5 x 5"
KINDS = {
    "plain": {},
    "without batch norm": {"batch_norm": False},
    "overlapping pooling": {"max_pool": 3, "pool_stride": 2},
    "no pooling": {"max_pool": None, "stride": 2, "stride_layers": "all"},
    "residual, mean of the maps": {"residual": 1, "global_average_pool": True},
    "three fc layers, dropout": {"fc_layers": 3, "dropout": 0.5},
}


def network(size: int = 16, seed: int = 0, **params) -> CNN:
    """Untrained, with batch norms that have seen pictures."""
    torch.manual_seed(seed)
    model = CNN(ModelParams(**({"conv_layers": 2, "filters": 4, "fc_units": 8} | params)), size, tuple("abcd")).eval()
    return randomised(model, len(layers_of(model)), seed, image_set(64, size).images)


@pytest.mark.parametrize("params", KINDS.values(), ids=KINDS)
def test_pooling_after_the_relu_changes_nothing(params):
    model = network(**params)
    pixels = torch.rand(3, 3, 16, 16)
    reordered, rectified = usual(model)
    seen = []
    rectified.register_forward_hook(lambda module, given, found: seen.append(found))
    torch.testing.assert_close(reordered(model.normalised(pixels)), model(pixels))
    assert seen[0].min() == 0 and seen[0].shape[-1] >= model.last_maps(pixels).shape[-1]


@pytest.mark.parametrize("params", KINDS.values(), ids=KINDS)
def test_grad_cam_is_that_of_its_paper(params):
    """Selvaraju et al. 2017, equations 1 and 2, with gradients from PyTorch alone."""
    model, image = network(**params), image_set(1).images[0]
    reordered, rectified = usual(model)
    last = next(place for place, layer in enumerate(reordered) if layer is rectified) + 1
    activations = reordered[:last](model.normalised(inference.to_float(torch.as_tensor(image[None]))))
    activations = activations.detach().requires_grad_()
    reordered[last:](activations)[0, 2].backward()
    weights = activations.grad.mean(dim=(2, 3), keepdim=True)
    expected = nn.functional.interpolate((weights * activations).sum(1, keepdim=True).relu(), (16, 16), mode="bilinear")
    found = by_gradient(model, image, 2, 5)[GRAD_CAM]
    np.testing.assert_allclose(found, expected[0, 0].detach(), atol=1e-6)


def test_grad_cam_of_a_network_that_counts_red_is_where_the_red_is():
    """A 1 x 1 kernel passes red above the mean on; class 1 is its mean over the image. So its weight is 1 / pixels."""
    model = CNN(
        ModelParams(conv_layers=1, filters=2, kernel_size=1, max_pool=None, batch_norm=False, fc_layers=1,
                    global_average_pool=True), 8, ("none", "red"),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.features[0].weight[0, 0] = 1
        model.last_layer.weight[1, 0] = 1
    image = np.full((8, 8, 3), 20, np.uint8)
    image[2:4, 5:7, 0] = 250
    expected = np.zeros((8, 8))
    expected[2:4, 5:7] = (250 / 255 - 0.5) / 0.25 / 64
    found = by_gradient(model, image, 1, 3)
    np.testing.assert_allclose(found[GRAD_CAM], expected, atol=1e-6)
    assert maps.points(found[GRAD_CAM], np.array([5, 2, 7, 4])) and not maps.points(found[GRAD_CAM], [0, 0, 5, 8])


def linear() -> CNN:
    """A network without any threshold: its ReLU lets everything through."""
    model = network(size=8, conv_layers=1, max_pool=None, batch_norm=False, fc_layers=1)
    with torch.no_grad():
        model.features[0].bias += 100
    return model


def test_of_a_linear_network_gradient_x_input_is_what_windows_of_the_mean_do():
    """There it is exact: the score minus its bias is its sum, and a window takes its sum within the window away."""
    model, image = linear(), image_set(1, size=8).images[0]
    found = by_gradient(model, image, 1, 5)
    with torch.no_grad():
        pixels = inference.to_float(torch.as_tensor(image[None]))
        score, nothing = model(pixels)[0, 1], model(model.mean.expand(1, 3, 8, 8))[0, 1]
    assert found[GRADIENT].sum() == pytest.approx(float(score - nothing), abs=1e-4)
    drop = float(score) - _scores(model, image, 5)
    np.testing.assert_allclose(found[SUMMED], drop, atol=1e-4)


def _scores(model: CNN, image: np.ndarray, window: int) -> np.ndarray:
    """The score of class 1 with the window, which shows the network's mean, at each pixel: float [H, W]."""
    height, width = image.shape[:2]
    pixels = inference.to_float(torch.as_tensor(image[None])).repeat(height * width, 1, 1, 1)
    for place, (row, column) in enumerate(np.ndindex(height, width)):
        rows, columns = (slice(max(0, middle - window // 2), middle + window // 2 + 1) for middle in (row, column))
        pixels[place, :, rows, columns] = model.mean
    with torch.no_grad():
        return model(pixels)[:, 1].reshape(height, width).numpy()


def test_ranks_agree_where_the_order_is_the_same():
    random = np.random.default_rng(0)
    one = random.random((30, 30))
    assert ranks_agree(one, one) == pytest.approx(1) and ranks_agree(one, np.exp(5 * one)) == pytest.approx(1)
    assert ranks_agree(one, -one) == pytest.approx(-1)
    assert ranks_agree(one, np.zeros((30, 30))) == 0  # which has no order
    assert abs(ranks_agree(one, random.random((30, 30)))) < 0.15


@pytest.mark.parametrize("params", KINDS.values(), ids=KINDS)
def test_new_weights_are_in_the_top_layers_alone(params):
    model, train = network(**params), image_set(64).images
    layers = list(layers_of(model))
    assert layers[0] == f"fc {model.params.fc_layers}" and layers[-1] == "conv 1"
    before = {name: [parameter.clone() for layer in group for parameter in layer.parameters()]
              for name, group in layers_of(model).items()}  # fmt: skip
    earlier = None
    for count in range(len(layers) + 1):
        new = randomised(model, count, 7, train)
        found = {name: [parameter for layer in group for parameter in layer.parameters()]
                 for name, group in layers_of(new).items()}  # fmt: skip
        kept = [all(map(torch.equal, found[name], before[name])) for name in layers]
        assert kept == [False] * count + [True] * (len(layers) - count)
        if earlier:  # those that were new a step ago have the same new weights
            assert all(all(map(torch.equal, found[name], earlier[name])) for name in layers[: count - 1])
        earlier = found
    assert sum(len(group) for group in before.values()) == len(list(model.parameters()))  # no layer is forgotten


def test_new_batch_norms_have_the_statistics_of_the_images():
    model, train = network(), image_set(64).images
    new = randomised(model, len(layers_of(model)), 7, train)
    seen = []
    new.features[1].register_forward_hook(lambda module, given, found: seen.append(found))
    inference.class_scores(new, train, batch_size=64)
    assert seen[0].mean(dim=(0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(seen[0].std(dim=(0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0)


def test_identical_networks_agree_and_the_interval_holds_the_mean_alone():
    found = {(0, GRAD_CAM): np.random.default_rng(0).random((8, 8))}
    same = maps.agreement([found] * 3, [found] * 3)
    estimate = maps.estimated([same, same], 0)[0, GRAD_CAM]
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 1, 1))


def test_absolute_values_are_compared_apart():
    one = np.linspace(-1, 1, 64).reshape(8, 8)
    found = maps.agreement([{(0, GRADIENT): one}], [{(0, GRADIENT): -one}])
    np.testing.assert_allclose(found[0, GRADIENT], [[-1, 1]], atol=1e-6)


def test_the_interval_is_the_t_interval_over_images_and_wider_where_networks_differ():
    from scipy.stats import t

    values = np.random.default_rng(0).normal(0.3, 0.2, 50)
    alone = maps.estimated([{(0, GRAD_CAM): np.stack([values, values], axis=1)}], 0)[0, GRAD_CAM]
    half = t.ppf(0.975, 49) * values.std(ddof=1) / 50**0.5
    assert alone.high - alone.low == pytest.approx(2 * half, rel=0.01)
    others = [{(0, GRAD_CAM): np.stack([values + each, values], axis=1)} for each in (-0.3, 0.0, 0.3)]
    several = maps.estimated(others, 0)[0, GRAD_CAM]
    assert several.value == pytest.approx(alone.value) and several.high - several.low > 2 * (alone.high - alone.low)


class Reader(nn.Module):
    """Class 1 is the more probable, the brighter one pixel is."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.place = row, column

    def forward(self, images):
        bright = 40 * (images[:, :, *self.place].mean(dim=1) - 0.8)
        return torch.stack([-bright, bright], dim=1)


def test_the_map_of_the_one_pixel_that_counts_is_the_most_faithful_and_points_at_it():
    model, box = Reader(3, 4), np.array([4, 3, 6, 5])
    looks, pointed = [], []
    for seed in range(6):
        image = np.random.default_rng(seed).integers(0, 60, (8, 8, 3), dtype=np.uint8)
        image[3, 4] = 255
        planted = np.zeros((8, 8))
        planted[3, 4] = 1
        orders = {(5, "gray"): -planted, (0, GRADIENT): planted, (0, "random"): faithfulness.at_random(8, 8, seed)}
        looks.append(maps.faithful(model, image, 1, orders))
        pointed.append([maps.points(one, box) for one in orders.values()])
    table = maps.comparison(looks, pointed).set_index("map")
    assert table["faithfulness"].idxmax() == GRADIENT and table["faithfulness"].idxmin() == "occlusion, N = 5, gray"
    assert table.loc[GRADIENT, "deletion"] < 0.1 < 0.9 < table.loc[GRADIENT, "insertion"]
    assert table.loc[GRADIENT, "difference"] > 1 and table.loc[GRADIENT, "p_value"] < 0.05
    assert table.loc[GRADIENT, "pointing"] == 1 > table.loc["random", "pointing"]


def test_images_with_a_box_come_alone_if_there_are_any():
    test = image_set(40)
    test.boxes[10:] = np.nan
    assert set(maps.chosen(test, 100)) == set(range(10)) and len(maps.chosen(test, 4)) == 4
    test.boxes[:] = np.nan
    assert len(maps.chosen(test, 100)) == 40
