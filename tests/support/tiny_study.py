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


class Study:
    """A repository with a tiny study in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "COLUMNS": "200", "CI": "true"}

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
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


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
