"""Parquet shards in the hub's layout for images: listed by their labels, read forwards a few pictures at a time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from graybox.data.sources.catalogue import Catalogue, UnreadableError
from graybox.data.sources.decode import open_image
from graybox.data.sources.wordnet import readable_names
from graybox.errors import UserError

BATCH = 16  # pictures in memory at a time: a full-size photograph has about 0.1 MB
_BYTES = "image.bytes"


@dataclass(frozen=True)
class _Shard:
    """What is known of a shard without its pictures.

    Attributes:
        names: of the classes.
        labels: int64 [rows].
        groups: int64 [row groups + 1], the first row of each row group, and the number of rows.
    """

    names: list[str]
    labels: np.ndarray
    groups: np.ndarray


def catalogue(paths: list[Path]) -> Catalogue:
    """List the pictures of shards; no picture is read.

    Args:
        paths: named after their splits, such as train-00000-of-00013.parquet.

    Returns:
        The pictures in the shards' order. They are called split/class/number, with the number counted within
        the split.

    Raises:
        UserError: a shard is missing, damaged, or isn't laid out as the hub's image data sets are.
    """
    found = [_inspected(path) for path in paths]
    names = found[0].names
    for path, shard in zip(paths, found, strict=True):
        if shard.names != names:
            raise UserError(f"{path} has other class names than {paths[0]}; all shards should have the same")
    splits = [path.name.split("-")[0] for path, shard in zip(paths, found, strict=True) for _ in shard.labels]
    labels = np.concatenate([shard.labels for shard in found])
    next_of = dict.fromkeys(splits, 0)
    files = []
    for split, label in zip(splits, labels, strict=True):
        files.append(f"{split}/{names[label]}/{next_of[split]:06d}")
        next_of[split] += 1
    return Catalogue(
        class_names=readable_names(names),
        class_keys=names,
        files=files,
        labels=labels,
        splits=list(splits),
        load=ShardLoader(paths, [shard.groups for shard in found]),
    )


class ShardLoader:
    """A catalogue's `load` for the rows of shards, best called in their order.

    It goes forwards through a row group, a batch of rows at a time, and starts again only to go back. Memory has
    to hold a batch and the page that it lies in, whatever the number and the size of shards and row groups.
    """

    def __init__(self, paths: list[Path], groups: list[np.ndarray]) -> None:
        """Args:
        paths: of the shards.
        groups: for each shard int64 [row groups + 1], the first row of each row group, and the number of rows.
        """
        self.paths = paths
        self.groups = groups
        self.starts = np.cumsum([0] + [rows[-1] for rows in groups])
        self._reader = _Reader()
        self._process = -1

    def __call__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        if self._process != os.getpid():  # a forked worker would share its parent's place in the file
            self._reader, self._process = _Reader(), os.getpid()
        shard = int(np.searchsorted(self.starts, index, "right")) - 1
        row = index - self.starts[shard]
        group = int(np.searchsorted(self.groups[shard], row, "right")) - 1
        path = self.paths[shard]
        try:
            data = self._reader.read(path, group, int(row - self.groups[shard][group]))
        except Exception as error:  # ArrowInvalid, OSError, StopIteration, ...
            self._reader = _Reader()
            raise UnreadableError(f"{path} is damaged there: {_one_line(error)}") from error
        if not data:
            raise UnreadableError(f"{path} has no bytes for it")
        return open_image(data), np.full(4, np.nan, np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None, "_process": -1}


class _Reader:
    """The place in one row group of one shard that was read last."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._group = -1
        self._first = 0  # of the batch's rows in the group
        self._rows: Any = []

    def read(self, path: Path, group: int, row: int) -> bytes | None:
        """The image file in a row of a row group."""
        if path != self._path:
            self._file, self._path, self._group = _opened(path), path, -1
        if group != self._group or row < self._first:
            self._batches = self._file.iter_batches(BATCH, row_groups=[group], columns=[_BYTES], use_threads=False)
            self._group, self._first, self._rows = group, 0, []
        while row >= self._first + len(self._rows):
            self._first += len(self._rows)
            self._rows = next(self._batches).column("image").field("bytes")
        found: bytes | None = self._rows[row - self._first].as_py()
        return found


def _inspected(path: Path) -> _Shard:
    try:
        with _opened(path) as file:
            schema = file.schema_arrow
            image, label = (
                schema.field(name).type if name in schema.names else pa.null() for name in ("image", "label")
            )
            has_bytes = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
            if not has_bytes or not pa.types.is_integer(label):
                raise UserError(f"{path} should have the columns image, with bytes in it, and label, an integer")
            names = _names(path, schema.metadata or {})
            column = file.read(columns=["label"], use_threads=False).column("label")
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is not a whole parquet file ({_one_line(error)}); run `dvc repro -f download` to fetch it again"
        ) from error
    labels = column.fill_null(-1).to_numpy().astype(np.int64)
    if wrong := labels[(labels < 0) | (labels >= len(names))].tolist():
        shown = "without a label" if column.null_count else f"with the label {wrong[0]}"
        raise UserError(f"{path} has a picture {shown}; allowed: 0 to {len(names) - 1}, as it has {len(names)} names")
    return _Shard(names, labels, np.cumsum([0, *groups]))


def _names(path: Path, metadata: dict[bytes, bytes]) -> list[str]:
    """The classes' names, one for each label."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise UserError(f"{path} should have one name for each label, in the metadata that the hub's data sets have")
    return names


def _opened(path: Path) -> pq.ParquetFile:
    # By default whole row groups are read ahead, and memory grows with them.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
