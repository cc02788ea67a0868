"""Each image's own augmentation, against torchvision's for one image at a time, and what must stay as it is."""

import numpy as np
import pytest
import torch
from conftest import image_set
from torchvision.transforms import functional as vision

from graybox import augmentation, inference

OFF = {
    "flip": False, "shift": 0, "crop_area": 1.0, "color_jitter": 0.0, "cutout": 0.0, "mixup": 0.0, "batch_size": 16,
    "start_size": 1.0,
}  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 8, size: int = 24) -> torch.Tensor:
    return torch.rand((count, 3, size, size), generator=generator())


@pytest.fixture
def batches(params):
    def make(images=None, **changes) -> augmentation.Batches:
        schedule = params.train.model_copy(update={**OFF, **changes})
        return augmentation.Batches(images or image_set(64), schedule, torch.device("cpu"))

    return make


def test_an_epoch_is_every_image_once(batches):
    images = image_set(64)
    source = batches(images)
    one, another = (torch.cat([x for x, _ in source.epoch()]) for _ in range(2))
    everything = inference.to_float(torch.as_tensor(images.images))

    def keys(batch):
        return [image.numpy().tobytes() for image in batch]

    assert sorted(keys(one)) == sorted(keys(everything)) == sorted(keys(another))
    assert keys(one) != keys(another)


def test_shift_and_flip_move_whole_images_and_nothing_else():
    """Every augmented image is a crop of the mirror-padded image, in one of two orientations; and all of them occur."""
    size, shift = 9, 2
    images = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator())
    padded = np.pad(images[0].numpy(), ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
    allowed = {}
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            crop = padded[y : y + size, x : x + size]
            allowed[crop.tobytes()] = (y, x, False)
            allowed[crop[:, ::-1].tobytes()] = (y, x, True)
    made = augmentation.shifted_and_flipped(images, torch.zeros(2000, dtype=torch.long), shift, True, generator(1))
    assert {image.numpy().tobytes() for image in made} == set(allowed)
    assert made.dtype == torch.uint8


def test_a_crop_is_torchvisions_resized_crop_with_each_image_its_own():
    x = pictures(3)
    parts = [(2, 5, 18, 12), (0, 0, 24, 24), (10, 1, 7, 20)]  # top, left, height, width in pixels
    made = augmentation.cropped(x, *(torch.tensor(part) / 24 for part in zip(*parts)))
    for image, mine, part in zip(x, made, parts):
        theirs = vision.resized_crop(image, *part, [24, 24], antialias=False)
        # At the part's own border torchvision repeats its last pixel and we see what lies beyond.
        torch.testing.assert_close(mine[:, 3:-3, 3:-3], theirs[:, 3:-3, 3:-3], rtol=0, atol=1e-5)
    torch.testing.assert_close(made[1], x[1], rtol=0, atol=1e-5)
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_crops_lie_in_the_image_and_have_the_area_asked_for():
    top, left, height, width = augmentation.crops(5000, 0.4, generator())
    for first, length in ((top, height), (left, width)):
        assert first.min() >= 0 and (first + length).max() <= 1 + 1e-6
    area, uncut = height * width, (height < 1) & (width < 1)
    assert area[uncut].min() >= 0.4 - 1e-6 and area.max() <= 1
    ratio = (width / height)[uncut]
    assert 0.75 - 1e-6 <= ratio.min() < 0.8 and 1.25 < ratio.max() <= 4 / 3 + 1e-6
    assert area.min() < 0.42 and area.max() > 0.98


def test_recolouring_is_torchvisions_with_each_image_its_own():
    x, factors = pictures(), 0.4 + torch.rand((3, 8), generator=generator(1)) * 1.2
    for image, mine, (b, c, s) in zip(x, augmentation.recoloured(x, *factors), factors.T.tolist()):
        theirs = vision.adjust_saturation(vision.adjust_contrast(vision.adjust_brightness(image, b), c), s)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-3)  # torchvision's weights have three decimals


def test_cutout_blanks_one_square_in_each_image_and_nothing_else():
    x = pictures()
    centres = torch.tensor([[0.5, 0.0, 0.99, 0.5, 0.25, 0.5, 0.5, 0.5], [0.5, 0.0, 0.5, 0.99, 0.75, 0.5, 0.5, 0.5]])
    made = augmentation.blanked(x, centres, 6)
    changed = (made != x).all(dim=1)
    assert changed[0].sum() == changed[4].sum() == 36
    assert changed[0, 9:15, 9:15].all() and changed[4, 3:9, 15:21].all()
    assert changed[1].sum() == 9 and changed[1, :3, :3].all()  # over the corner
    assert torch.equal(made[~changed[:, None].expand_as(x)], x[~changed[:, None].expand_as(x)])
    mean = x.mean((0, 2, 3))
    torch.testing.assert_close(made[0, :, 9, 9], mean)


def test_a_blend_has_the_shares_of_its_label():
    """Each class is one colour, so the colour of a blend tells its shares."""
    labels = torch.arange(16) % 3
    x = torch.nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(16, 3, 4, 4)
    found = set()
    for seed in range(20):
        pixels, targets = augmentation.mixed(x, labels, 3, 1.0, generator(seed))
        torch.testing.assert_close(pixels[:, :, 2, 2], targets)
        torch.testing.assert_close(targets.sum(1), torch.ones(16))
        found.add(round(float(targets.max(1).values.min()), 3))
    assert len(found) > 10  # the share is drawn anew


@pytest.mark.parametrize(
    "change", [{"crop_area": 0.3}, {"color_jitter": 0.5}, {"cutout": 0.5}, {"mixup": 1.0}, {"shift": 3}, {"flip": True}]
)
def test_each_setting_changes_the_images_and_the_seed_decides_how(batches, change):
    plain, first, again = (torch.cat([x for x, _ in batches(**c).epoch()]) for c in ({}, change, change))
    assert torch.equal(first, again)
    assert not torch.equal(plain, first)
    assert first.min() >= 0 and first.max() <= 1
    other = torch.cat([x for x, _ in batches(**change, seed=1).epoch()])
    assert not torch.equal(first, other)


def test_without_mixup_labels_stay_with_their_images(batches):
    """The bright corner of `image_set` tells the class, and cutting, shifting and colour leave it there."""
    source = batches(image_set(64, seed=3), crop_area=0.8, color_jitter=0.1, shift=1)
    for x, labels in source.epoch():
        corners = torch.stack([x[:, :, :8, :8], x[:, :, :8, 8:], x[:, :, 8:, :8], x[:, :, 8:, 8:]])
        assert torch.equal(corners.mean((2, 3, 4)).argmax(0), labels)


def test_smaller_images_are_torchvisions_antialiased_resize(batches):
    images = image_set(32, size=24)
    source = batches(images)
    source.resize(12)
    made = torch.cat([x for x, _ in source.epoch()])
    assert made.shape == (32, 3, 12, 12)
    theirs = vision.resize(inference.to_float(torch.as_tensor(images.images)), [12, 12], antialias=True)
    theirs = theirs[torch.randperm(32, generator=generator(source.params.seed))]
    torch.testing.assert_close(made, theirs, rtol=0, atol=0.51 / 255)
    source.resize(24)
    assert next(source.epoch())[0].shape[-1] == 24


def test_images_grow_from_the_start_size_to_the_whole(params):
    schedule = params.train.model_copy(update={"start_size": 0.5, "full_size_from": 0.5})
    sizes = [schedule.size_at(step / 20, 64) for step in range(20)]
    assert sizes[0] == 32 and sizes == sorted(sizes) and set(sizes[10:]) == {64}
    assert len(set(sizes)) > 5
    assert {params.train.model_copy(update={"start_size": 1.0}).size_at(t, 50) for t in (0, 0.4, 1)} == {50}
