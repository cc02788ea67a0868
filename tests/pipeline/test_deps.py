"""The deps in dvc.yaml are true: what a stage loads lies in them, and an edit makes stale what it should, no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.basics import ROOT
from tests.support.tiny_study import TINY, Study, command_of

# What no stage depends on although it is loaded, as it changes no result: how a mistake is said, how a file is written,
# how many processes work, on which device a network runs, and the packages' descriptions.
IN_NO_DEPS = {
    "graybox/arguments.py", "graybox/errors.py", "graybox/files.py", "graybox/parallel.py", "graybox/run.py"
}  # fmt: skip

TRAIN = {*(f"train@{name}" for name in TINY["variants"]), "train_combined"}
EVALUATE = {*(f"evaluate@{name}" for name in TINY["variants"]), "evaluate_combined"}
TABLE = {"combine", "compare", "select_best"}
IMAGES = {"download", "prepare"}
ALL = {
    *("settings", "reliance", "mistakes", "occlude", "correspondence", "figures", "report"), *IMAGES, *TRAIN, *EVALUATE,
    *TABLE,
}  # fmt: skip

STALE_AFTER_AN_EDIT = {
    "graybox/data/sources/folder.py": IMAGES,
    "graybox/data/images.py": ALL - {"settings", "select_best", "report"},
    "graybox/network/training.py": ALL - {"settings"} - IMAGES,
    "graybox/statistics/paired.py": {*TABLE, "reliance", "mistakes", "occlude", "figures", "report"},
    "graybox/statistics/scores.py": {*EVALUATE, *TABLE, "reliance", "mistakes", "occlude", "figures", "report"},
    "graybox/study/comparison.py": {*TABLE, "mistakes", "figures", "report"},
    "graybox/occlusion/maps.py": {"compare", "reliance", "mistakes", "occlude", "correspondence", "figures", "report"},
    "graybox/occlusion/fills.py": {
        *EVALUATE,
        "compare",
        "reliance",
        "mistakes",
        "occlude",
        "correspondence",
        "figures",
        "report",
    },
    "graybox/features/correspondence.py": {"occlude", "correspondence", "report"},
    "graybox/reliance/verdict.py": {"compare", "reliance", "mistakes", "occlude", "figures", "report"},
    "graybox/reliance/validated.py": {*EVALUATE, "compare", "reliance", "mistakes", "occlude", "figures", "report"},
    "graybox/reliance/interventions.py": {*EVALUATE, "compare", "reliance", "mistakes", "occlude", "figures", "report"},
    "graybox/mistakes/reasons.py": {"mistakes", "figures", "report"},
    "graybox/mistakes/params.py": {"settings", "mistakes", "figures", "report"},
    "graybox/figures/panels.py": {"figures"},
    "graybox/command_line/occlude.py": set(),
    "graybox/report/page.html": {"report"},
    "graybox/report/params.py": {"settings", "report"},
    "graybox/schema.py": ALL,
    "graybox/settings.py": {"settings", "report"},
    "graybox/run.py": {"settings"},
    "graybox/arguments.py": set(),
    "graybox/errors.py": set(),
    "graybox/files.py": set(),
    "graybox/command_line/guard.py": set(),
    "graybox/parallel.py": set(),
    "graybox/command_line/reference.py": set(),
    "graybox/__init__.py": set(),
    "graybox/__main__.py": set(),
    "stages/train.py": TRAIN,
    "stages/figures.py": {"figures"},
}

# The libraries that take long to load, and the stages that work with them.
LIBRARIES = {
    "torch": {*TRAIN, *EVALUATE, "reliance", "mistakes", "occlude", "correspondence"},
    "torchvision": set(),  # only another source's download, and another fill than gray
    "captum": {"occlude"},
    "cv2": {"reliance"},
    "cleanlab": {"mistakes"},
    "sklearn": {"mistakes"},
    "statsmodels": set(),
    "huggingface_hub": set(),
    "jinja2": {"report"},
    "markdown_it": {"report"},
    "typst": {"report"},
    "vl_convert": {"figures"},
    "dvc": set(),
}


def deps_of(stage: str) -> set[str]:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    found = stages[stage.partition("@")[0]]
    return {dep for dep in found.get("do", found)["deps"] if dep.startswith("graybox/")}


def loaded(study: Study, stage: str) -> set[str]:
    """The files of graybox that a stage had loaded at its end; of a package its __init__.py."""
    found = set()
    for module in study.loaded[command_of(stage)]:
        if module.split(".")[0] == "graybox":
            path = Path(*module.split("."))
            found.add(str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")))
    return found


def test_every_stage_is_looked_at(study):
    assert set(study.ran_first) == ALL


@pytest.mark.parametrize("stage", sorted(ALL))
def test_what_a_stage_loads_lies_in_its_deps_and_each_dep_is_used(study, stage):
    files, deps = loaded(study, stage), deps_of(stage)
    assert files >= {"graybox/__init__.py", "graybox/errors.py"}
    inside = {dep: {file for file in files if Path(file).is_relative_to(dep)} for dep in deps}
    outside = {file for file in files.difference(*inside.values()) if not file.endswith("__init__.py")}
    assert outside <= IN_NO_DEPS, f"{stage} loads what is in none of its deps"
    unused = {dep for dep, found in inside.items() if all(file.endswith("__init__.py") for file in found)}
    assert unused == set(), f"{stage} loads nothing of a dep"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_loaded_by_the_stages_that_work_with_it_alone(study, library):
    assert {stage for stage in ALL if library in study.loaded[command_of(stage)]} == LIBRARIES[library]


def test_an_edit_of_one_file_makes_exactly_these_stages_stale(clean):
    assert clean.stale() == set()
    found = {}
    for name in STALE_AFTER_AN_EDIT:
        file = clean.folder / name
        before = file.read_text("utf-8")
        file.write_text(before + "\n# edited\n", "utf-8")
        found[name] = clean.stale()
        file.write_text(before, "utf-8")
    assert found == STALE_AFTER_AN_EDIT
    assert clean.stale() == set()


def test_every_room_and_lone_file_is_edited_in_that_test():
    rooms = {path.parent.name for path in (ROOT / "graybox").glob("*/__init__.py")}
    lone = {path.name for path in (ROOT / "graybox").glob("*.py")}
    assert {Path(name).parts[1] for name in STALE_AFTER_AN_EDIT if name.startswith("graybox/")} == rooms | lone
