"""Broken bytes of every kind: what reads them says so in a sentence or is right; it neither fails otherwise nor hangs.

More examples: HYPOTHESIS_EXAMPLES=5000 python -m pytest tests/data/test_fuzz_readers.py
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from graybox.data.sources import UnreadableError, boxes, decode, fetch
from graybox.data.sources.decode import open_image, square
from graybox.data.sources.files import ZipFiles
from graybox.errors import UserError
from tests.data.test_sources import NO_BOX, encoded

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 60))
pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, about what is broken
# The same examples each time, unless more are asked for: what chance finds should not stop another change.
fuzzing = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 60
)


def broken(whole: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes changed, cut out, doubled or put in, and possibly the end cut off."""
    place = st.integers(0, len(whole) - 1)
    values = st.one_of(
        st.binary(min_size=1, max_size=4), st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
    )
    change = st.tuples(st.sampled_from(["set", "cut", "put", "double"]), place, values, st.integers(1, 64))
    return st.builds(applied, st.just(whole), st.lists(change, max_size=4), st.none() | place)


def applied(data: bytes, changes: list[tuple[str, int, bytes, int]], end: int | None) -> bytes:
    for kind, at, value, length in changes:
        if kind == "set":
            data = data[:at] + value + data[at + len(value) :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "put":
            data = data[:at] + value + data[at:]
        else:
            data = data[: at + length] + data[at:]
    return data[:end]


# --- images -------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
EXIF = Image.Exif()
EXIF[0x0112] = 6
ENCODED = {
    "JPEG": encoded(PICTURE, "JPEG", exif=EXIF),
    "progressive JPEG": encoded(PICTURE.resize((200, 160)), "JPEG", progressive=True, quality=50),
    "CMYK JPEG": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "MPO": encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
    "PNG": encoded(PICTURE, "PNG", exif=EXIF),
    "palette PNG": encoded(PICTURE.quantize(16), "PNG", transparency=3),
    "16-bit PNG": encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256), "PNG"),
    "GIF": encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "BMP": encoded(PICTURE, "BMP"),
    "WEBP": encoded(PICTURE, "WEBP"),
    "TIFF": encoded(PICTURE, "TIFF", exif=EXIF),
    "packed TIFF": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "deflated TIFF": encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "PPM": encoded(PICTURE, "PPM"),
    "plain PGM": b"P2 3 2 255\n1 2 3 4 5 6\n",
}


@pytest.mark.parametrize("kind", ENCODED)
def test_broken_images(kind, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 1_000_000)  # for speed

    @fuzzing
    @given(broken(ENCODED[kind]))
    def check(data: bytes) -> None:
        try:
            pixels, box = square(open_image(data), NO_BOX, 16)
        except UnreadableError as error:
            assert "0x" not in str(error)
        else:
            assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8 and np.isnan(box).all()

    check()


# --- archives -----------------------------------------------------------------------------------------------------

FILES = {"cat/1.png": b"one" * 300, "cat/a name that is long enough " + "x" * 120: b"two", "dog/3.png": b""}


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED if data else zipfile.ZIP_STORED)
    return buffer.getvalue()


def tar_bytes(mode: str, layout: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=layout) as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVES = {
    "zip": zip_bytes(),
    "tar": tar_bytes("w"),
    "pax tar": tar_bytes("w", tarfile.PAX_FORMAT),
    "tar.gz": tar_bytes("w:gz"),
    "tar.bz2": tar_bytes("w:bz2"),
    "tar.xz": tar_bytes("w:xz"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_broken_archives(kind):
    @fuzzing
    @given(broken(ARCHIVES[kind]))
    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            archive, raw = Path(folder, "archive"), Path(folder, "raw")
            archive.write_bytes(data)
            raw.mkdir()
            tracemalloc.start()
            try:
                fetch.fetch(str(archive), "key", raw, Path(folder, "partial"))
                files = ZipFiles(raw / fetch.ARCHIVE)
                contents = [unless_unreadable(files, name) for name in files.names]
            except UserError as error:
                assert "\n" not in str(error)
                assert list(raw.iterdir()) == []
            else:
                assert sum(map(len, contents)) < 100_000
                assert list(raw.iterdir()) == [raw / fetch.ARCHIVE]
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert {path.name for path in Path(folder).iterdir()} <= {"archive", "raw"}
            assert peak < 16 << 20  # of which an xz takes 8

    check()


def unless_unreadable(files: ZipFiles, name: str) -> bytes:
    try:
        return files.read(name)
    except UnreadableError:
        return b""


# --- boxes --------------------------------------------------------------------------------------------------------

CSV = b"file,x0,y0,x1,y1,class\n" + b"".join(b'"cat/%d.jpg",0,%d,20,30.5,cat\r\n' % (row, row) for row in range(5))
XML = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<!-- made by hand -->\n<annotation><folder>cat</folder>'
    b"<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    b"<object><name>dog &amp; bone</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    b"</object></annotation>"
)
TEXTS = st.sampled_from([b"<!DOCTYPE x>", b"&#0;", b"&x;", b"nan", b"1e999", b"-1", b'"', b"\0", b"\xff", b"<", b"\r"])


@pytest.mark.parametrize(("name", "whole"), [("boxes.csv", CSV), ("xml/1.xml", XML)])
def test_broken_boxes(name, whole):
    @fuzzing
    @given(broken(whole), st.none() | TEXTS, st.integers(0, len(whole)))
    def check(data: bytes, text: bytes | None, at: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, raw = Path(folder, name), Path(folder, "raw")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data if text is None else data[:at] + text + data[at:])
            raw.mkdir()
            try:
                boxes.download(str(path if name.endswith("csv") else path.parent), "key", raw, Path(folder, "partial"))
                found = boxes.attach(["cat/1.jpg", "dog/2.jpg"], ["cat", "dog"], raw)
            except UserError as error:
                assert "\n" not in str(error)
                assert list(raw.iterdir()) == []
            else:
                known = found.boxes[~np.isnan(found.boxes).any(axis=1)]
                assert (known[:, :2] >= 0).all() and (known[:, 2:] > known[:, :2]).all() and np.isfinite(known).all()

    check()
