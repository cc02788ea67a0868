"""dvc.lock is written as DVC writes it, but only the stages that changed are put into words again.

DVC reads and writes all of it after each stage, with a parser that keeps comments: a second for 3,000 lines, in which
nothing else runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.serialize import dumps_yaml, parse_yaml

HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^(?=  \S)", re.MULTILINE)


def modifying(modify: Any) -> Any:
    """DVC's `modify_yaml`, a context that changes a YAML file in place: the same bytes in a dvc.lock, sooner."""

    @contextmanager
    def modify_parts(path: str, fs: Any = None) -> Iterator[Any]:
        read = _parts(Path(path))
        if read is None:
            with modify(path, fs=fs) as data:
                yield data
            return
        parts, data = read
        before = {name: repr(stage) for name, stage in data["stages"].items()}
        yield data
        stages = data["stages"]
        if [*data] == ["schema", "stages"] and stages:
            new = (
                parts[name] if before.get(name) == repr(stages[name]) else _part(name, stages[name]) for name in stages
            )
            text = HEAD + "".join(new)
        else:
            text = dumps_yaml(data)
        Path(path).write_text(text, "utf-8")

    return modify_parts


def _part(name: str, stage: Any) -> str:
    return str(dumps_yaml({"stages": {name: stage}})).removeprefix("stages:\n")


def _parts(path: Path) -> tuple[dict[str, str], dict[str, Any]] | None:
    """The text of each stage in a dvc.lock, and what DVC reads there; None if it is not as DVC writes it."""
    try:
        text = path.read_text("utf-8")
        data = parse_yaml(text, str(path))
    except (OSError, ValueError, DvcException):
        return None  # DVC says why, or begins a new one
    if not text.startswith(HEAD) or not isinstance(data.get("stages"), dict) or [*data] != ["schema", "stages"]:
        return None
    parts = {part.partition(":\n")[0].strip(): part for part in STAGE.split(text[len(HEAD) :]) if part}
    return (parts, data) if [*parts] == [*data["stages"]] and text == HEAD + "".join(parts.values()) else None
