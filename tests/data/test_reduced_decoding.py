"""Large JPEGs are decoded at reduced scale: the same picture, the same crop, the same boxes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from graybox.data.scenes import World, draw
from graybox.data.sources.catalogue import UnreadableError
from graybox.data.sources.decode import _reduce, open_image, square
from tests.data.test_sources import NO_BOX, box_of, encoded, plain


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture without edges, in which a shift of half a pixel shows in every place."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def in_full(image: Image.Image, size: int) -> np.ndarray:
    """An upright image's centre, resized without any reduced decoding: int [size, size, 3]."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    window = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=window)).astype(int)


SIZES = [(500, 375), (375, 500), (501, 377), (251, 999), (1023, 255), (640, 640)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_crop_is_not_shifted(width, height):
    image = smooth(width, height)
    data = encoded(image, "JPEG", quality=98, subsampling=0)
    opened = open_image(data)
    scale = _reduce(opened, 84)
    assert scale == {251: 1, 640: 4}.get(min(width, height), 2)
    pixels, _ = square(open_image(data), NO_BOX, 84)
    apart = np.abs(pixels - in_full(image, 84))
    shifted = np.abs(in_full(image, 84)[:, 1:] - in_full(image, 84)[:, :-1]).mean()  # what a pixel's shift does
    assert apart.mean() < 1 and apart.mean() < shifted / 3, (apart.mean(), shifted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_pictures_become_upright_and_take_their_box_along(orientation):
    image = smooth(501, 379).convert("L").convert("RGB")
    image.paste("white", (97, 53, 405, 301))
    image.paste((255, 0, 0), (97, 53, 251, 177))  # the red corner tells the orientations apart
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "JPEG", quality=98, subsampling=0, exif=exif)
    assert _reduce(open_image(data), 60) == 4
    pixels, box = square(open_image(data), np.array([97, 53, 251, 177], np.float32), 60)
    upright = ImageOps.exif_transpose(open_image(data)).convert("RGB")
    assert np.abs(pixels - in_full(upright, 60)).mean() < 1.5
    np.testing.assert_allclose(box, box_of(pixels), atol=1)


@pytest.mark.parametrize(("mode", "options"), [("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})])
def test_every_kind_of_jpeg_can_be_reduced(mode, options):
    image = smooth(500, 375).convert(mode)
    data = encoded(image, "JPEG", quality=98, **options)
    assert _reduce(open_image(data), 84) == 2
    full = open_image(data).convert("RGB")
    assert np.abs(square(open_image(data), NO_BOX, 84)[0] - in_full(full, 84)).mean() < 1


def test_the_first_picture_of_a_phones_jpeg_can_be_reduced():
    data = encoded(smooth(500, 375), "MPO", save_all=True, append_images=[plain("RGB", 0, (500, 375))], quality=98)
    assert open_image(data).format == "MPO" and _reduce(open_image(data), 84) == 2
    assert np.abs(square(open_image(data), NO_BOX, 84)[0] - in_full(smooth(500, 375), 84)).mean() < 1.5


def test_fine_patterns_are_averaged_too():
    stripes = (np.indices((512, 512))[1] % 2 * 255).astype(np.uint8)
    pixels, _ = square(open_image(encoded(Image.fromarray(stripes), "JPEG", quality=98)), NO_BOX, 64)
    assert np.abs(pixels.astype(int) - 127).max() <= 8


def before(image: Image.Image, size: int) -> np.ndarray:
    """What an upright picture that isn't reduced has always become."""
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    window = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=window))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_pictures_that_are_no_jpeg_are_as_they_were(kind):
    data = encoded(smooth(501, 377), kind)
    np.testing.assert_array_equal(square(open_image(data), NO_BOX, 84)[0], before(open_image(data), 84))


@pytest.mark.parametrize(("width", "height"), [(84, 84), (112, 85), (64, 64), (333, 251)])
def test_jpegs_that_are_not_much_larger_are_as_they_were(width, height):
    data = encoded(smooth(width, height), "JPEG")
    np.testing.assert_array_equal(square(open_image(data), NO_BOX, 84)[0], before(open_image(data), 84))


def test_scenes_are_as_they_were():
    world = World(seed=0, image_size=160, classes=4, object_signal=1.0, context_bias=0.0, object_size=[0.5, 0.7])
    for index in range(4):
        drawn = Image.fromarray(draw(world, "test", index, index).image)
        np.testing.assert_array_equal(square(drawn, NO_BOX, 48)[0], before(drawn, 48))


def test_half_a_jpeg_is_no_picture():
    data = encoded(smooth(1000, 1000), "JPEG", quality=95)
    with pytest.raises(UnreadableError, match="truncated"):
        square(open_image(data[: len(data) // 2]), NO_BOX, 84)
