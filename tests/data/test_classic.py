"""The classic releases of mini-ImageNet: CSV files with images, and pickles."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graybox.data import sources
from graybox.data.params import DataParams, MiniImagenetParams
from graybox.data.prepare import prepare
from graybox.data.sources import archives, classic, tiny_imagenet
from graybox.data.sources.files import ZipFiles
from graybox.errors import UserError
from tests.support.basics import ROOT
from tests.support.python2_pickles import python2

REAL_ZIP = Path(os.environ.get("GRAYBOX_TINY_IMAGENET", ROOT.parent / "shared/data/tiny-imagenet-25.zip"))
WNIDS = {"train": ["n03", "n01", "n05"], "val": ["n04"], "test": ["n02", "n06"]}
PER_CLASS = 5
DATA = {"source": "mini_imagenet", "validation_fraction": 0.2, "test_fraction": 0.2, "classes": None}
DATA |= {"images_per_class": None, "max_unreadable": 0, "seed": 0}


def options(path: Path, size: int = 84) -> MiniImagenetParams:
    return MiniImagenetParams(
        image_size=size, path=str(path), repository="timm/mini-imagenet", revision="0" * 40, boxes=None
    )


def download(path: Path, root: Path) -> dict:
    """What the download stage does; the facts."""
    raw = root / "raw"
    raw.mkdir(exist_ok=True)
    facts = {"source": "mini_imagenet", **classic.download(options(path), raw, root / "partial")}
    (raw / "source.json").write_text(json.dumps(facts))
    return facts


def opened(path: Path, root: Path) -> sources.Catalogue:
    download(path, root)
    return classic.open(options(path), root / "raw", seed=0)


def photograph(wnid: str, number: int, size: tuple[int, int] = (84, 84)) -> np.ndarray:
    """A plain picture, of a colour that says which it is."""
    return np.full((*size[::-1], 3), (10 * int(wnid[1:]), 20 * number, 99), np.uint8)


def csv_contents(wnids: dict[str, list[str]] = WNIDS, size: tuple[int, int] = (84, 84)) -> dict[str, bytes]:
    contents = {}
    for part, of_part in wnids.items():
        names = [(f"{wnid}{number:08d}.jpg", wnid) for wnid in of_part for number in range(PER_CLASS)]
        rows = "".join(f"{name},{wnid}\n" for name, wnid in names)
        contents[f"{part}.csv"] = f"filename,label\n{rows}".encode()
        for name, wnid in names:
            buffer = io.BytesIO()
            Image.fromarray(photograph(wnid, int(name[3:11]), size)).save(buffer, "JPEG", quality=95)
            contents[f"images/{name}"] = buffer.getvalue()
    return contents


def cache(part: str, **changes) -> dict:
    """A part's dictionary, with its classes' rows mixed."""
    wnids = WNIDS[part]
    rows = {wnid: list(range(place, PER_CLASS * len(wnids), len(wnids))) for place, wnid in enumerate(wnids)}
    images = np.empty((PER_CLASS * len(wnids), 84, 84, 3), np.uint8)
    for wnid, of_class in rows.items():
        for number, row in enumerate(of_class):
            images[row] = photograph(wnid, number)
    return {"image_data": images, "class_dict": rows} | changes


def pickle_contents(**changes: dict | bytes) -> dict[str, bytes]:
    """The release's pickles, of different protocols; `changes`: part -> another value."""
    values = {part: changes.get(part, cache(part)) for part in WNIDS}
    return {
        f"mini-imagenet-cache-{part}.pkl": value if isinstance(value, bytes) else pickle.dumps(value, protocol)
        for protocol, (part, value) in enumerate(values.items(), start=2)
        if value
    }


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def packed(path: Path, contents: dict[str, bytes]) -> Path:
    """A folder, a zip or a tar, by the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
    elif ".tar" in path.suffixes:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name, data in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        write(path, contents)
    return path


def assert_whole(catalogue: sources.Catalogue, tolerance: int) -> None:
    """All six classes are there, by WordNet id, without splits, and each picture is what its name says."""
    assert catalogue.class_keys == catalogue.class_names == ["n01", "n02", "n03", "n04", "n05", "n06"]
    assert catalogue.labels.tolist() == np.repeat(range(6), PER_CLASS).tolist() and catalogue.labels.dtype == np.int64
    assert catalogue.splits == [None] * 30 and len(set(catalogue.files)) == 30
    assert catalogue.ignored == {}
    load = pickle.loads(pickle.dumps(catalogue.load))
    for index, label in enumerate(catalogue.labels):
        image, box = load(index)
        expected = photograph(catalogue.class_keys[label], index % PER_CLASS)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).max() <= tolerance
        assert np.isnan(box).all()


FORMS = ["folder", "archive.zip", "archive.tar", "archive.tar.gz"]


@pytest.mark.parametrize("top", ["", "mini-imagenet/"])
@pytest.mark.parametrize("form", FORMS)
def test_csv_files_and_images(tmp_path, form, top):
    contents = {top + name: data for name, data in csv_contents().items()}
    path = packed(tmp_path / "in" / form, contents | {"__MACOSX/train.csv": b"junk", top + "README": b"read me"})
    catalogue = opened(path, tmp_path)
    assert_whole(catalogue, tolerance=3)
    assert catalogue.files[0] == "images/n0100000000.jpg"


@pytest.mark.parametrize("top", ["", "mini-imagenet/"])
@pytest.mark.parametrize("form", FORMS)
def test_pickles(tmp_path, form, top):
    path = packed(tmp_path / "in" / form, {top + name: data for name, data in pickle_contents().items()})
    catalogue = opened(path, tmp_path)
    assert_whole(catalogue, tolerance=0)
    assert catalogue.files[:2] == ["train/n01/00001", "train/n01/00004"]
    # No archive or unpacked pickle stays.
    assert sorted(kept.name for kept in (tmp_path / "raw").iterdir()) == ["images.npy", "pictures.json", "source.json"]
    assert not (tmp_path / "partial").exists() or not list((tmp_path / "partial").iterdir())


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_as_python_2_wrote_them(tmp_path, protocol):
    contents = pickle_contents(**{part: python2(cache(part), protocol) for part in WNIDS})
    assert_whole(opened(write(tmp_path / "in", contents), tmp_path), tolerance=0)


def test_one_release_after_another(tmp_path):
    for make, first in ((pickle_contents, "train/n01/00001"), (csv_contents, "images/n0100000000.jpg")):
        assert opened(write(tmp_path / make.__name__, make()), tmp_path).files[0] == first


def test_rows_as_arrays(tmp_path):
    rows = {wnid: np.array(rows) for wnid, rows in cache("train")["class_dict"].items()}
    contents = pickle_contents(train=cache("train", class_dict=rows))
    assert_whole(opened(write(tmp_path / "in", contents), tmp_path), tolerance=0)


@pytest.mark.parametrize("make", [csv_contents, pickle_contents])
def test_the_note_says_that_the_parts_are_put_together(tmp_path, make):
    contents = make()
    whole = download(write(tmp_path / "whole", contents), tmp_path)["note"]
    assert "different classes. Here all its classes are put together, and the images of each are split anew" in whole
    assert "missing" not in whole and whole.count(".") == 2
    some = {name: data for name, data in contents.items() if "val" not in name and "test" not in name}
    note = download(write(tmp_path / "part", some), tmp_path)["note"]
    assert "(of train, val, test it has only train, so that the others' classes are missing)" in note
    catalogue = classic.open(options(tmp_path / "part"), tmp_path / "raw", 0)
    assert catalogue.class_keys == ["n01", "n03", "n05"]


def test_both_releases_split_alike_and_prepare_carves(tmp_path):
    tables = []
    for make in (csv_contents, pickle_contents):
        root = tmp_path / make.__name__
        catalogue = opened(write(root / "in", make()), root)
        prepared = prepare(catalogue, DataParams(**DATA), 84, root / "prepared", workers=1)
        assert prepared.carved == ("validation", "test")
        counts = prepared.table.groupby(["class", "split"]).size().unstack()
        assert (counts[["train", "validation", "test"]].to_numpy() == [3, 1, 1]).all()
        images = np.load(root / "prepared/images.npy")
        tables.append(images[:, 40, 40].astype(int))
    assert np.abs(tables[0] - tables[1]).max() <= 3  # the same pictures in the same splits


def test_original_photographs_of_any_size(tmp_path):
    catalogue = opened(write(tmp_path / "in", csv_contents(size=(500, 375))), tmp_path)
    assert catalogue.load(0)[0].size == (500, 375)
    prepared = prepare(catalogue, DataParams(**DATA), 84, tmp_path / "prepared", workers=1)
    assert prepared.size == 84 and len(prepared.table) == 30


# --- faults -------------------------------------------------------------------------------------------------------


def test_missing_and_unlisted_images_are_counted(tmp_path):
    contents = csv_contents()
    for number in range(3):
        del contents[f"images/n04{number:08d}.jpg"]
    contents |= {"images/n0900000000.jpg": b"", "images/Thumbs.db": b"", "images/.hidden.jpg": b""}
    catalogue = opened(write(tmp_path / "in", contents), tmp_path)
    assert catalogue.ignored == {"listed in a CSV file, but missing": 3, "in images/, but in no CSV file": 1}
    assert np.bincount(catalogue.labels).tolist() == [5, 5, 5, 2, 5, 5]


def test_a_broken_image_is_unreadable(tmp_path):
    contents = csv_contents()
    contents["images/n0400000001.jpg"] = contents["images/n0400000001.jpg"][:300]
    catalogue = opened(write(tmp_path / "in", contents), tmp_path)
    params = DataParams(**DATA | {"max_unreadable": 1})
    prepared = prepare(catalogue, params, 84, tmp_path / "prepared", workers=1)
    assert list(prepared.unreadable) == ["images/n0400000001.jpg"] and len(prepared.table) == 29


def test_rows_of_no_class_are_counted(tmp_path):
    rows = cache("train")["class_dict"]
    rows = {wnid: rows[wnid][:4] for wnid in ("n01", "n05")}
    catalogue = opened(write(tmp_path / "in", pickle_contents(train=cache("train", class_dict=rows))), tmp_path)
    assert catalogue.ignored == {"in a pickle, but of no class": 7}
    assert np.bincount(catalogue.labels).tolist() == [4, 5, 5, 4, 5]


def replaced(name: str, old: bytes, new: bytes) -> dict[str, bytes]:
    contents = csv_contents()
    assert old in contents[name]
    return contents | {name: contents[name].replace(old, new, 1)}


def without(*beginnings: str) -> dict[str, bytes]:
    return {name: data for name, data in csv_contents().items() if not name.startswith(beginnings)}


def with_rows(**rows) -> dict[str, bytes]:
    return pickle_contents(train=cache("train", class_dict=cache("train")["class_dict"] | rows))


FAULTS = {
    "nothing": ({"README": b""}, "has no files of mini-ImageNet; it should have train.csv.*or mini-imagenet-cache"),
    "CSV files alone": (without("images/"), "has no files of mini-ImageNet"),
    "images alone": (without("train", "val", "test"), "has no files of mini-ImageNet"),
    "none of the images": (without("images/") | {"images/x.jpg": b""}, r"none of the images .* is in images/"),
    "two folders": (
        {top + name: data for top in ("a/", "b/") for name, data in csv_contents().items()},
        "has the files of mini-ImageNet in a/, b/; one folder should have them",
    ),
    "a bad header": (replaced("val.csv", b"filename,label", b"file;class"), "val.csv begins with 'file;class'; its fi"),
    "no header": (replaced("val.csv", b"filename,label\n", b""), "val.csv begins with 'n0400000000.jpg,n04'"),
    "an empty CSV": (csv_contents() | {"test.csv": b""}, "test.csv can't be read as a CSV file"),
    "a binary CSV": (csv_contents() | {"test.csv": b"\xff\xfe\0"}, "test.csv can't be read as a CSV file"),
    "a short line": (replaced("val.csv", b"n0400000001.jpg,n04", b"n0400000001.jpg"), "val.csv, line 3 should be"),
    "a class in two CSVs": (
        replaced("val.csv", b"n0400000001.jpg,n04", b"n0400000001.jpg,n03"),
        "val.csv, line 3 has the class n03, which train.csv has too",
    ),
    "an image twice": (
        replaced("val.csv", b"n0400000001.jpg", b"n0400000000.jpg"),
        "val.csv, line 3 has the image n0400000000.jpg a second time",
    ),
    "an image in two classes": (
        replaced("test.csv", b"n0200000001.jpg", b"n0600000001.jpg"),
        "test.csv, line 8 has the image n0600000001.jpg a second time",
    ),
    "a row too high": (with_rows(n01=[1, 15]), "cache-train.pkl: class n01 has row 15; 0 to 14 are allowed"),
    "a negative row": (with_rows(n01=[-1]), "cache-train.pkl: class n01 has row -1; 0 to 14"),
    "a huge row": (with_rows(n01=[2**70]), r"class_dict\['n01'\] should be a list of row numbers"),
    "rows as text": (with_rows(n01=["1"]), r"class_dict\['n01'\] should be a list of row numbers"),
    "no rows": (with_rows(n01=[]), r"class_dict\['n01'\] should be a list of row numbers"),
    "a row in two classes": (with_rows(n01=[0]), "cache-train.pkl: row 0 is in class n03 and in n01"),
    "a row twice": (with_rows(n01=[1, 1]), "cache-train.pkl: row 1 is in class n01 and in n01"),
    "a class in two pickles": (
        pickle_contents(val=cache("val", class_dict={"n03": [0, 1]})),
        "cache-val.pkl has the class n03, which .*cache-train.pkl has too",
    ),
    "floats": (
        pickle_contents(val=cache("val", image_data=np.zeros((5, 8, 8, 3)))),
        r"cache-val.pkl: image_data is float64 \[5, 8, 8, 3\]; it should be uint8 \[N, H, W, 3\]",
    ),
    "channels first": (
        pickle_contents(val=cache("val", image_data=np.zeros((5, 3, 8, 8), np.uint8))),
        r"image_data is uint8 \[5, 3, 8, 8\]; it should be",
    ),
    "another size": (
        pickle_contents(val=cache("val", image_data=np.zeros((5, 64, 64, 3), np.uint8))),
        "should have one size; mini-imagenet-cache-train.pkl 84 x 84 and mini-imagenet-cache-val.pkl 64 x 64 pixels",
    ),
    "other keys": (
        pickle_contents(val={"data": cache("val")["image_data"], "labels": [0] * 5}),
        "should hold the array image_data and the dictionary class_dict; it holds 'data', 'labels'",
    ),
    "a list": (pickle_contents(val=pickle.dumps([1])), "cache-val.pkl holds a list"),
    "half a pickle": (
        pickle_contents(train=pickle.dumps(cache("train"))[:-9000]),
        "mini-imagenet-cache-train.pkl is not a pickle that can be read safely",
    ),
    "a pickle that calls": (pickle_contents(val=b"cos\nsystem\n(S'echo no'\ntR."), "'os.system' is not allowed"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("form", ["folder", "archive.zip"])
def test_faults_are_one_sentence_and_a_good_release_works_after(tmp_path, fault, form):
    contents, told = FAULTS[fault]
    with pytest.raises(UserError, match=told) as error:
        download(packed(tmp_path / "bad" / form, contents), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "partial").exists() or not list((tmp_path / "partial").iterdir())
    good = pickle_contents() if any(name.endswith(".pkl") for name in contents) else csv_contents()
    assert_whole(opened(packed(tmp_path / "good" / form, good), tmp_path), tolerance=3)


def test_a_pickle_that_is_damaged_in_its_archive_is_named(tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pickle_contents().items():
            archive.writestr(name, data)
    path.write_bytes(path.read_bytes().replace(photograph("n04", 1).tobytes(), photograph("n04", 2).tobytes()))
    with pytest.raises(UserError, match=r"mini-imagenet-cache-val.pkl can't be unpacked \(.*; fetch or make it again"):
        download(path, tmp_path)
    assert not list((tmp_path / "partial").iterdir())


def test_pickles_may_be_larger_than_other_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10_000)
    for form in FORMS:
        assert_whole(opened(packed(tmp_path / "in" / form, pickle_contents()), tmp_path), tolerance=0)
    monkeypatch.setattr(classic, "MAX_PICKLE_BYTES", 10_000)
    with pytest.raises(UserError, match="more than the 0 MB allowed"):
        download(tmp_path / "in/archive.tar", tmp_path)


# --- on photographs -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_ZIP.is_file(), reason="needs a zip in Tiny ImageNet's layout; set GRAYBOX_TINY_IMAGENET")
def test_photographs_are_the_same_in_every_form(tmp_path):
    """The first images of six classes of Tiny ImageNet, written as both releases."""
    tiny = tiny_imagenet.catalogue(ZipFiles(REAL_ZIP))
    csvs = {part: "filename,label\n" for part in WNIDS}
    images: dict[str, bytes] = {}
    caches = {}
    expected = {}
    for place, part in enumerate(WNIDS):
        arrays, rows = [], {}
        for label in (2 * place, 2 * place + 1):
            wnid = tiny.class_keys[label]
            for number, index in enumerate(np.flatnonzero(tiny.labels == label)[:10]):
                name = f"{wnid}{number:08d}.jpg"
                csvs[part] += f"{name},{wnid}\n"
                images[f"images/{name}"] = tiny.load.files.read(tiny.load.names[index])
                rows.setdefault(wnid, []).append(len(arrays))
                arrays.append(np.asarray(tiny.load(index)[0].convert("RGB")))
                expected[wnid, number] = arrays[-1]
        caches[f"mini-imagenet-cache-{part}.pkl"] = pickle.dumps({"image_data": np.stack(arrays), "class_dict": rows})
    forms = {"csv": images | {f"{part}.csv": text.encode() for part, text in csvs.items()}, "pickles": caches}
    for form, contents in forms.items():
        root = tmp_path / form
        catalogue = opened(write(root / "in", contents), root)
        prepared = prepare(catalogue, DataParams(**DATA), 64, root / "prepared", workers=1)
        pixels = np.load(root / "prepared/images.npy")
        assert len(prepared.table) == 60 and not prepared.unreadable
        for row in prepared.table.itertuples():
            index = catalogue.files.index(row.file)
            place = index - int(np.flatnonzero(catalogue.labels == catalogue.labels[index])[0])
            wnid = catalogue.class_keys[catalogue.labels[index]]
            np.testing.assert_array_equal(pixels[row.row], expected[wnid, place])
