"""The real dvc, killed at any moment: what is finished is kept, and the results are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.kills import Moment, drawn, killed
from tests.support.tiny_study import Study, new_study, stages_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows"),
]
GUARD = ["graybox", "repro"]


def metrics(study: Study) -> dict[str, dict]:
    found = [*study.folder.glob("metrics/*.json"), *study.folder.glob("report/*.json")]
    return {path.name: json.loads(path.read_text()) for path in found}


def outputs(study: Study) -> dict[str, str]:
    """The hashes of what the stages made, but for how long it took and what shows that."""
    stages = yaml.safe_load((study.folder / "dvc.lock").read_text())["stages"]
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        for out in stage["outs"]
        if not out["path"].startswith(("models/timing", "report/", "plots/figures"))
    }


@pytest.mark.proof(40)
def test_after_kills_in_every_stage_and_every_write_the_metrics_are_those_of_an_undisturbed_run(cases, study, tmp_path):
    order = study.ran_first
    assert len(order) == 20  # two kills for each
    disturbed = new_study(tmp_path / "graybox", run__checkpoint_seconds=0.01)
    for case in cases:
        moment = drawn(case, order)
        assert killed(disturbed, GUARD, moment, order), moment
        lock = disturbed.folder / "dvc.lock"
        assert not lock.exists() or lock.read_text().endswith("\n"), moment
        yaml.safe_load(lock.read_text() if lock.exists() else "")
    disturbed.run("python", "-m", *GUARD)
    assert stages_run(disturbed.dvc("repro")) == []
    assert metrics(disturbed) == metrics(study)
    assert outputs(disturbed) == outputs(study)


def test_half_a_lock_of_plain_dvc_is_put_back_by_git_or_by_the_guard_and_finished_stages_are_kept(clean, tmp_path):
    targets = ["train@conv-2", "evaluate@conv-2"]
    clean.set(**{"variants__conv-2": {"model": {"conv_layers": 1}}})
    moment = Moment("evaluate@conv-2", seconds=None, characters=5000)
    assert killed(clean, ["dvc", "repro", *targets], moment, ["settings", *targets])
    # Cut behind a colon, half a lock is YAML too, and DVC goes on with fewer stages: the worse cut is within a key.
    lock = clean.folder / "dvc.lock"
    lock.write_text(lock.read_text()[: lock.read_text().rindex(":")])
    assert "dvc.lock" in clean.dvc("repro", *targets, fails=True)
    other = Study(shutil.copytree(clean.folder, tmp_path / "other" / "graybox", symlinks=True))

    # What README says to type.
    clean.git("checkout", "dvc.lock")
    said = [clean.dvc("repro", *targets)]

    said += [other.run("python", "-m", *GUARD, *targets)]
    assert "dvc.lock was half written when a run was killed; that of the last commit is in its place again." in said[1]
    for words in said:
        assert "Stage 'settings' is cached" in words
        assert "Stage 'train@conv-2' is cached" in words
    for made in (clean, other):
        assert made.stale() & {*targets} == set()
    read = [Path(made.folder / "metrics/conv-2.json").read_text() for made in (clean, other)]
    assert read[0] == read[1]
