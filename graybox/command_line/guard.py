"""`python -m graybox repro`: DVC's repro, which after a kill at any moment goes on where it was.

DVC writes dvc.lock in place. Killed there, it leaves half a file, and every later dvc command stops. Here DVC runs in
this process and writes the file beside, whole or not at all; each whole one is kept. Before DVC starts, what a kill has
left is put right: half a dvc.lock, half a file of DVC's own locks, and a stage's processes that outlived their dvc.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from dvc import dvcfile
from dvc.cli import main as dvc_main
from dvc.exceptions import DvcException
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.utils.serialize import parse_yaml

from graybox import errors, files
from graybox.command_line import lock_file

LOCK = "dvc.lock"
KEPT = "whole"  # the folder in .dvc/tmp for the last whole dvc.lock of each folder that has one
ENDS_SECONDS = 10.0  # how long a process that is killed may take to be gone


def repro(*arguments: str) -> int:
    """Put right what a killed run left, run `dvc repro` with the command line's arguments, and give its exit code."""
    settle()
    return dvc("repro", *arguments)


def settle() -> None:
    """Put right what a killed run left, and have the DVC of this process write dvc.lock whole."""
    with errors_for_users(), Repo() as repo, repo.lock:  # no other dvc is writing now
        scratch = Path(repo.tmp_dir)
        kept = scratch / KEPT / os.path.relpath(LOCK, repo.root_dir)
        for said in (*end_survivors(repo.root_dir, scratch), *mend_lock(kept)):
            print(said, file=sys.stderr)
    dvcfile.modify_yaml = writing_whole(lock_file.modifying(dvcfile.modify_yaml), kept)
    # The stages say `python`, which must be this one; they end with this process (stages/__init__.py).
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["GRAYBOX_GUARD"] = str(os.getpid())


@contextmanager
def errors_for_users() -> Iterator[None]:
    """Turn DVC's errors into the user's."""
    try:
        yield
    except DvcException as error:
        raise errors.UserError(str(error)) from error


def dvc(*arguments: str) -> int:
    """A DVC command in this process, after `settle`; its exit code."""
    return int(dvc_main([*arguments]))


def mend_lock(kept: Path) -> Iterator[str]:
    """Put a whole dvc.lock in the place of half a one in the current folder.

    Args:
        kept: the file of the last whole dvc.lock that was seen; written if dvc.lock is whole, else read.

    Yields:
        A sentence that says what was done, if anything was.
    """
    lock = Path(LOCK)
    if not lock.exists():
        return
    if is_whole(now := lock.read_bytes()):
        files.write_text(kept, now.decode())
        return
    began = f"{LOCK} was half written when a run was killed; "
    if kept.exists() and is_whole(last := kept.read_bytes()):
        files.write_text(lock, last.decode())
        yield f"{began}the last whole one is in its place again."
        return
    committed = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True).stdout
    if is_whole(committed):
        files.write_text(lock, committed.decode())
        yield f"{began}that of the last commit is in its place again."
        return
    lock.unlink()
    yield f"{began}it is removed, and DVC takes finished stages from its cache."


def is_whole(lock: bytes) -> bool:
    """Whether DVC can read what is in a dvc.lock, and it was not cut within the last word."""
    try:
        found = parse_yaml(lock.decode(), LOCK)
        dvcfile.Lockfile.validate(found)
    except (DvcException, ValueError):
        return False
    return bool(found) and lock.endswith(b"\n")


def end_survivors(root: str, scratch: Path) -> Iterator[str]:
    """End the processes of a stage whose dvc was killed: they would write beside those that start now.

    Args:
        root: the folder of DVC's repository.
        scratch: its .dvc/tmp, where DVC lists who runs a stage. If half of that list was written, it is removed.

    Yields:
        A sentence for each process that was ended.
    """
    listed = scratch / "rwlock"
    with make_lock(str(scratch / "rwlock.lock"), tmp_dir=str(scratch)):
        try:
            users = json.loads(listed.read_text("utf-8"))
            pids = {user["pid"] for user in users["write"].values()}
            pids |= {user["pid"] for several in users["read"].values() for user in several}
        except FileNotFoundError:
            pids = set()
        except (ValueError, TypeError, KeyError):
            listed.unlink()
            pids = set()
    if any(psutil.pid_exists(pid) for pid in pids):
        return  # another dvc is at work here; DVC itself says so
    survivors = [process for process in psutil.process_iter() if _stage_root(process) == root]
    for process in survivors:
        with suppress(psutil.Error):
            process.kill()
            yield f"Process {process.pid} is ended, which a killed dvc had left working on a stage."
    psutil.wait_procs(survivors, ENDS_SECONDS)


def _stage_root(process: psutil.Process) -> str | None:
    """The repository whose stage a process works on, which DVC tells each stage in its environment."""
    with suppress(psutil.Error, OSError):  # it is gone, or somebody else's
        environment = process.environ()
        return environment.get("DVC_ROOT") if "DVC_STAGE" in environment else None
    return None


def writing_whole(modify: Any, kept: Path) -> Any:
    """DVC's `modify_yaml`, a context that changes a YAML file in place: made to replace it, and keep each dvc.lock."""

    @contextmanager
    def modify_whole(path: str, fs: Any = None) -> Iterator[Any]:
        with files.replacing(path) as part:
            if os.path.exists(path):
                shutil.copyfile(path, part)
            with modify(str(part), fs=fs) as data:
                yield data
        if Path(path).absolute() == Path(LOCK).absolute():
            with files.replacing(kept) as part:
                shutil.copyfile(path, part)

    return modify_whole
