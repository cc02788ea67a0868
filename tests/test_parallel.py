"""The number of worker processes follows what the machine gives; without semaphores there are none."""

from __future__ import annotations

import concurrent.futures
import multiprocessing.synchronize
import os
from pathlib import Path

import pytest

from graybox import parallel

ALLOWED = 8


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a machine of 8 cores whose control groups have these files; gives the number of cores to use."""

    def made(groups: str, files: dict[str, str]) -> int:
        for name, text in {"proc/self/cgroup": groups, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        return parallel.cores(tmp_path)

    monkeypatch.setattr(os, "process_cpu_count", lambda: ALLOWED, raising=False)
    return made


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, ALLOWED),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, ALLOWED),
        ("0::/job/step\n", {"sys/fs/cgroup/job/cpu.max": "300000 100000\n",
                            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n"}, 3),
        ("0::/../host\n", {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        ("4:memory:/a\n2:cpu,cpuacct:/a\n", {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "400000\n",
                                             "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 4),
        ("2:cpu:/host\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                           "sys/fs/cgroup/cpu/cpu.cfs_period_us": "10000\n"}, 5),
        ("2:cpu:/\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                       "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, ALLOWED),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense\n"}, ALLOWED),
        ("", {}, ALLOWED),
    ],
)  # fmt: skip
def test_a_quota_limits_the_cores(machine, groups: str, files: dict[str, str], cores: int) -> None:
    assert machine(groups, files) == cores


def test_a_system_without_control_groups_has_all_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: ALLOWED, raising=False)
    assert parallel.cores(tmp_path) == ALLOWED
    monkeypatch.delattr(os, "process_cpu_count")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert parallel.cores(tmp_path) == 5


def test_one_core_needs_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    assert parallel.pool(10) is None
    assert parallel.pool(10, workers=1) is None


def test_no_more_workers_than_tasks_or_than_windows_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", lambda workers, *_: asked.append(workers))
    monkeypatch.setattr(parallel, "cores", lambda: 128)
    monkeypatch.setattr(parallel, "MOST", 61)
    for most in (3, 1000):
        parallel.pool(most)
    assert asked == [3, 61]


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), FileNotFoundError(2, "No such file"),
                                   ImportError("no sem_open"), NotImplementedError()])  # fmt: skip
def test_without_semaphores_there_is_no_pool(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", refused)
    with pytest.raises(type(error)):
        concurrent.futures.ProcessPoolExecutor(2)
    assert parallel.pool(10, workers=2) is None
