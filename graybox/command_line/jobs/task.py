"""What a Dask worker does with one variant: it makes a clone, runs DVC in it, tells how far it is, gives the results.

The worker is given this module as a value, so a worker needs the packages of the study, but no copy of this repository.
So it imports nothing of graybox.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import psutil
from distributed import Status, Worker, get_worker

POLL_SECONDS = 0.2
LAST_LINES = 15
# How DVC says that a stage was killed or terminated; a shell that waits for its command adds 128.
KILLED = re.compile(r"exited with (-9|-15|137|143)$")
GONE = (Status.closing, Status.closed, Status.failed)
KEEPS = ("models/kept", "models/checkpoints")  # from which a training goes on; the clones share those of the workspace


class Order(TypedDict):
    """What is to be done, and where.

    Attributes:
        name: of the variant. `stages`: those to run, in this order.
        inputs: the outputs of other stages that they need. `files`: their outputs that DVC does not cache.
        lock: the clone's dvc.lock.
        workspace: the folder of the study; `token`: a file in it, by which a worker knows that it sees the same disk.
        home: a folder on that disk for clones. `cache`: DVC's cache folder there.
        threads: for each stage; None = the share of this worker's cores.
        local: whether the worker is in the process that gave the order.
        topic: under which the worker tells how far it is.
    """

    name: str
    stages: list[str]
    inputs: list[str]
    files: list[str]
    lock: str
    workspace: str
    token: str
    home: str
    cache: str
    threads: int | None
    local: bool
    topic: str


class Result(TypedDict, total=False):
    """What came of an order: the results, or why there are none.

    Attributes:
        lock: the stages' entries for dvc.lock. `files`: what is in the outputs that DVC does not cache, by path.
        pushed: whether the other outputs are in the DVC remote; else they are in the shared cache.
        failed: the last lines of what DVC printed. `stopped`: the order was taken back.
    """

    lock: dict[str, Any]
    files: dict[str, str]
    pushed: bool
    failed: list[str]
    stopped: bool


class Killed(Exception):
    """The training was killed from outside: Dask runs the variant again."""


def work(order: Order, packed: bytes, by_remote: bool) -> Result:
    """Run an order's stages in a new clone, which is removed at the end.

    Args:
        packed: the files of the clone, from `snapshot.pack`.
        by_remote: whether the inputs have been pushed to the DVC remote, for workers without the shared disk.

    Raises:
        Killed: DVC or a stage was killed.
    """
    worker = get_worker()
    shared = Path(order["token"]).exists()
    if not shared and not by_remote:
        return {"failed": [f"the worker on {worker.address} does not see {order['workspace']}; allowed: a worker with "
                           "the same disk, or a DVC remote (`dvc remote add --default`)"]}  # fmt: skip
    home = Path(order["home"] if shared else worker.local_directory)
    clone = Path(tempfile.mkdtemp(prefix=f"{order['name']}-", dir=home))
    notes = Path(worker.local_directory) / f"notes-{clone.name}"  # DVC's own, in a database that wants a local disk
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(clone, filter="data")
        (clone / "dvc.lock").write_text(order["lock"], "utf-8")
        cache = order["cache"] if shared else str(home / "cache")
        with (clone / ".dvc/config.local").open("a", encoding="utf-8") as config:
            config.write(f'[cache]\n    dir = "{cache}"\n    type = "reflink,hardlink,symlink,copy"\n')
        if shared:
            _share(Path(order["workspace"]), clone)
        return _run(worker, order, clone, notes, pushes=not shared)
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        shutil.rmtree(clone, ignore_errors=True)


def _share(workspace: Path, clone: Path) -> None:
    """Have the clone keep finished networks and checkpoints where the workspace does, so that another clone goes on."""
    for name in KEEPS:
        (workspace / name).mkdir(parents=True, exist_ok=True)
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # Windows allows links to few; without them nothing is wrong, only lost by a kill
            (clone / name).symlink_to(workspace / name, target_is_directory=True)


def _run(worker: Worker, order: Order, clone: Path, notes: Path, pushes: bool) -> Result:
    """Run graybox.command_line.jobs.clone in the clone, until it ends or the order is taken back."""
    key = worker.get_current_task()
    known = {"beside": worker.state.nthreads, "pushes": pushes, "number": _number(worker) if order["local"] else None}
    (clone / "order.json").write_text(json.dumps({**order, **known}), "utf-8")
    watch = Watch(clone, order, lambda **said: worker.log_event(order["topic"], {"name": order["name"], **said}))
    command = [sys.executable, "-m", "graybox.command_line.jobs.clone", "order.json"]
    # A stage ends with the worker (stages/__init__.py), and DVC with its stage.
    environment = {**os.environ, "GRAYBOX_GUARD": str(os.getpid()), "DVC_SITE_CACHE_DIR": str(notes)}
    output = clone / "output.txt"
    with output.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the one who gave the orders
        )  # fmt: skip
    try:
        watch.tell(state="started", host=worker.address)
        while process.poll() is None:
            task = worker.state.tasks.get(key)
            # A worker that is given up goes on as a thread, while another has the order.
            if task is None or task.state == "cancelled" or worker.status in GONE:
                return {"stopped": True}
            watch.look()
            time.sleep(POLL_SECONDS)
    finally:
        _end(process)
    lines = [line.rstrip() for line in output.read_text("utf-8", "replace").splitlines() if line.strip()]
    if process.returncode == 0:
        watch.look()
        found: Result = json.loads((clone / "result.json").read_text("utf-8"))
        return {**found, "pushed": pushes}
    if process.returncode < 0 or any(KILLED.search(line) for line in lines[-LAST_LINES:]):
        raise Killed("\n".join(lines[-LAST_LINES:]))
    return {"failed": lines[-LAST_LINES:]}


class Watch:
    """Tells what the learning curve in a clone shows, each time it has grown."""

    def __init__(self, clone: Path, order: Order, tell: Callable[..., None]) -> None:
        self.curve = clone / "plots/curves" / f"{order['name']}.csv"
        self.weights = clone / "models/variants" / order["name"]
        self.tell = tell
        self.told: tuple[int, bool] = (0, False)

    def look(self) -> None:
        try:
            rows = list(csv.DictReader(self.curve.read_text("utf-8").splitlines()))
        except OSError:  # no epoch is finished
            rows = []
        trained = self.weights.exists()
        if (len(rows), trained) != self.told:
            self.told = (len(rows), trained)
            accuracy = float(rows[-1]["validation_accuracy"]) if rows else None
            self.tell(state="scoring" if trained else "training", epochs=len(rows), accuracy=accuracy)


def _number(worker: Worker) -> int:
    """Which of the workers in this process it is: 0, 1, ..."""
    return int(worker.name)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started; nothing happens if it has ended."""
    if process.poll() is not None:
        return
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.kill()
    for child in below:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    psutil.wait_procs(below, timeout=10)
