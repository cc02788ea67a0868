"""Checkpoints: the whole state of an unfinished training, so that one that was killed goes on where it was.

A checkpoint is one safetensors file with JSON in its metadata, so nothing is unpickled. It holds a key of all that the
training's result depends on, and a digest of its content. A file with another key, or a damaged one, is not taken.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from graybox import files
from graybox.data import images
from graybox.data.images import ImageSet
from graybox.errors import UserError
from graybox.network.params import ModelParams, TrainParams

State = dict[str, Any]
"""Tensors and plain values (what JSON can hold), by name."""

LARGEST_SHARE = 0.01
"""Writing checkpoints takes at most this share of the training time: one that takes long is written less often."""


class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        path: its file; whoever saves the finished network then calls `remove`.
        seconds: the time between two checkpoints; None = write none.
    """

    def __init__(self, path: Path | str, seconds: float | None = 60.0) -> None:
        self.path, self.seconds = Path(path), seconds
        self._next = time.perf_counter() + seconds if seconds is not None else float("inf")

    @property
    def due(self) -> bool:
        """Whether it is time to write one."""
        return time.perf_counter() >= self._next

    def write(self, key: str, state: State) -> None:
        """Replace the file, in one step. If it can't be written, say so; training goes on without."""
        started = time.perf_counter()
        tensors = {name: value.detach().cpu() for name, value in state.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        strides = {name: tensor.stride() for name, tensor in tensors.items()}
        text = json.dumps({"key": key, "strides": strides, "plain": plain})
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            content = safetensors.torch.save(tensors, metadata={"state": text, "sha256": _digest(text, tensors)})
            with files.replacing(self.path) as part:
                part.write_bytes(content)
        except UserError as error:
            self._next = float("inf")
            print(f"{error}; training goes on without checkpoints", file=sys.stderr)
            return
        now = time.perf_counter()
        self._next = now + max(self.seconds or 0.0, (now - started) / LARGEST_SHARE)

    def read(self, key: str) -> State | None:
        """What `write` wrote with this key, tensors on the CPU; None if there is no such file, or it is not whole."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            text = metadata["state"]
            if metadata["sha256"] != _digest(text, found):
                return None
            written = json.loads(text)
            if written["key"] != key:
                return None
            strides = written["strides"]
        except Exception:  # whatever a damaged or foreign file brings about
            return None
        # In the memory layout that they had: the same sums in another order would be rounded differently.
        tensors = {
            name: torch.empty_strided(value.shape, strides[name], dtype=value.dtype).copy_(value)
            for name, value in found.items()
        }
        return {**written["plain"], **tensors}

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)


def prefixed(prefix: str, state: State) -> State:
    """The same, with a prefix to each name."""
    return {prefix + name: value for name, value in state.items()}


def under(prefix: str, state: State) -> State:
    """What `prefixed` gave, again: the entries with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def key_of(model: ModelParams, train: TrainParams, images: ImageSet, validation: ImageSet, machine: str = "") -> str:
    """A key of all that a training's result depends on: the code, the settings with the seed, and the data.

    Of another architecture than cnn also the user's files that the network is made of, and its library's version.

    `train.seeds` is not part of it: a network does not depend on how many others there are.

    Args:
        images: the training images. `machine`: the device and precision, and what else may round in another way.
    """
    settings = {"model": model.used(), "train": train.model_dump(exclude={"seeds"})}
    data = [images.digest, validation.digest]
    found: dict[str, Any] = {"code": code(), "settings": settings, "data": data, "machine": machine}
    if not model.parametric:
        from graybox.network import architectures  # which imports this module

        found["network"] = [architectures.files_of(model), architectures.versions(model)]
    parts = json.dumps(found, sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()


def code() -> str:
    """A digest of the code that a training's result depends on: this package and `graybox.data.images`."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(images.__file__)]
    # On Windows, git may give lines other ends.
    parts = [part for file in sources for part in (file.name.encode(), file.read_bytes().replace(b"\r\n", b"\n"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def libraries() -> str:
    """The versions of the libraries that compute, for `key_of`."""
    return f"torch {torch.__version__}, numpy {np.__version__}"
