"""No class vanishes without a word: other formats, links, empty folders; and what systems leave is no image."""

from __future__ import annotations

import errno
import os
import tarfile
from pathlib import Path

import pytest

from graybox.data.params import DataParams
from graybox.data.prepare import prepare
from graybox.data.sources import archives, files, folder
from graybox.data.sources.decode import FORMATS, is_image
from graybox.data.sources.files import FolderFiles, ZipFiles, fingerprint
from graybox.data.sources.names import is_hidden
from graybox.errors import UserError
from tests.data.test_sources import InMemory, encoded, make_tar, make_zip, plain, write_files

PNG = encoded(plain("RGB", 0), "PNG")
PREVIEW = encoded(plain("RGB", 0), "TIFF")
needs_avif = pytest.mark.skipif("AVIF" not in FORMATS, reason="needs a Pillow that reads AVIF")


@pytest.mark.parametrize(
    ("kind", "extension"),
    [
        ("JPEG", ".jfif"), ("JPEG", ".jpe"), ("MPO", ".mpo"), ("PNG", ".apng"), ("BMP", ".dib"), ("PPM", ".pnm"),
        ("JPEG2000", ".jp2"), ("QOI", ".qoi"), pytest.param("AVIF", ".avif", marks=needs_avif),
        ("JPEG", ""), ("PNG", ".jpg_large"), ("WEBP", ".image"), ("GIF", ".dat"), ("BMP", ".foo"), ("TIFF", ""),
        ("JPEG2000", ".foo"), ("QOI", ""), ("PPM", ""), pytest.param("AVIF", ".foo", marks=needs_avif),
    ],
)  # fmt: skip
def test_a_class_of_any_allowed_format_is_a_class(tmp_path, kind, extension):
    contents = {f"cat/{n}.png": encoded(plain("RGB", (9, n, 0)), "PNG") for n in range(3)}
    contents |= {f"dog/{n}{extension}": encoded(plain("RGB", (200, 10 * n, 0)), kind) for n in range(3)}
    for found in (FolderFiles(write_files(tmp_path / "a", contents)), ZipFiles(make_zip(tmp_path / "a.zip", contents))):
        catalogue = folder.catalogue(found)
        assert catalogue.class_names == ["cat", "dog"] and not catalogue.remarks and not catalogue.ignored
        data = DataParams(source="folder", max_unreadable=0, test_fraction=0.3, validation_fraction=0.3)
        prepared = prepare(catalogue, data, 8, tmp_path / "into", workers=1)
        assert prepared.table["class"].value_counts().to_dict() == {"cat": 3, "dog": 3}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("README", b"BMW and other cars"),
        ("README", b"Pyramids of Egypt, P5"),
        ("notes.txt", b""),
        ("a.eps", encoded(plain("RGB", 0), "EPS")),
        ("a.nef", PREVIEW),
        ("a.png~", PNG),
        ("a.jpg.part", PNG),
        ("a.JPG.Bak", PNG),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("a.pdf", b"%PDF-1.7 and so on"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("a.wav", b"RIFF\x24\0\0\0WAVEfmt "),
    ],
)
def test_what_is_no_image_in_an_allowed_format_is_not_taken_for_one(name, data):
    assert not is_image(name, data[: files.FIRST_BYTES])


def test_each_class_without_a_usable_image_is_named():
    contents = {f"set/{name}/{n}.png": PNG for name in ("cat", "dog") for n in range(3)}
    contents |= {f"set/emu/{n}.heic": b"\0\0\0\x18ftypheic\0\0\0\0" for n in range(4)} | {"set/emu/notes.txt": b"x"}
    contents |= {"set/fox/1.tga": b"junk", "set/cat/list.txt": b"x", "set/@eaDir/x/y.bin": b"x", "README.md": b"x"}
    (remark,) = folder.catalogue(InMemory(contents)).remarks
    assert remark.startswith(
        "Without a usable image, and so no class: emu (4 .heic, 1 .txt), fox (1 .tga); usable: JPEG"
    )


def test_a_class_without_images_in_one_split_is_named_there():
    contents = {f"{split}/{name}/1.png": PNG for split in ("train", "test") for name in ("cat", "dog")}
    contents["test/emu/1.heic"] = b"junk"
    assert "no class: test/emu (1 .heic); " in folder.catalogue(InMemory(contents)).remarks[0]


def test_a_linked_class_is_named_and_the_real_folder_is_the_one_that_counts(tmp_path):
    root = write_files(tmp_path / "root", {f"{name}/{n}.png": PNG for name in ("cat", "dog") for n in range(3)})
    for link in ("kitten", "a-cat"):
        (root / link).symlink_to("cat")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    (root / "empty" / "deep").mkdir(parents=True)
    catalogue = folder.catalogue(FolderFiles(root))
    assert catalogue.class_names == ["cat", "dog"]
    assert catalogue.ignored == {"links to folders that are listed already": 2, "no extension": 1}
    for told in (
        "a-cat (a link to cat, which is listed already)",
        "empty (empty)",
        "gone (a link that leads nowhere)",
        "kitten (a link to cat, which is listed already)",
    ):
        assert told in catalogue.remarks[0]


def test_empty_folders_of_a_zip_are_named(tmp_path):
    path = make_zip(
        tmp_path / "a.zip", {"cat/1.png": PNG, "dog/1.png": PNG, "emu/": b"", "cat/deep/": b"", "cat/": b""}
    )
    assert ZipFiles(path).left_out == {"cat/deep": "empty", "emu": "empty"}
    assert "no class: emu (empty); " in folder.catalogue(ZipFiles(path)).remarks[0]


def test_a_link_back_up_ends(tmp_path):
    root = write_files(tmp_path / "root", {"cat/1.png": PNG, "dog/1.png": PNG})
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "over").symlink_to(root / "cat")
    found = FolderFiles(root)
    assert found.names == ["cat/1.png", "dog/1.png"]
    assert found.left_out["cat/up"] == "a link to the folder around all, which is listed already"
    assert not folder.catalogue(found).remarks


def test_a_folder_that_cannot_be_read_is_named_unless_it_is_the_systems(tmp_path, monkeypatch):
    root = write_files(tmp_path / "root", {"cat/1.png": PNG, "dog/1.png": PNG, "lost+found/x.png": PNG})
    scandir = os.scandir
    closed = {"lost+found"}

    def refusing(path):
        if Path(path).name in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert FolderFiles(root).names == ["cat/1.png", "dog/1.png"]
    closed.add("dog")
    with pytest.raises(UserError, match=r"dog can't be read \(Permission denied\)"):
        FolderFiles(root)


# --- what systems leave -------------------------------------------------------------------------------------------

LEFT = [
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "@eaDir/1.jpg",
    "cat/~snapshot/1.jpg",
    "__MACOSX/cat/._1.jpg",
    "cat/._1.jpg",
    ".Trash-1000/files/1.jpg",
    ".Trashes/501/1.jpg",
    "$RECYCLE.BIN/S-1-5-21/$R1.jpg",
    "$Recycle.Bin/1.jpg",
    "System Volume Information/1.jpg",
    ".thumbnails/normal/1.png",
    "cat/.thumbnails/1.jpg",
    "lost+found/1.jpg",
    "cat/.ipynb_checkpoints/1-checkpoint.jpg",
    "#recycle/cat/1.jpg",
    "#snapshot/GMT-2026/cat/1.jpg",
    "@Recycle/1.jpg",
    "cat/.@__thumb/default1.jpg",
    "cat/1.jpg@SynoResource",
    "cat/Thumbs.db",
    "cat/desktop.ini",
    ".DS_Store",
    ".AppleDouble/1.jpg",
    "__pycache__/1.jpg",
]
PHOTOS = ["cat/1.jpg", "cat/thumb.jpg", "recycle bin/1.jpg", "trash/1.jpg", "lost and found/1.jpg"]


@pytest.mark.parametrize("name", LEFT)
def test_what_systems_leave_is_hidden(name):
    assert is_hidden(name)


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_are_not(name):
    assert not is_hidden(name)


def tar_as_zip(path: Path, contents: dict[str, bytes]) -> ZipFiles:
    archives.tar_to_zip(make_tar(path.with_suffix(".tar"), contents, mode="w", kind=tarfile.REGTYPE), path)
    return ZipFiles(path)


@pytest.mark.parametrize(
    "made",
    [
        lambda path, contents: FolderFiles(write_files(path, contents)),
        lambda path, contents: ZipFiles(make_zip(path, contents)),
        tar_as_zip,
    ],
    ids=["tree", "zip", "tar"],
)
def test_what_systems_leave_is_never_an_image(tmp_path, made):
    contents = dict.fromkeys([*PHOTOS, *LEFT], PNG) | {"cat/Icon\r": b"icns"}
    catalogue = folder.catalogue(made(tmp_path / "photos", contents))
    assert catalogue.files == sorted(PHOTOS) and not catalogue.remarks
    hidden = catalogue.ignored.pop("hidden or system")
    assert hidden + sum(catalogue.ignored.values()) == len(LEFT) + 1


def test_thumbnails_made_later_are_no_change(tmp_path):
    root = write_files(tmp_path, {"cat/1.png": PNG})
    before = fingerprint(root)
    write_files(root, {"cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg": PNG, "Thumbs.db": b"x", "$RECYCLE.BIN/1.jpg": PNG})
    assert fingerprint(root) == before
    write_files(root, {"cat/2.png": PNG})
    assert fingerprint(root) != before
