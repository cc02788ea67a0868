"""What training a variant took, recorded so that training the very same weights again changes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path


def record(path: Path, weights: Sequence[Path], seconds: float, device: str) -> None:
    """Write seconds and device beside the weights' digest, unless `path` already tells of these very weights.

    A second run that arrives at the same bytes has taught nothing but the clock's noise; keeping the first figure
    leaves every later stage, and dvc.lock, as they are.

    Args:
        weights: the files of the variant's networks, one for each seed, in the order of the seeds.
        seconds: the mean over these networks.
    """
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in weights)).hexdigest()
    if path.exists() and json.loads(path.read_text())["weights_sha256"] == digest:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    timing = {"seconds": round(seconds, 1), "device": device, "weights_sha256": digest}
    path.write_text(json.dumps(timing, indent=1) + "\n")
