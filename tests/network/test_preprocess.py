"""What the network sees is what torchvision's preprocessing makes of a photograph; the window slides over that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import EfficientNet_V2_S_Weights, ResNet50_Weights, ViT_H_14_Weights
from torchvision.transforms import v2

from graybox.data.images import ImageSet
from graybox.data.transforms import Geometry, parts
from graybox.network.cnn import CNN
from graybox.network.inference import probabilities
from graybox.network.params import ModelParams
from graybox.network.preprocess import Normalise, preprocessed
from graybox.occlusion.maps import occlusion_map
from graybox.reliance.interventions import intervene

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = ResNet50_Weights.IMAGENET1K_V1.transforms(crop_size=32, resize_size=37)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth coloured picture, so that resizing is not noise."""
    rough = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def network() -> nn.Sequential:
    """Takes images of any size."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)).eval()


class Keeps(nn.Module):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.given = network(), []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.given.append(images.clone())
        return self.inner(images)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (500, 500), (61, 400), (30, 20)])
@pytest.mark.parametrize(
    "preset",
    [
        SMALL,
        ResNet50_Weights.IMAGENET1K_V2.transforms(),
        EfficientNet_V2_S_Weights.IMAGENET1K_V1.transforms(),  # no crop
        ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1.transforms(crop_size=64, resize_size=64),  # bicubic
        ResNet50_Weights.IMAGENET1K_V1.transforms(crop_size=48, resize_size=33),  # the crop adds a border
    ],
)
def test_the_network_is_given_what_the_preset_gives(size, preset):
    image, model = photo(*size), Keeps()
    found = occlusion_map(model, image, 1, window=1, stride=300, preprocess=preset)
    torch.testing.assert_close(model.given[0][0], preset(image), atol=1e-6, rtol=0)
    assert found.image.dtype == np.uint8 and found.image.shape == (*preset.crop_size * 2, 3)


def test_the_window_hides_the_picture_and_not_the_normalised_values():
    preset, image = SMALL, photo(90, 60)
    found = occlusion_map(network(), image, 2, window=9, stride=7, fill=0.25, preprocess=preset)
    pixels = preset(image)
    for i, row in enumerate(found.rows):
        for j, column in enumerate(found.columns):
            hidden = pixels.clone()
            rows, columns = (slice(max(0, centre - 4), centre + 5) for centre in (row, column))
            hidden[:, rows, columns] = (0.25 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            with torch.no_grad():
                expected = network()(hidden[None]).softmax(1)[0, 2].item()
            assert found.confidence[i, j] == pytest.approx(expected, abs=1e-6)


def test_what_the_network_saw_can_be_asked_again_and_is_not_cropped_twice():
    image = photo(90, 60)
    found = occlusion_map(network(), image, 2, window=9, stride=7, preprocess=SMALL)
    again = occlusion_map(network(), found.image, 2, window=9, stride=7, preprocess=SMALL)
    np.testing.assert_array_equal(again.image, found.image)
    np.testing.assert_array_equal(again.confidence, found.confidence)
    array = occlusion_map(network(), np.asarray(image), 2, window=9, stride=7, preprocess=SMALL)
    np.testing.assert_array_equal(array.confidence, found.confidence)


@pytest.mark.parametrize(
    "same",
    [
        transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32), transforms.ToTensor(),
                            transforms.Normalize(MEAN, STD)]),
        v2.Compose([v2.Resize(37), v2.CenterCrop(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize(MEAN, STD)]),
        v2.Compose([v2.PILToTensor(), v2.Resize(37), v2.CenterCrop(32), v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize(MEAN, STD)]),
    ],
)  # fmt: skip
def test_a_compose_of_the_same_steps_is_the_preset(same):
    found, expected = (
        occlusion_map(network(), photo(90, 60), 2, window=9, stride=7, preprocess=one) for one in (same, SMALL)
    )
    np.testing.assert_array_equal(found.confidence, expected.confidence)


@pytest.mark.parametrize(
    "function",
    [
        transforms.Normalize(MEAN, STD),
        v2.Normalize(MEAN, STD),
        lambda images: (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1),
        nn.Sequential(v2.Normalize(MEAN, STD)),
    ],
)
def test_a_function_and_a_normalisation_happen_to_each_occluded_image(function):
    picture = parts(SMALL).geometry.picture(photo(90, 60))
    found = occlusion_map(network(), picture, 2, window=9, stride=7, preprocess=function)
    expected = occlusion_map(network(), picture, 2, window=9, stride=7, preprocess=SMALL)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)


def test_a_normalisation_is_made_of_plain_operations_in_the_networks_own_precision():
    model, geometry = preprocessed(network().double(), SMALL)
    assert [type(part) for part in model] == [Normalise, nn.Sequential] and model[0].mean.dtype == torch.float64
    assert isinstance(geometry, Geometry)
    traced = torch.fx.symbolic_trace(model)
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(traced(images), model(images))


def test_a_network_that_normalises_itself_is_only_given_the_crop():
    model = CNN(ModelParams(conv_layers=2, filters=4), 32, ("a", "b")).eval()
    with pytest.raises(ValueError, match=r"preprocess has mean \[0.485, .*itself with \[0.5, 0.5, 0.5\]"):
        occlusion_map(model, photo(90, 60), 0, window=9, stride=9, preprocess=SMALL)
    with pytest.raises(ValueError, match="preprocess is a function, and this model normalises its values itself"):
        occlusion_map(model, photo(90, 60), 0, window=9, stride=9, preprocess=lambda images: images)
    model.mean.copy_(torch.tensor(MEAN).view(3, 1, 1))
    model.std.copy_(torch.tensor(STD).view(3, 1, 1))
    found = occlusion_map(model, photo(90, 60), 0, window=9, stride=9, preprocess=SMALL)
    expected = occlusion_map(model, found.image, 0, window=9, stride=9)
    np.testing.assert_array_equal(found.confidence, expected.confidence)


def prepared(count: int = 4) -> ImageSet:
    pictures = np.stack([parts(SMALL).geometry.picture(photo(90, 60, seed)) for seed in range(count)])
    boxes = np.tile([4.0, 4, 20, 20], (count, 1))
    return ImageSet.from_arrays(pictures, np.arange(count) % 4, ["a", "b", "c", "d"], boxes=boxes)


def test_probabilities_and_interventions_are_those_of_normalised_pixels():
    images = prepared()
    found = probabilities(network(), images.images, preprocess=SMALL)
    given = torch.stack([SMALL(photo(90, 60, seed)) for seed in range(4)])
    with torch.no_grad():
        np.testing.assert_allclose(found, network()(given).softmax(1).numpy(), atol=1e-6)
    hidden = intervene(network(), images, preprocess=SMALL)
    np.testing.assert_allclose(hidden.as_is, found, atol=1e-6)
    other = intervene(nn.Sequential(Normalise(MEAN, STD), network()), images)
    np.testing.assert_array_equal(hidden.box_hidden, other.box_hidden)


def test_images_of_another_size_than_the_preset_makes_are_refused():
    preset = ResNet50_Weights.IMAGENET1K_V1.transforms()
    for ask in (lambda: probabilities(network(), prepared().images, preprocess=preset),
                lambda: intervene(network(), prepared(), preprocess=preset)):  # fmt: skip
        with pytest.raises(ValueError, match="images has 32 x 32 pixels, and preprocess makes 224 x 224 of them"):
            ask()


@pytest.mark.parametrize(
    ("preprocess", "kind", "told"),
    [
        (ResNet50_Weights.IMAGENET1K_V1.transforms, TypeError, r"it should be weights.transforms\(\), with parenth"),
        (ResNet50_Weights.IMAGENET1K_V1, TypeError, r"preprocess is of type ResNet50_Weights; it should be"),
        ("imagenet", TypeError, "preprocess is 'imagenet'; it should be"),
        (v2.Normalize, TypeError, "preprocess is of type type"),
        (transforms.Compose([transforms.RandomCrop(32), transforms.ToTensor()]), ValueError, "with RandomCrop where"),
        (v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)]), ValueError, "with ToDtype where"),
        (v2.Compose([v2.Resize(37), v2.PILToTensor()]), ValueError, r"leaves the values in 0\.\.255; it should have"),
        (v2.Compose([v2.ToImage(), v2.ToDtype(torch.uint8, scale=True)]), ValueError, r"leaves the values in 0\.\.255"),
        (v2.Compose([v2.Normalize(MEAN, STD), v2.Resize(9)]), ValueError, "with Resize where"),
        (transforms.Normalize(MEAN, (0.2, 0, 0.2)), ValueError, "no std of 0"),
        (lambda images: images[0], TypeError, r"preprocess gives of type Tensor .*; it should give as many images"),
        (lambda images: [images], TypeError, r"preprocess gives of type list .*; it should give as many images"),
    ],
)
def test_what_it_cannot_be_is_one_sentence(preprocess, kind, told):
    with pytest.raises(kind, match=told) as error:
        occlusion_map(network(), photo(90, 60), 0, window=9, stride=9, preprocess=preprocess)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (333, 251), (61, 400), (20, 30)])
@pytest.mark.parametrize(("resize", "crop"), [(37, 32), (32, 32), (33, 48), (256, 224)])
def test_a_box_lies_on_the_same_object_in_the_networks_picture(size, resize, crop):
    width, height = size
    box = np.array([width * 0.35, height * 0.3, width * 0.6, height * 0.7])
    pixels = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = box.round().astype(int)
    pixels[y0:y1, x0:x1] = 255
    geometry = parts(ResNet50_Weights.IMAGENET1K_V1.transforms(crop_size=crop, resize_size=resize)).geometry
    seen = geometry.picture(Image.fromarray(pixels))[..., 0] / 255
    found = geometry.box([x0, y0, x1, y1], height, width)
    area = (found[2] - found[0]) * (found[3] - found[1])
    assert area == pytest.approx(seen.sum(), rel=0.02, abs=2)
    rows, columns = np.indices(seen.shape) + 0.5
    assert (found[0] + found[2]) / 2 == pytest.approx((columns * seen).sum() / seen.sum(), abs=0.5)
    assert (found[1] + found[3]) / 2 == pytest.approx((rows * seen).sum() / seen.sum(), abs=0.5)


def test_a_box_outside_the_crop_is_none():
    geometry = parts(SMALL).geometry
    assert np.isnan(geometry.box([0, 10, 9, 30], 60, 300)).all() and np.isnan(geometry.box([np.nan] * 4, 60, 300)).all()


def test_a_normalisation_does_not_keep_the_incremental_engine_from_its_work():
    image = photo(90, 60)
    options = {"window": 9, "stride": 4, "preprocess": SMALL}
    found, expected = (
        occlusion_map(network(), image, 2, engine=engine, **options) for engine in ("incremental", "plain")
    )
    assert (found.engine, expected.engine) == ("incremental", "plain")
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)
    with pytest.raises(ValueError, match="engine is 'incremental', which can't compute this network"):
        occlusion_map(network(), image, 2, engine="incremental", window=9, stride=4, preprocess=lambda images: images)
    assert occlusion_map(network(), image, 2, window=9, stride=9, preprocess=lambda images: images).engine == "plain"
