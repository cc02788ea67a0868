"""`python -m graybox repro --jobs` and `--scheduler` with the real dvc: the same results, and nothing lost or left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from graybox import parallel
from graybox.network import cnn
from tests.support.tiny_study import Study, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")]
COMMAND = [sys.executable, "-m", "graybox", "repro"]

# A new module beside the stages, which git does not know: what it does to a variant is planted in it.
PLANTED = """
import os, signal, sys, time
from pathlib import Path

name, once = sys.argv[1], Path({once!r}) / sys.argv[1]
if name in {broken}:
    print("planted: no way")
    sys.exit("error: it is broken")
while name in {endless}:
    time.sleep(0.1)
if name in {deadly} or (name in {deadly_once} and not once.exists()):
    once.touch()
    os.kill(int(os.environ["GRAYBOX_GUARD"]) if {worker} else os.getpid(), signal.SIGKILL)
"""


def plant(study: Study, once: Path, broken=(), endless=(), deadly=(), deadly_once=(), worker=False) -> None:
    """Have the training of some variants fail, never end, or be killed, with its worker if `worker`; not committed."""
    names = {"broken": broken, "endless": endless, "deadly": deadly, "deadly_once": deadly_once}
    (study.folder / "stages/planted.py").write_text(PLANTED.format(once=str(once), worker=worker, **names))
    train = study.folder / "stages/train.py"
    train.write_text(train.read_text().replace("\nimport shutil\n", "\nimport stages.planted, shutil\n"))
    assert "planted" in train.read_text()


def results(study: Study) -> dict[str, object]:
    """All metrics, and the hashes of what the stages made, but for how long it took and what shows that."""
    stages = yaml.safe_load((study.folder / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    found = [*study.folder.glob("metrics/*.json"), *study.folder.glob("report/*.json")]
    return {
        **{
            path: md5
            for path, md5 in outs.items()
            if not path.startswith(("models/timing", "report/", "plots/figures"))
        },
        **{path.name: json.loads(path.read_text()) for path in found},
    }


def stale_trainings(study: Study) -> set[str]:
    return {stage for stage in study.stale() if stage.startswith(("train@", "evaluate@"))}


def nothing_is_left(study: Study) -> bool:
    return not (study.folder / ".dvc/tmp/jobs").exists()


def forget_networks(study: Study) -> None:
    """Leave nothing of trained and scored networks, in the workspace or in the cache."""
    lock = study.folder / "dvc.lock"
    found = yaml.safe_load(lock.read_text())
    found["stages"] = {name: at for name, at in found["stages"].items() if not name.startswith(("train", "evaluate"))}
    lock.write_text(yaml.safe_dump(found))
    for name in (".dvc/cache/runs", "models/kept", "models/variants", "models/timing", "plots/curves"):
        shutil.rmtree(study.folder / name)
    for name in ("baseline", "conv-2", "filters-8", "combined"):
        (study.folder / f"metrics/{name}.json").unlink()
        (study.folder / f"data/scores/{name}.json").unlink()


def test_variants_in_parallel_give_what_dvc_repro_gives(study, clean):
    made = clean
    forget_networks(made)
    # Sums of other numbers of threads are rounded in another way.
    made.environment["OMP_NUM_THREADS"] = str(min(torch.get_num_threads(), parallel.cores()))
    said = made.run(*COMMAND, "--jobs", "2")
    assert all(f"{name}: done after" in said for name in ("baseline", "conv-2", "filters-8")), said
    # The workspace trained nothing itself but what comes alone.
    trained = [stage for stage in stages_run(said) if stage.startswith(("train", "evaluate"))]
    assert trained == ["train_combined", "evaluate_combined"]
    assert results(made) == results(study)
    assert stages_run(made.dvc("repro")) == [] and made.stale() == set()
    assert nothing_is_left(made)


def test_a_failed_variant_is_named_and_what_is_finished_survives_ctrl_c(clean, tmp_path):
    plant(clean, tmp_path, broken=("conv-2",), endless=("filters-8",), deadly_once=("baseline",))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a suite in the background ignore it
    process = subprocess.Popen(
        [*COMMAND, "--jobs", "2"], cwd=clean.folder, env=clean.environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = ""
    for line in process.stdout:
        said += line
        if ("baseline: done" in said) and ("conv-2: FAILED" in said) and "filters-8: starts" in said:
            break
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    said += process.communicate()[0]
    assert process.returncode == 130, said
    assert psutil.wait_procs(below, timeout=60)[1] == []
    assert "baseline: starts again" in said  # its training was killed
    assert "conv-2 failed. Its last lines:" in said and "    planted: no way\n    error: it is broken\n" in said
    assert "stopped; 1 of 3 variants are finished and kept" in said
    assert stale_trainings(clean) == {"train@conv-2", "train@filters-8"}
    assert nothing_is_left(clean)


def test_after_the_machine_has_slept_it_goes_on(clean):
    """All processes stop at once and go on, after a time in which Dask takes a silent worker for lost."""
    forget_networks(clean)
    environment = {**clean.environment, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s"}  # at least 5 s, though
    process = subprocess.Popen(
        [*COMMAND, "--jobs", "2"], cwd=clean.folder, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = ""
    for line in process.stdout:
        said += line
        if ": starts" in line:
            break
    command = psutil.Process(process.pid)
    asleep = [command, *command.children(recursive=True)]
    for each in asleep:
        each.suspend()
    time.sleep(8)
    for each in reversed(asleep):
        each.resume()
    try:
        said += process.communicate(timeout=600)[0]
    finally:
        if process.poll() is None:  # it waits for ever
            for each in command.children(recursive=True):
                each.kill()
            process.kill()
    assert process.returncode == 0, said
    assert all(f"{name}: done after" in said for name in ("baseline", "conv-2", "filters-8")), said
    assert clean.stale() == set() and nothing_is_left(clean)


def address_in(file: Path) -> str | None:
    """The address in a scheduler's file; None until the file is there and whole, as Dask writes it in place."""
    try:
        return json.loads(file.read_text())["address"]
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@pytest.fixture
def scheduler(tmp_path_factory) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, in another folder and without this repository."""
    folder = tmp_path_factory.mktemp("workers")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    found, started = folder / "scheduler.json", []

    def start(*arguments: str) -> None:
        with (folder / f"{len(started)}.txt").open("w") as log:
            command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(found)]
            started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        for _ in range(2):
            start("worker", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
        while not (address := address_in(found)):
            assert started[0].poll() is None
            time.sleep(0.1)
        yield address
    finally:
        for process in reversed(started):
            below = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            for child in below:
                child.kill() if child.is_running() else None


def test_a_lost_workers_variant_runs_again_at_most_twice_and_results_come_by_the_remote(clean, scheduler, tmp_path):
    clean.dvc("remote", "add", "--default", "shared", "../shared")  # relative to .dvc, of which a clone has another
    clean.git("commit", "-qam", "A remote")
    plant(clean, tmp_path, deadly=("conv-2",), deadly_once=("filters-8",), worker=True)
    said = clean.run(*COMMAND, "--scheduler", scheduler, "--by-remote", fails=True)
    assert "conv-2 failed." in said and said.count("conv-2: starts again") == 2, said
    assert said.count("filters-8: starts again") == 1 and "filters-8: done after" in said
    assert "baseline: done after" in said
    assert stale_trainings(clean) == {"train@conv-2"}
    assert (tmp_path / "shared/files").exists()
    assert cnn.load(clean.folder / "models/variants/filters-8/seed-0.safetensors", "cpu").class_names
    assert nothing_is_left(clean)
