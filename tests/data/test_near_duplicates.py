"""Near-duplicates: planted copies are found, different pictures are not taken for copies, and what is dropped."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from graybox.data import near_duplicates, registration, sources
from graybox.data.near_duplicates import Pair
from graybox.data.params import FolderParams, ScenesParams, TinyImagenetParams
from graybox.data.prepare import prepare
from graybox.data.prepare_folder import prepare_folder
from tests.data.test_prepare import params
from tests.data.test_sources import REAL_ZIP, needs_real_zip


def photographs(count: int, size: int = 84, seed: int = 0) -> np.ndarray:
    """Noise with a photograph's spectrum, uint8 [count, size, size, 3]: its amplitude falls with the frequency."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) + 1 / size
    waves = np.fft.rfft2(random.normal(size=(count, 3, size, size))) / frequency**1.3
    waves += 2 * waves[:, :1]  # colours mostly agree
    pixels = np.fft.irfft2(waves, (size, size))
    pixels /= pixels.std(axis=(1, 2, 3), keepdims=True)
    return (128 + 45 * pixels).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def encoded(picture: Image.Image, quality: int = 85) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


# Ways to copy a picture of 84 x 84 pixels.
COPIES = {
    "encoded again": lambda picture: picture,
    "two pixels smaller": lambda picture: picture.resize((82, 82), Image.Resampling.BICUBIC),
    "twice as large": lambda picture: picture.resize((168, 168), Image.Resampling.BICUBIC),
    "cropped": lambda picture: picture.crop((2, 3, 82, 83)),
    "cropped in a corner": lambda picture: picture.crop((4, 4, 84, 84)),
    "mirrored": mirrored,
    "mirrored and cropped": lambda picture: mirrored(picture).crop((2, 3, 83, 84)),
}


def decoded(data: bytes, size: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).resize((size, size), Image.Resampling.BILINEAR))


def pairs_of(pixels: np.ndarray, splits: list[str] | None = None) -> list[Pair]:
    return near_duplicates.find(pixels, np.arange(len(pixels)), splits or ["train"] * len(pixels))


@pytest.mark.parametrize("way", COPIES)
def test_planted_copies_are_found_and_nothing_else(way):
    originals = photographs(60)
    copies = np.stack([decoded(encoded(COPIES[way](Image.fromarray(pixels))), 84) for pixels in originals[:30]])
    found = pairs_of(np.concatenate([originals, copies]), ["train"] * 60 + ["test"] * 30)
    assert {(pair.row, pair.other) for pair in found} == {(row, row + 60) for row in range(30)}
    assert {pair.mirrored for pair in found} == {way.startswith("mirrored")}


@pytest.mark.parametrize("size", [32, 48, 200])
def test_copies_are_found_in_pictures_of_other_sizes(size):
    originals = photographs(20, size, seed=1)
    edge = size // 32
    copies = [Image.fromarray(pixels).crop((edge, edge, size, size)) for pixels in originals[:10]]
    pixels = np.concatenate([originals, [decoded(encoded(copy, 90), size) for copy in copies]])
    assert [pair[:2] for pair in sorted(pairs_of(pixels))] == [(row, row + 20) for row in range(10)]


def test_different_pictures_are_no_near_duplicates():
    assert pairs_of(photographs(300, 48, seed=2)) == []


@pytest.mark.parametrize("object_size", [[0.6, 0.85], [0.05, 0.1]])
def test_scenes_of_one_background_are_no_near_duplicates(tmp_path, object_size):
    options = ScenesParams(classes=2, train_per_class=60, test_per_class=20, context_bias=1.0, object_size=object_size)
    sources.download("scenes", options, tmp_path / "raw", tmp_path / "partial")
    catalogue = sources.open("scenes", options, tmp_path / "raw", seed=0)
    prepared = prepare(catalogue, params(), 48, tmp_path / "prepared", workers=1)
    assert prepared.near_duplicates == {}


def test_pictures_without_detail_say_nothing():
    random = np.random.default_rng(0)
    shades = np.arange(20, dtype=np.uint8)[:, None, None, None] * 10 + np.zeros((1, 48, 48, 3), np.uint8)
    noisy = shades + random.integers(0, 3, shades.shape, dtype=np.uint8)
    slopes = np.linspace(0, 200, 48).astype(np.uint8)[:, None, None] + shades // 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pairs_of(np.concatenate([shades, noisy, slopes])) == []


@pytest.mark.parametrize("size", [8, 31, 32, 33])
def test_small_pictures_are_either_compared_or_left_alone(size):
    pixels = photographs(10, size)
    close = pixels ^ np.uint8(1)
    found = pairs_of(np.concatenate([pixels, close]))
    assert len(found) == (10 if size >= near_duplicates.SMALLEST else 0)


def test_the_same_pixels_are_left_to_the_exact_search():
    pixels = photographs(10)
    assert pairs_of(np.concatenate([pixels, pixels])) == []
    assert pairs_of(pixels[:1]) == []


def test_the_size_of_the_blocks_does_not_matter(monkeypatch):
    pixels = photographs(40, 48)
    pixels = np.concatenate([pixels, pixels[::-1, :, ::-1] ^ np.uint8(1)])
    splits = ["train"] * 50 + ["validation"] * 10 + ["test"] * 20
    expected = pairs_of(pixels, splits)
    assert len(expected) == 40
    for name, value in {"ROWS": 7, "COLUMNS": 11, "PAIRS": 3}.items():
        monkeypatch.setattr(near_duplicates, name, value)
    assert [pair[:2] + pair[3:] for pair in pairs_of(pixels, splits)] == [pair[:2] + pair[3:] for pair in expected]


def test_each_image_is_compared_with_the_copies_in_every_split():
    pixels = photographs(30, 48)
    copies = [pixels[:8] ^ np.uint8(bit) for bit in (1, 2)]
    found = pairs_of(np.concatenate([pixels, *copies]), ["train"] * 30 + ["validation"] * 8 + ["test"] * 8)
    expected = {(row, other) for row in range(8) for other in (row + 30, row + 38)}
    assert {pair[:2] for pair in found} == expected | {(row, row + 8) for row in range(30, 38)}
    assert [pair.other >= 38 for pair in found] == [True] * 16 + [False] * 8  # test images' pairs come first
    splits = dict(enumerate(["train"] * 30 + ["validation"] * 8 + ["test"] * 8))
    assert near_duplicates.counts(found, splits) == {
        "in train and test": 8, "in train and validation": 8, "in validation and test": 8,
    }  # fmt: skip


# --- what is dropped ----------------------------------------------------------------------------------------------

SPLIT_OF = dict(enumerate(["train"] * 4 + ["validation"] * 3 + ["test"] * 3))


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1])))
def test_dropping_leaves_no_pair_between_splits_and_never_touches_test(places):
    pairs = [Pair(row, other, 0.9, False) for row, other in sorted(places)]
    dropped = near_duplicates.to_drop(pairs, SPLIT_OF)
    assert "test" not in {SPLIT_OF[row] for row in dropped}
    assert set(dropped.values()).isdisjoint(dropped)
    for row, other in places:
        assert SPLIT_OF[row] == SPLIT_OF[other] or row in dropped or other in dropped
    assert all((row, other) in places and SPLIT_OF[row] != SPLIT_OF[other] for row, other in dropped.items())


def test_a_copy_of_what_is_dropped_itself_stays():
    pairs = [Pair(0, 4, 0.9, False), Pair(4, 7, 0.9, False), Pair(1, 5, 0.9, False)]
    assert near_duplicates.to_drop(pairs, SPLIT_OF) == {4: 7, 1: 5}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Photographs of two classes in train, val and test; those of test are encoded again, the first ones copies."""
    pictures = [Image.fromarray(pixels) for pixels in photographs(44)]
    for number, picture in enumerate(pictures[:40]):
        folder = tmp_path / "photos" / ("val" if number % 10 >= 8 else "train") / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02d}.jpg").write_bytes(encoded(picture, 90))
    for number, way in enumerate(COPIES.values()):
        folder = tmp_path / "photos" / "test" / ("cat", "dog")[(number + 1) % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"copy {number}.jpg").write_bytes(encoded(way(pictures[number])))
        (folder / f"other {number}.jpg").write_bytes(encoded(pictures[40 + number % 4].rotate(90 * (number // 4 + 1))))
    return tmp_path / "photos"


def files_of(splits) -> dict[str, set[str]]:
    return {name: set(split.files) for name, split in splits._asdict().items()}


def test_copies_of_test_images_are_listed_and_dropped_where_wanted(photos, tmp_path):
    listed = prepare_folder(photos, tmp_path / "listed", image_size=64)
    dropped = prepare_folder(photos, tmp_path / "dropped", image_size=64, drop_near_duplicates=True)
    copied = {f"train/{('cat', 'dog')[number % 2]}/{number:02d}.jpg" for number in range(len(COPIES))}
    before, after = files_of(listed), files_of(dropped)
    assert before["train"] - after["train"] == copied and len(before["train"]) == 32
    assert before["test"] == after["test"] and before["validation"] == after["validation"]
    for folder, gone in (("listed", False), ("dropped", True)):
        table = pd.read_csv(tmp_path / folder / "near_duplicates.csv")
        assert set(table["file"]) == copied and set(table["split"]) == {"train"}
        numbers = table["file"].str.extract(r"(\d+).jpg")[0].astype(int)
        assert (table["other_file"].str.extract(r"copy (\d)")[0].astype(int) == numbers).all()
        assert (table["class"] != table["other_class"]).all() and set(table["other_split"]) == {"test"}
        assert set(numbers[table["mirrored"]]) == {5, 6}
        assert (table["dropped"] == gone).all() and table["similarity"].is_monotonic_decreasing
        found = json.loads((tmp_path / folder / "summary.json").read_text())
        assert found["near_duplicates"] == {"in train and test": 7} and found["duplicates"] == {}
        assert found["near_duplicates_dropped"] == 7 * gone
        # The pictures of the first pairs, of dropped images too.
        pictures = np.load(tmp_path / folder / "near_duplicates.npy")
        assert pictures.shape == (near_duplicates.SHOWN, 2, 64, 64, 3)
        place = listed.train.files.index(table["file"][0]), listed.test.files.index(table["other_file"][0])
        np.testing.assert_array_equal(pictures[0], [listed.train.images[place[0]], listed.test.images[place[1]]])
    # Each row's file is still its own.
    for file, pixels in zip(dropped.train.files, dropped.train.images):
        np.testing.assert_array_equal(pixels, listed.train.images[listed.train.files.index(file)])


def test_the_stages_line_says_how_many_there_are_and_what_became_of_them(photos, tmp_path):
    options = FolderParams(image_size=64, path=str(photos))
    sources.download("folder", options, tmp_path / "raw", tmp_path / "partial")
    catalogue = sources.open("folder", options, tmp_path / "raw", seed=0)
    said = prepare(catalogue, params(drop_near_duplicates=True), 64, tmp_path / "into", workers=2).summary()
    assert said.endswith("; 7 near-duplicates in train and test; 7 near-duplicates dropped (near_duplicates.csv)")


# --- the comparison of pixels -------------------------------------------------------------------------------------


def test_registration_finds_a_known_stretch_and_move():
    wanted = np.array([[0.05, 0.04, -0.08, -0.05], [0, -0.06, 0.03, 0.02]], np.float32)
    x = (np.arange(64) + 0.5) / 32 - 1

    def picture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 128 + 60 * np.sin(5 * x + 1) * np.cos(4 * y)[:, None] + 30 * np.cos(9 * x - 7 * y[:, None])

    pictures = np.stack([picture(x, x)] * 2).astype(np.float32)
    others = np.stack([picture(x + a * x + b, x + c * x + d) for a, b, c, d in wanted]).astype(np.float32)
    found, moved, targets = registration.register(pictures, 0.8 * others + 10, np.zeros((2, 4), np.float32), 6)
    np.testing.assert_allclose(found, wanted, atol=0.008)
    agreement, difference = registration.compare_whole(0.8 * moved + 10, targets)
    assert agreement.min() > 0.999 and difference.max() < 1


def test_thumbnails_are_means_of_areas():
    pixels = photographs(3, 60)
    gray = pixels @ registration.LUMA
    expected = gray.reshape(3, 20, 3, 20, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(registration.thumbnails(pixels, 20), expected, rtol=1e-4)
    assert registration.thumbnails(np.full((1, 50, 50, 3), 77, np.uint8), 32) == pytest.approx(77, abs=1e-3)


def test_detail_must_agree_in_three_quarters_of_the_blocks():
    picture, other = photographs(2, 50).astype(np.float32)[..., 0]
    few, many = picture.copy(), picture.copy()
    few[:20, :20] = other[:20, :20]  # 4 of 25 blocks
    many[:30, :30] = other[:30, :30]  # 9
    flat = np.full_like(picture, 99)
    agreement, difference = registration.compare_detail(
        np.stack([picture, picture, picture, flat]), np.stack([picture, few, many, flat])
    )
    assert agreement[0] == pytest.approx(1, abs=1e-4) and difference[0] == 0
    assert agreement[1] > 0.9 and difference[1] < 1
    assert agreement[2] < 0.7 and difference[2] > 10
    assert agreement[3] == -1 and difference[3] == np.inf


@pytest.mark.slow
@needs_real_zip
def test_of_real_photographs_planted_copies_are_found_and_hardly_any_other(tmp_path):
    options = TinyImagenetParams(image_size=64, archive=str(REAL_ZIP), sha256=None)
    sources.download("tiny_imagenet", options, tmp_path / "raw", tmp_path / "partial")
    catalogue = sources.open("tiny_imagenet", options, tmp_path / "raw", seed=0)
    prepare(catalogue, params(images_per_class=200), 64, tmp_path / "prepared")
    pixels = np.load(tmp_path / "prepared/images.npy", mmap_mode="r")
    originals = np.random.default_rng(0).choice(len(pixels), 100, replace=False)
    copies = {
        "encoded again": lambda picture: picture,
        "two pixels smaller": lambda picture: picture.resize((62, 62), Image.Resampling.BICUBIC),
        "cropped": lambda picture: picture.crop((2, 1, 63, 62)),
        "mirrored": mirrored,
    }
    for way, copy in copies.items():
        planted = [decoded(encoded(copy(Image.fromarray(pixels[row]))), 64) for row in originals]
        found = pairs_of(np.concatenate([pixels, planted]), ["train"] * len(pixels) + ["test"] * len(planted))
        right = {(row, len(pixels) + place) for place, row in enumerate(originals.tolist())}
        hits = {pair[:2] for pair in found} & right
        assert len(hits) >= 95, way
        assert len(found) - len(hits) <= 3, way
