"""Where images come from: decoding, archives, downloads, and the layouts of each source."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from graybox.data import sources
from graybox.data.params import FolderParams, ScenesParams, TinyImagenetParams
from graybox.data.scenes import OBJECTS, draw
from graybox.data.sources import UnreadableError, archives, downloads, fetch, folder, generated, tiny_imagenet, wordnet
from graybox.data.sources.decode import open_image, square
from graybox.data.sources.files import Files, FolderFiles, ZipFiles
from graybox.errors import UserError
from tests.support.basics import ROOT

NO_BOX = np.full(4, np.nan, np.float32)
REAL_ZIP = Path(os.environ.get("GRAYBOX_TINY_IMAGENET", ROOT.parent / "shared/data/tiny-imagenet-25.zip"))
needs_real_zip = pytest.mark.skipif(
    not REAL_ZIP.is_file(),
    reason="needs a zip in Tiny ImageNet's layout with 25 classes; set GRAYBOX_TINY_IMAGENET to its path",
)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes, size: int = 8) -> np.ndarray:
    """The pixels [size, size, 3] of an encoded image."""
    return square(open_image(data), NO_BOX, size)[0]


def plain(mode: str, colour, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


class InMemory:
    """Files without a disk."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.names = sorted(contents)
        self.left_out: dict[str, str] = {}

    def read(self, name: str) -> bytes:
        return self.contents[name]

    def first(self, name: str) -> bytes:
        return self.contents[name][:16]


# --- decoding -----------------------------------------------------------------------------------------------------


def palette(transparent: bool) -> bytes:
    image = plain("P", 1)
    image.putpalette([9, 9, 9, 10, 200, 30])
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


def sixteen_bit_rgb_png(red: int, green: int, blue: int) -> bytes:
    """Pillow reads these, but doesn't write them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + struct.pack(">3H", red, green, blue) * 8) * 8
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sixteen_bit(value: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype))


ONE_COLOUR = {
    "RGB PNG": (encoded(plain("RGB", (1, 2, 3)), "PNG"), (1, 2, 3)),
    "RGB BMP": (encoded(plain("RGB", (1, 2, 3)), "BMP"), (1, 2, 3)),
    "RGB PPM": (encoded(plain("RGB", (1, 2, 3)), "PPM"), (1, 2, 3)),
    "RGB WEBP": (encoded(plain("RGB", (1, 2, 3)), "WEBP", lossless=True), (1, 2, 3)),
    "gray PNG": (encoded(plain("L", 100), "PNG"), (100, 100, 100)),
    "gray JPEG": (encoded(plain("L", 100), "JPEG"), (100, 100, 100)),
    "1-bit PNG, white": (encoded(plain("1", 1), "PNG"), (255, 255, 255)),
    "1-bit PNG, black": (encoded(plain("1", 0), "PNG"), (0, 0, 0)),
    "palette PNG": (palette(transparent=False), (10, 200, 30)),
    "palette PNG, transparent": (palette(transparent=True), (255, 255, 255)),
    "RGBA PNG, opaque": (encoded(plain("RGBA", (1, 2, 3, 255)), "PNG"), (1, 2, 3)),
    "RGBA PNG, clear": (encoded(plain("RGBA", (1, 2, 3, 0)), "PNG"), (255, 255, 255)),
    "RGBA PNG, half": (encoded(plain("RGBA", (255, 0, 55, 51)), "PNG"), (255, 204, 215)),
    "RGBA WEBP, clear": (encoded(plain("RGBA", (1, 2, 3, 0)), "WEBP", lossless=True), (255, 255, 255)),
    "gray and alpha PNG, opaque": (encoded(plain("LA", (100, 255)), "PNG"), (100, 100, 100)),
    "gray and alpha PNG, clear": (encoded(plain("LA", (100, 0)), "PNG"), (255, 255, 255)),
    "gray PNG, its gray transparent": (encoded(plain("L", 100), "PNG", transparency=100), (255, 255, 255)),
    "RGB PNG, its colour transparent": (
        encoded(plain("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        (255, 255, 255),
    ),
    "CMYK TIFF": (encoded(plain("CMYK", (255, 0, 0, 0)), "TIFF"), (0, 255, 255)),
    "CMYK TIFF, all black": (encoded(plain("CMYK", (0, 0, 0, 255)), "TIFF"), (0, 0, 0)),
    "CMYK JPEG": (encoded(plain("CMYK", (0, 255, 0, 0)), "JPEG", quality=100), (255, 0, 255)),
    "16-bit gray PNG, middle": (encoded(sixteen_bit(0x8001), "PNG"), (128, 128, 128)),
    "16-bit gray PNG, dark": (encoded(sixteen_bit(300), "PNG"), (1, 1, 1)),
    "16-bit gray PNG, white": (encoded(sixteen_bit(65535), "PNG"), (255, 255, 255)),
    "16-bit gray TIFF": (encoded(sixteen_bit(0x4001), "TIFF"), (64, 64, 64)),
    "16-bit gray TIFF, big-endian": (encoded(sixteen_bit(0x4001, ">u2"), "TIFF"), (64, 64, 64)),
    "16-bit PGM": (b"P5 8 8 65535\n" + struct.pack(">H", 0x4001) * 64, (64, 64, 64)),
    "10-bit PGM": (b"P5 8 8 1023\n" + struct.pack(">H", 1023) * 64, (255, 255, 255)),
    "16-bit RGB PNG": (sixteen_bit_rgb_png(0x0180, 0x4001, 0xFFFF), (1, 64, 255)),
    "first picture of a phone's JPEG": (
        encoded(plain("RGB", (90, 90, 90)), "MPO", save_all=True, append_images=[plain("RGB", 0)]),
        (90, 90, 90),
    ),
    "first frame of a GIF": (
        encoded(plain("RGB", "red"), "GIF", save_all=True, append_images=[plain("RGB", "blue")]),
        (255, 0, 0),
    ),
}


@pytest.mark.parametrize("name", ONE_COLOUR)
def test_every_kind_of_pixel_becomes_rgb(name):
    data, expected = ONE_COLOUR[name]
    pixels = decoded(data)
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    tolerance = 2 if "JPEG" in name else 0
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance, pixels[0, 0]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_no_known_range_are_not_guessed(mode):
    with pytest.raises(UnreadableError, match="32-bit"):
        decoded(encoded(plain(mode, 70000), "TIFF"))


def box_of(red: np.ndarray) -> list[int]:
    """The box around the red pixels of [H, W, 3], x0, y0, x1, y1, half-open."""
    ys, xs = np.nonzero((red[..., 0] > 128) & (red[..., 1] < 128))
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_files_become_upright_and_take_their_box_along(kind, orientation):
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[8:16, 10:30] = 255  # white, with a red corner: no two orientations look alike
    stored[8:12, 10:20] = (255, 0, 0)
    box = np.array(box_of(stored), np.float32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(Image.fromarray(stored), kind, exif=exif, **options)

    pixels, upright_box = square(open_image(data), box, 24)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    width, height = expected.size
    left, top = (width - 24) // 2, (height - 24) // 2
    np.testing.assert_array_equal(pixels, np.asarray(expected)[top : top + 24, left : left + 24])
    assert upright_box.tolist() == box_of(pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_pixels_alone():
    image = plain("RGB", (1, 2, 3))
    data = encoded(image, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff\xff")
    assert decoded(data)[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((25, 0, 75, 50), (0, 0, 25, 25)),
        ((30, 10, 40, 30), (2.5, 5, 7.5, 15)),
        ((10, 0, 50, 25), (0, 0, 12.5, 12.5)),
        ((60, 40, 100, 50), (17.5, 20, 25, 25)),
        ((0, 0, 25, 50), None),
        ((80, 10, 100, 20), None),
        ((30, 10, 30, 30), None),
        ((np.nan,) * 4, None),
    ],
)
def test_boxes_follow_resize_and_crop(box, expected):
    _, fitted = square(plain("RGB", 0, (100, 50)), np.array(box, np.float32), 25)
    assert fitted.dtype == np.float32
    assert np.isnan(fitted).all() if expected is None else fitted.tolist() == list(expected)


def test_a_box_stays_on_its_object_through_a_downscale():
    image = plain("RGB", 0, (300, 200))
    image.paste((255, 0, 0), (90, 40, 170, 120))
    pixels, box = square(image, np.array([90, 40, 170, 120], np.float32), 50)
    assert box.tolist() == box_of(pixels)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 16), (16, 19), (40, 16)])
def test_an_image_of_the_size_is_cropped_but_not_resampled(width, height):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = (height - 16) // 2, (width - 16) // 2
    pixels = decoded(encoded(Image.fromarray(noise), "PNG"), 16)
    np.testing.assert_array_equal(pixels, noise[top : top + 16, left : left + 16])


def test_reducing_averages_rather_than_picks():
    fine = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decoded(encoded(Image.fromarray(fine), "PNG"), 8)
    assert np.abs(pixels.astype(int) - 127).max() <= 8


def noisy_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not an image"),
        (b"<html>not found</html>", "not an image"),
        (encoded(plain("RGB", 0), "PCX"), "not an image in an allowed format"),
        (encoded(plain("RGB", 0), "EPS"), "not an image in an allowed format"),
        (noisy_jpeg()[:-900], "truncated"),
        (encoded(plain("RGB", 0), "PNG")[:45], "broken image"),
        (b"P6 20000 6000 255\n", "20000 x 6000 pixels"),
        (b"P6 200000 60000 255\n", "too many pixels; at most 100,000,000 are allowed"),
    ],
    ids=["empty", "page", "pcx", "eps", "jpeg", "png", "large", "huge"],
)
@pytest.mark.filterwarnings("error")  # Pillow would warn of many pixels before our own sentence
def test_what_cannot_be_decoded_says_why(data, told):
    with pytest.raises(UnreadableError, match=told) as error:
        decoded(data)
    assert "0x" not in str(error.value)  # a memory address would differ from run to run


# --- archives -----------------------------------------------------------------------------------------------------


def make_zip(path: Path, contents: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, contents: dict[str, bytes], *, mode: str = "w:gz", kind: bytes = tarfile.REGTYPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(member, io.BytesIO(data))
    return path


def download(location, raw: Path, *, sha256: str | None = None) -> dict:
    return fetch.fetch(str(location), "sources.folder.path", raw, raw.parent / "partial", sha256)


@pytest.fixture
def raw(tmp_path) -> Path:
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    return folder


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


BAD_NAMES = ["../evil.png", "cat/../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png", "C:evil.png", "a\nb.png"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_outside_are_refused(tmp_path, raw, make, name):
    archive = make(tmp_path / "in" / "archive", {"cat/1.png": b"1", name: b"evil"})
    before = everything(tmp_path)
    with pytest.raises(UserError, match="is not allowed; names should be printable, relative") as error:
        download(archive, raw)
    assert repr(name) in str(error.value)
    assert everything(tmp_path) - before <= {"data/raw/archive.zip"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, raw, kind):
    archive = make_tar(tmp_path / "a.tar", {"cat/1.png": b""}, mode="w", kind=kind)
    before = everything(tmp_path)
    with pytest.raises(UserError, match=r"'cat/1.png' is a link or a device"):
        download(archive, raw)
    assert everything(tmp_path) - before <= {"data/raw/archive.zip"}


def test_links_in_a_zip_are_refused(tmp_path, raw):
    link = zipfile.ZipInfo("cat/1.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"'cat/1.png' is a link or a device"):
        download(tmp_path / "a.zip", raw)


def test_encrypted_zips_are_refused(tmp_path, raw):
    data = bytearray(make_zip(tmp_path / "a.zip", {"cat/1.png": b"1"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match="is encrypted"):
        download(tmp_path / "a.zip", raw)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_sizes_and_numbers_are_limited(tmp_path, raw, monkeypatch, make):
    archive = make(tmp_path / "archive", {f"cat/{number}.png": b"12345" for number in range(3)})
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 5)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    download(archive, raw)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 4)
    with pytest.raises(UserError, match=r"'cat/0.png' has more than"):
        download(archive, raw)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 5)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 2)
    with pytest.raises(UserError, match="more entries than the 2 allowed"):
        download(archive, raw)


def test_an_entry_that_is_there_twice_is_refused(tmp_path, raw):
    make_tar(tmp_path / "a.tar", {"cat/1.png": b"1", "./cat//1.png": b"2"})
    with pytest.raises(UserError, match="twice"):
        download(tmp_path / "a.tar", raw)


@pytest.mark.parametrize("make", [make_zip, make_tar, partial(make_tar, mode="w"), partial(make_tar, mode="w:xz")])
def test_half_an_archive_is_refused(tmp_path, raw, make):
    noise = np.random.default_rng(0).bytes(5000)
    archive = make(tmp_path / "archive", {"cat/1.png": noise, "cat/2.png": noise[::-1]})
    archive.write_bytes(archive.read_bytes()[:7000])
    with pytest.raises(UserError, match=r"not a whole (zip|tar) archive"):
        download(archive, raw)


def test_a_damaged_entry_is_one_unreadable_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", b"good data")
        archive.writestr("bad.png", b"some data")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"some data", b"same data"))
    files = ZipFiles(tmp_path / "a.zip")
    assert files.read("good.png") == b"good data"
    with pytest.raises(UnreadableError, match="damaged"):
        files.read("bad.png")


_inherited: list[Files] = []


def inherit(files: Files) -> None:
    _inherited.append(files)


def read_inherited(_: int) -> list[bytes]:
    return [_inherited[0].read(name) for name in _inherited[0].names]


CONTENTS = {"b/2.png": b"two", "a/1.png": b"one" * 1000, "a/deep/3.png": b""}


@pytest.mark.parametrize("make", [make_zip, make_tar, partial(make_tar, mode="w:bz2"), partial(make_tar, mode="w")])
def test_archives_of_all_kinds_give_their_files(tmp_path, raw, make):
    facts = download(make(tmp_path / "archive", {"./" + name: data for name, data in CONTENTS.items()}), raw)
    (raw / "source.json").write_text(json.dumps(facts))
    files = fetch.opened(raw)
    assert files.names == sorted(CONTENTS)
    copy = pickle.loads(pickle.dumps(files))
    for name, data in CONTENTS.items():
        assert files.read(name) == copy.read(name) == data


def test_processes_read_one_zip_side_by_side(tmp_path):
    contents = {f"{number:03d}": bytes([number]) * 5000 for number in range(256)}
    files = ZipFiles(make_zip(tmp_path / "a.zip", contents))
    files.read("007")  # a handle that a forked process inherits
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork"), initializer=inherit, initargs=(files,)) as pool:
        for found in pool.map(read_inherited, range(8)):
            assert found == list(contents.values())


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", CONTENTS).read_bytes()
    assert archives.kind(make_tar(tmp_path / "a.tar", {"inner.zip": inner}, mode="w")) == "tar"
    assert archives.kind(tmp_path / "inner.zip") == "zip"


def test_backslashes_of_windows_separate_folders(tmp_path):
    assert ZipFiles(make_zip(tmp_path / "a.zip", {"cat\\1.png": b"1"})).names == ["cat/1.png"]


def write_files(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_links_in_a_folder_are_followed_but_never_in_circles(tmp_path):
    root = write_files(tmp_path / "root", {"cat/1.png": b"1"})
    elsewhere = write_files(tmp_path / "elsewhere", {"2.png": b"2"})
    (root / "dog").symlink_to(elsewhere)
    (root / "cat/up").symlink_to(root)
    (root / "cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "cat/pipe.png")
    files = FolderFiles(root)
    assert files.names == ["cat/1.png", "cat/gone.png", "dog/2.png"]
    assert files.read("dog/2.png") == b"2"
    with pytest.raises(UnreadableError):
        files.read("cat/gone.png")


# --- folders and downloads ----------------------------------------------------------------------------------------


def taken(root: Path, raw: Path) -> None:
    (raw / "source.json").write_text(json.dumps(download(root, raw)))


def add(root: Path) -> None:
    (root / "a/new.png").write_bytes(b"new")


def remove(root: Path) -> None:
    (root / "a/1.png").unlink()


def rename(root: Path) -> None:
    (root / "a/1.png").rename(root / "b/1.png")


def rewrite(root: Path) -> None:
    os.utime(root / "a/1.png", ns=(0, 1))


@pytest.mark.parametrize("change", [add, remove, rename, rewrite])
def test_a_changed_folder_is_noticed(tmp_path, raw, change):
    root = write_files(tmp_path / "photos", CONTENTS)
    taken(root, raw)
    assert fetch.opened(raw).names == sorted(CONTENTS)
    change(root)
    with pytest.raises(UserError, match=r"photos has changed since .*dvc repro -f download"):
        fetch.opened(raw)


def test_a_file_managers_hidden_file_is_no_change(tmp_path, raw):
    root = write_files(tmp_path / "photos", CONTENTS)
    taken(root, raw)
    write_files(root, {".DS_Store": b"x", "a/.hidden": b"x"})
    fetch.opened(raw)


def test_a_folder_that_is_gone_is_named(tmp_path, raw):
    root = write_files(tmp_path / "photos", CONTENTS)
    taken(root, raw)
    root.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"photos is gone.*dvc repro -f download"):
        fetch.opened(raw)


def test_a_relative_folder_is_found_from_elsewhere(tmp_path, raw, monkeypatch):
    write_files(tmp_path / "photos", CONTENTS)
    monkeypatch.chdir(tmp_path)
    taken(Path("photos"), raw)
    monkeypatch.chdir(raw)
    assert fetch.opened(raw).read("b/2.png") == b"two"


def test_what_is_not_there_or_no_archive_is_named_with_its_key(tmp_path, raw):
    with pytest.raises(UserError, match=r"sources.folder.path is null; it should be the path of a folder"):
        fetch.fetch(None, "sources.folder.path", raw, tmp_path)
    with pytest.raises(UserError, match=r"sources.folder.path is empty"):
        download("", raw)
    with pytest.raises(UserError, match="can't be read or stored"):
        download("x" * 300, raw)
    with pytest.raises(
        UserError, match=r"sources.folder.path is 'no/such.zip', which doesn't exist in .*; it should be"
    ):
        download("no/such.zip", raw)
    (tmp_path / "page.zip").write_text("<html>")
    with pytest.raises(UserError, match=r"page.zip', which is neither a zip nor a tar"):
        download(tmp_path / "page.zip", raw)
    assert everything(raw) == set()


def test_a_checksum_is_held_against_the_archive(tmp_path, raw):
    archive = make_zip(tmp_path / "a.zip", CONTENTS)
    facts = download(archive, raw)
    assert facts == {"archive": "a.zip", "bytes": archive.stat().st_size, "sha256": facts["sha256"]}
    assert download(archive, raw, sha256=facts["sha256"]) == facts
    with pytest.raises(UserError, match=f"has the sha256 {facts['sha256']}; the sha256 beside it is 000"):
        download(archive, raw, sha256="0" * 64)
    with pytest.raises(UserError, match="is a folder; the sha256 beside it"):
        download(tmp_path, raw, sha256=facts["sha256"])


class Server:
    """A loopback web server whose answers a test can spoil."""

    def __init__(self) -> None:
        self.body = b""
        self.kind = "application/zip"
        self.ranges = True
        self.tags = True  # name the version of the body
        self.careful = True  # send a range only of the version that is asked for
        self.off_by = 0  # the range sent is said to begin so much later
        self.cut: int | None = None  # send only so many bytes of what was announced
        self.asked: list[str | None] = []  # the Range header of each request
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                server.asked.append(asked)
                if self.path == "/missing.zip":
                    return self.send_error(404)
                if self.path.startswith("/moved"):
                    return self.moved(f"/{self.path[1:] if self.path == '/moved' else 'a.zip'}")
                tag = f'"{zlib.crc32(server.body)}"'
                same = not server.careful or self.headers.get("If-Range") in (None, tag)
                first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges and same else 0
                if first and first >= len(server.body):
                    return self.send_error(416)
                data = server.body[first:]
                self.send_response(206 if first else 200)
                if first:
                    start = first + server.off_by
                    self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
                if server.tags:
                    self.send_header("ETag", tag)
                self.send_header("Content-Type", server.kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: server.cut])

            def moved(self, to: str) -> None:
                self.send_response(302)
                self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def archive_bytes(tmp_path) -> bytes:
    return make_zip(tmp_path / "a.zip", {"cat/1.png": np.random.default_rng(0).bytes(200_000)}).read_bytes()


def test_an_archive_is_downloaded(server, raw, archive_bytes):
    server.body = archive_bytes
    facts = download(f"{server.url}/some%20pictures.zip?key=1", raw)
    assert facts["archive"] == "some pictures.zip" and facts["bytes"] == len(archive_bytes)
    assert (raw / "archive.zip").read_bytes() == archive_bytes
    assert everything(raw.parent) == {"raw", "raw/archive.zip", "partial"}


def test_a_downloaded_tar_is_read_like_any_other(server, tmp_path, raw):
    server.body = make_tar(tmp_path / "a.tar.gz", CONTENTS).read_bytes()
    taken(f"{server.url}/a.tar.gz", raw)
    assert fetch.opened(raw).read("b/2.png") == b"two"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_refused_and_taken_up_again(server, raw, archive_bytes, ranges):
    server.body, server.cut, server.ranges = archive_bytes, 2 * downloads.BLOCK + 100, ranges
    with pytest.raises(UserError, match=r"sources.folder.path: http.* try again"):
        download(f"{server.url}/a.zip", raw)
    assert everything(raw) == set()
    server.cut = None
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes
    assert server.asked == [None, f"bytes={2 * downloads.BLOCK}-"]


def test_leftovers_of_a_longer_file_are_thrown_away(server, raw, archive_bytes):
    server.body, server.cut = archive_bytes * 3, len(archive_bytes) * 2
    with pytest.raises(UserError):
        download(f"{server.url}/a.zip", raw)
    server.body, server.cut = archive_bytes, None
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes
    assert len(server.asked) == 2 and server.asked[1] is not None


@pytest.mark.parametrize(
    ("kind", "told"), [("text/html; charset=utf-8", "is a web page"), ("application/zip", "neither")]
)
def test_a_web_page_in_place_of_an_archive_is_refused(server, raw, archive_bytes, kind, told):
    server.body, server.kind = b"<!doctype html><p>Please log in", kind
    with pytest.raises(UserError, match=f"sources.folder.path.*{told}.*it should be"):
        download(f"{server.url}/a.zip", raw)
    assert everything(raw.parent) == {"raw", "partial"}
    server.body, server.kind = archive_bytes, "application/zip"
    download(f"{server.url}/a.zip", raw)
    assert (raw / "archive.zip").read_bytes() == archive_bytes


def test_servers_that_refuse_or_are_not_there_are_named(server, raw):
    with pytest.raises(UserError, match=r"missing.zip can't be downloaded \(404"):
        download(f"{server.url}/missing.zip", raw)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UserError, match="can't be reached"):
        download(f"{server.url}/a.zip", raw)


# --- Tiny ImageNet ------------------------------------------------------------------------------------------------

WORDS = {"n01": "crane", "n02": "crane, wading bird", "n03": "goose"}


def tiny_contents(per_class: int = 4) -> dict[str, bytes]:
    """Tiny ImageNet in small: 3 classes, per_class + 1 images each."""
    rng = np.random.default_rng(0)

    def jpeg() -> bytes:
        return encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")

    contents = {
        "wnids.txt": "\n".join(WORDS).encode(),
        "words.txt": "".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()).encode() + b"n99\tnobody\n",
        "val/val_annotations.txt": "".join(
            f"val_{row}.JPEG\t{wnid}\t{row}\t1\t{row + 5}\t63\n" for row, wnid in enumerate(WORDS)
        ).encode(),
    }
    for row, wnid in enumerate(WORDS):
        contents[f"val/images/val_{row}.JPEG"] = jpeg()
        names = [f"{wnid}_{number}.JPEG" for number in range(per_class)]
        contents |= {f"train/{wnid}/images/{name}": jpeg() for name in names}
        boxes = "".join(f"{name}\t0\t{row}\t63\t{row}\n" for name in names[:-1])  # one image has no box
        contents[f"train/{wnid}/{wnid}_boxes.txt"] = boxes.encode()
    return contents


def boxes_of(catalogue: sources.Catalogue) -> np.ndarray:
    return np.array([catalogue.load(index)[1] for index in range(len(catalogue.files))])


def test_tiny_imagenets_layout_is_read():
    catalogue = tiny_imagenet.catalogue(InMemory(tiny_contents()))
    assert catalogue.class_keys == ["n01", "n02", "n03"]
    assert catalogue.class_names == ["crane (n01)", "crane (wading bird)", "goose"]
    assert len(catalogue.files) == 15 and catalogue.splits == ["train"] * 12 + ["test"] * 3
    assert catalogue.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0, 1, 2]
    assert (catalogue.files[4], catalogue.files[14]) == ("train/n02/images/n02_0.JPEG", "val/images/val_2.JPEG")
    boxes = boxes_of(catalogue)
    assert boxes[5].tolist() == [0, 1, 64, 2]  # the file's last column and row are inside
    assert boxes[14].tolist() == [2, 1, 8, 64]
    assert np.isnan(boxes).all(axis=1).tolist() == [False, False, False, True] * 3 + [False] * 3


def test_a_top_folder_and_hidden_copies_change_nothing():
    contents = {f"tiny/{name}": data for name, data in tiny_contents().items()}
    contents |= {f"__MACOSX/{name}": b"junk" for name in tiny_contents()}
    contents["tiny/train/n01/images/._n01_0.JPEG"] = b"junk"
    catalogue, bare = tiny_imagenet.catalogue(InMemory(contents)), tiny_imagenet.catalogue(InMemory(tiny_contents()))
    assert (catalogue.files, catalogue.class_names) == (bare.files, bare.class_names)
    assert catalogue.ignored == {"hidden or system": len(tiny_contents()) + 1}
    np.testing.assert_array_equal(np.asarray(catalogue.load(7)[0]), np.asarray(bare.load(7)[0]))


def test_a_class_that_was_taken_out_of_train_is_ignored_in_val():
    contents = {name: data for name, data in tiny_contents().items() if "train/n02" not in name}
    catalogue = tiny_imagenet.catalogue(InMemory(contents))
    assert catalogue.class_names == ["crane", "goose"] and catalogue.labels.tolist() == [0] * 4 + [1] * 4 + [0, 1]
    assert catalogue.ignored == {"in val, of a class that train has not": 1}


def test_without_words_classes_have_their_ids_for_names():
    contents = tiny_contents()
    del contents["words.txt"]
    assert tiny_imagenet.catalogue(InMemory(contents)).class_names == ["n01", "n02", "n03"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"n1": "lion, king of beasts", "n2": "ox"}, ["lion", "ox"]),
        ({"n1": "crane", "n2": "crane"}, ["crane (n1)", "crane (n2)"]),
        ({"n1": "maillot", "n2": "maillot, tank suit"}, ["maillot (n1)", "maillot (tank suit)"]),
        ({"n1": "mouse, pointer", "n2": "mouse, pointer"}, ["mouse (n1)", "mouse (n2)"]),
    ],
)
def test_readable_names_are_unique(words, expected):
    assert wordnet.readable_names(["n1", "n2"], words) == expected


@pytest.mark.parametrize(
    ("without", "told"), [("train/", "has no train/WNID/images"), ("val/val_annotations.txt", "val_annotations")]
)
def test_another_layout_is_not_taken_for_tiny_imagenet(tmp_path, without, told):
    contents = {name: data for name, data in tiny_contents().items() if not name.startswith(without)}
    files = FolderFiles(write_files(tmp_path, contents))
    with pytest.raises(UserError, match=f"sources.tiny_imagenet.archive isn't laid out.*{told}"):
        tiny_imagenet.catalogue(files)


def test_a_broken_annotation_is_named_by_its_line():
    contents = tiny_contents()
    contents["val/val_annotations.txt"] += b"val_9.JPEG\n"
    with pytest.raises(UserError, match=r"line 4 of val/val_annotations.txt"):
        tiny_imagenet.catalogue(InMemory(contents))


@needs_real_zip
def test_the_real_photographs(raw):
    options = TinyImagenetParams(image_size=64, archive=str(REAL_ZIP), sha256=None)
    sources.download("tiny_imagenet", options, raw, raw.parent / "partial")
    catalogue = sources.open("tiny_imagenet", options, raw, seed=0)
    assert len(catalogue.class_names) == 25 and not catalogue.ignored
    assert {"goose", "dugong", "golden retriever", "school bus", "coral reef"} <= set(catalogue.class_names)
    own = np.array(catalogue.splits)
    assert np.bincount(catalogue.labels[own == "train"]).tolist() == [500] * 25
    assert np.bincount(catalogue.labels[own == "test"]).tolist() == [50] * 25
    boxes = catalogue.load.boxes
    assert np.isfinite(boxes).all() and boxes.min() == 0 and boxes.max() == 64
    assert (boxes[:, 2:] > boxes[:, :2]).all()


# --- folders of classes -------------------------------------------------------------------------------------------


def listed(*names: str) -> sources.Catalogue:
    return folder.catalogue(InMemory(dict.fromkeys(names, b"")))


def test_folders_are_classes():
    catalogue = listed("dog/1.jpg", "cat/2.PNG", "cat/deep/er/3.jpeg", "dog/4.webp")
    assert catalogue.class_names == catalogue.class_keys == ["cat", "dog"]
    assert catalogue.files == ["cat/2.PNG", "cat/deep/er/3.jpeg", "dog/1.jpg", "dog/4.webp"]
    assert catalogue.labels.tolist() == [0, 0, 1, 1] and catalogue.labels.dtype == np.int64
    assert catalogue.splits == [None] * 4 and catalogue.ignored == {}


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_folders_of_splits_are_splits(validation):
    catalogue = listed("Train/cat/1.jpg", "Train/dog/1.jpg", f"{validation}/cat/1.jpg", "TEST/dog/more/1.jpg")
    assert catalogue.class_names == ["cat", "dog"]
    split_of = dict(zip(catalogue.files, catalogue.splits, strict=True))
    assert split_of == {
        "Train/cat/1.jpg": "train",
        "Train/dog/1.jpg": "train",
        f"{validation}/cat/1.jpg": "validation",
        "TEST/dog/more/1.jpg": "test",
    }


@pytest.mark.parametrize("top", ["photos", "my/photos"])
def test_a_lone_top_folder_is_left_out(top):
    catalogue = listed(f"{top}/cat/1.jpg", f"{top}/dog/1.jpg", "README.md", "__MACOSX/cat/._1.jpg")
    assert (catalogue.class_names, catalogue.files) == (["cat", "dog"], ["cat/1.jpg", "dog/1.jpg"])
    splits = listed(f"{top}/train/cat/1.jpg", f"{top}/test/cat/1.jpg")
    assert splits.files == ["test/cat/1.jpg", "train/cat/1.jpg"] and splits.splits == ["test", "train"]


def test_a_lone_train_folder_is_a_split():
    catalogue = listed("train/cat/1.jpg", "train/dog/1.jpg")
    assert (catalogue.class_names, catalogue.splits) == (["cat", "dog"], ["train", "train"])


def test_a_class_may_be_called_train():
    catalogue = listed("bus/1.jpg", "car/1.jpg", "train/1.jpg")
    assert (catalogue.class_names, catalogue.splits) == (["bus", "car", "train"], [None] * 3)


def test_splits_beside_other_folders_are_not_guessed():
    with pytest.raises(UserError, match="has the folders test, train and also unlabelled; either every folder"):
        listed("train/cat/1.jpg", "test/cat/1.jpg", "unlabelled/1.jpg")


def test_other_files_are_ignored_and_counted():
    catalogue = listed(
        *("cat/1.jpg", "dog/1.jpg", "cat/.hidden.jpg", ".cache/x/1.jpg", "__MACOSX/cat/1.jpg"),
        *("cat/notes.txt", "cat/more.txt", "cat/1.heic", "cover.jpg", "LICENSE"),
    )
    assert catalogue.files == ["cat/1.jpg", "dog/1.jpg"]
    assert catalogue.ignored == {
        ".heic": 1,
        ".txt": 2,
        "hidden or system": 3,
        "no extension": 1,
        "not in a class's folder": 1,
    }


@pytest.mark.parametrize("names", [[], ["1.jpg", "2.jpg"], ["train/1.jpg", "test/1.jpg"], ["cat/1.txt"]])
def test_no_classes_is_said(names):
    with pytest.raises(UserError, match=r"sources.folder.path has no images in folders named after their classes"):
        listed(*names)


# --- generated scenes ---------------------------------------------------------------------------------------------


def scenes_params(**changes) -> ScenesParams:
    values = {"image_size": 32, "classes": 3, "train_per_class": 4, "test_per_class": 2} | changes
    return ScenesParams(**{"object_signal": 1.0, "context_bias": 0.0, "object_size": [0.5, 0.75]} | values)


def test_scenes_are_a_source_like_the_others(raw):
    options = scenes_params()
    facts = sources.download("scenes", options, raw, raw.parent / "partial")
    assert facts == {"source": "scenes", **options.model_dump()}
    assert everything(raw) == {"source.json"}
    catalogue = sources.open("scenes", options, raw, seed=7)
    assert catalogue.class_names == list(OBJECTS[:3])
    assert catalogue.splits == ["train"] * 12 + ["test"] * 6
    assert np.bincount(catalogue.labels).tolist() == [6, 6, 6]
    assert len(set(catalogue.files)) == 18
    for index, file in enumerate(catalogue.files):
        split, name, number = file.removesuffix(".png").split("/")
        assert (split, name) == (catalogue.splits[index], catalogue.class_names[catalogue.labels[index]])
        if index in (0, 5, 13):  # the name says which scene it is
            scene = draw(catalogue.load.world, split, int(number), int(catalogue.labels[index]))
            image, box = pickle.loads(pickle.dumps(catalogue.load))(index)
            np.testing.assert_array_equal(np.asarray(image), scene.image)
            assert box.tolist() == list(scene.box) and image.size == (32, 32)


def test_scenes_know_what_stands_in_front_and_how_they_are_made(raw):
    options = scenes_params(train_per_class=20, context_bias=0.25)
    catalogue = generated.open(options, raw, seed=7)
    uncover, shares = pickle.loads(pickle.dumps(catalogue.uncover)), []
    for index, file in enumerate(catalogue.files):
        split, _, number = file.removesuffix(".png").split("/")
        scene = draw(catalogue.load.world, split, int(number), int(catalogue.labels[index]))
        share, image = uncover(index)
        assert share == scene.covered
        np.testing.assert_array_equal(np.asarray(image), scene.uncovered)
        shares.append(share)
    assert 0.03 < np.mean(np.array(shares) > 0) < 0.35
    for said in (
        "shows an object of its class and",
        "a background (of its class with probability 0.25, else of a random",
        "0 to 4 small shapes",
        "in front of 15% of",
    ):
        assert said in catalogue.made
    assert "a background that says nothing of its class." in generated.open(scenes_params(), raw, seed=7).made


def test_the_seed_and_the_options_reach_the_world(raw):
    world = generated.open(scenes_params(context_bias=0.5, object_signal=0.75), raw, seed=7).load.world
    assert (world.seed, world.image_size, world.classes) == (7, 32, 3)
    assert (world.context_bias, world.object_signal) == (0.5, 0.75)


def test_asking_for_more_scenes_keeps_the_first_ones(raw):
    few, many = (generated.open(scenes_params(train_per_class=count), raw, 0) for count in (2, 5))
    assert set(few.files) < set(many.files)
    file = few.files[5]
    images = [np.asarray(catalogue.load(catalogue.files.index(file))[0]) for catalogue in (few, many)]
    np.testing.assert_array_equal(*images)


def test_another_sources_files_are_not_opened(raw):
    with pytest.raises(UserError, match=r"holds nothing where data.source is scenes; run `dvc repro download`"):
        sources.open("scenes", scenes_params(), raw, 0)
    sources.download("scenes", scenes_params(), raw, raw.parent / "partial")
    with pytest.raises(UserError, match=r"holds scenes where data.source is folder"):
        sources.open("folder", FolderParams(image_size=32, path=None, boxes=None), raw, 0)
