"""A queued grid: the README's way to sweep, with the real dvc and its worker, on a tiny study."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.basics import ROOT
from tests.support.tiny_study import Study


def start_worker(study: Study) -> None:
    # Into a file: the worker keeps its parent's output open, and a pipe would be read until it ends.
    with Path(study.folder.parent / "worker.log").open("w") as log:
        command = [sys.executable, "-m", "dvc", "queue", "start", "-j", "1"]
        subprocess.run(command, cwd=study.folder, env=study.environment, stdout=log, stderr=log, check=True)


def wait(study: Study, successes: int, seconds: float = 900) -> None:
    """Until so many experiments are done; what the worker says where one fails or none ends."""
    end = time.monotonic() + seconds
    while (status := study.dvc("queue", "status")).count("Success") < successes:
        if "Failed" in status or time.monotonic() > end:
            tasks = re.findall(r"^([0-9a-f]{7}) ", status, re.MULTILINE)
            pytest.fail(status + "".join(study.dvc("queue", "logs", task) for task in tasks))
        time.sleep(2)


def test_a_queued_grid_runs_and_its_table_reads_well(clean):
    study = clean
    grid = ["-S", "model.filters=5,6", "-S", "model.conv_layers=2,3"]
    queued = study.dvc("exp", "run", "--queue", *grid, "evaluate@baseline")
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    assert len(names) == 4
    study.dvc("queue", "remove", *names[1:3])  # the corners of the grid are enough
    start_worker(study)
    try:
        wait(study, successes=2)
    finally:
        study.dvc("queue", "stop", "--kill")

    # The line that the README gives for it.
    lines = (ROOT / "README.md").read_text().replace("\\\n", "").splitlines()
    line = next(line for line in lines if line.startswith("dvc exp show --only-changed --drop"))
    arguments = shlex.split(line, comments=True)[1:]
    assert not re.search(r"[*?|()\[\]^$]", " ".join(arguments))  # plain words, no regular expression
    assert max(map(len, study.dvc(*arguments, "--no-pager").splitlines())) <= 120
    shown = csv.DictReader(io.StringIO(study.dvc(*arguments, "--csv")))
    table = {row["Experiment"]: row for row in shown if row["Experiment"] in names}
    assert {name: (row["model.filters"], row["model.conv_layers"]) for name, row in table.items()} == {
        names[0]: ("5", "2"), names[3]: ("6", "3"),
    }  # fmt: skip
    assert len(table[names[0]]) <= 8, list(table[names[0]])

    commits = json.loads(study.dvc("exp", "show", "--json"))
    found = {e["name"]: e["revs"][0]["data"] for commit in commits for e in commit["experiments"] or []}
    rows = [found[name]["metrics"]["metrics/baseline.json"]["data"] for name in (names[0], names[3])]
    for row in rows:
        assert 0 <= row["test_accuracy"] <= 1 and 0 <= row["validation_accuracy"] <= 1
    assert rows[0]["macs_millions"] != rows[1]["macs_millions"] and rows[0]["test_loss"] != rows[1]["test_loss"]
