"""Run some stages in a clone: take their inputs from the cache or the remote, run DVC, and write what came of it.

Usage: python -m graybox.command_line.jobs.clone ORDER.json (graybox/command_line/jobs/task.py writes it)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dvc import dvcfile
from dvc.cli import main as dvc_main
from dvc.utils.serialize import parse_yaml

from graybox import errors, files, parallel
from graybox.command_line import lock_file

OF_THE_NANNY = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")


def main(path: str) -> None:
    order = files.read_json(path)
    os.environ.update(environment(order, dict(os.environ)))
    if not order["local"]:
        for name in OF_THE_NANNY:  # Dask sets them for its workers, to 1
            os.environ.pop(name, None)
    dvcfile.modify_yaml = lock_file.modifying(dvcfile.modify_yaml)
    _dvc("pull" if order["pushes"] else "checkout", *order["inputs"])
    _dvc("repro", "--single-item", *order["stages"])
    if order["pushes"]:
        _dvc("push", *order["stages"])
    stages = parse_yaml(Path("dvc.lock").read_text("utf-8"), "dvc.lock")["stages"]
    result = {
        "lock": {stage: stages[stage] for stage in order["stages"]},
        "files": {name: Path(name).read_text("utf-8") for name in order["files"]},
    }
    files.write_json("result.json", result)


def environment(order: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """What the stages are to find in their environment: this Python, their share of the threads, their GPU.

    Args:
        order: as `task.Order`; further `beside`, the number of variants that the worker runs at a time, and `number`,
            which of the workers in this process it is, None on a cluster.
        given: the environment so far.
    """
    threads = order["threads"] or max(1, parallel.cores() // order["beside"])
    found = {"OMP_NUM_THREADS": str(threads)}
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", "")])
    if order["number"] is not None:
        found["GRAYBOX_JOB"] = str(order["number"])  # graybox/run.py: which of several GPUs
    return found


def _dvc(*arguments: str) -> None:
    """A DVC command in this process, which ends if the command fails."""
    if code := dvc_main(list(arguments)):
        sys.exit(int(code))


if __name__ == "__main__":
    errors.run(main)
