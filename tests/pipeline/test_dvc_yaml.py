"""dvc.yaml reads as a table of contents: short, a script for each stage, and rooms as deps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from graybox.data import sources
from graybox.data.params import SourcesParams
from tests.support.basics import ROOT

STAGES = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}

# What a stage may name of a room instead of all of it, and why.
LONE_FILES = {
    # How prepared images are read. The rest of the room makes them: a change there retrains only if they change.
    "graybox/data/images.py": set(STAGES) - {"settings", "download", "prepare", "select_best"},
    # The schemas of parameters: the rest of these rooms says nothing about whether a value is allowed.
    "graybox/data/params.py": {"settings", "report"},
    **{f"graybox/{room}/params.py": {"settings"} for room in ("features", "mistakes", "network", "reliance", "report")},
    "graybox/occlusion/params.py": {"settings", "evaluate", "evaluate_combined"},
    "graybox/network/sizes.py": {"settings"},
    "graybox/study/variants.py": {"settings"},
    # The whole rooms would score every network again for another word in a table.
    "graybox/statistics/scores.py": {"evaluate", "evaluate_combined"},
    "graybox/occlusion/fills.py": {"evaluate", "evaluate_combined"},
    "graybox/occlusion/pixels.py": {"evaluate", "evaluate_combined"},
    "graybox/reliance/interventions.py": {"evaluate", "evaluate_combined"},
    "graybox/reliance/validated.py": {"evaluate", "evaluate_combined"},
    "graybox/study/params.py": {"settings", "evaluate", "evaluate_combined"},
}


def code(stage: str) -> set[str]:
    return {dep for dep in STAGES[stage]["deps"] if dep.startswith("graybox/")}


def outs(stage: str) -> dict[str, bool]:
    """The paths that a stage writes, and whether DVC keeps them in its cache."""
    found = {}
    for out in [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]:
        path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
        found[path.replace("${key}", "baseline")] = options.get("cache", True)
    return found


def test_it_is_short_enough_to_read():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 400


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_the_script_of_its_name_and_depends_on_it(stage):
    script = stage.removesuffix("_combined")  # the variant `combined` goes through the same scripts as the others
    assert STAGES[stage]["cmd"].split()[:3] == ["python", "-m", f"stages.{script}"]
    assert [dep for dep in STAGES[stage]["deps"] if dep.startswith("stages/")] == [f"stages/{script}.py"]


def test_every_stage_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert scripts == {name.removesuffix("_combined") for name in STAGES}


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_a_stage_script_fits_one_screen(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_rooms(stage):
    for dep in code(stage):
        parts = Path(dep).parts
        if len(parts) == 2:  # a room, or a file above the rooms
            assert (ROOT / dep).is_dir() or dep in ("graybox/schema.py", "graybox/settings.py", "graybox/run.py"), dep
        else:
            assert stage in LONE_FILES.get(dep, ()), f"{stage} names {dep}; name the room {'/'.join(parts[:2])}"
    for dep in code(stage):
        assert not any(other != dep and dep.startswith(f"{other}/") for other in code(stage)), f"{dep} is named twice"


def test_no_reason_for_a_lone_file_is_left_over():
    for file, stages in LONE_FILES.items():
        used = {stage for stage in STAGES if file in code(stage)}
        # Not every stage that may read the images needs to.
        assert used == stages or (file == "graybox/data/images.py" and used), file


def test_every_dep_is_written_by_hand_or_by_a_stage():
    written = {out for stage in STAGES for out in outs(stage)}
    for stage in STAGES:
        for dep in STAGES[stage]["deps"]:
            path = dep.replace("${key}", "baseline")
            # A stage may depend on a file of a folder that another writes, and on a folder in which others write.
            made = any(Path(path).is_relative_to(out) or Path(out).is_relative_to(path) for out in written)
            assert made or (ROOT / path).exists(), f"{stage}: {dep}"


def test_every_cached_output_is_ignored_by_git_and_no_metric_is():
    for stage in STAGES:
        for path, cached in outs(stage).items():
            ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0
            assert ignored == cached, f"{stage}: {path}"


@pytest.mark.parametrize("folder", ["data", "models"])
def test_a_clone_says_what_comes_into_a_folder(folder):
    said = (ROOT / folder / "README.md").read_text("utf-8")
    assert len(said.splitlines()) == 3
    named = {f"{folder}/{word.rstrip('/')}" for word in said.split("`")[1::2]}
    for stage in STAGES:
        for path in outs(stage):
            parts = Path(path).parts
            assert parts[0] != folder or f"{folder}/{parts[1]}" in named, path
    # A README would be lost in a folder that a stage makes, and make stale what depends on it.
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", folder], cwd=ROOT, capture_output=True)
    assert tracked.stdout.decode().split() == [f"{folder}/README.md"]
    assert all(folder not in (*STAGES[stage]["deps"], *outs(stage)) for stage in STAGES)


def test_a_source_has_a_module_and_parameters():
    assert set(sources._MODULES) == set(SourcesParams.model_fields)
    assert all(hasattr(sources._source(name), "download") for name in sources._MODULES)
