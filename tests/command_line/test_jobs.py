"""The parts of `python -m graybox repro --jobs`: options, what a clone is made of, the live view, the SLURM script."""

from __future__ import annotations

import argparse
import io
import tarfile
import time

import dask
import psutil
import pytest
import torch
from rich.console import Console

from graybox import __main__, errors, parallel, run
from graybox.command_line.jobs import clone, cluster, command, snapshot, task, view
from graybox.network.params import ModelParams, Recipe, TrainParams

ORDER: task.Order = {
    "name": "baseline", "stages": ["train@baseline"], "inputs": [], "files": [], "lock": "", "workspace": "/study",
    "token": "/study/nowhere", "home": "/study", "cache": "/study/cache", "threads": None, "local": True, "topic": "t",
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "0"], "'0' is not allowed; allowed: a whole number from 1 to 1024"),
        (["--jobs", "two"], "'two' is not allowed"),
        (["--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"], "not allowed with argument"),
        (["--jobs", "2", "-f"], "repro: -f can't go with --jobs"),
        (["--slurm", "2", "compare"], "repro: compare can't go with --jobs"),
        (["--jobs", "2", "--by-remote"], "--by-remote goes with --scheduler only"),
        (["--by-remote"], "--by-remote goes with --scheduler only"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, said):
    with pytest.raises(errors.UserError, match=said.replace("(", r"\(")):
        __main__.main("repro", *arguments)


def test_without_our_options_all_goes_to_dvc(monkeypatch):
    from graybox.command_line import guard

    given = []
    monkeypatch.setattr(guard, "repro", lambda *arguments: given.extend(arguments) or 3)
    with pytest.raises(SystemExit) as ended:
        __main__.main("repro", "-f", "--job", "train@baseline")  # no abbreviation of ours is taken
    assert given == ["-f", "--job", "train@baseline"] and ended.value.code == 3


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS_SECONDS", 1)
    said = r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler answers there"
    with pytest.raises(errors.UserError, match=said), cluster.running("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("jobs", "given", "threads"),
    [
        (2, None, 4),
        (3, None, 2),
        (16, None, 1),
        (2, "3", 3),
        (2, "3,1", 3),
        (None, None, None),
        (None, "3", 3),
        (2, "x", 4),
    ],
)
def test_each_job_has_its_share_of_the_threads(monkeypatch, jobs, given, threads):
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert command.threads_of(argparse.Namespace(jobs=jobs)) == threads


def test_a_clusters_workers_share_their_own_cores(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    on_cluster = {**ORDER, "local": False, "beside": 4, "number": None}
    assert clone.environment(on_cluster, {})["OMP_NUM_THREADS"] == "2"
    assert clone.environment({**on_cluster, "threads": 3}, {})["OMP_NUM_THREADS"] == "3"
    assert "GRAYBOX_JOB" not in clone.environment(on_cluster, {})
    assert clone.environment({**ORDER, "beside": 1, "number": 5}, {})["GRAYBOX_JOB"] == "5"


@pytest.mark.parametrize(
    ("device", "job", "chosen"),
    [
        ("auto", "5", "cuda:1"),
        ("cuda", "2", "cuda:0"),
        ("cuda:1", "2", "cuda:1"),
        ("cpu", "1", "cpu"),
        ("auto", None, "cuda"),
    ],
)
def test_jobs_take_one_gpu_after_another(monkeypatch, write_params, device, job, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if job:
        monkeypatch.setenv("GRAYBOX_JOB", job)
    assert run.device(write_params({"run": {"device": device}})) == torch.device(chosen)


def test_more_training_comes_first():
    def work(model=None, **train) -> int:
        return command.work_of(Recipe(model=ModelParams(**(model or {})), train=TrainParams(**train)))

    baseline = work(epochs=6)
    assert work(epochs=3) < baseline < work(epochs=12) == work(epochs=6, seeds=2)
    assert work({"filters": 8}, epochs=6) < baseline < work({"architecture": "resnet18"}, epochs=6)


def test_a_clone_is_made_of_the_files_as_they_are_now(tmp_path):
    for name in ("dvc.yaml", "code/a.py", "code/deep/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    packed = snapshot.pack(tmp_path, ["dvc.yaml", "code/a.py", "code/deep/b.py", "gone.py"], {"set/tings": "é\n"})
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(tmp_path / "clone", filter="data")
    read = {path.relative_to(tmp_path / "clone").as_posix(): path.read_text("utf-8")
            for path in (tmp_path / "clone").rglob("*") if path.is_file()}  # fmt: skip
    assert read == {**{name: name for name in ("dvc.yaml", "code/a.py", "code/deep/b.py")}, "set/tings": "é\n"}


def test_code_outside_of_the_study_is_no_part_of_a_clone(tmp_path):
    assert snapshot.tops(["a/b/c.py", "a/d", "e.py", "../f/g.py", str(tmp_path)]) == {"a", "e.py"}


def shown(drawn: view.View) -> list[list[str]]:
    table = drawn.table()
    return [list(cells) for cells in zip(*(column._cells for column in table.columns))]


def test_the_view_shows_how_far_each_variant_is():
    lines = io.StringIO()
    seen = view.View({"baseline": 6, "conv-2": 12}, 2, Console(file=lines, width=80))
    with seen:
        seen.hear({"name": "baseline", "state": "started"})
        seen.hear({"name": "baseline", "state": "training", "epochs": 2, "accuracy": 0.5})
        assert [row[:4] for row in shown(seen)] == [
            ["baseline", "trains", "2 of 6", "50.0%"],
            ["conv-2", "waits", "0 of 12", ""],
        ]
        seen.hear({"name": "baseline", "state": "started"})
        assert shown(seen)[0][:2] == ["baseline", "starts again"]
        seen.hear({"name": "baseline", "state": "started"})  # a third time is one too many, and taken back
        seen.hear({"name": "baseline", "state": "scoring", "epochs": 6, "accuracy": 0.625})
        seen.end("baseline", "done")
        seen.hear({"name": "baseline", "state": "training", "epochs": 5})  # told before its end, heard after it
        seen.hear({"name": "conv-2", "state": "started"})
        seen.end("conv-2", "failed")
    assert [row[:4] for row in shown(seen)] == [
        ["baseline", "done", "6 of 6", "62.5%"],
        ["conv-2", "FAILED", "0 of 12", ""],
    ]
    assert lines.getvalue().splitlines() == [
        "baseline: starts",
        "baseline: starts again",
        "baseline: done after 0 s, validation accuracy 62.5%; 1 to go",
        "conv-2: starts",
        "conv-2: FAILED after 0 s; 0 to go",
    ]


def test_on_a_terminal_the_view_is_one_table():
    screen = io.StringIO()
    with view.View({"baseline": 6}, 3, Console(file=screen, width=80, force_terminal=True, color_system=None)) as seen:
        seen.hear({"name": "baseline", "state": "training", "epochs": 2, "accuracy": 0.5})
    assert "2 of 6" in screen.getvalue() and "baseline: starts" not in screen.getvalue()


def test_the_progress_is_read_from_the_learning_curve(tmp_path):
    told = []
    watch = task.Watch(tmp_path, ORDER, lambda **said: told.append(said))
    watch.look()
    (tmp_path / "plots/curves").mkdir(parents=True)
    (tmp_path / "plots/curves/baseline.csv").write_text("seed,epoch,validation_accuracy\n0,1,0.25\n0,2,0.5\n")
    watch.look()
    watch.look()
    (tmp_path / "models/variants/baseline").mkdir(parents=True)
    watch.look()
    assert told == [
        {"state": "training", "epochs": 2, "accuracy": 0.5},
        {"state": "scoring", "epochs": 2, "accuracy": 0.5},
    ]


@pytest.mark.parametrize(
    ("line", "killed"),
    [("exited with -9", True), ("exited with 137", True), ("exited with -15", True), ("exited with 1", False),
     ("exited with 13", False), ("exited with -11", False)],
)  # fmt: skip
def test_a_stage_that_was_killed_is_told_from_one_that_failed(line, killed):
    said = f"ERROR: failed to reproduce 'train@fc-1': failed to run: python -m stages.train fc-1, {line}"
    assert bool(task.KILLED.search(said)) == killed


@pytest.fixture
def client(tmp_path):
    with cluster.here(1, tmp_path) as found:
        yield found


def test_workers_of_this_process_are_reached_from_this_machine_alone(client):
    listening = [at.laddr.ip for at in psutil.Process().net_connections() if at.status == psutil.CONN_LISTEN]
    assert {*listening} <= {"127.0.0.1", "::1"}


def test_a_worker_without_the_disk_says_so(client):
    result = client.submit(command.as_a_value(), ORDER, b"", False).result()
    assert "does not see /study; allowed: a worker with the same disk, or a DVC remote" in result["failed"][0]


@pytest.fixture
def endless(tmp_path):
    """The arguments of an order that never ends, without its client."""
    (tmp_path / "token").touch()
    code = "import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(600)\n"
    names = {
        f"{folder}__init__.py": "" for folder in ("graybox/", "graybox/command_line/", "graybox/command_line/jobs/")
    }
    packed = snapshot.pack(tmp_path, [], {**names, "graybox/command_line/jobs/clone.py": code, ".dvc/config.local": ""})
    order = {**ORDER, "token": str(tmp_path / "token"), "home": str(tmp_path), "workspace": str(tmp_path / "study")}
    return order, packed, False


def test_what_runs_in_a_clone_ends_when_it_is_taken_back(client, endless, tmp_path):
    future = client.submit(command.as_a_value(), *endless)
    while not (began := list(tmp_path.glob("baseline-*/began"))):
        assert not future.done()
        time.sleep(0.05)
    assert (began[0].parent / "models/kept").resolve() == tmp_path / "study/models/kept"
    client.cancel(future, force=True)
    while began[0].exists():  # the clone is removed last
        time.sleep(0.05)
    assert (tmp_path / "study/models/kept").exists()


async def lose_workers(dask_scheduler):
    for address in list(dask_scheduler.workers):
        await dask_scheduler.remove_worker(address, stimulus_id="silent for too long")


def test_an_order_whose_worker_is_given_up_runs_on_another(endless, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOOKS_SECONDS", 0.1)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1s"}), cluster.here(1, tmp_path) as client:
        workers = cluster.Workers(client, None)
        future = client.submit(command.as_a_value(), *endless, retries=2)
        while not (first := set(tmp_path.glob("baseline-*/began"))):
            time.sleep(0.05)
        client.run_on_scheduler(lose_workers)
        # The first attempt ends, so that no two work on one variant.
        while not (second := set(tmp_path.glob("baseline-*/began")) - first) or any(path.exists() for path in first):
            assert not future.done()
            workers.look(1)
            time.sleep(0.05)
        assert len(second) == 1 and [*client.nthreads().values()] == [1]


def test_workers_of_this_process_are_never_given_up_for_their_silence(tmp_path):
    """A laptop that sleeps stops all of them at once."""
    with dask.config.set({"distributed.scheduler.worker-ttl": "1s"}), cluster.here(1, tmp_path) as client:
        assert client.cluster.scheduler.worker_ttl is None


def test_a_running_scheduler_without_workers_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOOKS_SECONDS", 0)
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 0.2)
    with cluster.here(1, tmp_path) as client:
        workers = cluster.Workers(client, "tcp://10.0.0.5:8786")
        time.sleep(0.3)
        workers.look(1)  # it has one
        client.run_on_scheduler(lose_workers)
        workers.look(1)
        time.sleep(0.3)
        with pytest.raises(errors.UserError, match=r"has had no worker for .*`dask worker tcp://10\.0\.0\.5:8786"):
            workers.look(1)


def test_a_slurm_job_runs_one_variant_at_a_time_with_all_its_cores(tmp_path):
    settings = {
        "jobqueue.slurm.cores": 8, "jobqueue.slurm.memory": "32GB", "jobqueue.slurm.walltime": "04:00:00",
        "jobqueue.slurm.queue": "gpu", "jobqueue.slurm.job-extra-directives": ["--gres=gpu:1"],
        "jobqueue.slurm.job-script-prologue": ["module load cuda"],
    }  # fmt: skip
    with dask.config.set(settings), cluster.slurm_cluster() as made:
        script = made.job_script()
    lines = script.splitlines()
    assert lines[0].startswith("#!")
    wanted = {"#SBATCH -p gpu", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=30G", "#SBATCH -t 04:00:00",
              "#SBATCH --gres=gpu:1", "module load cuda"}  # fmt: skip
    assert wanted <= {*lines}
    (worker,) = [line for line in lines if "dask_worker" in line]
    assert "--nthreads 1 " in worker and "--nworkers" not in worker


@pytest.mark.parametrize("missing", ["cores", "memory"])
def test_slurm_without_the_size_of_a_job_is_refused(missing):
    settings = {"jobqueue.slurm.cores": 8, "jobqueue.slurm.memory": "32GB", f"jobqueue.slurm.{missing}": None}
    with dask.config.set(settings), pytest.raises(errors.UserError, match="a job's cores and memory are not set"):
        cluster.slurm_cluster()
