"""The workspace as DVC sees it: which variants are stale, what a clone needs, and results that come back into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from dvc import dvcfile
from dvc.lock import make_lock
from dvc.repo import Repo, lock_repo
from dvc.utils.serialize import dumps_yaml, load_yaml

from graybox import errors, files
from graybox.command_line import guard
from graybox.command_line.jobs import snapshot

ALWAYS = ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config")


@dataclass(frozen=True)
class Job:
    """The stale stages of one variant.

    Attributes:
        name: of the variant. `stages`: in the order in which they run.
        inputs: the outputs of other stages that they need. `files`: their own outputs that DVC does not cache.
        lock: the part of dvc.lock about them and the stages that make the inputs. DVC reads it several times in a
            clone, and the whole takes it seconds.
    """

    name: str
    stages: list[str]
    inputs: list[str]
    files: list[str]
    lock: str


class Workspace:
    """The study in the current folder.

    Attributes:
        root: its folder. `cache`: DVC's cache folder. `scratch`: a folder for what is there while jobs run.
    """

    def __init__(self) -> None:
        with guard.errors_for_users(), Repo() as repo:
            self.root = Path(repo.root_dir)
            self.cache = str(repo.cache.local_cache_dir)
            self.scratch = Path(repo.tmp_dir) / "jobs"
            self.has_remote = bool(repo.config["core"].get("remote"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other run of this kind works here; it begins and ends with an empty `scratch`.

        Raises:
            UserError: one does.
        """
        lock = make_lock(str(self.scratch.with_suffix(".lock")), tmp_dir=str(self.scratch.parent))
        with guard.errors_for_users(), lock:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True)
            try:
                yield
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)

    def jobs(self, stages_of: dict[str, list[str]] | None = None) -> list[Job]:
        """Those variants of which a stage is stale, with their stale stages.

        Args:
            stages_of: each variant's stages; None = train@VARIANT and evaluate@VARIANT of dvc.yaml.
        """
        with guard.errors_for_users(), Repo() as repo, lock_repo(repo):
            known = _stages(repo)
            if stages_of is None:
                variants = [name.removeprefix("train@") for name in known if name.startswith("train@")]
                stages_of = {variant: [f"train@{variant}", f"evaluate@{variant}"] for variant in variants}
            asked = [known[stage] for stages in stages_of.values() for stage in stages]
            stale = {name for stage in asked for name in stage.status(check_updates=True)}
            locked = load_yaml(guard.LOCK)["stages"] if stale else {}
            found = []
            for name, stages in stages_of.items():
                first = next((place for place, stage in enumerate(stages) if stage in stale), None)
                if first is not None:  # what follows a stale stage becomes stale
                    found.append(_job(repo, name, stages[first:], locked))
            return found

    def pack(self, jobs: Iterable[Job]) -> bytes:
        """What the jobs' clones are made of, as `snapshot.pack` gives it."""
        with guard.errors_for_users(), Repo() as repo:
            made = [out.fs_path for stage in repo.index.stages for out in stage.outs if out.use_cache]
            known = _stages(repo)
            stages = [known[stage] for job in jobs for stage in job.stages]
            deps = [dep.fs_path for stage in stages for dep in stage.deps]
            given = [dep for dep in deps if not any(repo.fs.isin_or_eq(dep, out) for out in made)]
            paths = [*ALWAYS]
            # The networks of the user's own are named by parameters, which the stage `settings` reads.
            for top in snapshot.tops([*(os.path.relpath(dep, self.root) for dep in given), "networks"]):
                full = str(self.root / top)
                found = repo.dvcignore.find(repo.fs, full) if os.path.isdir(full) else [full]
                paths += [Path(path).relative_to(self.root).as_posix() for path in found]
            return snapshot.pack(self.root, paths, {".dvc/config.local": _config(repo)})

    def push(self, jobs: Iterable[Job]) -> None:
        """Push what the jobs need to the DVC remote."""
        with guard.errors_for_users(), Repo() as repo:
            repo.push(targets=sorted({path for job in jobs for path in job.inputs}))

    def bring(self, results: Iterable[dict[str, Any]]) -> None:
        """Bring results into the workspace: their entries into dvc.lock, their outputs from the cache or the remote.

        Args:
            results: as `task.Result`, without those that failed or were stopped.
        """
        results = list(results)
        if not results:
            return
        with guard.errors_for_users(), Repo() as repo, lock_repo(repo):
            with dvcfile.modify_yaml(guard.LOCK) as lock:
                for result in results:
                    lock["stages"].update(result["lock"])
            for result in results:
                for name, text in result["files"].items():
                    files.write_text(self.root / name, text)
        with guard.errors_for_users(), Repo() as repo:
            if pushed := [stage for result in results if result["pushed"] for stage in result["lock"]]:
                repo.fetch(targets=pushed)
            with lock_repo(repo):
                known = _stages(repo)
                for stage in (stage for result in results for stage in result["lock"]):
                    if missing := known[stage].checkout(force=True).get("failed"):
                        raise errors.UserError(f"{missing[0]}, of {stage}, is not in DVC's cache; run it again")


def _job(repo: Repo, name: str, addresses: list[str], locked: dict[str, Any]) -> Job:
    known = _stages(repo)
    stages = [known[address] for address in addresses]
    own = {out.fs_path for stage in stages for out in stage.outs}
    deps = [dep.fs_path for stage in stages for dep in stage.deps]
    others = [out.fs_path for stage in repo.index.stages for out in stage.outs if out.use_cache]
    inputs = [out for out in {*others} - own if any(repo.fs.isin_or_eq(dep, out) for dep in deps)]
    uncached = [out.fs_path for stage in stages for out in stage.outs if not out.use_cache]
    made = [stage for stage in known if any(out.fs_path in inputs for out in known[stage].outs)]
    lock = {"schema": "2.0", "stages": {stage: locked[stage] for stage in (*made, *addresses) if stage in locked}}
    needed, left = (sorted(_below(repo, path) for path in paths) for paths in (inputs, uncached))
    return Job(name, addresses, needed, left, dumps_yaml(lock))


def _stages(repo: Repo) -> dict[str, Any]:
    """The stages of dvc.yaml by name. DVC reads its files again for each stage that it is asked for by name."""
    return {stage.addressing: stage for stage in repo.index.stages}


def _below(repo: Repo, path: str) -> str:
    return Path(path).relative_to(repo.root_dir).as_posix()


def _config(repo: Repo) -> str:
    """DVC's settings for a clone: the remotes of all levels, with whole paths, and no git."""
    settings = ConfigObj()
    settings["core"] = {"analytics": "false", "autostage": "false", "no_scm": "true"}
    if remote := repo.config["core"].get("remote"):
        settings["core"]["remote"] = remote
    for name, options in repo.config["remote"].items():
        settings[f'remote "{name}"'] = {key: str(value) for key, value in options.items()}
    return "\n".join(settings.write()) + "\n"
