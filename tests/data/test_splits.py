"""Which folders are splits and which are classes, in the layouts that data sets come in."""

from __future__ import annotations

import pytest

from graybox.data.sources import splits
from graybox.errors import UserError
from tests.data.test_sources import listed


def catalogue(*folders: str, images: int = 2):
    return listed(*(f"{folder}/{number}.jpg" for folder in folders for number in range(images)))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "Test"),
        ("training_set", "test_set"),
        ("trainset", "testset"),
        ("seg_train", "seg_test"),
        ("Training Data", "Test Data"),
        ("train2017", "test2017"),
        ("train-images", "test-images"),
        ("TrainImages", "TestImages"),
        ("training", "evaluation"),
        ("trn", "tst"),
        ("train", "holdout"),
    ],
)
def test_splits_are_known_by_many_names(train, test):
    found = catalogue(f"{train}/glioma", f"{train}/notumor", f"{test}/glioma", f"{test}/notumor")
    assert found.class_names == ["glioma", "notumor"]
    assert dict(zip(found.files, found.splits)) == {
        f"{folder}/{name}/{number}.jpg": split
        for folder, split in ((train, "train"), (test, "test"))
        for name in found.class_names
        for number in range(2)
    }


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train", "dev", "test"], {"train": "train", "dev": "validation", "test": "test"}),
        (["train", "evaluation"], {"train": "train", "evaluation": "test"}),
        (["train", "eval", "test"], {"train": "train", "eval": "validation", "test": "test"}),
        (["Training", "PublicTest", "PrivateTest"], {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}),
        (["train", "validation_set"], {"train": "train", "validation_set": "validation"}),
    ],
)
def test_each_split_has_its_part(folders, expected):
    found = catalogue(*(f"{folder}/{name}" for folder in folders for name in ("cat", "dog")))
    assert {file.split("/")[0]: split for file, split in zip(found.files, found.splits)} == expected


@pytest.mark.parametrize(
    "name",
    ["trains", "training ship", "contest", "station", "attest", "latest", "tested", "valley", "data", "set", "7"],
)
def test_a_word_that_merely_looks_like_a_split_is_none(name):
    assert splits.split_called(name) is None


def test_a_split_inside_its_own_name_is_one_folder():
    found = catalogue(
        *(f"{split}_set/{split}_set/{name}" for split in ("training", "test") for name in ("cats", "dogs"))
    )
    assert found.class_names == ["cats", "dogs"] and set(found.splits) == {"train", "test"}
    assert found.files[0] == "test_set/cats/0.jpg"


def test_splits_may_lie_in_each_class():
    found = catalogue("glioma/train", "glioma/test", "notumor/train", "notumor/val")
    assert found.class_names == ["glioma", "notumor"]
    assert {file.rsplit("/", 1)[0]: split for file, split in zip(found.files, found.splits)} == {
        "glioma/train": "train", "glioma/test": "test", "notumor/train": "train", "notumor/val": "validation",
    }  # fmt: skip


def test_a_lone_folder_called_test_is_only_around_the_classes():
    found = catalogue("test/cat", "test/dog")
    assert found.class_names == ["cat", "dog"] and set(found.splits) == {None}


@pytest.mark.parametrize(
    "folders",
    [
        ["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"],
        ["Entrenamiento/cat", "Entrenamiento/dog", "Prueba/cat", "Prueba/dog"],
        ["COVID/images", "COVID/masks", "Normal/images", "Normal/masks"],
        ["train/a/cat", "train/a/dog", "train/b/cat", "train/b/dog", "test/a/cat", "test/b/cat"],
        ["A/x", "A/y", "A/z", "B/x", "B/y"],
        ["val/cat", "val/dog", "test/cat", "test/dog"],
    ],
)
def test_folders_that_all_hold_the_same_folders_are_refused(folders):
    with pytest.raises(
        UserError, match=r"sources.folder.path: the folders .* all hold the same folders, .* train, val"
    ):
        catalogue(*folders)


@pytest.mark.parametrize(
    "folders",
    [
        ["cat/images", "dog/images"],
        ["cat/train", "cat/bus", "dog"],
        ["cat/test", "cat/val", "dog"],
        ["cat/ann", "cat/bob", "dog/ann", "dog/eve", "dog/ian"],
        ["cat/2019", "cat/2020", "dog", "dog/2019", "dog/2020"],
    ],
)
def test_classes_may_hold_folders(folders):
    assert catalogue(*folders, images=3).class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    "folders",
    [
        ["yes", "no", "cat/TRAIN/yes", "cat/TEST/no"],
        ["cat/train/a", "cat/test/a", "more/pictures"],
        ["cat/train", "cat/test", "cat/masks", "dog/train", "dog/test"],
        ["train/cat/train", "train/cat/val", "train/dog", "test/cat", "test/dog"],
    ],
)
def test_a_class_that_holds_splits_is_refused(folders):
    with pytest.raises(UserError, match=r"path: the folder cat would be a class, but it holds the splits .*; move"):
        catalogue(*folders)


def test_one_name_for_a_split_and_a_class_is_refused():
    with pytest.raises(UserError, match=r"has the folders testA and trainA, which look like one class in two splits"):
        catalogue("trainA", "trainB", "testA", "testB")
    assert catalogue("test tube", "train station").class_names == ["test tube", "train station"]
