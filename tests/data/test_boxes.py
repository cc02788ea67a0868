"""Object boxes from XML or CSV files: what is read, which image it belongs to, and where it ends up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from graybox.data import images, sources
from graybox.data.params import DataParams, FolderParams
from graybox.data.prepare import prepare
from graybox.data.sources import boxes
from graybox.data.sources.boxes import match
from graybox.errors import UserError
from tests.data.test_prepare import params
from tests.data.test_sources import encoded, everything, make_tar, make_zip, plain, write_files

KEY = "sources.folder.boxes"


def voc(*objects: tuple, extra: str = "") -> bytes:
    """PASCAL VOC's XML; each object is its name and xmin, ymin, xmax, ymax."""
    told = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    return f"{extra}<annotation><filename>x</filename>{told}</annotation>".encode()


def brought(location: Path | str, tmp_path: Path) -> Path:
    """The folder that boxes are brought to."""
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    boxes.download(str(location), KEY, raw, tmp_path / "partial")
    return raw


def attached(location: Path, tmp_path: Path, names: list[str], classes: list[str] | None = None) -> boxes.Boxes:
    return boxes.attach(names, classes or [name.split("/")[0] for name in names], brought(location, tmp_path))


def csv_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "boxes.csv").write_text(text)
    return tmp_path / "boxes.csv"


# --- reading ------------------------------------------------------------------------------------------------------

ANNOTATIONS = {
    "Annotation/cat/1.xml": voc(("cat", 1, 1, 10, 20)),
    "Annotation/dog/2.xml": voc(("dog", 5, 6, 7, 8)),
    "Annotation/README": b"",
    "Annotation/.hidden.xml": b"junk",
}


@pytest.mark.parametrize("make", [write_files, make_zip, make_tar])
def test_voc_files_are_read_from_a_folder_or_an_archive(tmp_path, make):
    found = attached(make(tmp_path / "annotations", ANNOTATIONS), tmp_path, ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"])
    assert found.boxes.dtype == np.float32
    assert found.boxes[:2].tolist() == [[0, 0, 10, 20], [4, 5, 7, 8]]  # pixels from 1, the last ones included
    assert np.isnan(found.boxes[2]).all()
    assert found.ignored == {"images without a box": 1}
    assert found.where[0].endswith("Annotation/cat/1.xml, object 1") and found.where[2] == ""
    assert everything(tmp_path / "raw") == {"boxes.csv"}
    assert not {name for name in everything(tmp_path) if name.startswith("partial/")}


def test_a_csv_file_is_read(tmp_path):
    path = csv_file(tmp_path, "\ufefffile,y0,x0,x1,y1,note\n./cat/1.jpg,2,1.5,3,4,x\ndog\\2.jpg,0,0,1,1,\n")
    found = attached(path, tmp_path, ["cat/1.jpg", "dog/2.jpg"])
    assert found.boxes.tolist() == [[1.5, 2, 3, 4], [0, 0, 1, 1]] and found.ignored == {}
    assert found.where[1].endswith("boxes.csv, line 3")


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([("dog", 1, 1, 90, 90), ("cat", 1, 1, 3, 3), ("cat", 1, 1, 50, 50)], [0, 0, 3, 3]),  # the first of its class
        ([("dog", 1, 1, 3, 3), ("cow", 1, 1, 9, 9)], [0, 0, 9, 9]),  # else the largest
        ([("dog", 1, 1, 3, 3)], [0, 0, 3, 3]),
        ([("cat", 0, 0, 3, 3)], [0, 0, 3, 3]),  # some count from 0
        ([("cat", "1.5", " 2 ", "3.5", "4e0")], [0.5, 1, 3.5, 4]),
    ],
)
def test_an_images_own_object_comes_before_the_largest(tmp_path, objects, expected):
    root = write_files(tmp_path / "xml", {"1.xml": voc(*objects), "2.xml": voc()})
    found = attached(root, tmp_path, ["cat/1.jpg", "cat/2.jpg"])
    assert found.boxes[0].tolist() == expected and np.isnan(found.boxes[1]).all()


def test_rows_of_one_file_are_its_boxes(tmp_path):
    path = csv_file(tmp_path, "file,x0,y0,x1,y1,class\n1.jpg,0,0,9,9,dog\n1.jpg,0,0,2,2,cat\n2.jpg,0,0,1,1,\n")
    found = attached(path, tmp_path, ["cat/1.jpg", "dog/2.jpg"])
    assert found.boxes[:, 2].tolist() == [2, 1]


# --- matching -----------------------------------------------------------------------------------------------------

PHOTOS = ["train/cat/1.jpg", "train/cat/deep/2.jpg", "train/dog/1.jpg", "test/dog/3.jpg", "test/dog/3.png"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("train/cat/1.jpg", 0),
        ("train/cat/1", 0),
        ("Annotations/train/cat/1.xml", 0),
        ("cat/1.jpg", 0),
        ("dog/1.xml", 2),
        ("deep/2.jpg", 1),
        ("2.jpg", 1),
        ("2", 1),
        ("2.xml", 1),
        ("elsewhere/2.xml", 1),
        ("1.jpg", "boxes of several images"),
        ("3.xml", "boxes of several images"),
        ("dog/3.png", 4),
        ("3.jpg", 3),
        ("4.jpg", "boxes of no image"),
        ("dog/2.jpg", "boxes of no image"),  # 2.jpg is a cat
        ("test/cat/1.jpg", "boxes of no image"),
        ("2.tar", "boxes of no image"),
        ("at/1.jpg", "boxes of several images"),
        ("train", "boxes of no image"),
    ],
)
def test_a_box_is_matched_by_path_or_by_a_name_that_is_unique(file, expected):
    file_of, ignored = match([file], PHOTOS)
    if isinstance(expected, int):
        assert (file_of, ignored) == ({expected: file}, {})
    else:
        assert (file_of, ignored) == ({}, {expected: 1})


def test_the_longer_match_wins_and_equal_ones_contradict():
    assert match(["2.xml", "cat/deep/2.xml"], PHOTOS) == ({1: "cat/deep/2.xml"}, {"boxes of no image": 1})
    assert match(["a/2.xml", "b/2.xml"], PHOTOS) == ({}, {"boxes of one image in several files": 2})


NAMES = st.lists(st.sampled_from(["a", "b", "train"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(NAMES, max_size=8), st.sets(NAMES, max_size=8))
def test_exact_names_always_match_and_none_is_lost(files, photos):
    names = [f"{photo}/1.jpg" for photo in sorted(photos)]
    given_names = [f"{file}/1.jpg" for file in sorted(files)]
    file_of, ignored = match(given_names, names)
    for index, name in enumerate(names):
        if name in given_names:
            assert file_of[index] == name
    assert len(file_of) + sum(ignored.values()) == len(given_names)


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no column file"),
        ("file,x0,y0,x1\n", "has no column y1"),
        ("1.jpg,0,0,1,1\n", "has no column file"),
        ("file,x0,y0,x1,y1\n", "has no boxes"),
        ("file,x0,y0,x1,y1\n1.jpg,0,0,1,1\n2.jpg,0,0,1\n", r"line 3: the box is 0, 0, 1, nothing; it should be four"),
        ("file,x0,y0,x1,y1\n1.jpg,a,0,1,1\n", r"line 2: the box is a, 0, 1, 1; it should be four numbers"),
        ("file,x0,y0,x1,y1\n1.jpg,nan,0,1,1\n", "line 2: the box is nan, 0, 1, 1; it should be four numbers"),
        ("file,x0,y0,x1,y1\n1.jpg,0,0,inf,1\n", "line 2: .*it should be four numbers"),
        ("file,x0,y0,x1,y1\n1.jpg,5,0,5,1\n", "line 2: the box 5, 0, 5, 1 is empty or inverted"),
        ("file,x0,y0,x1,y1\n1.jpg,0,9,5,1\n", "line 2: the box 0, 9, 5, 1 is empty or inverted"),
        ("file,x0,y0,x1,y1\n1.jpg,-3,0,5,1\n", "line 2: the box -3, 0, 5, 1 reaches outside the image"),
        ("file,x0,y0,x1,y1\n,0,0,5,1\n", "line 2: the column file is empty"),
        ('file,x0,y0,x1,y1\n"1.jpg,0,0,5,1\n', "is not a CSV file"),
        ("file,x0,y0,x1,y1\n" + "x" * 200_000 + ",0,0,5,1\n", "is not a CSV file"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, text, told):
    with pytest.raises(UserError, match=told) as error:
        brought(csv_file(tmp_path, text), tmp_path)
    assert "boxes.csv" in str(error.value) and "\n" not in str(error.value)
    assert everything(tmp_path / "raw") == set()


def test_a_carriage_return_in_a_name_ends_no_row(tmp_path):
    (tmp_path / "b.csv").write_bytes(b'file,x0,y0,x1,y1\n"cat/\r0.jpg",0,0,20,30\ncat/1.jpg,0,0,5,6\n')
    found = attached(tmp_path / "b.csv", tmp_path, ["cat/0.jpg", "cat/1.jpg"])
    assert np.isnan(found.boxes[0]).all() and found.boxes[1].tolist() == [0, 0, 5, 6]


def test_what_is_no_text_is_no_csv_file(tmp_path):
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(UserError, match=r"sources\.folder\.boxes.*is not a CSV file.*it should be null, a CSV file"):
        brought(tmp_path / "boxes.csv", tmp_path)


LOL = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is not XML"),
        (b"<annotation><object>", "is not XML"),
        (voc(("cat", 1, 1, 2, 2), extra=LOL), "has a document type definition"),
        (voc(("cat", 1, 1, 2, 2), extra='<?xml version="1.0" encoding="utf-8"?>' + LOL), "document type definition"),
        (("<?xml version='1.0' encoding='utf-16'?>" + LOL + "<a/>").encode("utf-16"), "is not XML"),
        (voc(("cat", 1, 1, 2, "")), "object 1: the box is 1, 1, 2, nothing; it should be four numbers"),
        (b"<annotation><object/></annotation>", "object 1: the box is nothing"),
        (voc(("cat", 1, 1, 2, 2), ("cat", 9, 1, 2, 2)), "object 2: the box 9, 1, 2, 2 is empty or inverted"),
        (voc(("cat", -9, 1, 2, 2)), "object 1: the box -9, 1, 2, 2 reaches outside"),
        (voc(("cat", "0x1", 1, 2, 2)), "four numbers"),
        (b"<a>" * 400_000, "has more than the 1 MB allowed"),
    ],
)
def test_a_wrong_annotation_is_named(tmp_path, data, told):
    with pytest.raises(UserError, match=told) as error:
        brought(write_files(tmp_path / "xml", {"cat/1.xml": data}), tmp_path)
    assert "cat/1.xml" in str(error.value) and "\n" not in str(error.value)


def test_boxes_that_are_not_there_are_named_with_their_key(tmp_path):
    for location in ("", "no/such.csv"):
        with pytest.raises(
            UserError, match=r"sources\.folder\.boxes is .*which doesn't exist( in .*)?; it should be null, a CSV"
        ):
            brought(location, tmp_path)
    with pytest.raises(UserError, match=r"sources\.folder\.boxes is .*which has no boxes"):
        brought(write_files(tmp_path / "photos", {"1.jpg": b""}), tmp_path)


# --- a folder with boxes ------------------------------------------------------------------------------------------


def photos_with_boxes(tmp_path: Path, rows: str) -> tuple[sources.Catalogue, DataParams]:
    """Pictures of 40 x 30 with a red rectangle at 8..20 x 6..18; the stored picture of one lies on its side."""
    picture = plain("RGB", "white", (40, 30))
    picture.paste((255, 0, 0), (8, 6, 20, 18))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture.transpose(Image.Transpose.ROTATE_90)  # EXIF has it turned back
    contents = {}
    for name in ("cat", "dog"):
        for number in range(6):
            tinted = picture.copy()
            tinted.putpixel((20, 29), (number, 0, len(contents)))  # no two are alike
            contents[f"{name}/{name}{number}.png"] = encoded(tinted, "PNG")
    contents["dog/side.tiff"] = encoded(turned, "TIFF", exif=exif)
    write_files(tmp_path / "photos", contents)
    options = FolderParams(
        image_size=30, path=str(tmp_path / "photos"), boxes=str(csv_file(tmp_path, "file,x0,y0,x1,y1\n" + rows))
    )
    sources.download("folder", options, tmp_path / "raw", tmp_path / "partial")
    return sources.open("folder", options, tmp_path / "raw", 0), params()


def test_boxes_are_in_the_prepared_table(tmp_path):
    rows = "".join(f"cat{number},8,6,20,18\n" for number in range(6)) + "side,6,20,18,32\nnobody.png,0,0,1,1\n"
    catalogue, data = photos_with_boxes(tmp_path, rows)
    prepared = prepare(catalogue, data, 30, tmp_path / "prepared", workers=1)
    assert catalogue.ignored == {"boxes of no image": 1, "images without a box": 6}
    assert "; 1 boxes of no image; 6 images without a box" in prepared.summary()
    table = prepared.table.set_index("file")
    for number in range(6):
        assert table.loc[f"cat/cat{number}.png", images.BOX_COLUMNS].tolist() == [3, 6, 15, 18]
    assert table.loc["dog/side.tiff", images.BOX_COLUMNS].tolist() == [3, 6, 15, 18]
    assert table.loc["dog/dog0.png", images.BOX_COLUMNS].isna().all()
    summary = json.loads((tmp_path / "prepared/summary.json").read_text())
    assert sum(summary["with_box"].values()) == 7


def test_images_without_a_box_are_counted_among_the_prepared_ones(tmp_path):
    rows = "".join(f"cat{number},8,6,20,18\n" for number in range(4))
    catalogue, data = photos_with_boxes(tmp_path, rows)
    assert catalogue.ignored == {"images without a box": 9}
    prepared = prepare(catalogue, data.model_copy(update={"images_per_class": 3}), 30, tmp_path / "prepared", workers=1)
    without = int(prepared.table["x0"].isna().sum())
    assert len(prepared.table) == 6 and 3 <= without < 9 and f"; {without} images without a box" in prepared.summary()


def test_a_box_outside_its_image_is_named_by_its_row(tmp_path):
    catalogue, data = photos_with_boxes(tmp_path, "cat0,8,6,20,18\ncat1,8,6,41,31\ncat2,8,6,42,30\n")
    told = r"boxes\.csv, line 4: the box 8, 6, 42, 30 reaches outside its image, which is 40 x 30 pixels"
    with pytest.raises(UserError, match=told):
        prepare(catalogue, data, 30, tmp_path / "prepared", workers=2)


def test_boxes_that_are_taken_away_are_gone(tmp_path):
    photos_with_boxes(tmp_path, "cat0,8,6,20,18\n")
    options = FolderParams(image_size=30, path=str(tmp_path / "photos"), boxes=None)
    sources.download("folder", options, tmp_path / "raw", tmp_path / "partial")
    assert everything(tmp_path / "raw") == {"source.json"}
    assert np.isnan(sources.open("folder", options, tmp_path / "raw", 0).load.boxes).all()
