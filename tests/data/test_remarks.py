"""What is said about the prepared images: too dark, of unequal classes; and places that are no paths."""

from __future__ import annotations

import json
import struct
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from graybox import prepare_folder
from graybox.command_line import photographs
from graybox.data import remarks
from graybox.data.images import SPLITS
from graybox.data.sources import fetch
from graybox.data.sources.decode import is_16_bit, open_image
from graybox.errors import UserError
from tests.data.test_sources import decoded, encoded, plain, write_files

# --- 16 bits ------------------------------------------------------------------------------------------------------


def deep(largest: int, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(0, largest + 1, (8, 8), dtype=np.uint16)
    values[2:6, 2:6] = largest
    return encoded(Image.fromarray(values), "PNG")


def folder_of(root, largest: list[int]):
    """For each class a picture with each largest value."""
    names = [f"{name}/{n}.png" for n in range(len(largest)) for name in ("cat", "dog")]
    return write_files(root, {name: deep(largest[k // 2], k) for k, name in enumerate(names)})


@pytest.mark.parametrize(("bits", "factor"), [(10, 64), (12, 16), (14, 4)])
def test_images_of_12_bits_stored_as_16_are_mentioned(tmp_path, bits, factor):
    root = folder_of(tmp_path / "photos", [2**bits - 1] * 3 + [65535])
    with pytest.warns(UserWarning, match=rf"6 of 8 images with 16 bits .* hold {bits}-bit values .* by {factor}\."):
        prepare_folder(root, tmp_path / "into", image_size=8)
    told = json.loads((tmp_path / "into/summary.json").read_text("utf-8"))["remarks"]
    assert len(told) == 1 and "come out nearly black" in told[0]


def test_images_that_use_their_16_bits_are_not(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare_folder(folder_of(tmp_path / "photos", [65535, 40000, 20000]), tmp_path / "into", image_size=8)


@pytest.mark.parametrize(("largest", "told"), [(4095, True), (65535, False)])
def test_the_command_line_says_it_of_a_single_picture(tmp_path, capsys, largest, told):
    (tmp_path / "photo.png").write_bytes(deep(largest))
    picture, _ = photographs.read(tmp_path / "photo.png", None, 8)
    assert picture.max() == largest >> 8
    assert ("1 of 1 images with 16 bits a channel come out nearly black" in capsys.readouterr().out) == told


def twelve_bit_tiff(value: int) -> bytes:
    """Pillow reads these, but doesn't write them: two values in three bytes."""
    pair = bytes([value >> 4, (value & 15) << 4 | value >> 8, value & 255])
    pixels = pair * 32
    tags = {256: 8, 257: 8, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: len(pixels)}
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (16, 1), (2048, 128), (4095, 255)])
def test_a_file_that_says_12_bits_is_scaled(value, expected):
    data = twelve_bit_tiff(value)
    assert not is_16_bit(open_image(data))
    assert decoded(data)[0, 0].tolist() == [expected] * 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP", "GIF"])
def test_8_bits_are_not_taken_for_16(kind):
    assert not is_16_bit(open_image(encoded(plain("RGB", 3, (160, 16)), kind)))


# --- unequal classes ----------------------------------------------------------------------------------------------


def table_of(train: list[int], validation: list[int], test: list[int]) -> pd.DataFrame:
    rows = [
        (split, label)
        for split, counts in zip(SPLITS, (train, validation, test))
        for label, n in enumerate(counts)
        for _ in range(n)
    ]
    return pd.DataFrame(rows, columns=["split", "label"])


def test_what_a_constant_answer_gets():
    table = table_of([1, 400, 1], [1, 99, 1], [1, 99, 0])
    found = remarks.constant_answer(table, ["a", "b", "c"])
    assert found["class"] == "b" and found["balanced"] == round(1 / 3, 6)
    for split in SPLITS:
        labels = table["label"][table["split"] == split]
        assert found[split] == pytest.approx(accuracy_score(labels, np.ones_like(labels)), abs=1e-6)
    labels = table["label"][table["split"] == "train"]
    assert found["balanced"] == pytest.approx(balanced_accuracy_score(labels, np.ones_like(labels)), abs=1e-6)


@pytest.mark.parametrize(("test", "told"), [([1, 99], True), ([10, 16], True), ([10, 15], False), ([10, 10], False)])
def test_unequal_classes_are_mentioned(test, told):
    said = remarks.unequal(table_of([5, 5], [5, 5], test), ["a", "b"])
    assert bool(said) == told
    if told:
        share = max(test) / sum(test)
        assert f"always answering 'b' gets {share:.1%}" in said[0] and "balanced accuracy 50.0%" in said[0]


def test_the_summary_has_what_a_constant_answer_gets(tmp_path):
    colours = {f"cat/{n}.png": (n, 0, 0) for n in range(5)} | {f"dog/{n}.png": (n, 40, 0) for n in range(200)}
    contents = {name: encoded(plain("RGB", colour), "PNG") for name, colour in colours.items()}
    root = write_files(tmp_path / "photos", contents)
    with pytest.warns(UserWarning, match="unequal size, 1 to 40 test images: always answering 'dog' gets 97.6%"):
        prepare_folder(root, tmp_path / "into", image_size=8)
    found = json.loads((tmp_path / "into/summary.json").read_text("utf-8"))["constant_answer"]
    assert found["test"] == round(40 / 41, 6) and found["balanced"] == 0.5


# --- places -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["https:/host/a.zip", "http:host/a.zip", "HTTPS//host/a", "ftp://host/a", "www.host/a.zip"]
)
def test_a_url_with_a_slash_lost_is_named_as_such(tmp_path, location):
    with pytest.raises(UserError, match="is neither a path nor a URL that begins with http:// or https://"):
        fetch.fetch(location, "sources.folder.path", tmp_path, tmp_path)


@pytest.mark.parametrize("location", ["photos", "https", "C:/photos", "my-data//photos"])
def test_a_relative_path_is_named_with_the_folder_it_is_relative_to(tmp_path, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"which doesn't exist in {tmp_path}; it should be"):
        fetch.fetch(location, "sources.folder.path", tmp_path, tmp_path)


def test_a_relative_path_in_a_temporary_copy_of_the_repository(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc/tmp/exps/standalone/tmpxyz"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with pytest.raises(
        UserError, match=r"tmpxyz \(a copy of the repository, in which `dvc exp run --temp` .* full path"
    ):
        fetch.fetch("../photos", "sources.folder.path", tmp_path, tmp_path)


def test_an_absolute_path_is_named_as_it_is(tmp_path):
    with pytest.raises(UserError, match=r"/photos', which doesn't exist; it should be"):
        fetch.fetch(str(tmp_path / "photos"), "sources.folder.path", tmp_path, tmp_path)
