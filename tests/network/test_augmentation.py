"""Each image's own augmentation, against torchvision's for one image at a time, and what must stay as it is."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as vision

from graybox.network import augmentation, inference, streams
from tests.support.basics import image_set

OFF = {
    "flip": False, "shift": 0, "zoom": 1.0, "color_jitter": 0.0, "cutout": 0.0, "mixup": 0.0, "batch_size": 16,
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


def test_an_epoch_is_as_many_images_as_fill_its_batches_each_once_and_which_changes(batches):
    images = image_set(70)
    source = batches(images)
    everything = {image.numpy().tobytes() for image in inference.to_float(torch.as_tensor(images.images))}
    epochs = [[image.numpy().tobytes() for x, _ in source.epoch() for image in x] for _ in range(2)]
    assert len(everything) == 70 and [len(epoch) for epoch in epochs] == [64, 64]
    assert all(len(set(epoch)) == 64 and set(epoch) <= everything for epoch in epochs)
    assert set(epochs[0]) != set(epochs[1])


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
    made = augmentation.moved(images, torch.zeros(2000, dtype=torch.long), shift, True, 1.0, generator(1))
    assert {image.numpy().tobytes() for image in made} == set(allowed)
    assert made.dtype == torch.uint8


def test_a_zoomed_image_is_torchvisions_nearest_pixel_crop(monkeypatch):
    """An enlarged image is a part of itself, wherever that lies, as torchvision enlarges it: no pixel is made up."""
    size, part = 24, 12
    # Coordinates as colours tell which part it is.
    down, across = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.stack([10 * down, 10 * across, down * 0], dim=-1).byte()[None]
    monkeypatch.setattr(augmentation, "spans", lambda count, *_: torch.full((2, count), part / size))
    made = augmentation.moved(image, torch.zeros(300, dtype=torch.long), 0, False, 2.0, generator())
    tops, lefts = made[:, :, :, 0].amin((1, 2)) // 10, made[:, :, :, 1].amin((1, 2)) // 10
    assert set(tops.tolist()) == set(lefts.tolist()) == set(range(size - part + 1))
    for found, top, left in zip(made, tops, lefts):
        nearest = vision.InterpolationMode.NEAREST
        theirs = vision.resized_crop(image[0].permute(2, 0, 1), top, left, part, part, [size, size], nearest)
        # Each of the part's pixels becomes two, and where the part begins between two pixels, the first and last one.
        assert (found.permute(2, 0, 1).int() - theirs.int()).abs().max() <= 10
        assert len(found[:, 0, 0].unique()) in (part, part + 1)


def test_a_shrunk_image_is_whole_and_its_mirror_image_surrounds_it(monkeypatch):
    size = 12
    image = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator())
    monkeypatch.setattr(augmentation, "spans", lambda count, *_: torch.full((2, count), 2.0))
    made = augmentation.moved(image, torch.zeros(1, dtype=torch.long), 0, False, 2.0, generator())[0]
    padded = np.pad(image[0].numpy(), ((6, 6), (6, 6), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(made, padded[::2, ::2])


def test_zooms_are_as_large_as_asked_for():
    height, width = augmentation.spans(5000, 1.5, generator())
    size, shape = (height * width).sqrt().log(), (height / width).log()
    for found in (size, shape):
        assert found.abs().max() <= np.log(1.5) + 1e-5
        # Uniform: the standard deviation is a third of the range over the root of three.
        assert found.std() == pytest.approx(2 * np.log(1.5) / 12**0.5, rel=0.05)
    assert abs(np.corrcoef(size, shape)[0, 1]) < 0.05


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
    for seed in range(20):
        pixels, targets = augmentation.mixed(x, labels, 3, 0.3, generator(seed))
        torch.testing.assert_close(pixels[:, :, 2, 2], targets)
        torch.testing.assert_close(targets.sum(1), torch.ones(16))
        assert torch.isin((10 * targets).round(), torch.tensor([0.0, 3, 7, 10])).all()


@pytest.mark.parametrize(
    "change", [{"zoom": 1.5}, {"color_jitter": 0.5}, {"cutout": 0.5}, {"mixup": 1.0}, {"shift": 3}, {"flip": True}]
)
def test_each_setting_changes_the_images_and_the_seed_decides_how(batches, change):
    plain, first, again = (torch.cat([x for x, _ in batches(**c).epoch()]) for c in ({}, change, change))
    assert torch.equal(first, again)
    assert not torch.equal(plain, first)
    assert first.min() >= 0 and first.max() <= 1
    other = torch.cat([x for x, _ in batches(**change, seed=1).epoch()])
    assert not torch.equal(first, other)


def test_every_batch_is_blended_by_a_share_of_its_own(batches):
    shares = {round(float(labels.max(1).values.min()), 4) for _, labels in batches(image_set(256), mixup=1.0).epoch()}
    assert len(shares) > 8


def test_without_mixup_labels_stay_with_their_images(batches):
    """The bright corner of `image_set` tells the class, and cutting, shifting and colour leave it there."""
    source = batches(image_set(64, seed=3), zoom=1.2, color_jitter=0.1, shift=1)
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
    theirs = theirs[torch.randperm(32, generator=streams.generator(source.params.seed, "order"))]
    torch.testing.assert_close(made, theirs, rtol=0, atol=0.51 / 255)
    source.resize(24)
    assert next(source.epoch())[0].shape[-1] == 24


def test_images_grow_from_the_start_size_to_the_whole(params):
    schedule = params.train.model_copy(update={"start_size": 0.5, "full_size_from": 0.5})
    sizes = [schedule.size_at(step / 20, 64) for step in range(20)]
    assert sizes[0] == 32 and sizes == sorted(sizes) and set(sizes[10:]) == {64}
    assert len(set(sizes)) > 5
    assert {params.train.model_copy(update={"start_size": 1.0}).size_at(t, 50) for t in (0, 0.4, 1)} == {50}
