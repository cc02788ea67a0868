"""What a killed dvc leaves is put right: half a dvc.lock, half a list of its locks, and processes that go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from graybox.command_line import guard
from tests.support.basics import ROOT
from tests.support.tiny_study import Study

LOCK = """\
schema: '2.0'
stages:
  first:
    cmd: python first.py
    deps:
    - path: first.py
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 1234
    outs:
    - path: first.txt
      hash: md5
      md5: fedcba98765432100123456789abcdef
      size: 12
"""

# A stage that works until a file is there, so that it can be killed and then finished.
STAGE = """
import sys, time
from pathlib import Path

sys.path.insert(0, {root!r})
if {ours}:
    import stages
Path("started").touch()
while not Path("enough").exists():
    time.sleep(0.05)
Path("made.txt").write_text("made")
"""
needs_sigkill = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")


@pytest.fixture
def project(tmp_path) -> Study:
    """A repository of DVC's with one stage, without any of the study."""
    made = Study(tmp_path / "project")
    (made.folder / ".dvc").mkdir(parents=True)
    (made.folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (made.folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (made.folder / "dvc.yaml").write_text("stages:\n  work:\n    cmd: python work.py\n    outs: [made.txt]\n")
    made.environment["PYTHONPATH"] = str(ROOT)
    made.git("init", "-q", "-b", "main")
    return made


def killed_at_work(project: Study, ours: bool) -> psutil.Process:
    """Start plain `dvc repro`, kill it while its stage works, and give the stage's process."""
    (project.folder / "work.py").write_text(STAGE.format(root=str(ROOT), ours=ours))
    dvc = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project.folder, env=project.environment)
    while not (project.folder / "started").exists():
        assert dvc.poll() is None
        time.sleep(0.05)
    below = psutil.Process(dvc.pid).children(recursive=True)
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    return below[-1]


@needs_sigkill
def test_a_process_that_outlives_its_dvc_is_ended_before_the_stage_starts_again(project):
    survivor = killed_at_work(project, ours=False)
    assert survivor.is_running()
    (project.folder / ".dvc/tmp/rwlock").write_text('{"write": {"/made.txt": {"pi')  # the kill hit this write too
    elsewhere = {**os.environ, "DVC_ROOT": str(project.folder.parent), "DVC_STAGE": "other"}
    rival = subprocess.Popen(["sleep", "600"], env=elsewhere)
    try:
        # It must be dead before the stage can end, so let the stage end only when it is.
        again = subprocess.Popen(
            [sys.executable, "-m", "graybox", "repro"],
            cwd=project.folder, env=project.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        psutil.wait_procs([survivor], timeout=120)
        (project.folder / "enough").touch()
        said = again.communicate()[0]
        assert again.returncode == 0, said
        assert f"Process {survivor.pid} is ended, which a killed dvc had left working on a stage." in said
        assert not survivor.is_running() and rival.poll() is None
        assert (project.folder / "made.txt").read_text() == "made"
        assert guard.is_whole((project.folder / ".dvc/tmp/whole/dvc.lock").read_bytes())
    finally:
        rival.kill()
        rival.wait()


@needs_sigkill
@pytest.mark.parametrize("shell", ["bash", "sh"])  # some shells give way to a command, others start it and wait
def test_our_stages_end_with_their_dvc(project, shell):
    project.environment["SHELL"] = shutil.which(shell) or pytest.skip(f"there is no {shell} here")
    assert psutil.wait_procs([killed_at_work(project, ours=True)], timeout=120)[1] == []
    assert not (project.folder / "made.txt").exists()


@needs_sigkill
def test_a_stage_that_a_living_dvc_runs_goes_on(project):
    (project.folder / "work.py").write_text(STAGE.format(root=str(ROOT), ours=True))
    first = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project.folder, env=project.environment)
    while not (project.folder / "started").exists():
        assert first.poll() is None
        time.sleep(0.05)
    said = project.run(sys.executable, "-m", "graybox", "repro", fails=True)
    assert "is busy, it is being blocked by" in said and "is ended" not in said
    (project.folder / "enough").touch()
    assert first.wait() == 0


def test_every_cut_within_a_line_is_known():
    assert guard.is_whole(LOCK.encode())
    for end in range(len(LOCK)):
        if not LOCK[:end].endswith("\n"):
            assert not guard.is_whole(LOCK[:end].encode()), LOCK[:end]


@pytest.mark.parametrize(
    "damage", [b"\0" * 500, b"\xff\xfe", b"[1, 2]\n", b"schema: '2.0'\nstages:\n  first: 1\n", b"\n"]
)
def test_what_is_no_lock_is_known(damage):
    assert not guard.is_whole(damage)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    return tmp_path


def test_the_last_whole_lock_is_put_back(here):
    Path("dvc.lock").write_text(LOCK)
    assert list(guard.mend_lock(here / "kept")) == []
    Path("dvc.lock").write_text(LOCK[:200])
    (said,) = guard.mend_lock(here / "kept")
    assert said == "dvc.lock was half written when a run was killed; the last whole one is in its place again."
    assert Path("dvc.lock").read_text() == LOCK


def test_else_that_of_the_last_commit(here):
    Path("dvc.lock").write_text(LOCK)
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "add", "dvc.lock"], check=True)
    subprocess.run([*git, "commit", "-qm", "A lock"], check=True)
    Path("dvc.lock").write_text(LOCK[:200])
    (said,) = guard.mend_lock(here / "kept")
    assert said == "dvc.lock was half written when a run was killed; that of the last commit is in its place again."
    assert Path("dvc.lock").read_text() == LOCK


def test_else_there_is_none(here):
    Path("dvc.lock").write_text("")
    (said,) = guard.mend_lock(here / "kept")
    assert said.startswith("dvc.lock was half written when a run was killed; it is removed")
    assert not Path("dvc.lock").exists()


def test_dvcs_own_arguments_reach_it_and_its_exit_code_comes_back(project):
    (project.folder / "enough").touch()
    (project.folder / "work.py").write_text(STAGE.format(root=str(ROOT), ours=True))
    guarded = [sys.executable, "-m", "graybox", "repro"]
    assert "Running stage 'work'" in project.run(*guarded, "--dry")
    assert not (project.folder / "made.txt").exists()
    outside = Study(project.folder.parent)
    outside.environment["PYTHONPATH"] = str(ROOT)
    said = outside.run(*guarded, fails=True)
    assert said.startswith("error: you are not inside of a DVC repository") and "Traceback" not in said
