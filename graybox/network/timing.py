"""Record how long training a variant took. Training the same weights again changes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from graybox import files


def record(path: Path, weights: Sequence[Path], seconds: float, device: str) -> None:
    """Write the seconds, the device and the weights' digest, unless `path` already has these weights.

    If a second run gives the same weights, only its time differs. Keeping the first time leaves all later stages and
    dvc.lock unchanged.

    Args:
        path: the JSON file.
        weights: the files of the variant's networks, one for each seed, in the order of the seeds.
        seconds: the mean over these networks.
        device: as from `training.describe`.
    """
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in weights)).hexdigest()
    if _digest_in(path) == digest:
        return
    timing = {"seconds": round(seconds, 1), "device": device, "weights_sha256": digest}
    files.write_json(path, timing)


def _digest_in(path: Path) -> str | None:
    """Of which weights the file tells; None if there is none, or it is what an interrupted run left of one."""
    try:
        return str(json.loads(path.read_text("utf-8"))["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
