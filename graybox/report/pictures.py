"""Pictures as small as a report needs them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

WIDEST = 1600  # pixels; a page shows about 1100, a printed one 7 inches
QUALITY = 82
KINDS = {"svg": "svg+xml", "jpg": "jpeg", "png": "png", "gif": "gif"}


def compact(path: Path, widest: int = WIDEST) -> tuple[bytes, str]:
    """A picture's bytes and its kind, "svg", "png" or "jpg": an SVG as it is, a PNG as JPEG if that is smaller."""
    if path.suffix == ".svg":
        return path.read_bytes(), "svg"
    with Image.open(path) as opened:
        rgba = opened.convert("RGBA")
        picture = Image.new("RGB", rgba.size, "white")
        picture.paste(rgba, mask=rgba)
    if picture.width > widest:
        picture = picture.resize((widest, round(picture.height * widest / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=QUALITY, subsampling=0)
    jpeg, original = buffer.getvalue(), path.read_bytes()
    return (jpeg, "jpg") if len(jpeg) < len(original) else (original, path.suffix[1:])


def data_url(content: bytes, kind: str) -> str:
    """The picture inside an address, so that a page needs no other file."""
    return f"data:image/{KINDS[kind]};base64,{base64.b64encode(content).decode()}"
