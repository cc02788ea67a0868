"""The workers: threads of this process, those of a running Dask scheduler, or SLURM jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from graybox import errors

AGAIN = 2  # how often a variant is run again whose worker was lost or whose processes were killed
ANSWERS_SECONDS = 20.0  # how long a running scheduler may take to answer
JOINS_SECONDS = 60.0  # how long a running scheduler may take to have its first worker
ALONE_SECONDS = 600.0  # how long a running scheduler may be without any worker
LOOKS_SECONDS = 5.0  # between two looks at which workers are there
THIS_MACHINE = "127.0.0.1:0"  # where Dask may show its state; its default is every network
SETTINGS = {
    "distributed.scheduler.allowed-failures": AGAIN,
    "distributed.scheduler.worker-saturation": 1.0,  # no worker is given a variant while it works on another
    "distributed.admin.large-graph-warning-threshold": "1 GiB",  # the files of the clones go with each order
}
# A worker in this process is there as long as the process. Dask takes it for lost when it has been silent for five
# minutes, as all are while the laptop sleeps, and starts no other.
HERE = {**SETTINGS, "distributed.scheduler.worker-ttl": None}


@contextmanager
def here(workers: int, scratch: Path) -> Iterator[Client]:
    """Workers in this process, which no other machine can reach: their work is done by processes below."""
    with (
        dask.config.set(HERE),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, memory_limit=0,
            dashboard_address=THIS_MACHINE, worker_dashboard_address=THIS_MACHINE, local_directory=str(scratch),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def running(address: str) -> Iterator[Client]:
    """The workers of a running scheduler.

    Raises:
        UserError: it can't be reached, or has no worker.
    """
    with dask.config.set(SETTINGS):
        try:
            client = Client(address, timeout=ANSWERS_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise errors.UserError(
                f"--scheduler {address}: no Dask scheduler answers there ({error or type(error).__name__}); allowed: "
                "the address that `dask scheduler` prints, such as tcp://10.0.0.5:8786"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=JOINS_SECONDS)
            except TimeoutError as error:
                raise errors.UserError(
                    f"--scheduler {address}: no worker has joined; start some with `dask worker {address} --nthreads 1`"
                ) from error
            yield client


class Workers:
    """Those of a client, looked at from time to time: orders without a worker would wait for ever.

    In place of workers that are gone, of this process or SLURM jobs, new ones are started.

    Args:
        address: of a running scheduler, which others give its workers; None = they are started here.
    """

    def __init__(self, client: Client, address: str | None) -> None:
        self.client, self.address = client, address
        self._looked = self._seen = time.monotonic()

    def look(self, waiting: int) -> None:
        """Called often. `waiting`: how many orders are not finished.

        Raises:
            UserError: a running scheduler has had no worker for ALONE_SECONDS.
        """
        now = time.monotonic()
        if now - self._looked < LOOKS_SECONDS or self.client.status != "running":
            return
        self._looked = now
        try:
            there = len(self.client.nthreads())
        except OSError:  # the scheduler is lost, and Dask says so of each order
            return
        if self.address is None:
            made: Any = self.client.cluster
            if there < min(len(made.worker_spec), waiting):
                made.scale(len(made.worker_spec))  # starts those that are gone, not those that wait in a queue
        elif there:
            self._seen = now
        elif now - self._seen > ALONE_SECONDS:
            raise errors.UserError(
                f"--scheduler {self.address}: it has had no worker for {ALONE_SECONDS / 60:.0f} minutes; what is "
                f"finished is kept; start some with `dask worker {self.address} --nthreads 1`, then the command again"
            )


@contextmanager
def slurm(workers: int, scratch: Path) -> Iterator[Client]:
    """SLURM jobs with a worker each, which end with the context."""
    with dask.config.set(SETTINGS), slurm_cluster() as cluster:
        cluster.scale(jobs=workers)
        with Client(cluster, set_as_default=False) as client:
            yield client


def slurm_cluster() -> Any:
    """A `dask_jobqueue.SLURMCluster` of Dask's settings in `jobqueue.slurm`, with one variant at a time in each job.

    Its `job_script()` is what is submitted.

    Raises:
        UserError: the settings lack the cores or the memory of a job.
    """
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ModuleNotFoundError as error:
        raise errors.UserError("--slurm needs dask-jobqueue: `pip install '.[parallel]'`") from error
    cores, memory = (dask.config.get(f"jobqueue.slurm.{name}", None) for name in ("cores", "memory"))
    if not cores or not memory:
        raise errors.UserError(
            "--slurm: a job's cores and memory are not set; allowed: `jobqueue: {slurm: {cores: 8, memory: 32GB}}` in "
            "~/.config/dask/jobqueue.yaml, or DASK_JOBQUEUE__SLURM__CORES=8 DASK_JOBQUEUE__SLURM__MEMORY=32GB"
        )
    # Dask would run as many variants in a job as it has cores.
    job_cpu = dask.config.get("jobqueue.slurm.job-cpu", None) or int(cores)
    options = {**dask.config.get("jobqueue.slurm.scheduler-options", {}), "dashboard_address": THIS_MACHINE}
    return SLURMCluster(cores=1, processes=1, job_cpu=job_cpu, memory=memory, scheduler_options=options)
