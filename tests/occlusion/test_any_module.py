"""Confidence maps of networks that are not ours: any module, any image size, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion.maps import occlusion_map


def picture(height: int = 14, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def small_network(**last) -> nn.Sequential:
    """Takes images of any size."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(24, 4, **last),
    )  # fmt: skip


def answer(model: nn.Module, image: np.ndarray, row: int, column: int, window: int, fill: float) -> np.ndarray:
    """The probabilities with one window filled, independently of the code under test."""
    hidden, half = image.astype(np.float64) / 255, window // 2
    hidden[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] = fill
    with torch.no_grad():
        return model(torch.tensor(hidden).float().permute(2, 0, 1)[None].contiguous()).softmax(1)[0].numpy()


@pytest.mark.parametrize(("height", "width", "window"), [(14, 20, 5), (20, 14, 1), (9, 9, 9), (1, 6, 3)])
def test_any_module_and_any_size_give_the_answer_for_each_window(height, width, window):
    model, image = small_network().eval(), picture(height, width)
    found = occlusion_map(model, image, 3, window=window, stride=3, fill=0.2)
    assert found.confidence.shape == (len(range(0, height, 3)), len(range(0, width, 3)))
    assert found.confidence.dtype == np.float32
    for i, row in enumerate(found.rows):
        for j, column in enumerate(found.columns):
            expected = answer(model, image, row, column, window, 0.2)
            assert found.confidence[i, j] == pytest.approx(expected[3], abs=1e-6)
            assert found.predicted[i, j] == expected.argmax()


def test_a_module_in_training_mode_is_asked_in_evaluation_mode_and_keeps_its_own():
    model, image = small_network(), picture()
    model[1].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = occlusion_map(model, image, 0, window=5, stride=4)
    assert [module.training for module in model] == [place != 1 for place in range(len(model))] and model.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(
        found.confidence, occlusion_map(model.eval(), image, 0, window=5, stride=4).confidence
    )


def test_the_mode_comes_back_where_the_model_fails():
    model = nn.Sequential(nn.Conv2d(4, 2, 3))
    with pytest.raises(RuntimeError):
        occlusion_map(model, picture(), 0, window=5)
    assert model.training


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_precision_computes_in_it(dtype):
    model, image = small_network().eval(), picture()
    expected = occlusion_map(model, image, 1, window=5, stride=4).confidence
    found = occlusion_map(small_network().eval().to(dtype), image, 1, window=5, stride=4)
    assert found.confidence.dtype == found.unoccluded.dtype == np.float32
    np.testing.assert_allclose(found.confidence, expected, atol=0.03 if dtype == torch.bfloat16 else 1e-6)


class NoWeights(nn.Module):
    """The first two pixels' red is the scores."""

    def forward(self, images):
        return 5 * images[:, 0, 0, :2]


def test_a_module_without_weights_is_a_network_too():
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 255
    found = occlusion_map(NoWeights(), image, 0, window=1, fill=0.0)
    assert (found.drop > 0.4).sum() == 1 and found.lowest == (0, 0)


@pytest.mark.parametrize("changed", [nn.SiLU(inplace=True), nn.Hardsigmoid(inplace=True)])
def test_a_network_that_changes_its_input_in_place_sees_the_picture_unchanged(changed):
    model, image = nn.Sequential(changed, small_network()).eval(), picture()
    found = occlusion_map(model, image, 3, window=5, stride=3, fill=0.2)
    for i, j in [(0, 0), (1, 2), (4, 6)]:
        expected = answer(model, image, found.rows[i], found.columns[j], 5, 0.2)
        assert found.confidence[i, j] == pytest.approx(expected[3], abs=1e-6)


class Viewed(nn.Module):
    """It flattens its maps with `view`, which needs them in PyTorch's usual order in memory."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 14 * 20, 4)

    def forward(self, images):
        maps = self.conv(images).relu()
        return self.last(maps.view(maps.size(0), -1))


def test_a_network_may_flatten_its_maps_with_view():
    torch.manual_seed(0)
    model, image = Viewed().eval(), picture()
    found = occlusion_map(model, image, 3, window=5, stride=3, fill=0.2)
    for i, j in [(0, 0), (1, 2), (4, 6)]:
        expected = answer(model, image, found.rows[i], found.columns[j], 5, 0.2)
        assert found.confidence[i, j] == pytest.approx(expected[3], abs=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_a_pil_image_is_what_pillow_shows_of_it(mode):
    image = Image.fromarray(picture()).convert(mode)
    found = occlusion_map(small_network().eval(), image, 2, window=5, stride=5)
    expected = occlusion_map(small_network().eval(), np.asarray(image.convert("RGB")), 2, window=5, stride=5)
    np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_what_is_transparent_shows_white():
    clear = Image.new("RGBA", (20, 14), (9, 9, 9, 0))
    white = np.full((14, 20, 3), 255, np.uint8)
    found, expected = (occlusion_map(small_network().eval(), image, 2, window=5, stride=5) for image in (clear, white))
    np.testing.assert_array_equal(found.confidence, expected.confidence)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"image": picture() / 255}, TypeError, "image is ndarray of float64; allowed: uint8"),
        ({"image": "cat.jpg"}, TypeError, "image is str of"),
        ({"image": picture()[..., 0]}, ValueError, r"image has the shape \[14, 20\]; allowed: \[H, W, 3\]"),
        ({"image": picture().transpose(2, 0, 1)}, ValueError, r"image has the shape \[3, 14, 20\]"),
        ({"image": picture()[:0]}, ValueError, r"image has the shape \[0, 20, 3\]"),
        ({"image": Image.new("F", (4, 4))}, ValueError, "image has the mode F; allowed: 8 bits"),
        ({"label": 4}, ValueError, "label is 4; the model has 4 classes, so 0 to 3"),
        ({"label": -1}, ValueError, "label is -1"),
        ({"label": 1.0}, TypeError, "float"),
        ({"window": 4}, ValueError, "window is 4; it should be odd"),
        ({"window": -3}, ValueError, "window is -3"),
        ({"window": 21}, ValueError, "window is 21; it should be at most the image's longer side, 20"),
        ({"window": 5.0}, TypeError, "float"),
        ({"stride": 0}, ValueError, "stride is 0; it should be at least 1"),
        ({"fill": 128}, ValueError, "fill has values from 128 to 128; allowed: 0"),
        ({"fill": np.full((14, 20, 3), np.nan)}, ValueError, "fill has values from nan"),
        ({"fill": np.zeros((20, 14, 3))}, ValueError, r"fill has the shape .*allowed: one number, or .*\[14, 20, 3\]"),
        ({"engine": "fast"}, ValueError, "engine is 'fast'; allowed: auto, plain, incremental"),
        ({"engine": "incremental", "model": small_network().double()}, ValueError, "engine is 'incremental'.*float64"),
        ({"feature_map": 0}, ValueError, "feature_map is 0; only a Classifier"),
        ({"model": nn.Conv2d(3, 4, 3)}, TypeError, r"model gives torch.float32 \[2, 4, 12, 18\].*\[2, classes\]"),
    ],
)
def test_what_cannot_be_is_one_sentence_about_the_argument_before_any_window(change, kind, told):
    asked = {"model": small_network().eval(), "image": picture(), "label": 0, "window": 5, **change}
    windows = []
    with pytest.raises(kind, match=told) as error:
        occlusion_map(**asked, on_windows=windows.append)
    assert not windows and "params.yaml" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("feature_map", [-1, 32])
def test_our_network_says_which_maps_it_has(feature_map):
    model = CNN(ModelParams(filters=4, fc_units=8), 32, ("a", "b")).eval()
    with pytest.raises(ValueError, match=rf"feature_map is {feature_map}; .* has 32 maps, so 0 to 31"):
        occlusion_map(model, picture(32, 32), 0, window=5, feature_map=feature_map)


def test_our_network_says_which_size_it_takes():
    model = CNN(ModelParams(filters=4, fc_units=8), 32, ("a", "b")).eval()
    with pytest.raises(ValueError, match=r"image has 40 x 50 pixels; this network takes 32 x 32"):
        occlusion_map(model, picture(40, 50), 0, window=5)
