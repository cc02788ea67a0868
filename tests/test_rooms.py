"""The plan of the house (docs/design.md) holds: imports run one way, and a file keeps to itself what is its own."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.basics import ROOT

# A room may import from itself and from what stands before it.
ROOMS = (
    "statistics", "data", "network", "study", "occlusion", "features", "reliance", "mistakes", "figures", "report",
    "command_line",
)  # fmt: skip
# The rooms' parameters lead to `settings`.
ORDER = (
    "errors", "arguments", "files", "parallel", "schema", *ROOMS[:-1], "run", "settings", *ROOMS[-1:], "__main__",
)  # fmt: skip

RUN_DVC = {
    "graybox.command_line.guard", "graybox.command_line.lock_file", "graybox.command_line.jobs.workspace",
    "graybox.command_line.jobs.clone",
}  # fmt: skip

FILES = sorted((ROOT / "graybox").rglob("*.py"))
USERS = [path for folder in ("stages", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path) for path in FILES}
PACKAGES = sorted(name_of(path) for path in FILES if path.name == "__init__.py")


def place(module: str) -> int:
    """Where in ORDER a module of graybox stands; the package itself is the public surface, above everything."""
    return ORDER.index(module.split(".")[1]) if "." in module else len(ORDER)


def imported(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Each import, those inside functions too: the module, what is taken from it ("" = itself), and its name here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", alias.asname or alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found = (whole, "") if whole in MODULES else (module, alias.name)
                yield *found, alias.asname or alias.name


def wrong_imports(module: str, source: str) -> set[str]:
    """What a module of graybox imports and should not."""
    names = {name for name, _, _ in imported(ast.parse(source))}
    dvc = () if module in RUN_DVC else ("dvc",)
    outside = {name for name in names if name.startswith((".", "stages", "benchmarks", "tests", *dvc))}
    inside = {name for name in names if name.split(".")[0] == "graybox"}
    return outside | {name for name in inside if place(name) > place(module)}


def others_private_names(source: str) -> set[str]:
    """The names with an underscore that a file takes from modules of graybox."""
    tree = ast.parse(source)
    ours = [(module, taken, name) for module, taken, name in imported(tree) if module.split(".")[0] == "graybox"]
    found = {f"{module}.{taken}" for module, taken, _ in ours if taken.startswith("_")}
    modules = {name: module for module, taken, name in ours if not taken}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            module = modules.get(ast.unparse(node.value))
            found |= {f"{module}.{node.attr}"} if module else set()
    return found


def test_every_room_and_module_has_its_place():
    assert sorted(ROOMS) == sorted(path.parent.name for path in (ROOT / "graybox").glob("*/__init__.py"))
    assert sorted(ORDER) == sorted({module.split(".")[1] for module in MODULES if "." in module})


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_downwards(path):
    assert wrong_imports(name_of(path), path.read_text("utf-8")) == set()


@pytest.mark.parametrize("path", FILES + USERS, ids=name_of)
def test_what_starts_with_an_underscore_is_used_by_its_own_file_alone(path):
    assert others_private_names(path.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from graybox.study import comparison", {"graybox.study.comparison"}),
        ("def f():\n    import graybox.figures.style", {"graybox.figures.style"}),
        ("from graybox import run", {"graybox.run"}),
        ("from ..study import comparison", {"..study"}),
        ("from graybox import fit", {"graybox"}),
        ("import dvc.api", {"dvc.api"}),
        ("from stages import train", {"stages"}),
        ("from graybox.data import images\nfrom graybox.network.cnn import CNN\nfrom graybox import errors", set()),
    ],
)
def test_an_import_that_runs_upwards_is_found(line, told):
    assert wrong_imports("graybox.network.training", line) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from graybox.network.cnn import _layers", {"graybox.network.cnn._layers"}),
        ("from graybox.network import cnn as c\nc._layers()", {"graybox.network.cnn._layers"}),
        ("import graybox.network.cnn\ngraybox.network.cnn._layers", {"graybox.network.cnn._layers"}),
        ("from graybox.network import cnn\ncnn.CNN(self._size).__doc__", set()),
    ],
)
def test_a_private_name_of_another_file_is_found(line, told):
    assert others_private_names(line) == told


def test_a_package_says_in_a_paragraph_what_it_is_for():
    for room in ROOMS:
        said = ast.get_docstring(ast.parse((ROOT / f"graybox/{room}/__init__.py").read_text("utf-8"))) or ""
        assert said.count(".") >= 2 and len(said.splitlines()) >= 3, room
        # Every module that it names is there.
        for word in said.split("`")[1::2]:
            known = {path.stem for path in (ROOT / f"graybox/{room}").iterdir()} | {"ImageSet"}
            assert word in known or f"{word}:" in (ROOT / "params.yaml").read_text(), f"{room}: {word}"


def test_importing_a_package_runs_no_code_of_its_modules():
    program = f"import importlib, sys\nfor name in {PACKAGES}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.split(".")[0] == "graybox"}
    assert loaded - set(PACKAGES) <= {"graybox.errors"}  # which the packages' own functions raise
    assert not {"numpy", "torch", "pandas", "matplotlib"} & set(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_gives_what_it_says_it_has(package):
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in getattr(module, "__all__", ()))
    assert not hasattr(module, "nothing_of_this_name")
