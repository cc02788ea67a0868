"""Writing files so that each is whole, old or new, whatever stops the program in between.

A new file is written beside the old one and then takes its name, in one step (os.replace). So a full disk or a killed
process leaves the old file as it was. And where DVC has put a link to its cache, the link is replaced; writing through
it would change the cache. Text is UTF-8 with \\n at the ends of lines, whatever the system's habits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graybox.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PART = ".part-"  # how the name of an unfinished file begins; .gitignore and .dvcignore know it


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to, which then replaces `path`.

    Missing parent folders are made. If the block raises, what it wrote is removed and `path` stays as it was. The given
    path has the same suffix, and nothing exists there yet. Two folders can't change names in one step: a process that
    is killed between the two steps leaves no folder of that name.

    Raises:
        UserError: the folder can't be written to, or the disk is full. Another OSError of the block stays as it is.
    """
    path = Path(path)
    part, old = path.with_name(PART + path.name), path.with_name(f"{PART}old-{path.name}")
    with _said(path, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)  # what a killed process left
        try:
            yield part
            _settle(part)
            if part.is_dir() and path.exists():  # a folder can't take a name that is in use
                _remove(old)
                os.replace(path, old)
            os.replace(part, path)
            _remove(old)  # also one that a killed process left
        except BaseException:
            _remove(part)
            raise


@contextmanager
def filling(folder: Path | str, last: str) -> Iterator[Path]:
    """A new folder inside `folder` to write files to, which then take their places in `folder`.

    Other files in `folder` stay. A file of the name `last` is what makes the set whole: an old one is removed before
    the first new file takes its place, and the new one comes at the end. So a reader that asks for `last` first never
    takes old and new files together.

    Raises:
        UserError: the folder can't be written to, or the disk is full. Another OSError of the block stays as it is.
    """
    folder = Path(folder)
    part = folder / f"{PART}files"
    with _said(folder, part):
        folder.mkdir(parents=True, exist_ok=True)
        _remove(part)
        try:
            part.mkdir()
            yield part
            _settle(part)
            names = sorted(file.name for file in part.iterdir() if file.name != last)
            (folder / last).unlink(missing_ok=True)
            for name in [*names, last]:
                os.replace(part / name, folder / name)
        finally:
            _remove(part)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, with the line ends that `text` has, through `replacing`."""
    with replacing(path) as part:
        part.write_bytes(text.encode())


def write_json(path: Path | str, value: Any, indent: int | None = 1) -> None:
    """Write a value as JSON, through `replacing`."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV without its index, through `replacing`."""
    with replacing(path) as part:
        table.to_csv(part, index=False, lineterminator="\n", encoding="utf-8")


def write_arrays(path: Path | str, **arrays: np.ndarray) -> None:
    """Write arrays by name as an uncompressed npz file, through `replacing`; the same arrays give the same bytes."""
    import numpy as np  # not needed to write text

    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle


def copy(source: Path | str, target: Path | str) -> None:
    """Copy a file's content, through `replacing`."""
    with replacing(target) as part:
        shutil.copyfile(source, part)


def read_json(path: Path | str) -> Any:
    """The value in a JSON file that a stage wrote.

    Raises:
        UserError: the file is missing, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run `dvc repro`, which makes it") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not JSON"
        raise UserError(f"{path} can't be read ({reason}); run `dvc repro`, which makes it") from error


@contextmanager
def _said(path: Path, part: Path) -> Iterator[None]:
    """Turn an OSError of writing `path`, by way of `part`, into a sentence that names `path`."""
    try:
        yield
    except OSError as error:
        # An error without a name is of an open file, such as a full disk. Of two names one is read, one is written.
        given = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
        named = [Path(os.fsdecode(name)) for name in given]
        ours = any(part in (name, *name.parents) or name in (path, *path.parents) for name in named)
        if named and not ours:
            raise
        final = Path(*(name.removeprefix(PART) for name in path.parts))  # in a folder that is itself unfinished
        raise UserError(f"{final} can't be written ({error.strerror or error})") from error


def _settle(part: Path) -> None:
    """Have the disk keep the bytes: else a new name can outlive a power loss without its content."""
    for path in part.rglob("*") if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
