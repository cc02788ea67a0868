"""The order of events: what all need, the variants in parallel, on a cluster their combination, the rest."""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, cast

import cloudpickle
from distributed import Client, Future

from graybox import errors, parallel
from graybox.command_line import guard
from graybox.command_line.jobs import cluster, task
from graybox.command_line.jobs.view import View, failures
from graybox.command_line.jobs.workspace import Job, Workspace
from graybox.network import params
from graybox.network.sizes import multiply_accumulates

NEEDED = ("settings", "prepare")  # the stages that come before any training
COMBINED = {"combined": ["train_combined", "evaluate_combined"]}
STOPPED = 130  # the exit code of a shell's command that Ctrl-C ends
ENDS_SECONDS = 20.0  # how long workers may take to end what was taken back


def repro(options: argparse.Namespace) -> int:
    """Run the study with its variants in parallel; the exit code, 0 if all went well.

    Args:
        options: `jobs`, `scheduler` or `slurm`; the others are None.
    """
    try:
        return _repro(options)
    except KeyboardInterrupt:
        return STOPPED


def _repro(options: argparse.Namespace) -> int:
    guard.settle()
    if code := guard.dvc("repro", *NEEDED):
        return code
    workspace = Workspace()
    with workspace.alone():
        jobs = workspace.jobs()
        # A variant alone, such as `combined`, needs no clone here: DVC runs it with all cores, among what is left.
        if options.jobs and len(jobs) == 1:
            jobs = []
        if code := _in_parallel(workspace, options, jobs):
            return code
        if not options.jobs:
            if code := guard.dvc("repro", "--single-item", "combine"):
                return code
            if code := _in_parallel(workspace, options, workspace.jobs(COMBINED)):
                return code
    return guard.dvc("repro")


def _in_parallel(workspace: Workspace, options: argparse.Namespace, jobs: list[Job]) -> int:
    if not jobs:
        return 0
    with _workers(options, len(jobs), workspace.scratch) as client:
        return Run(workspace, client, options).all(jobs)


def _workers(options: argparse.Namespace, jobs: int, scratch: Path) -> AbstractContextManager[Client]:
    if options.scheduler:
        return cluster.running(options.scheduler)
    if options.slurm:
        return cluster.slurm(min(options.slurm, jobs), scratch)
    return cluster.here(min(options.jobs, jobs), scratch)


def threads_of(options: argparse.Namespace) -> int | None:
    """The threads of each stage of a variant: OMP_NUM_THREADS, else a share of this machine's cores.

    On a cluster None: each worker knows its own cores.
    """
    if "OMP_NUM_THREADS" in os.environ:
        with suppress(ValueError):
            return max(1, int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    return max(1, parallel.cores() // options.jobs) if options.jobs else None


class Run:
    """Several variants, on the workers of a client."""

    def __init__(self, workspace: Workspace, client: Client, options: argparse.Namespace) -> None:
        self.workspace, self.client, self.options = workspace, client, options
        self.results: dict[str, task.Result] = {}

    def all(self, jobs: list[Job]) -> int:
        """Run them, bring what is finished into the workspace, and say what failed; the exit code."""
        recipes = {job.name: _recipe(job.name) for job in jobs}
        totals = {name: recipe.train.total_epochs * recipe.train.seeds for name, recipe in recipes.items()}
        stopped = False
        try:
            view = View(totals, 1 + cluster.AGAIN)
            running = self._start(jobs, recipes, view)
            with view:
                self._wait(running, view)
        except KeyboardInterrupt:
            stopped = True
        finally:
            finished = [result for result in self.results.values() if "lock" in result]
            self.workspace.bring(cast(list[dict[str, Any]], finished))
        failed = {name: result["failed"] for name, result in self.results.items() if "failed" in result}
        if failed:
            print(failures(failed), file=sys.stderr, end="")
        if stopped:
            print(f"stopped; {len(finished)} of {len(jobs)} variants are finished and kept", file=sys.stderr)
            return STOPPED
        return 1 if failed else 0

    def _start(self, jobs: list[Job], recipes: dict[str, params.Recipe], view: View) -> dict[Future[task.Result], str]:
        topic = f"graybox-{uuid.uuid4().hex}"
        token, by_remote = self._meeting_place()
        if by_remote:
            self.workspace.push(jobs)
        packed = self.workspace.pack(jobs)
        self.client.subscribe_topic(topic, lambda event: view.hear(event[1]))
        work = as_a_value()
        futures: dict[Future[task.Result], str] = {}
        for job in jobs:
            order: task.Order = {
                "name": job.name, "stages": job.stages, "inputs": job.inputs, "files": job.files,
                "lock": job.lock,
                "workspace": str(self.workspace.root), "token": str(token), "home": str(self.workspace.scratch),
                "cache": self.workspace.cache, "threads": threads_of(self.options), "local": bool(self.options.jobs),
                "topic": topic,
            }  # fmt: skip
            # The longest go first, so that none is left alone at the end.
            priority, key = work_of(recipes[job.name]), f"{job.name}-{topic}"
            future = self.client.submit(
                work, order, packed, by_remote, key=key, priority=priority, retries=cluster.AGAIN, pure=False
            )
            futures[future] = job.name
        return futures

    def _meeting_place(self) -> tuple[Path, bool]:
        """A file by which workers know that they see this disk, and whether data and results go by the DVC remote."""
        token = self.workspace.scratch / uuid.uuid4().hex
        by_remote = self.options.by_remote
        if not by_remote:
            token.touch()
        if self.options.scheduler and not by_remote:
            seen = self.client.run(os.path.exists, str(token))
            by_remote = not all(seen.values())
        if by_remote and not self.workspace.has_remote:
            raise errors.UserError(
                f"--scheduler: not all workers see {self.workspace.root}, or --by-remote is given, and there is no DVC "
                "remote; allowed: workers with the same disk, or `dvc remote add --default NAME URL`"
            )
        return token, by_remote

    def _wait(self, running: dict[Future[task.Result], str], view: View) -> None:
        """Take each result when it is there; if the user stops it, take back the orders that run."""
        workers = cluster.Workers(self.client, self.options.scheduler)
        try:
            while running:
                workers.look(len(running))
                for future, name in running.items():
                    if view.rows[name].starts > 1 + cluster.AGAIN:  # whatever a running scheduler allows
                        self.client.cancel(future, force=True)
                self._take(running, view)
                time.sleep(task.POLL_SECONDS)
        finally:
            self._take(running, view)
            if running:
                self.client.cancel([*running], force=True)
                for name in running.values():
                    view.end(name, "stopped")
                self._wait_for_ends()

    def _take(self, running: dict[Future[task.Result], str], view: View) -> None:
        """Take the results that are there out of `running`."""
        for future in [future for future in running if future.done()]:
            name = running.pop(future)
            self.results[name] = result = _result_of(future)
            view.end(name, "failed" if "failed" in result else "done")

    def _wait_for_ends(self) -> None:
        """Until the workers have ended what was taken back: it would go on beside the next run."""
        end = time.monotonic() + ENDS_SECONDS
        while time.monotonic() < end and any(self.workspace.scratch.glob("*/output.txt")):
            time.sleep(task.POLL_SECONDS)


def as_a_value() -> Callable[[task.Order, bytes, bool], task.Result]:
    """`task.work` as a function that Dask sends whole: a name would say nothing to a worker without this package."""
    cloudpickle.register_pickle_by_value(task)
    work = task.work
    return lambda order, packed, by_remote: work(order, packed, by_remote)


def _recipe(variant: str) -> params.Recipe:
    return params.load("data/combined.yaml" if variant == "combined" else f"data/settings/{variant}.yaml")


def work_of(recipe: params.Recipe) -> int:
    """How much there is to train, in millions of multiply-accumulates; most for networks of others."""
    try:
        macs = multiply_accumulates(recipe.model, 224, 10) if recipe.model.parametric else 10**10
    except errors.UserError:
        macs = 0
    return int(macs * recipe.train.total_epochs * recipe.train.seeds // 10**6)


def _result_of(future: Future[task.Result]) -> task.Result:
    """What a variant gave; an error of Dask's, such as of lost workers, is why it failed."""
    if future.status == "finished":
        return future.result()
    if future.status == "error":
        return {"failed": str(future.exception()).splitlines()}
    return {"failed": [f"it is {future.status}: its worker, or the scheduler, was lost too often"]}
