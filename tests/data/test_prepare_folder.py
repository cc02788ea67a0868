"""Images without a params.yaml: from a folder in one call, from arrays, and drawn."""

import numpy as np
import pytest
from PIL import Image

from graybox.data import images
from graybox.data.images import ImageSet
from graybox.data.prepare_folder import prepare_folder
from graybox.data.scenes.pictures import draw_scenes
from graybox.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures of each of three classes, and boxes of one of them."""
    for number in range(36):
        place = tmp_path / "photos" / ("cat", "dog", "emu")[number % 3] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat/0.png,5,0,25,20\n")
    return tmp_path / "photos"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_becomes_three_splits_that_can_be_read_again(photos, tmp_path, workers):
    splits = prepare_folder(
        photos, tmp_path / "into", image_size=20, boxes=tmp_path / "boxes.csv", test_fraction=0.25, workers=workers
    )
    assert [len(split) for split in splits] == [24, 3, 9] and splits.test.class_names == ("cat", "dog", "emu")
    assert len({file for split in splits for file in split.files}) == 36
    for split, name in zip(splits, images.SPLITS):
        again = images.load(tmp_path / "into", name)
        np.testing.assert_array_equal(again.images, split.images)
        for image, file in zip(split.images, split.files):  # the middle square, as it is
            np.testing.assert_array_equal(image, np.asarray(Image.open(photos / file))[:, 5:25])
    boxes = [box for split in splits for box, file in zip(split.boxes, split.files) if file == "cat/0.png"]
    np.testing.assert_array_equal(boxes, [[0, 0, 20, 20]])
    # Nothing of the way there stays, and the seed alone decides.
    assert not [path for path in (tmp_path / "into").iterdir() if path.is_dir()]
    other = prepare_folder(photos, tmp_path / "other", image_size=20, test_fraction=0.25)
    assert other.test.files == splits.test.files
    reseeded = prepare_folder(photos, tmp_path / "other", image_size=20, test_fraction=0.25, seed=1)
    assert reseeded.test.files != splits.test.files


def test_what_an_earlier_call_gave_keeps_its_pixels(photos, tmp_path):
    first = prepare_folder(photos, tmp_path / "into", image_size=20).train
    before = first.images.copy()
    second = prepare_folder(photos, tmp_path / "into", image_size=8, seed=3).train
    assert second.size == 8
    np.testing.assert_array_equal(first.images, before)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_size": 4}, "image_size is 4; it should be greater than or equal to 8"),
        ({"test_fraction": 1.5}, "test_fraction is 1.5; it should be less than 1"),
        ({"classes": ["cat", "cow"]}, "classes: the source has no class 'cow'; allowed: cat, dog, emu"),
        ({"path": "no/such/folder"}, "path is 'no/such/folder', which doesn't exist in "),
        ({"boxes": "no/such/boxes"}, "boxes is 'no/such/boxes', which doesn't exist in "),
        ({"max_unreadable": 0}, "max_unreadable is 0, and more images than that can't be decoded"),
        ({"into": "photos/cat/0.png/into"}, "into is 'photos/cat/0.png/into', which can't be written"),
    ],
)
def test_a_mistake_is_about_the_argument_and_no_file_of_parameters(photos, tmp_path, monkeypatch, change, told):
    monkeypatch.chdir(tmp_path)
    (photos / "cat" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError) as error:
        prepare_folder(**{"path": photos, "into": "into", **change})
    assert str(error.value).startswith(told)


def test_reading_what_is_not_there_names_it(photos, tmp_path):
    prepare_folder(photos, tmp_path / "into", image_size=8)
    with pytest.raises(ValueError, match="split is 'val'; allowed: train, validation, test"):
        images.load(tmp_path / "into", "val")
    with pytest.raises(UserError, match=r"photos holds no prepared images .*table\.csv"):
        images.load(photos, "train")


def test_arrays_become_images_without_a_copy_of_the_pixels():
    pixels = np.zeros((3, 8, 9, 3), np.uint8)
    found = ImageSet.from_arrays(pixels, np.array([1, 0, 1], np.uint8), ["a", "b"])
    assert np.shares_memory(found.images, pixels) and found.labels.dtype == np.int64
    assert found.class_names == ("a", "b") and found.files == ("0", "1", "2")
    assert found.boxes.dtype == np.float32 and not found.has_box.any()


PIXELS = np.zeros((3, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"images": PIXELS / 255}, TypeError, "images is of float64; allowed: uint8"),
        ({"images": PIXELS[0]}, ValueError, r"images has the shape \[8, 8, 3\]; allowed"),
        ({"images": PIXELS[:0], "labels": np.zeros(0, int)}, ValueError, r"images has the shape \[0, 8, 8, 3\]"),
        ({"labels": [0.0, 1.0, 1.0]}, TypeError, "labels is of float64"),
        ({"labels": [0, 1]}, ValueError, r"labels has the shape \[2\]; allowed with these images: \[3\]"),
        ({"labels": [0, 1, 2]}, ValueError, "labels has values from 0 to 2; allowed with 2 class_names: 0 to 1"),
        ({"labels": [0, -1, 1]}, ValueError, "labels has values from -1 to 1"),
        ({"class_names": ["a"]}, ValueError, "class_names has 1 name; it should have at least 2"),
        ({"boxes": np.zeros((2, 4))}, ValueError, r"boxes has the shape \[2, 4\]; allowed with these images: \[3, 4\]"),
        ({"files": ["x"]}, ValueError, r"files has the shape \[1\]"),
    ],
)
def test_arrays_that_disagree_are_refused(change, kind, told):
    with pytest.raises(kind, match=told):
        ImageSet.from_arrays(**{"images": PIXELS, "labels": [0, 1, 1], "class_names": ["a", "b"], **change})


def test_drawn_pictures_are_the_same_again_and_carry_their_objects_boxes():
    found = draw_scenes(6, classes=3, image_size=32)
    assert found.images.shape == (6, 32, 32, 3) and found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.has_box.all() and (found.boxes[:, :2] < found.boxes[:, 2:]).all()
    more = draw_scenes(9, classes=3, image_size=32)
    np.testing.assert_array_equal(more.images[:6], found.images)
    assert not np.array_equal(draw_scenes(6, classes=3, image_size=32, split="test").images, found.images)
    with pytest.raises(ValueError, match="count is 0"):
        draw_scenes(0)
    with pytest.raises(ValueError, match="classes"):
        draw_scenes(3, classes=1)
