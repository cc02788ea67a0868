"""A folder is read as a network sees it: its pictures, its boxes, and its classes in the network's numbering."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from torchvision.models import ResNet50_Weights

from graybox.data.class_names import is_imagenet, label_of, labels_of
from graybox.data.imagenet import IDS
from graybox.data.read_folder import read_folder
from graybox.data.sources.wordnet import WORDS
from graybox.errors import UserError

IMAGENET = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
SMALL = ResNet50_Weights.IMAGENET1K_V1.transforms(crop_size=32, resize_size=37)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def written(root, names: list[str]) -> list[Image.Image]:
    images = []
    for seed, name in enumerate(names):
        image = photo(90 - 20 * (seed % 2), 60 + 15 * (seed % 3), seed)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
        images.append(image)
    return images


def test_pictures_are_what_the_preset_makes_and_labels_are_the_networks(tmp_path):
    names = ["Sea-Lion/1.png", "Sea-Lion/2.png", "n01440764/3.png", "great_white_shark/4.png"]
    images = written(tmp_path / "photos", names)
    found = read_folder(tmp_path / "photos", IMAGENET, preprocess=SMALL)
    assert found.images.shape == (4, 32, 32, 3) and found.class_names == tuple(IMAGENET)
    mean, std = np.array(SMALL.mean), np.array(SMALL.std)
    for name, image in zip(names, images):
        row = found.files.index(name)
        expected = SMALL(image).permute(1, 2, 0).numpy() * std + mean
        np.testing.assert_allclose(found.images[row] / 255, expected, atol=1e-5)
    labels = dict(zip(found.files, found.labels.tolist()))
    assert labels == {name: label for name, label in zip(names, (150, 150, 0, 2))}
    assert np.isnan(found.boxes).all()


def test_a_box_and_a_turned_photograph_are_upright_together(tmp_path):
    """A white rectangle is where its box says, whichever way the camera was held."""
    lines = ["file,x0,y0,x1,y1"]
    for turn in range(1, 9):
        pixels = np.zeros((80, 120, 3), np.uint8)
        pixels[20:50, 40:70] = 255
        exif = Image.Exif()
        exif[0x0112] = turn
        path = tmp_path / "photos" / ("a" if turn % 2 else "b") / f"{turn}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, exif=exif)
        lines.append(f"{turn}.png,40,20,70,50")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    for options in ({"preprocess": SMALL}, {"image_size": 32}):
        found = read_folder(tmp_path / "photos", ["b", "a"], boxes=tmp_path / "boxes.csv", **options)
        assert found.has_box.all()
        for picture, (x0, y0, x1, y1) in zip(found.images, found.boxes):
            rows, columns = np.indices(picture.shape[:2]) + 0.5
            white = picture[..., 0] / 255
            assert (x1 - x0) * (y1 - y0) == pytest.approx(white.sum(), rel=0.03)
            assert (x0 + x1) / 2 == pytest.approx((columns * white).sum() / white.sum(), abs=0.3)
            assert (y0 + y1) / 2 == pytest.approx((rows * white).sum() / white.sum(), abs=0.3)


def test_the_ids_are_imagenets_in_order():
    assert len(IDS) == len(set(IDS)) == 1000 and list(IDS) == sorted(IDS)
    assert is_imagenet(IMAGENET) and not is_imagenet(IMAGENET[:-1]) and not is_imagenet(IMAGENET[::-1])
    assert {key: IMAGENET[IDS.index(key)] for key in WORDS} == WORDS


def test_folders_with_ids_fit_a_network_with_readable_names():
    assert labels_of(["n01532829", "n02074367"], ["house finch", "dugong"], ["dugong", "House Finch"], "x") == [1, 0]


@pytest.mark.parametrize(
    ("folder", "names", "told"),
    [
        ("catt", ["cat", "dog"], "x: the folder catt the model does not know; allowed: cat, dog"),
        ("catt", [*IMAGENET[:50], "cat"], r"did you mean cat.*\? allowed: one of its 51 classes \(tench, goldfish"),
        ("Crane", ["crane", "crane ", "dog"], "the folder Crane is the name of the model's classes 0, 1; allowed"),
        ("n01440764", ["cat", "dog"], "the folder n01440764 the model does not know"),
    ],
)
def test_a_folder_that_is_no_one_class_is_named(folder, names, told):
    with pytest.raises(UserError, match=told):
        labels_of([folder], [folder], names, "x")


def test_a_class_is_meant_by_its_name_or_its_number():
    assert label_of("TENCH", IMAGENET, "--class") == 0 and label_of("151", IMAGENET, "--class") == 151
    assert label_of("1", ["one", "1"], "--class") == 1
    with pytest.raises(UserError, match="--class is '1000', which the model does not know; allowed: one of its 1000"):
        label_of("1000", IMAGENET, "--class")


def test_what_cannot_be_read_is_left_out_and_said(tmp_path):
    written(tmp_path / "photos", ["cat/1.png", "dog/2.png"])
    (tmp_path / "photos/dog/3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.warns(UserWarning, match=r"1 of 3 files can't be read, such as dog/3\.png \(not an image"):
        found = read_folder(tmp_path / "photos", ["cat", "dog"], image_size=16)
    assert found.files == ("cat/1.png", "dog/2.png")
    (tmp_path / "photos/cat/1.png").unlink()
    shutil.copy(tmp_path / "photos/dog/3.png", tmp_path / "photos/cat/1.png")
    shutil.copy(tmp_path / "photos/dog/3.png", tmp_path / "photos/dog/2.png")
    with pytest.raises(UserError, match="photos: 3 of 3 files can't be read"):
        read_folder(tmp_path / "photos", ["cat", "dog"], image_size=16)


def test_a_zip_is_read_like_its_folder_and_progress_counts_each_picture(tmp_path):
    written(tmp_path / "photos", ["cat/1.png", "cat/2.png", "dog/3.png"])
    shutil.make_archive(tmp_path / "packed", "zip", tmp_path / "photos")
    counts: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_folder(tmp_path / "photos", ["cat", "dog"], image_size=16, on_image=counts.append)
        packed = read_folder(tmp_path / "packed.zip", ["cat", "dog"], image_size=16)
    np.testing.assert_array_equal(found.images, packed.images)
    assert found.files == packed.files and sum(counts) == 3


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({}, ValueError, "image_size is None, and preprocess crops nothing, so it should be 8 to 1024"),
        (
            {"image_size": 16, "preprocess": SMALL},
            ValueError,
            "image_size is 16, and preprocess crops the pictures, so",
        ),
        ({"image_size": 4}, ValueError, "image_size is 4; it should be at least 8"),
        ({"image_size": 16, "boxes": "nothing.csv"}, UserError, r"^boxes is 'nothing\.csv', which doesn't exist"),
        ({"image_size": 16, "path": "nothing"}, UserError, "^path is 'nothing', which doesn't exist"),
        (
            {"image_size": 16, "class_names": "cat"},
            TypeError,
            "class_names is 'cat'; it should be a list of at least 2",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, options, kind, told):
    written(tmp_path / "photos", ["cat/1.png", "dog/2.png"])
    with pytest.raises(kind, match=told):
        read_folder(**{"path": tmp_path / "photos", "class_names": ["cat", "dog"], **options})
