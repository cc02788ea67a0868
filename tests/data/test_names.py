"""One spelling for each name, whichever system wrote it; and names that look alike are mentioned."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from graybox.data import images
from graybox.data.choice import choose_classes
from graybox.data.params import DataParams
from graybox.data.prepare import prepare
from graybox.data.sources import archives, boxes, classic, folder
from graybox.data.sources.boxes import OTHER_CASE
from graybox.data.sources.files import FolderFiles, ZipFiles
from graybox.data.sources.names import look_alikes
from graybox.errors import UserError
from tests.data.test_sources import InMemory, encoded, listed, make_tar, make_zip, plain, write_files

ANGSTROM = "Ångström"
NFC, NFD = (unicodedata.normalize(form, ANGSTROM) for form in ("NFC", "NFD"))
assert NFC != NFD
OPTIONS = {"source": "folder", "max_unreadable": 0}


def picture(number: int) -> bytes:
    return encoded(plain("RGB", (number, 0, 0)), "PNG")


def photographs() -> dict[str, bytes]:
    """Composed names in train/, decomposed ones in test/, as two systems write them."""
    names = [(f"train/{NFC}", 6), ("train/dog", 6), (f"test/{NFD}", 3), ("test/dog", 3)]
    folders = [f"{name}/é{n}.png" for name, count in names for n in range(count)]
    return {
        unicodedata.normalize("NFD" if "test" in name else "NFC", name): picture(n) for n, name in enumerate(folders)
    }


@pytest.mark.parametrize("kind", ["tree", "zip", "tar"])
def test_a_class_is_one_class_in_both_forms(tmp_path, kind):
    if kind == "tree":
        found = FolderFiles(write_files(tmp_path / "a", photographs()))
    elif kind == "zip":
        found = ZipFiles(make_zip(tmp_path / "a.zip", photographs()))
    else:
        archives.tar_to_zip(make_tar(tmp_path / "a.tar", photographs(), mode="w"), tmp_path / "a.zip")
        found = ZipFiles(tmp_path / "a.zip")
    catalogue = folder.catalogue(found)
    assert sorted(catalogue.class_names) == ["dog", NFC]
    assert all(unicodedata.is_normalized("NFC", file) for file in catalogue.files)
    prepared = prepare(catalogue, DataParams(**OPTIONS), 8, tmp_path / "into", workers=1)
    assert prepared.table.groupby("class")["split"].value_counts()[NFC].to_dict() == {
        "train": 5,
        "test": 3,
        "validation": 1,
    }
    test = images.load(tmp_path / "into", "test")  # each file still has its own pixels
    for file, pixels in zip(test.files, test.images):
        data = photographs()[unicodedata.normalize("NFD", file)]
        assert data == picture(int(pixels[0, 0, 0]))


def test_two_files_of_one_name_in_both_forms_stay_two():
    catalogue = listed(f"cat/{NFC}.png", f"cat/{NFD}.png", "dog/1.png")
    assert sorted(catalogue.files) == sorted([f"cat/{NFC}.png", f"cat/{NFD}.png", "dog/1.png"])


@pytest.mark.parametrize(("stored", "written"), [(NFC, NFD), (NFD, NFC)])
def test_boxes_match_in_both_forms(tmp_path, stored, written):
    (tmp_path / "mine.csv").write_text(
        f"file,x0,y0,x1,y1,class\n{written}/1,0,0,1,1,x\n{written}/1,2,2,3,3,{written}\n", "utf-8"
    )
    boxes.download(str(tmp_path / "mine.csv"), "key", tmp_path, tmp_path / "partial")
    found = boxes.attach([f"{stored}/1.jpg", "dog/1.jpg"], [stored, "dog"], tmp_path)
    assert found.boxes[0].tolist() == [2, 2, 3, 3] and found.ignored == {"images without a box": 1}


@pytest.mark.parametrize(("stored", "written"), [(NFC, NFD), (NFD, NFC)])
def test_mini_imagenets_list_matches_in_both_forms(stored, written):
    contents = {f"images/{stored}{n}.jpg": picture(n) for n in range(4)}
    rows = "".join(f"{written}{n}.jpg,n0{n % 2}\n" for n in range(4))
    catalogue = classic.catalogue(InMemory(contents | {"train.csv": f"filename,label\n{rows}".encode()}))
    assert len(catalogue.files) == 4 and not catalogue.ignored
    assert [np.asarray(catalogue.load(i)[0])[0, 0, 0] for i in range(4)] == [0, 2, 1, 3]


@pytest.mark.parametrize(("stored", "written"), [(NFC, NFD), (NFD, NFC)])
def test_classes_are_chosen_in_both_forms(stored, written):
    assert choose_classes(listed("cat/1.jpg", "dog/1.jpg", f"{stored}/1.jpg"), [written, "cat"]) == [2, 0]


# --- look-alikes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["cat", "CAT", "Cat ", "Ｃａｔ"])
def test_names_that_look_alike(other):
    assert look_alikes("Cat", ["dog", other, "Cat", "cats"]) == [other]


def test_one_class_in_two_spellings_of_two_splits_is_named():
    catalogue = listed(
        *(f"train/{name}/{n}.jpg" for name in ("Cat", "dog") for n in range(3)), "test/cat/1.jpg", "test/dog/1.jpg"
    )
    with pytest.raises(
        UserError, match=r"class 'Cat' has .* 0 test .*\(a class of another name is 'cat'\); at least 1"
    ):
        prepare(catalogue, DataParams(**OPTIONS), 8, None)  # type: ignore[arg-type]  # not reached


def test_a_chosen_class_in_another_spelling_is_named():
    with pytest.raises(UserError, match=r"data.classes: the source has no class 'Ice_cream', but 'ice cream'; allowed"):
        choose_classes(listed("ice cream/1.jpg", "dog/1.jpg"), ["dog", "Ice_cream"])


def test_classes_that_look_alike_are_mentioned(tmp_path):
    contents = {
        f"{name}/{n}.png": picture(10 * k + n) for k, name in enumerate(("Cat", "cat", "dog")) for n in range(3)
    }
    prepared = prepare(folder.catalogue(InMemory(contents)), DataParams(**OPTIONS), 8, tmp_path, workers=1)
    assert prepared.remarks == ["Classes whose names look alike, and which may be meant as one: 'Cat' and 'cat'."]


def test_boxes_in_another_case_are_counted_as_such():
    found, ignored = boxes.match(
        ["cat/Img1.jpg", "dog/IMG2", "dog/img9"], ["cat/img1.jpg", "dog/img2.jpg", "dog/img3.jpg"]
    )
    assert not found and ignored == {OTHER_CASE: 2, "boxes of no image": 1}


def test_mini_imagenets_images_in_another_case_are_counted_as_such():
    contents = {f"images/A{n}.jpg": picture(n) for n in range(4)} | {
        "train.csv": b"filename,label\nA0.jpg,n1\nA1.jpg,n2\na2.jpg,n1\nb3.jpg,n1\n"
    }
    assert classic.catalogue(InMemory(contents)).ignored == {
        "listed in a CSV file, but missing": 1,
        "listed in a CSV file, but with other upper and lower case in images/": 1,
        "in images/, but in no CSV file": 2,
    }
