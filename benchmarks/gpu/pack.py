"""Pack prepared photographs into one small file for `python -m benchmarks.gpu --photographs`.

Usage: python -m benchmarks.gpu.pack photographs.npz [--prepared data/prepared] [--megabytes 60]

Training and test images are kept as JPEGs, with the best quality at which the file is small enough. Such a file can be
taken to a machine with a GPU that has no data. It holds photographs: keep it out of commits.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import parser_of, positive, prepared, start
from graybox import files
from graybox.data.images import ImageSet
from graybox.errors import UserError

QUALITIES = (95, 92, 90, 85, 80, 70, 60, 50)


def encoded(parts: dict[str, ImageSet], quality: int) -> dict[str, np.ndarray]:
    """The arrays of the file: `jpegs` uint8, all one after another; `lengths`, `labels` and `test` for each image."""
    jpegs = [_jpeg(image, quality) for part in parts.values() for image in part.images]
    return {
        "jpegs": np.frombuffer(b"".join(jpegs), np.uint8),
        "lengths": np.array([len(jpeg) for jpeg in jpegs]),
        "labels": np.concatenate([part.labels for part in parts.values()]),
        "test": np.repeat([split == "test" for split in parts], [len(part) for part in parts.values()]),
    }


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(held, "JPEG", quality=quality)
    return held.getvalue()


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--prepared", default="data/prepared", help="a folder that the stage prepare made")
    parser.add_argument("--megabytes", type=positive, default=60, help="at most")
    options = parser.parse_args(arguments)
    splits = prepared(options.prepared)
    parts = {split: splits[split] for split in ("train", "test")}
    for quality in QUALITIES:
        arrays = encoded(parts, quality)
        if sum(array.nbytes for array in arrays.values()) <= options.megabytes * 10**6:
            files.write_arrays(options.output, **arrays)
            print(f"{options.output}: {len(arrays['labels'])} photographs, JPEG quality {quality}, "
                  f"{options.output.stat().st_size / 10**6:.0f} MB")  # fmt: skip
            return
    raise UserError(f"--megabytes {options.megabytes}: too few; allowed: more, or fewer images (data.images_per_class)")


if __name__ == "__main__":
    start(main)
