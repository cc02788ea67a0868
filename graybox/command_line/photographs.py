"""Photographs as the network sees them, and where their panels go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graybox.data import remarks, transforms
from graybox.data.read_folder import prepared
from graybox.data.sources import decode
from graybox.data.sources.catalogue import UnreadableError
from graybox.errors import UserError


def read(
    path: Path, box: Sequence[float] | None, size: int, preprocess: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """One picture and its box as the network sees them: uint8 [H, W, 3], and float32 [4], NaN where there is none.

    Args:
        box: x0, y0, x1, y1 in pixels of the picture as stored; or None.
        size: height and width, where `preprocess` is None: the same steps as for a data set's images.

    Raises:
        UserError: the picture can't be read, or the box lies outside of what the network sees.
    """
    geometry = None if preprocess is None else transforms.parts(preprocess).geometry
    edges: np.ndarray[Any, Any] = np.array([np.nan] * 4 if box is None else box, np.float32)
    try:
        image = decode.open_image(path.read_bytes())
        deep = decode.is_16_bit(image)
        picture, seen = prepared(image, edges, geometry, size)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from error
    except UnreadableError as error:
        raise UserError(f"{path}: {error}") from error
    for remark in remarks.too_dark([int(picture.max())] if deep else []):
        print(remark)
    if box is not None and np.isnan(seen).any():
        raise UserError(
            f"--box is {' '.join(f'{edge:g}' for edge in box)}, which has no pixels in the picture's central part, "
            f"which the model sees; allowed: left, top, right and bottom in pixels, with left < right and top < bottom"
        )
    return picture, seen


def panels_of(images: Sequence[Path], output: Path | None) -> list[Path]:
    """Where the panel of each picture goes: --output, a PNG file or a folder, or the current folder.

    Raises:
        UserError: it is another kind of file, or one file for several pictures.
    """
    if output is not None and output.suffix.lower() == ".png" and not output.is_dir():
        if len(images) > 1:
            raise UserError(f"--output is {output}, one file for {len(images)} pictures; allowed: a folder")
        if output.parent.is_dir():
            return [output]
        raise UserError(f"--output is {output}; allowed: a .png file in a folder that exists, or a folder")
    if output is not None and (output.is_file() or (output.suffix and not output.is_dir())):
        raise UserError(f"--output is {output}; allowed: a .png file in a folder that exists, or a folder")
    if output is not None and not output.resolve().parent.is_dir():
        raise UserError(f"--output is {output}; allowed: a .png file or a folder, in a folder that exists")
    found: list[Path] = []
    for image in images:
        names = [f"{image.stem}-occlusion.png", *(f"{image.stem}-{n}-occlusion.png" for n in range(2, len(images) + 2))]
        found.append(next(path for name in names if (path := (output or Path()) / name) not in found))
    return found
