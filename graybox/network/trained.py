"""The trained networks of one variant on disk: each seed's weights, and the record of how they were trained.

A network is kept as long as its key (`checkpoint.key_of`) stays, whatever becomes of the variant's other seeds.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graybox import files
from graybox.network import cnn
from graybox.network.progress import Epoch
from graybox.network.training import Fit


@dataclass(frozen=True)
class Network:
    """What is known of one network's training.

    Attributes:
        key: from `checkpoint.key_of`. `weights_sha256`: of its file.
        seconds: training time when these weights were first trained. `device`: where, as from `training.describe`.
        curve: one entry for each epoch.
    """

    key: str
    weights_sha256: str
    seconds: float
    device: str
    curve: list[Epoch]


class Networks:
    """A variant's networks.

    Attributes:
        weights: the folder with a file for each seed.
        record: a JSON file: seconds (the mean over the networks), device, and networks with a `Network` for each seed.
        curves: a CSV file with a row for each seed and epoch.
    """

    def __init__(self, weights: Path, record: Path, curves: Path) -> None:
        self.weights, self.record, self.curves = weights, record, curves
        self._known = _read(record)  # also of networks that are gone: the same weights keep the time they first took
        self._networks: dict[int, Network] = {}

    def keep(self, keys: Mapping[int, str]) -> set[int]:
        """Remove what was not trained with these keys.

        Args:
            keys: of each wanted seed, from `checkpoint.key_of`.

        Returns:
            The seeds whose networks are there, whole and with the wanted key.
        """
        for seed, known in self._known.items():
            if keys.get(seed) == known.key and _sha256(self.file(seed)) == known.weights_sha256:
                self._networks[seed] = known
        wanted = {self.file(seed) for seed in self._networks}
        for file in self.weights.glob("*"):
            if file not in wanted:
                file.unlink()
        if self._networks:
            self._write_curves({})
            self._write_record()
        return set(self._networks)

    def file(self, seed: int) -> Path:
        """The weights of a seed's network."""
        return self.weights / f"seed-{seed}.safetensors"

    def watch(self, seed: int, curve: list[Epoch]) -> None:
        """Write the curves with those of a network in training, so that it can be watched."""
        self._write_curves({seed: curve})

    def add(self, seed: int, key: str, fitted: Fit) -> None:
        """Write a trained network and its record. The same weights as before keep the time that they first took.

        So if a second run gives the same weights, no file changes, nor does what follows in the pipeline.
        """
        cnn.save(fitted.model, self.file(seed))
        found = Network(key, _sha256(self.file(seed)), round(fitted.seconds, 1), fitted.device, fitted.curve)
        before = self._known.get(seed)
        if before and before.weights_sha256 == found.weights_sha256:
            found = Network(key, found.weights_sha256, before.seconds, before.device, fitted.curve)
        self._networks[seed] = found
        self._write_curves({})
        self._write_record()

    def _write_record(self) -> None:
        networks = dict(sorted(self._networks.items()))
        values = {
            "seconds": round(float(np.mean([one.seconds for one in networks.values()])), 1),
            "device": ", ".join(sorted({one.device for one in networks.values()})),
            "networks": {seed: vars(one) | {"curve": _plain(one.curve)} for seed, one in networks.items()},
        }
        files.write_json(self.record, values)

    def _write_curves(self, more: Mapping[int, list[Epoch]]) -> None:
        curves = {seed: network.curve for seed, network in self._networks.items()} | dict(more)
        rows = [{"seed": seed, **vars(epoch)} for seed, curve in sorted(curves.items()) for epoch in curve]
        with files.replacing(self.curves) as part, part.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["seed", *Epoch.__dataclass_fields__], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


def _plain(curve: list[Epoch]) -> list[dict[str, float | None]]:
    """For JSON, which has no number for what is not finite."""
    return [{name: value if math.isfinite(value) else None for name, value in vars(epoch).items()} for epoch in curve]


def _read(record: Path) -> dict[int, Network]:
    """The networks that a record names; none if it is missing or not what `Networks` writes."""
    try:
        networks = json.loads(record.read_text(encoding="utf-8"))["networks"]
        return {int(seed): _network(values) for seed, values in networks.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _network(values: dict[str, Any]) -> Network:
    return Network(**{**values, "curve": [_epoch(**epoch) for epoch in values["curve"]]})


def _epoch(epoch: int, **figures: float | None) -> Epoch:
    return Epoch(epoch, **{name: math.nan if value is None else value for name, value in figures.items()})


def _sha256(file: Path) -> str:
    """Of a file's content; "" if there is no such file."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
