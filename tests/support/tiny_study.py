"""A tiny study in a repository of its own, for the tests with the real dvc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.basics import ROOT

# One image size that all layers fit, few images, one epoch: what is tested is the pipeline, not the study.
TINY = {
    "data.images_per_class": 10,
    "sources.scenes.classes": 3,
    "sources.scenes.image_size": 32,
    "sources.scenes.train_per_class": 10,
    "sources.scenes.test_per_class": 5,
    "model.conv_layers": 3,
    "model.filters": 4,
    "model.fc_units": 8,
    "train.epochs": 1,
    "train.batch_size": 8,
    "run.device": "cpu",
    "variants": {"baseline": {}, "conv-2": {"model": {"conv_layers": 2}}, "filters-8": {"model": {"filters": 8}}},
    "occlusion.window": 5,
    "occlusion.stride": 4,
    "occlusion.other_windows": [3],
    "occlusion.images": 2,
    "reliance.maps": 4,
    "correspondence.random_draws": 2,
}


# Python runs a module of this name when it starts: here it makes each stage write down what it has loaded at its end.
RECORDER = """
import atexit, os, sys

def record():
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main and main.name.startswith("stages."):
        name = " ".join([main.name.removeprefix("stages."), *sys.argv[1:]])
        with open(os.path.join(os.environ["LOADED_MODULES"], name), "w") as file:
            file.write("\\n".join(sys.modules))

atexit.register(record)
"""

# Several stages in one process, as most of a tiny stage's time is the import of its libraries.
RUNNER = """
import runpy, sys

for command in sys.argv[1:]:
    name, *sys.argv[1:] = command.split()
    runpy.run_module(f"stages.{name}", run_name="__main__")
"""


# A stage as on another system: processes are spawned, as on macOS and Windows, and a text that is opened
# without naming its encoding, which is another one on Windows, is an error.
ELSEWHERE = """
import multiprocessing, warnings

multiprocessing.set_start_method("spawn")
warnings.filterwarnings("error", category=EncodingWarning, module=r"(graybox|stages|__main__|__mp_main__)\\b")
"""

# A full disk: a limit on the size of files works for every user, root too. Each stage says how it ended.
FULL_DISK = """
import resource, runpy, sys, traceback

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
for command in sys.argv[2:]:
    name, *sys.argv[1:] = command.split()
    try:
        runpy.run_module(f"stages.{name}", run_name="__main__")
        ending = "done"
    except SystemExit as stopped:
        ending = stopped.code
    except BaseException as error:
        traceback.print_exc()
        ending = f"traceback of {type(error).__name__}"
    print(f"ENDED {command}: {ending}", flush=True)
"""


class Study:
    """A repository with a tiny study in it.

    Attributes:
        ran_first: the stages that the first `dvc repro` ran.
        said: what the first `dvc repro` printed.
        loaded: of each stage's script with its arguments, the modules that it had loaded at its end.
    """

    ran_first: list[str]
    said: str
    loaded: dict[str, set[str]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # What pytest says of the worker and the test that make it is not true of those that use it.
        own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        self.environment = {**own, "PATH": path, "DVC_NO_ANALYTICS": "1", "COLUMNS": "200", "CI": "true"}

    def run(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, fails=fails)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        return self.run("git", *identity, *arguments)

    def set(self, **values) -> None:
        """Change params.yaml; a dot in a key is written as two underscores."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for key, value in values.items():
            *sections, last = key.replace("__", ".").split(".")
            at = params
            for section in sections:
                at = at[section]
            at[last] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that ran."""
        output = self.dvc("repro")
        return stages_run(output)

    def repro_recorded(self, scratch: Path) -> None:
        """`dvc repro` that fills `ran_first` and `loaded`; `scratch` is a folder for what that needs."""
        hook, loaded = scratch / "hook", scratch / "loaded"
        for folder in (hook, loaded):
            folder.mkdir()
        (hook / "sitecustomize.py").write_text(RECORDER)
        before, paths = self.environment, [str(hook), os.environ.get("PYTHONPATH", "")]
        self.environment = {**before, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "LOADED_MODULES": str(loaded)}
        self.said = self.dvc("repro")
        self.ran_first = stages_run(self.said)
        self.environment = before
        self.loaded = {file.name: set(file.read_text().split("\n")) for file in loaded.iterdir()}

    def run_stages(self, *commands: str) -> None:
        """Run stages' scripts without DVC, such as "train baseline", one after the other in one process."""
        self.run(sys.executable, "-c", RUNNER, *commands)

    def run_stages_elsewhere(self, scratch: Path, *commands: str) -> None:
        """`run_stages` with spawned processes, ASCII as the locale's encoding and no default encodings in our files.

        Args:
            scratch: an empty folder.
        """
        (scratch / "sitecustomize.py").write_text(ELSEWHERE)
        before, paths = self.environment, [str(scratch), os.environ.get("PYTHONPATH", "")]
        ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        self.environment = {**before, **ascii_locale, "PYTHONWARNDEFAULTENCODING": "1",
                            "PYTHONPATH": os.pathsep.join(filter(None, paths))}  # fmt: skip
        self.run_stages(*commands)
        self.environment = before

    def run_stages_on_a_full_disk(self, limit: int, *commands: str) -> dict[str, str]:
        """Run stages' scripts where no file can be larger than `limit` bytes; how each ended, "done" or its message."""
        output = self.run(sys.executable, "-c", FULL_DISK, str(limit), *commands)
        lines = [line.removeprefix("ENDED ") for line in output.splitlines() if line.startswith("ENDED ")]
        return {command: ending for command, _, ending in (line.partition(": ") for line in lines)}

    def stale(self) -> set[str]:
        """The stages of which a dep, a parameter or an output is not what dvc.lock says: `dvc status`."""
        from dvc.repo import Repo  # the same in this process, as the start of another takes longer

        with Repo(str(self.folder)) as repo:
            # From another folder, DVC writes a stage's name after the path of its dvc.yaml.
            return {stage.rpartition(":")[2] for stage in repo.status()}


def stages_run(output: str) -> list[str]:
    """The stages that a dvc command ran, from what it printed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def command_of(stage: str) -> str:
    """The script of a stage with its arguments, as in dvc.yaml, but without `python -m stages.`."""
    return stage.replace("@", " ").replace("_combined", " combined")


def new_study(folder: Path, **changes: Any) -> Study:
    """The working tree's files with few images and small networks, committed in `folder`; nothing has run.

    Args:
        changes: further parameters, as for `Study.set`.
    """
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        made_by_default_run = name == "dvc.lock" or (name.startswith("metrics/") and name.endswith(".json"))
        if (ROOT / name).is_file() and not made_by_default_run:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    made = Study(folder)
    made.set(**{key.replace(".", "__"): value for key, value in TINY.items()} | changes)
    made.git("init", "-q", "-b", "main")
    made.git("add", "-A")
    made.git("commit", "-qm", "A tiny study")
    return made
