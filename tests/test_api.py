"""The public surface: it is what it says, its examples run without the study's packages, and loading it is free."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import graybox
from tests.support.basics import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = (ROOT / "docs/api.md").read_text("utf-8").partition("\n## Any network\n")[0]
SECTIONS = re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PYTHON, re.M | re.S)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
EXAMPLES = {title: block for title, text in SECTIONS for block in BLOCK.findall(text)}
DOCSTRING = "the docstring's"
EXAMPLES[DOCSTRING] = "".join(re.findall(r"^    (.*\n)", graybox.__doc__ or "", re.M))

# Runs each example in a folder of its own, and says what went wrong.
PROGRAM = """
import json, os, sys, tempfile, traceback
blocked, examples = json.loads(sys.stdin.read())
sys.modules.update(dict.fromkeys(blocked))  # None: importing it fails
told = {}
for title, example in examples.items():
    os.chdir(tempfile.mkdtemp(dir=sys.argv[1]))
    try:
        exec(compile(example, title, "exec"), {"__name__": "example"})
    except BaseException:
        told[title] = traceback.format_exc()
print(json.dumps(told))
"""


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}


def study_modules() -> set[str]:
    """The modules of what only the study needs, as they are imported."""
    modules: dict[str, set[str]] = {}
    for module, packages in metadata.packages_distributions().items():
        for package in packages:
            modules.setdefault(package.lower().replace("_", "-"), set()).add(module)
    found = set().union(*(modules[package] for package in names(PROJECT["optional-dependencies"]["study"])))
    return {module for module in found if not module.startswith("_")} | {"statsmodels"}


def run(program: str, *arguments: str, given: str = "", cwd: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=given,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """What went wrong in the examples, away from the repository and without the study's packages."""
    folder, blocked = tmp_path_factory.mktemp("examples"), study_modules()
    assert {"dvc", "captum", "cleanlab", "huggingface_hub", "vl_convert", "yaml", "requests", "sklearn"} <= blocked
    return json.loads(run(PROGRAM, str(folder), given=json.dumps([sorted(blocked), EXAMPLES]), cwd=folder))


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_runs_without_the_studys_packages_away_from_the_repository(told, title):
    assert title not in told, told[title]


def test_an_example_fits_ten_lines_and_each_section_has_one():
    assert len(EXAMPLES) == len(SECTIONS) + 1 and len(EXAMPLES[DOCSTRING].splitlines()) >= 8
    for title, example in EXAMPLES.items():
        assert len([line for line in example.splitlines() if line.strip()]) <= 10, title


def test_every_public_name_is_in_the_documentation():
    text = (ROOT / "docs/api.md").read_text("utf-8")
    assert [name for name in graybox.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_importing_it_loads_nothing_and_names_what_it_has():
    program = "import sys, graybox; print(sorted({'torch', 'numpy', 'pandas', 'pydantic', 'PIL'} & set(sys.modules)))"
    assert run(program) == "[]"
    assert set(graybox.__all__) <= set(dir(graybox))
    with pytest.raises(AttributeError, match="no attribute 'occlusion_maps'"):
        _ = graybox.occlusion_maps


def test_a_type_checker_sees_the_same_objects():
    """What is imported for type checkers is what is loaded when it is used."""
    tree = ast.parse((ROOT / "graybox/__init__.py").read_text("utf-8"))
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                module = importlib.import_module(line.module)
                seen |= {alias.asname or alias.name: getattr(module, alias.name) for alias in line.names}
    assert set(seen) == set(graybox.__all__) and sorted(graybox.__all__) == graybox.__all__
    assert all(getattr(graybox, name) is found for name, found in seen.items())


@pytest.mark.parametrize("name", graybox.__all__)
def test_a_public_function_is_typed_and_documented(name):
    found = getattr(graybox, name)
    assert inspect.getdoc(found)
    if inspect.isfunction(found):
        signature, said = inspect.signature(found), inspect.getdoc(found)
        assert signature.return_annotation is not signature.empty
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, parameter
            assert re.search(rf"\b{parameter.name}\b", said), parameter


def test_what_is_installed_with_the_library_is_what_its_files_are():
    """setuptools takes packages and what package-data names: all else in graybox/ would be missing."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["graybox"]
    named = {path for pattern in patterns for path in (ROOT / "graybox").glob(pattern)}
    files = {path for path in (ROOT / "graybox").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == named
    assert all((path.parent / "__init__.py").exists() for path in files if path.suffix == ".py")
    assert ROOT / "graybox/py.typed" in named


def test_requirements_pin_what_the_project_names_and_nothing_else():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith(("#", "-e"))]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pinned)
    extras = PROJECT["optional-dependencies"].values()
    assert names(pinned) == names(PROJECT["dependencies"]).union(*map(names, extras))
    assert len(pinned) == len(names(pinned))
