"""The workers: threads of this process, those of a running Dask scheduler, or SLURM jobs."""

from __future__ import annotations

import logging
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
THIS_MACHINE = "127.0.0.1:0"  # where Dask may show its state; its default is every network
SETTINGS = {
    "distributed.scheduler.allowed-failures": AGAIN,
    "distributed.scheduler.worker-saturation": 1.0,  # no worker is given a variant while it works on another
    "distributed.admin.large-graph-warning-threshold": "1 GiB",  # the files of the clones go with each order
}


@contextmanager
def here(workers: int, scratch: Path) -> Iterator[Client]:
    """Workers in this process, which no other machine can reach: their work is done by processes below."""
    with (
        dask.config.set(SETTINGS),
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
