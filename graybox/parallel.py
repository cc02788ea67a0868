"""Worker processes: how many pay on this machine, and none where the system can't have them."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

MOST = 61 if sys.platform == "win32" else 1024  # what ProcessPoolExecutor allows on Windows


def cores(root: Path | str = "/") -> int:
    """The number of processes or threads that compute at the same time here.

    It is the number of cores that this process may use, or less under a CPU quota, as containers and clusters set it:
    more threads would only take turns. A quota of 1.5 cores counts as 2.

    Args:
        root: of the file system with Linux's description of itself, /proc and /sys.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        allowed = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):  # Linux
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota(Path(root)))))


def pool(
    most: int,
    *,
    workers: int | None = None,
    start_method: str | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> ProcessPoolExecutor | None:
    """A pool of processes; None if one process is enough or the system can't have a pool, for lack of /dev/shm, say.

    Args:
        most: the number of tasks; more processes than that have nothing to do.
        workers: number of processes; 1 = no pool; None = `cores`.
        start_method: how processes start, "fork" or "spawn"; None = the platform's default.
        initializer, initargs: what each process calls first.
    """
    workers = cores() if workers is None else workers
    if workers == 1:
        return None
    try:
        return ProcessPoolExecutor(
            min(workers, most, MOST), multiprocessing.get_context(start_method), initializer, initargs
        )
    except (OSError, ImportError, NotImplementedError):
        return None


def _quota(root: Path) -> float:
    """The cores' worth of time that Linux's control groups give this process; infinite without a limit.

    Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst (cpu.max), and scheduler/sched-bwc.rst for version 1.
    """
    found = math.inf
    try:
        groups = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return found
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        inner = Path(path.lstrip("/"))
        # A limit of any group around this one holds too. In a container the path may be the host's: then only the
        # top is there.
        for place in (inner, *inner.parents):
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified", "sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
                found = min(found, _limit(root / mount / place))
    return found


def _limit(group: Path) -> float:
    """The limit of one control group, as cores."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text("utf-8") for name in names).split()
            if quota not in ("max", "-1"):
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf
