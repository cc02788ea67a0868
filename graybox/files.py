"""Writing files so that each is whole, old or new, whatever stops the program in between.

A new file is written beside the old one and then takes its name, in one step (os.replace). So a full disk or a killed
process leaves the old file as it was. And where DVC has put a link to its cache, the link is replaced; writing through
it would change the cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part-"  # how the name of an unfinished file begins; .gitignore and .dvcignore know it


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to, which then replaces `path`.

    Missing parent folders are made. If the block raises, what it wrote is removed and `path` stays as it was. The given
    path has the same suffix, and nothing exists there yet.

    Raises:
        OSError: the folder can't be written to, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(PART + path.name)
    _remove(part)  # what a killed process left
    try:
        yield part
        if part.is_file():
            with part.open("rb+") as file:
                os.fsync(file.fileno())  # else the new name can outlive a power loss without its content
        if part.is_dir() and path.exists():  # a folder can't take a name that is in use
            old = path.with_name(f"{PART}old-{path.name}")
            _remove(old)
            os.replace(path, old)
            os.replace(part, path)
            _remove(old)
        else:
            os.replace(part, path)
    except BaseException:
        _remove(part)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, with the line ends that `text` has, through `replacing`."""
    with replacing(path) as part:
        part.write_bytes(text.encode())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
