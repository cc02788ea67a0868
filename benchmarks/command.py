"""Shared by the benchmarks' command lines: a user's mistake ends the program with one sentence and exit code 1."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from graybox import errors, parallel
from graybox.data import images
from graybox.data.images import ImageSet
from graybox.errors import UserError

Found = TypeVar("Found")


def start(main: Callable[[list[str]], None]) -> None:
    """Call `main` with the command line's arguments."""
    errors.run(lambda *given: main(list(given)))


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is written."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def positive(text: str) -> int:
    """A whole number of at least 1, as argparse's `type`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def side_by_side(function: Callable[..., Found], jobs: Sequence[Sequence[Any]], workers: int) -> list[Found]:
    """The results of `function` for the arguments in `jobs`, computed in so many new processes at a time."""
    if (pool := parallel.pool(len(jobs), workers=workers, start_method="spawn")) is None:
        return [function(*job) for job in jobs]
    with pool:
        return list(pool.map(function, *zip(*jobs)))


def prepared(folder: Path | str) -> dict[str, ImageSet]:
    """Load the splits of a folder that the stage prepare wrote.

    Raises:
        UserError: the folder has no prepared images.
    """
    if not Path(folder, "table.csv").is_file():
        raise UserError(f"{folder}: no prepared images are there; run `dvc repro prepare`, or name another folder")
    return {split: images.load(folder, split) for split in images.SPLITS}
