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
    shown, change = (np.asarray(drawn.get_array()) for drawn in (middle.images[0], drop.images[1]))
    assert shown.shape == change.shape == (12, 20)  # to the image's edge, also where no stride reaches it
    for y, x in np.ndindex(shown.shape):
        # Between two centres, either is the nearest.
        near = np.ix_(np.abs(rows - y) == np.abs(rows - y).min(), np.abs(columns - x) == np.abs(columns - x).min())
        assert shown[y, x] in confidence[near]
        assert -change[y, x] in found.drop[near]
    for drawn in (middle.images[0], drop.images[1]):
        assert drawn.get_extent() == original.images[0].get_extent() == [-0.5, 19.5, 11.5, -0.5]
    assert "a dog" in middle.get_title(loc="left") and "75.0%" in original.get_title(loc="left")
    assert "class 1" in map_figure(found, image).axes[1].get_title(loc="left")


def test_a_map_of_small_range_has_a_scale_of_its_own_and_says_so():
    centres = np.arange(8)
    for spread, own in ((0.9, False), (0.02, True), (0.0, True)):
        confidence = (0.05 + spread * np.random.default_rng(0).random((8, 8))).astype(np.float32)
        found = OcclusionMap(confidence, np.zeros((8, 8), int), centres, centres, np.float32([0.95, 0.05]), 1, 3)
        shown = map_figure(found, np.zeros((8, 8, 3), np.uint8)).axes[1]
        assert ("own scale" in shown.get_title(loc="left")) == own
        low, high = shown.images[0].get_clim()
        assert (low, high) == (0, 1) if not own else low <= confidence.min() and confidence.max() <= high < 0.1


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
