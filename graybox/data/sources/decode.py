"""From the bytes of an image file to upright RGB pixels in a square, with the object box carried along."""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features

from graybox.data.sources.catalogue import UnreadableError
from graybox.data.sources.files import Files
from graybox.errors import UserError

# Named, because Pillow would otherwise try every format it knows, Ghostscript's included. Each can be told by its first
# bytes; TGA and PCX can't. Pillow has AVIF since 11.3.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "QOI")
if "avif" in features.modules and features.check("avif"):
    FORMATS += ("AVIF",)
_TIFF = (".tif", ".tiff")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", *_TIFF),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".qoi"),
    *((".avif",) if "AVIF" in FORMATS else ()),
)
_BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{4}\0{4}|GIF8[79]a|RIFF.{4}WEBP|P[1-6]\s|\0{3}\x0cjP  |\xff\x4f\xff\x51|qoif"
    + rb"|.{4}ftypavi[fs]" * ("AVIF" in FORMATS),
    re.DOTALL,
)
# Copies that editors keep (1.jpg~) and what downloads leave unfinished: the same picture is there under its own name.
_LEFTOVER = re.compile(r"\.\w+(~|\.(bak|orig|tmp|part|partial|crdownload))$", re.IGNORECASE)
MAX_PIXELS = 100_000_000
Window = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, half-open

# What turns the stored pixels upright, for each EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class FileLoader:
    """A catalogue's `load` for pictures that are files.

    Attributes:
        files: where the files are.
        names: N names in `files`.
        boxes: float32 [N, 4], NaN where unknown; None = all unknown.
    """

    files: Files
    names: list[str]
    boxes: np.ndarray | None = None

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        box = np.full(4, np.nan, np.float32) if self.boxes is None else self.boxes[index]
        return open_image(self.files.read(self.names[index])), box


def is_image(name: str, first: bytes) -> bool:
    """Whether a file without an image's extension is an image in an allowed format all the same.

    TIFF counts only in files without an extension: cameras' raw files begin like it, and what Pillow finds in them is
    a small preview. An editor's backup such as 1.jpg~ and an unfinished download such as 1.jpg.part count never.

    Args:
        name: of the file.
        first: its first bytes, 16 or all.
    """
    if _LEFTOVER.search(name):
        return False
    if first[:4] in (b"II*\0", b"MM\0*"):
        return "." not in name.rpartition("/")[2]
    return _BEGINNINGS.match(first) is not None


def check_box(box: np.ndarray, image: Image.Image, where: str) -> None:
    """Refuse a box [4] that isn't in an image; a pixel beyond is a matter of counting from 0 or from 1.

    Args:
        image: not decoded yet, as decoding turns some images.
        where: the box's origin, to begin the message with.

    Raises:
        UserError: it isn't.
    """
    width, height = image.size
    if image.format == "TIFF" and _orientation(image) >= 5:  # whose size may be the upright one already
        width = height = max(image.size)
    if box[2] > width + 1 or box[3] > height + 1:
        shown = ", ".join(f"{edge:g}" for edge in box)
        raise UserError(f"{where}: the box {shown} reaches outside its image, which is {width} x {height} pixels")


def open_image(data: bytes) -> Image.Image:
    """Identify an image without decoding it.

    Raises:
        UnreadableError: it is not in an allowed format, or has more than MAX_PIXELS pixels.
    """
    try:
        with warnings.catch_warnings():  # of many pixels: of them we speak ourselves
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:  # whose own message holds a memory address
        raise UnreadableError(f"not an image in an allowed format ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:  # twice as many as Pillow warns of
        raise UnreadableError(f"too many pixels; at most {MAX_PIXELS:,} are allowed") from error
    except Exception as error:  # a broken header: Pillow raises a dozen kinds
        raise UnreadableError(f"broken image: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are allowed")
    return image


def square(image: Image.Image, box: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode an image and make it an upright RGB square.

    The shorter side is resized to `size` (bilinear with antialiasing), the centre is kept.

    Args:
        image: any image, decoded or not.
        box: [4], x0, y0, x1, y1 in pixels of the image as stored, half-open, or NaN.
        size: height and width wanted, in pixels.

    Returns:
        uint8 [size, size, 3], and the box in its pixels, float32 [4]: clipped, NaN if nothing of it is left.

    Raises:
        UnreadableError: the image can't be decoded.
    """
    try:
        orientation, stored_size = _orientation(image), image.size
        scale = _reduce(image, size)
        pixels = _turned(rgb(image), image)
    except UnreadableError:
        raise
    except Exception as error:  # broken pixels: again a dozen kinds
        raise UnreadableError(f"broken image: {error}") from error
    window: Window
    if scale == 1:
        width, height = pixels.size
        # Whole pixels, so that an image whose shorter side has the size already is cropped, not blurred.
        left, top, right, bottom = map(math.floor, _centre(width, height))
        window = left, top, right, bottom
        decoded_window: Window = window
    else:
        width, height = stored_size[::-1] if orientation >= 5 else stored_size
        window = _centre(width, height)
        decoded_window = _reduced_window(window, orientation, stored_size, scale, pixels.size)
    square = np.asarray(pixels.resize((size, size), Image.Resampling.BILINEAR, box=decoded_window))
    return square, _fitted_box(upright_box(box, orientation, width, height), window, size)


def upright(image: Image.Image, box: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Decode an image whole and turn it upright: RGB, and its box in the pixels of that, float32 [4].

    Args:
        image, box: as for `square`.

    Raises:
        UnreadableError: the image can't be decoded.
    """
    try:
        orientation = _orientation(image)
        pixels = _turned(rgb(image), image)
    except UnreadableError:
        raise
    except Exception as error:  # broken pixels: a dozen kinds
        raise UnreadableError(f"broken image: {error}") from error
    return pixels, upright_box(box, orientation, *pixels.size)


def rgb(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB: of 12-bit and 16-bit values the highest 8 bits, and white for what is transparent.

    Colour profiles are not applied.

    Raises:
        UnreadableError: its pixels are 32-bit numbers, which no rule maps to 0..255.
    """
    bits = 12 if "I;12" in _raw_modes(image) else 16  # 12 in some TIFFs only
    image.load()
    # Pillow opens a 16-bit PGM as "I"; in other formats "I" is 32-bit, of any range.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UnreadableError(f"32-bit pixels (mode {image.mode}); 1 to 16 bits a channel are allowed")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def is_16_bit(image: Image.Image) -> bool:
    """Whether an image that is opened, but not decoded yet, is stored with 16 bits a channel."""
    modes = _raw_modes(image)  # of a BMP, ";16" is all three channels together
    return "I;12" not in modes and any(";16" in mode and not mode.startswith("BGR") for mode in modes)


def _raw_modes(image: Image.Image) -> list[str]:
    """How the pixels of an image that is not decoded yet lie in its file, in Pillow's words, such as "I;12"."""
    arguments = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in getattr(image, "tile", [])]
    return [image.mode, *(str(part) for parts in arguments for part in parts)]


def upright_box(box: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """A box [4] of the stored image in pixels of the upright image, which is `width` x `height`."""
    x0, y0, x1, y1 = box
    if orientation >= 5:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation in (2, 3, 6, 7):
        x0, x1 = width - x1, width - x0
    if orientation in (3, 4, 7, 8):
        y0, y1 = height - y1, height - y0
    return np.array([x0, y0, x1, y1], np.float32)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels, which are often good
        return 1
    return orientation if orientation in _TURNS else 1


def _turned(pixels: Image.Image, source: Image.Image) -> Image.Image:
    """Turn decoded pixels upright, unless decoding did: Pillow turns TIFFs itself, and clears their tag."""
    turn = _TURNS.get(_orientation(source))
    return pixels if turn is None else pixels.transpose(turn)


def _reduce(image: Image.Image, size: int) -> int:
    """Have a JPEG decoded at a half, a quarter or an eighth of its width and height, where that is enough for `size`.

    Only libjpeg does that, and it saves most of the decoding. What is left has 1.5 times the pixels wanted across,
    or more: at 1 the reduced image differs visibly from one that is decoded in full.

    Returns:
        How many stored pixels make up one decoded pixel in width and in height: 1, 2, 4 or 8.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    stored_width = image.width
    enough = math.ceil(1.5 * size)
    drafted = image.draft(None, (enough, enough))  # None, too, for pixels that have been decoded already
    return 1 if drafted is None else round(stored_width / drafted[1][2])


def _reduced_window(
    window: Window, orientation: int, stored_size: tuple[int, int], scale: int, size: tuple[int, int]
) -> Window:
    """Where a window of the whole upright image lies in the upright image of `size` that was decoded at 1/`scale`.

    By way of the stored image: its last row and column may stand for less than a whole pixel, and that edge
    may be any other once the image is upright.
    """
    back = {6: 8, 8: 6}.get(orientation, orientation)
    stored = upright_box(np.array(window, float), back, *stored_size) / scale
    x0, y0, x1, y1 = upright_box(stored, orientation, *size).tolist()
    return max(x0, 0), max(y0, 0), min(x1, size[0]), min(y1, size[1])  # float32 may round beyond the edge


def _centre(width: int, height: int) -> Window:
    """The square in the middle, x0, y0, x1, y1."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _fitted_box(box: np.ndarray, window: Window, size: int) -> np.ndarray:
    """A box [4] in pixels of the square that a window is resized to."""
    left, top, right, _ = window
    fitted = (box - np.array([left, top, left, top])) * (size / (right - left))
    x0, y0, x1, y1 = np.clip(fitted, 0, size)
    # NaN compares false, so a missing box stays missing.
    return np.array([x0, y0, x1, y1] if x0 < x1 and y0 < y1 else [np.nan] * 4, np.float32)
