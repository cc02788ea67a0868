"""Killing dvc at a chosen moment: while a stage runs, or while it writes dvc.lock."""

from __future__ import annotations

import os
import queue
import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.support.tiny_study import Study

# Python runs a module of this name when it starts. Once the file ARMED is there, the process kills itself at the n-th
# opening of a dvc.lock for writing (by whatever name it is written), when it has written so many characters.
HOOK = """
import builtins, os, signal

ARMED = os.environ["ARMED"]
true_open = builtins.open
openings = 0

class Dying:
    def __init__(self, file, left):
        self.file, self.left = file, left
    def write(self, text):
        if len(text) >= self.left:
            self.file.write(text[:self.left])
            self.file.flush()
            die()
        self.left -= len(text)
        return self.file.write(text)
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.file.close()
    def __getattr__(self, name):
        return getattr(self.file, name)

def die():
    os.remove(ARMED)
    os.kill(os.getpid(), signal.SIGKILL)

def open(file, mode="r", *others, **named):
    global openings
    opened = true_open(file, mode, *others, **named)
    if "w" in mode and str(file).endswith("dvc.lock") and os.path.exists(ARMED):
        openings += 1
        with true_open(ARMED) as said:
            opening, characters = map(int, said.read().split())
        if openings >= opening:
            if "b" in mode:
                die()  # the file is there, and empty
            return Dying(opened, characters)
    return opened

if "DVC_STAGE" not in os.environ:
    builtins.open = open
"""


@dataclass
class Moment:
    """When to kill: from when `stage` runs on, so many seconds later or in a write of dvc.lock.

    Attributes:
        seconds: after the stage has begun, or as it ends if that is earlier; None: in the write.
        everything: kill the stage's processes too, as a power loss does; else dvc alone.
        opening: the how manieth opening of a dvc.lock for writing; the guard has three for each stage, DVC one.
        characters: how many are written then.
    """

    stage: str
    seconds: float | None
    everything: bool = False
    opening: int = 1
    characters: int = 1000


def drawn(case: int, stages: list[str]) -> Moment:
    """The moment of a numbered case: two for each stage, one while it runs and one as dvc.lock is written."""
    draw = random.Random(case)
    return Moment(
        stages[case // 2 % len(stages)],
        seconds=None if case % 2 else draw.uniform(0, 3),
        everything=draw.random() < 0.5,
        opening=draw.randint(1, 3),
        characters=draw.randint(0, 4000),
    )


def killed(study: Study, command: list[str], moment: Moment, order: list[str]) -> bool:
    """Run a command of dvc and kill it at a moment; whether it was killed.

    Args:
        order: the stages in the order of their running. One after `moment.stage` will do, if that has been done.
    """
    scratch = study.folder.parent / "kills"
    scratch.mkdir(exist_ok=True)
    (scratch / "sitecustomize.py").write_text(HOOK)
    armed = scratch / "armed"
    armed.unlink(missing_ok=True)
    later = {f"Running stage '{stage}':" for stage in order[order.index(moment.stage) :]}
    environment = {**study.environment, "PYTHONPATH": str(scratch), "ARMED": str(armed), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=study.folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said: list[str] = []
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            lines.put(line.strip())
        lines.put(None)  # it has ended

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None and line not in later:
        pass
    if moment.seconds is None:
        write_whole(armed, f"{moment.opening} {moment.characters}")
    else:
        wait_for_write(lines, moment.seconds)
        if process.poll() is None:
            (os.killpg if moment.everything else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode in (0, -signal.SIGKILL), "".join(said)
    return process.returncode != 0


def write_whole(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def wait_for_write(lines: queue.Queue[str | None], seconds: float) -> None:
    """Until DVC says that it writes dvc.lock, or it has ended, or the seconds are over."""
    over = "the seconds are over"
    timer = threading.Timer(seconds, lines.put, [over])
    timer.start()
    while lines.get() not in ("Updating lock file 'dvc.lock'", "Generating lock file 'dvc.lock'", over, None):
        pass
    timer.cancel()
