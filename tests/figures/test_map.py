"""One map beside its image: what is drawn is what was found, where it was found."""

import numpy as np
import pytest
from PIL import Image

from graybox.figures.panels import map_figure
from graybox.occlusion.confidence import OcclusionMap


@pytest.mark.parametrize("stride", [1, 4])
def test_a_map_lies_on_its_image_pixel_for_pixel(stride):
    rows, columns = np.arange(0, 12, stride), np.arange(0, 20, stride)
    confidence = np.random.default_rng(0).random((len(rows), len(columns)), np.float32)
    found = OcclusionMap(
        confidence, np.zeros(confidence.shape, int), rows, columns, np.array([0.25, 0.75], np.float32), 1, 5
    )
    image = Image.fromarray(np.arange(12 * 20, dtype=np.uint8).reshape(12, 20))  # gray, not square
    original, middle, drop = map_figure(found, image, ["a cat", "a dog"]).axes[:3]
    np.testing.assert_array_equal(original.images[0].get_array()[..., 0], np.asarray(image))
    np.testing.assert_array_equal(middle.images[0].get_array(), confidence)
    np.testing.assert_array_equal(drop.images[1].get_array(), -found.drop)
    half = stride / 2
    for drawn in (middle.images[0], drop.images[1]):
        assert drawn.get_extent() == [-half, columns[-1] + half, rows[-1] + half, -half]
    assert "a dog" in middle.get_title() and "75.0%" in original.get_title()
    assert "class 1" in map_figure(found, image).axes[1].get_title()


def test_what_the_network_saw_is_drawn_if_no_image_is_given():
    seen = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    rows, columns = np.arange(0, 12, 4), np.arange(0, 20, 4)
    confidence = np.full((3, 5), 0.5, np.float32)
    made = (confidence, np.zeros((3, 5), int), rows, columns, np.array([0.25, 0.75], np.float32), 1, 5)
    found = OcclusionMap(*made, image=seen)
    np.testing.assert_array_equal(map_figure(found, class_names=["a", "b"]).axes[0].images[0].get_array(), seen)
    with pytest.raises(ValueError, match="image is None, and this map was made by hand without one"):
        map_figure(OcclusionMap(*made))
    with pytest.raises(ValueError, match="image has 24 x 40 pixels, and the network saw 12 x 20; it should be left"):
        map_figure(found, np.zeros((24, 40, 3), np.uint8))
