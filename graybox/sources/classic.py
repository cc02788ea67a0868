"""TO BE REPLACED: stands in for the reader of mini-ImageNet's classic CSV files and pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from graybox.config import MiniImagenetParams
from graybox.errors import UserError


def download(options: MiniImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    _refuse(options)


def open(options: MiniImagenetParams, raw: Path, seed: int) -> NoReturn:
    _refuse(options)


def _refuse(options: MiniImagenetParams) -> NoReturn:
    raise UserError(f"params.yaml: sources.mini_imagenet.path is {options.path!r}; so far only null is allowed")
