"""dvc.yaml says what is true: each stage's deps are the modules that its script reaches, and arrows run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from tests.support.basics import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def imports(path: Path) -> set[Path]:
    """The project's files that one file imports; what only a type checker reads does not count."""
    found: set[Path] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        todo += ast.iter_child_nodes(node)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            place = ROOT / Path(*name.split("."))
            found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return found - {ROOT / "graybox/__init__.py"}


def reached(path: Path) -> set[Path]:
    """All of the project's files that a file imports, directly or through others."""
    seen, todo = set(), {path}
    while todo:
        file = todo.pop()
        seen.add(file)
        todo |= imports(file) - seen
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_deps_are_exactly_the_modules_that_the_stage_reaches(name):
    stage = STAGES[name].get("do", STAGES[name])
    script = name.removesuffix("_combined")  # the variant `combined` goes through the same scripts as the others
    assert stage["cmd"].split()[:3] == ["python", "-m", f"stages.{script}"]
    declared: set[Path] = set()
    for dep in stage["deps"]:
        path = ROOT / dep
        if dep.startswith(("graybox/", "stages/")):
            declared |= set(path.rglob("*.py")) if path.is_dir() else {path}
    needed = reached(ROOT / f"stages/{script}.py")
    if "graybox/data/sources" in stage["deps"]:  # which source is imported is only known from the parameters
        needed |= set((ROOT / "graybox/data/sources").rglob("*.py"))
    assert {p for p in declared if p.suffix == ".py"} == needed


def test_every_stage_script_is_a_stage():
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == {name.removesuffix("_combined") for name in STAGES}


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("*.py")), ids=lambda path: path.stem)
def test_a_stage_script_fits_one_screen(path):
    assert len(path.read_text().splitlines()) <= 60


def test_the_library_knows_no_stage_and_no_dvc():
    for path in (ROOT / "graybox").rglob("*.py"):
        assert not any(ROOT / "stages" in file.parents for file in imports(path)), path
        tree = ast.parse(path.read_text("utf-8"))
        names = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not names & {"dvc", "dvclive", "dvc.api"}, path


@pytest.mark.parametrize("module", ["figures", "report"])
def test_pictures_and_report_need_no_network_training_or_source(module):
    names = {path.relative_to(ROOT / "graybox").parts[0] for path in reached(ROOT / f"graybox/{module}.py")}
    assert not names & {"model.py", "training.py", "sources", "inference.py", "occlusion.py"}


def test_every_cached_output_is_ignored_by_git_and_no_metric_is():
    import subprocess

    for name, stage in STAGES.items():
        stage = stage.get("do", stage)
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            path = path.replace("${key}", "baseline")
            ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0
            assert ignored == options.get("cache", True), f"{name}: {path}"
