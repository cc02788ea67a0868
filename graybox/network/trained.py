"""Finished networks, kept on this machine so that none is trained twice, and what a variant's networks leave as files.

A kept network is found by its key, so it is taken again only for the same code, settings and data. The folder is no
output of a stage: DVC removes outputs before a stage runs, and a stage whose outputs persist never comes from DVC's run
cache.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from graybox import files
from graybox.data.images import ImageSet
from graybox.network import checkpoint, cnn, inference
from graybox.network.params import Recipe
from graybox.network.progress import Epoch
from graybox.network.training import Fit


@dataclass(frozen=True)
class Network:
    """A finished network.

    Attributes:
        weights: its file, as from `cnn.save`. `weights_sha256`: of that file.
        seconds: training time when these weights were first trained. `device`: where, as from `training.describe`.
        curve: one entry for each epoch.
    """

    weights: Path
    weights_sha256: str
    seconds: float
    device: str
    curve: list[Epoch]


def key_of(recipe: Recipe, train: ImageSet, validation: ImageSet, device: torch.device) -> str:
    """The key of a network: a hash of code, settings, data, kind of device, precision and libraries' versions.

    The number of threads is not part of it, nor the model of the device: they only round in another way, and a job that
    goes on in another place keeps what is finished. Checkpoints are stricter (`training.fit`).
    """
    precision = inference.pick_precision(recipe.train.precision, device)
    machine = f"{device.type}, {precision}, {checkpoint.libraries()}"
    return checkpoint.key_of(recipe.model, recipe.train, train, validation, machine)


class Kept:
    """A folder of finished networks: weights and a record for each key. It can be removed at any time."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def find(self, key: str) -> Network | None:
        """The network with this key; None if there is none, or its files are not whole."""
        found = _read(self._record(key))
        return found if found and _sha256(found.weights) == found.weights_sha256 else None

    def add(self, key: str, fitted: Fit) -> Network:
        """Keep a trained network. The same weights as of an earlier one, whatever its key, keep the time of that one.

        So if a second run gives the same weights, no file changes, nor does what follows in the pipeline.
        """
        record = self._record(key)
        weights = record.with_suffix(".safetensors")
        cnn.save(fitted.model, weights)
        sha256, seconds, device = _sha256(weights), round(fitted.seconds, 1), fitted.device
        for before in filter(None, map(_read, sorted(self.folder.glob("*.json")))):
            if before.weights_sha256 == sha256:
                seconds, device = before.seconds, before.device
        values = {"weights_sha256": sha256, "seconds": seconds, "device": device, "curve": _plain(fitted.curve)}
        files.write_json(record, values)
        return Network(weights, sha256, seconds, device, fitted.curve)

    def _record(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def write(networks: Mapping[int, Network], weights: Path, timing: Path, curves: Path) -> None:
    """Write the networks of a variant, by seed, in place of those before.

    Args:
        weights: a folder, with a file for each seed. `curves`: see `write_curves`.
        timing: a JSON file: the mean of the seconds, the devices, and each seed's seconds and device.
    """
    with files.replacing(weights) as part:
        for seed, network in networks.items():
            files.copy(network.weights, part / f"seed-{seed}.safetensors")
    each = {seed: {"seconds": network.seconds, "device": network.device} for seed, network in networks.items()}
    seconds = round(float(np.mean([network.seconds for network in networks.values()])), 1)
    devices = sorted({network.device for network in networks.values()})
    files.write_json(timing, {"seconds": seconds, "device": ", ".join(devices), "networks": each})
    write_curves({seed: network.curve for seed, network in networks.items()}, curves)


def write_curves(curves: Mapping[int, list[Epoch]], path: Path) -> None:
    """Write learning curves, by seed, as a CSV file with a row for each seed and epoch."""
    with files.replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["seed", *Epoch.__dataclass_fields__], lineterminator="\n")
        table.writeheader()
        table.writerows({"seed": seed, **vars(epoch)} for seed, curve in sorted(curves.items()) for epoch in curve)


def _plain(curve: list[Epoch]) -> list[dict[str, float | None]]:
    """For JSON, which has no number for what is not finite."""
    return [{name: value if math.isfinite(value) else None for name, value in vars(epoch).items()} for epoch in curve]


def _read(record: Path) -> Network | None:
    """The network that a record describes; None if it is missing or not what `Kept` writes."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        curve = [_epoch(**epoch) for epoch in values.pop("curve")]
        return Network(weights=record.with_suffix(".safetensors"), curve=curve, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _epoch(epoch: int, **figures: float | None) -> Epoch:
    return Epoch(epoch, **{name: math.nan if value is None else value for name, value in figures.items()})


def _sha256(file: Path) -> str:
    """Of a file's content; "" if there is no such file."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
