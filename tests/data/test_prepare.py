"""Choosing, splitting and decoding: what ends up in the prepared folder, in which row and in which split."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing.synchronize
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from graybox.data import images, sources
from graybox.data.choice import choose, choose_classes
from graybox.data.decoding import CHUNK
from graybox.data.params import DataParams, TinyImagenetParams
from graybox.data.prepare import prepare
from graybox.data.sources import Catalogue, UnreadableError, folder
from graybox.data.sources.files import FolderFiles
from graybox.errors import UserError
from tests.data.test_sources import REAL_ZIP, everything, needs_real_zip, tiny_contents, write_files
from tests.support.basics import ROOT

DEFAULTS = {"source": "folder", "validation_fraction": 0.15, "test_fraction": 0.2, "classes": None}
DEFAULTS |= {"images_per_class": None, "max_unreadable": 0, "seed": 0}


WRITTEN = {"images.npy", "table.csv", "classes.json", "unreadable.txt", "duplicates.txt", "summary.json"}
WRITTEN |= {"near_duplicates.csv", "near_duplicates.npy", "uncovered.npz"}


def params(**changes) -> DataParams:
    return DataParams(**DEFAULTS | changes)


@dataclass(frozen=True)
class Paint:
    """A `load` whose pictures say which they are: picture i has the colour (label, i % 256, i // 256)."""

    labels: list[int]
    broken: frozenset[int] = frozenset()

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        if index in self.broken:
            raise UnreadableError("it is planted")
        colour = (self.labels[index], index % 256, index // 256)
        return Image.new("RGB", (20, 10), colour), np.array([5, 0, 5 + index % 10 + 1, 10], np.float32)


def painted(counts: dict[str, dict[str | None, int]], broken: tuple[int, ...] = ()) -> Catalogue:
    """A catalogue with so many pictures of each class in each of the source's own splits."""
    rows = [
        (label, split)
        for label, splits in enumerate(counts.values())
        for split, count in splits.items()
        for _ in range(count)
    ]
    labels = [label for label, _ in rows]
    return Catalogue(
        class_names=[f"the {key}" for key in counts],
        class_keys=list(counts),
        files=[f"{list(counts)[label]}/{index}.png" for index, label in enumerate(labels)],
        labels=np.array(labels, np.int64),
        splits=[split for _, split in rows],
        load=Paint(labels, frozenset(broken)),
    )


def uncover(index: int) -> tuple[float, Image.Image]:
    """Every third object is covered, picture i by i / 1000; without the thing its picture is as Paint's, but blue."""
    share = index / 1000 * (index % 3 == 0)
    return share, Image.new("RGB", (20, 10), (index % 256, index // 256, 255))


def split(catalogue: Catalogue, **changes) -> pd.DataFrame:
    data = params(**changes)
    return choose(catalogue, choose_classes(catalogue, data.classes), data)


def counts(rows: pd.DataFrame) -> dict[str, list[int]]:
    """Images of each class in each split."""
    return {name: np.bincount(rows["label"][rows["split"] == name]).tolist() for name in images.SPLITS}


# --- splits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        # No splits: test is 20% of the images, validation 15% of the rest.
        ({None: 100}, {"train": [68, 68], "validation": [12, 12], "test": [20, 20]}),
        ({"train": 100}, {"train": [68, 68], "validation": [12, 12], "test": [20, 20]}),
        ({"train": 100, "test": 7}, {"train": [85, 85], "validation": [15, 15], "test": [7, 7]}),
        ({"train": 100, "validation": 7}, {"train": [80, 80], "validation": [7, 7], "test": [20, 20]}),
        ({"train": 9, "validation": 7, "test": 5}, {"train": [9, 9], "validation": [7, 7], "test": [5, 5]}),
    ],
)
def test_splits_that_a_source_lacks_are_carved_out_of_train(own, expected):
    catalogue = painted({"cat": own, "dog": own})
    rows = split(catalogue)
    assert counts(rows) == expected
    assert sorted(rows["index"]) == list(range(len(catalogue.files)))  # all are used, each once
    for name in set(catalogue.splits) - {None, "train"}:
        of_its_own = {file for file, own in zip(catalogue.files, catalogue.splits, strict=True) if own == name}
        assert set(rows["file"][rows["split"] == name]) == of_its_own


def test_splits_keep_the_proportions_of_unequal_classes():
    rows = split(painted({"cat": {None: 200}, "dog": {None: 50}, "eel": {None: 25}}))
    assert counts(rows) == {"train": [136, 34, 17], "validation": [24, 6, 3], "test": [40, 10, 5]}


def test_splits_are_shuffled_seeded_and_in_order():
    catalogue = painted({"cat": {None: 60}, "dog": {None: 60}})
    rows, again, other = (split(catalogue, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(rows, again)
    tests = [set(table["file"][table["split"] == "test"]) for table in (rows, other)]
    assert tests[0] != tests[1]
    of_cat = rows["index"][rows["label"] == 0]
    for name in images.SPLITS:
        drawn = of_cat[rows["split"] == name]
        assert np.ptp(drawn) > len(drawn)  # not so many in a row
    order = [
        (images.SPLITS.index(name), label, index) for name, label, index in rows[["split", "label", "index"]].values
    ]
    assert order == sorted(order)
    assert [catalogue.files[index] for index in rows["index"]] == list(rows["file"])
    assert [catalogue.class_names[label] for label in rows["label"]] == list(rows["class"])


def test_other_classes_leave_a_class_as_it_is_split():
    catalogue = painted({"cat": {None: 40}, "dog": {None: 50}, "eel": {None: 60}})
    all_three, two = split(catalogue), split(catalogue, classes=["eel", "dog"])
    placed, again = (dict(zip(rows["file"], rows["split"], strict=True)) for rows in (all_three, two))
    assert len(again) == 110
    assert again == {file: name for file, name in placed.items() if not file.startswith("cat")}


@pytest.mark.parametrize(
    ("own", "limit", "expected"),
    [
        ({"train": 500, "test": 50}, 20, {"train": 17, "validation": 3, "test": 20}),
        ({"train": 500, "test": 10}, 20, {"train": 17, "validation": 3, "test": 10}),
        ({None: 500}, 20, {"train": 14, "validation": 2, "test": 4}),
        ({None: 500}, 3, {"train": 1, "validation": 1, "test": 1}),
        ({"train": 30, "validation": 30, "test": 30}, 20, {"train": 20, "validation": 20, "test": 20}),
        ({None: 10}, 20, {"train": 7, "validation": 1, "test": 2}),
    ],
)
def test_images_per_class_limits_each_of_the_sources_splits(own, limit, expected):
    rows = split(painted({"cat": own, "dog": own}), images_per_class=limit)
    assert counts(rows) == {name: [count] * 2 for name, count in expected.items()}


def test_images_per_class_picks_from_all_over():
    catalogue = painted({"cat": {None: 500}, "dog": {None: 500}})
    few, more = (split(catalogue, images_per_class=count) for count in (20, 40))
    assert set(few["file"]) < set(more["file"])
    assert few["index"][few["label"] == 0].max() > 250
    assert set(few["file"]) != set(split(catalogue, images_per_class=20, seed=1)["file"])


@pytest.mark.parametrize(
    ("cat", "dog", "told"),
    [
        ({None: 9}, {None: 2}, "0 train, 1 validation, 1 test"),
        ({"train": 9, "test": 9}, {"train": 1, "test": 5}, "0 train, 1 validation, 5 test"),
        ({"train": 9, "test": 9}, {"train": 5}, "4 train, 1 validation, 0 test"),
        ({"train": 9, "test": 9}, {"test": 5}, "0 train, 0 validation, 5 test"),
    ],
)
def test_a_class_without_images_in_a_split_is_named(cat, dog, told):
    with pytest.raises(UserError, match=f"class 'the dog' has {told} images.*at least 1 is needed in each split"):
        split(painted({"cat": cat, "dog": dog}))


# --- classes ------------------------------------------------------------------------------------------------------

ANIMALS = painted({"cat": {None: 10}, "dog": {None: 10}, "eel": {None: 10}})


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, ["the cat", "the dog", "the eel"]),
        (2, ["the cat", "the dog"]),
        (3, ["the cat", "the dog", "the eel"]),
        (["eel", "cat"], ["the eel", "the cat"]),
        (["the dog", "cat", "dog"], ["the dog", "the cat"]),
    ],
)
def test_classes_are_chosen_by_number_name_or_folder(tmp_path, classes, expected):
    prepared = prepare(ANIMALS, params(classes=classes), 8, tmp_path, workers=1)
    part = images.load(tmp_path, "train")
    assert list(part.class_names) == expected
    shown = {expected[label]: pixels[0, 0, 0] for label, pixels in zip(part.labels, part.images, strict=True)}
    assert shown == {name: ANIMALS.class_names.index(name) for name in expected}
    assert set(prepared.table["class"]) == set(expected)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (4, "data.classes is 4; the source has 3, so 2 to 3 are allowed"),
        (["cat", "cow"], "data.classes: the source has no class 'cow'; allowed: the cat, the dog, the eel"),
        (["cat", "the cat"], "names one class twice"),
    ],
)
def test_classes_that_are_not_there_are_named(classes, told):
    with pytest.raises(UserError, match=told):
        split(ANIMALS, classes=classes)


def test_one_class_is_not_enough():
    with pytest.raises(UserError, match=r"only class is 'the cat'; at least 2 are needed"):
        split(painted({"cat": {None: 10}}))


# --- decoding -----------------------------------------------------------------------------------------------------

MANY = {"cat": {"train": CHUNK + 30, "test": 40}, "dog": {"train": CHUNK, "test": 41}}  # more than one chunk


def indexes(part: images.ImageSet) -> list[int]:
    """Which picture of the catalogue each row shows, by its colour."""
    corner = part.images[:, 0, 0].astype(int)
    return (corner[:, 1] + 256 * corner[:, 2]).tolist()


def assert_rows_agree(catalogue: Catalogue, folder: Path, size: int) -> int:
    """Each row's pixels, label, file and box are those of one picture. Returns the number of rows."""
    seen: list[int] = []
    for name in images.SPLITS:
        part = images.load(folder, name)
        assert part.size == size
        for row, index in enumerate(indexes(part)):
            assert part.files[row] == catalogue.files[index]
            assert part.labels[row] == catalogue.labels[index]
            assert (part.images[row] == part.images[row, 0, 0]).all()
            assert part.boxes[row].tolist() == pytest.approx([0, 0, (index % 10 + 1) * size / 10, size])
        seen += indexes(part)
    assert len(set(seen)) == len(seen)
    return len(seen)


def test_rows_of_table_and_array_belong_together(tmp_path):
    catalogue = painted(MANY)
    prepared = prepare(catalogue, params(), 12, tmp_path, workers=2)
    assert assert_rows_agree(catalogue, tmp_path, 12) == len(prepared.table) == len(catalogue.files)
    assert prepared.table["row"].tolist() == list(range(len(catalogue.files)))
    assert (
        prepared.summary() == "239 images of 2 classes, 12 x 12 pixels: 134 train, 24 validation (from train), 81 test"
    )
    assert everything(tmp_path) == WRITTEN
    assert (tmp_path / "unreadable.txt").read_text() == ""


def test_unreadable_images_leave_no_hole(tmp_path):
    broken = (3, 100, 101, 238)
    catalogue = painted(MANY, broken)
    prepared = prepare(catalogue, params(max_unreadable=4), 8, tmp_path, workers=2)
    assert assert_rows_agree(catalogue, tmp_path, 8) == len(catalogue.files) - 4
    files = {catalogue.files[index] for index in broken}
    assert not files & set(prepared.table["file"])
    assert set(prepared.unreadable) == files and "; 4 unreadable" in prepared.summary()
    assert set((tmp_path / "unreadable.txt").read_text().splitlines()) == {f"{file}: it is planted" for file in files}
    assert np.load(tmp_path / "images.npy", mmap_mode="r").shape == (len(catalogue.files) - 4, 8, 8, 3)
    assert everything(tmp_path) == WRITTEN


def test_too_many_unreadable_images_are_listed(tmp_path):
    catalogue = painted(MANY, (3, 100, 101, 238))
    with pytest.raises(UserError, match=r"data.max_unreadable is 3, and more images than that") as error:
        prepare(catalogue, params(max_unreadable=3), 8, tmp_path, workers=2)
    for index in (3, 100, 101, 238):
        assert f"{catalogue.files[index]}: it is planted" in str(error.value)


def test_a_class_whose_test_images_are_all_unreadable_is_named(tmp_path):
    catalogue = painted({"cat": {"train": 9, "test": 2}, "dog": {"train": 9, "test": 2}}, (20, 21))
    with pytest.raises(UserError, match=r"class 'the dog' has 8 train, 1 validation, 0 test images") as error:
        prepare(catalogue, params(max_unreadable=9), 8, tmp_path, workers=1)
    assert str(error.value).endswith(f"unreadable: {catalogue.files[20]}: it is planted")


def die(index: int) -> tuple[Image.Image, np.ndarray]:
    os._exit(1)


def test_a_killed_worker_is_said(tmp_path):
    with pytest.raises(UserError, match="a process that decodes images was stopped"):
        prepare(replace(ANIMALS, load=die), params(), 8, tmp_path, workers=2)


def photo_folder(root: Path, per_class: int = 60) -> Path:
    """Photographs of three classes, in several formats, one of them broken."""
    rng = np.random.default_rng(0)
    contents = {}
    for name in ("cat", "dog", "eel"):
        for number in range(per_class):
            kind, mode = [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "L")][number % 3]
            pixels = rng.integers(0, 256, (30, 40, len(mode)), dtype=np.uint8).squeeze()
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, kind)
            contents[f"{name}/{number:02d}.{kind.lower()}"] = buffer.getvalue()
    contents["cat/05.png"] = contents["cat/05.png"][:60]
    return write_files(root, contents)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_images_give_the_same_bytes_however_they_are_decoded(tmp_path):
    catalogue = folder.catalogue(FolderFiles(photo_folder(tmp_path / "photos")))
    ways = {"one": {"workers": 1}, "two": {"workers": 2}, "spawned": {"workers": 2, "start_method": "spawn"}}
    for name, way in ways.items():
        prepare(catalogue, params(max_unreadable=1), 24, tmp_path / name, **way)
    prepare(catalogue, params(max_unreadable=1), 24, tmp_path / "one", workers=2)  # once more, over the old files
    one = bytes_of(tmp_path / "one")
    assert set(one) == WRITTEN and len(one["unreadable.txt"].splitlines()) == 1
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "spawned") == one


def test_tiny_imagenet_is_prepared_alike_from_folder_zip_and_tar(tmp_path):
    contents = {f"tiny/{name}": data for name, data in tiny_contents(per_class=6).items()}
    write_files(tmp_path, contents)
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as archive:
        for name in reversed(sorted(contents)):
            archive.writestr(name, contents[name])
    with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "tiny", "./tiny")

    for kind in ("tiny", "tiny.zip", "tiny.tar.gz"):
        options = TinyImagenetParams(image_size=32, archive=str(tmp_path / kind), sha256=None)
        raw = tmp_path / "raw" / kind
        sources.download("tiny_imagenet", options, raw, tmp_path / "partial")
        catalogue = sources.open("tiny_imagenet", options, raw, seed=0)
        prepare(catalogue, params(), 32, tmp_path / "prepared" / kind, workers=1)
    prepared = [bytes_of(tmp_path / "prepared" / kind) for kind in ("tiny", "tiny.zip", "tiny.tar.gz")]
    assert prepared[0] == prepared[1] == prepared[2]
    part = images.load(tmp_path / "prepared/tiny.zip", "test")
    assert part.class_names == ("crane (n01)", "crane (wading bird)", "goose") and part.labels.tolist() == [0, 1, 2]
    assert part.boxes[2].tolist() == [1, 0.5, 4, 32]


@needs_real_zip
def test_real_photographs_are_prepared(tmp_path):
    options = TinyImagenetParams(image_size=64, archive=str(REAL_ZIP), sha256=None)
    sources.download("tiny_imagenet", options, tmp_path / "raw", tmp_path / "partial")
    catalogue = sources.open("tiny_imagenet", options, tmp_path / "raw", seed=0)
    assert {name: set(found) for name, found in counts(split(catalogue)).items()} == {
        "train": {425},
        "validation": {75},
        "test": {50},
    }
    prepared = prepare(catalogue, params(images_per_class=10), 64, tmp_path / "prepared", workers=2)
    assert not prepared.unreadable
    part = images.load(tmp_path / "prepared", "test")
    assert len(part) == 250 and part.has_box.all() and part.boxes.max() <= 64
    index = catalogue.files.index(part.files[0])
    np.testing.assert_array_equal(part.images[0], np.asarray(catalogue.load(index)[0].convert("RGB")))


# --- the stages ---------------------------------------------------------------------------------------------------


def stage(name: str, folder: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{name}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_stages_turn_a_folder_into_a_prepared_set(tmp_path, raw_params):
    photo_folder(tmp_path / "photos", per_class=20)
    raw_params["data"] |= {"source": "folder"}
    raw_params["sources"]["folder"] |= {"image_size": 16, "path": "photos"}
    raw_params["occlusion"] |= {"window": 5, "other_windows": []}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw_params))
    downloaded, prepared = stage("download", tmp_path), stage("prepare", tmp_path)
    assert downloaded.returncode == 0 and f"folder: {tmp_path}/photos" in downloaded.stdout
    assert prepared.returncode == 0, prepared.stderr
    assert "folder: 59 images of 3 classes, 16 x 16 pixels: " in prepared.stdout
    assert images.load(tmp_path / "data/prepared", "test").class_names == ("cat", "dog", "eel")

    (tmp_path / "photos/cat/00.jpeg").unlink()
    prepared = stage("prepare", tmp_path)
    assert prepared.returncode == 1 and prepared.stdout == ""
    assert prepared.stderr.startswith("error: ") and "photos has changed" in prepared.stderr
    assert "Traceback" not in prepared.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_what_covers_an_object_is_kept_and_of_test_images_the_picture_without_it(tmp_path, workers):
    broken = (3, 60, 61, 130)  # so that rows and numbers differ
    catalogue = replace(painted({"cat": {None: 90}, "dog": {None: 90}}, broken), uncover=uncover, made="Painted.")
    prepare(catalogue, params(max_unreadable=9), 10, tmp_path, workers=workers)
    counted = {}
    for name in images.SPLITS:
        part = images.load(tmp_path, name)
        numbers = np.array([int(Path(file).stem) for file in part.files])
        np.testing.assert_allclose(part.covered, numbers / 1000 * (numbers % 3 == 0), atol=1e-6)
        counted[name] = int((part.covered > 0).sum())
    found = images.load_uncovered(tmp_path)
    assert list(found) == np.flatnonzero(part.covered > 0).tolist() and len(found) > 5  # `part` is the test split
    for row, picture in found.items():
        assert picture.shape == (10, 10, 3) and picture[0, 0].tolist() == [numbers[row] % 256, 0, 255]
    summary = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert summary["covered"] == counted and summary["made"] == "Painted."

    prepare(painted({"cat": {None: 90}, "dog": {None: 90}}), params(), 10, tmp_path, workers=workers)
    unknown = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert images.load_uncovered(tmp_path) == {} and np.isnan(images.load(tmp_path, "test").covered).all()
    assert unknown["covered"] is None


def test_preparing_does_not_wait_for_torch():
    program = "import sys, graybox.data.prepare, graybox.data.sources; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_semaphores_this_process_decodes(tmp_path, monkeypatch):
    """As where /dev/shm is missing or read-only: Python can't have locks between processes."""

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    catalogue = folder.catalogue(FolderFiles(photo_folder(tmp_path / "photos")))
    prepare(catalogue, params(max_unreadable=1), 24, tmp_path / "here", workers=1)
    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", refused)
    prepare(catalogue, params(max_unreadable=1), 24, tmp_path / "refused", workers=2)
    assert bytes_of(tmp_path / "refused") == bytes_of(tmp_path / "here")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("planted", ["unreadable images", "a full disk"])
def test_what_fails_leaves_the_old_images_and_nothing_of_the_new(tmp_path, monkeypatch, planted, workers):
    """Not a table of the old images beside an array of zeros, on which a stage run by hand would train."""
    way = {"workers": workers, "start_method": None}
    if workers > 1 and planted == "a full disk":  # a process that is not forked would not have what is patched here
        if "fork" not in multiprocessing.get_all_start_methods():
            pytest.skip("this system has no fork")
        way["start_method"] = "fork"
    prepare(painted(MANY), params(), 8, tmp_path, workers=workers)
    before = bytes_of(tmp_path)
    if planted == "a full disk":

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("graybox.data.decoding.Array.write", full)
        told, broken = f"{tmp_path} can't be written (No space left on device)", ()
    else:
        told, broken = "data.max_unreadable is 0", (100,)
    with pytest.raises(UserError) as caught:
        prepare(painted(MANY, broken), params(max_unreadable=0, seed=1), 8, tmp_path, **way)
    assert str(caught.value).startswith(told)
    assert bytes_of(tmp_path) == before
