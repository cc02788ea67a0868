"""What shows in the window's place: each fill keeps of the image what it says and nothing else."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import gaussian_blur

from graybox.occlusion.fills import FILLS, fill_picture

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("fill", FILLS)
def test_every_fill_is_a_picture_of_the_images_size_and_always_the_same(fill):
    picture = fill_picture(IMAGE, fill)
    assert picture.shape == IMAGE.shape and picture.dtype == np.float32
    assert picture.min() >= 0 and picture.max() <= 1
    np.testing.assert_array_equal(picture, fill_picture(IMAGE, fill))


def test_gray_is_one_level_and_mean_is_the_images_mean_colour():
    assert np.unique(fill_picture(IMAGE, "gray", 0.25)) == pytest.approx([0.25])
    means = fill_picture(IMAGE, "mean").reshape(-1, 3)
    assert np.ptp(means, axis=0) == pytest.approx(0)
    assert means[0] == pytest.approx(IMAGE.mean((0, 1)) / 255, abs=1e-5)


def test_noise_has_the_images_own_pixels_in_another_order():
    noise = np.rint(fill_picture(IMAGE, "noise") * 255).astype(np.uint8)
    assert (noise != IMAGE).any()
    assert sorted(map(tuple, noise.reshape(-1, 3))) == sorted(map(tuple, IMAGE.reshape(-1, 3)))


def test_blur_keeps_the_mean_and_loses_the_detail():
    blurred, pixels = fill_picture(IMAGE, "blur"), IMAGE / 255
    assert blurred.mean() == pytest.approx(pixels.mean(), abs=0.03)
    assert blurred.std() < pixels.std() / 3
    flat = np.full((16, 16, 3), 70, np.uint8)
    np.testing.assert_allclose(fill_picture(flat, "blur"), 70 / 255, atol=1e-4)


@pytest.mark.parametrize("shape", [(24, 20), (1, 9), (8, 30)])
def test_blur_is_torchvisions_gaussian_blur(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    sigma = max(shape) / 16
    kernel = 2 * min(round(3 * sigma), min(shape) - 1) + 1
    pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
    theirs = gaussian_blur(pixels, [kernel] * 2, [sigma] * 2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(fill_picture(image, "blur"), theirs, atol=1e-5)


def test_an_unknown_fill_is_refused():
    with pytest.raises(ValueError, match="'sepia'; allowed: gray, mean, blur, noise"):
        fill_picture(IMAGE, "sepia")
