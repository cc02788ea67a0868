"""What the tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Before PyTorch is loaded: tests run on every core at once, and threads that wait for one another take far longer.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml

from graybox import settings
from tests.support.basics import ROOT
from tests.support.loopback import Server, served
from tests.support.proofs import chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `proof(n)` has n numbered cases: `case` gives it one at a time, `cases` all that are to run.

    `pytest -m proof` runs them all, `pytest -m slow` a tenth, plain `pytest` none.
    """
    if mark := metafunc.definition.get_closest_marker("proof"):
        numbers = chosen(mark.args[0], metafunc.config.getoption("markexpr"))
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", numbers)
        if "cases" in metafunc.fixturenames:
            metafunc.parametrize("cases", [numbers], ids=[f"{len(numbers)} cases"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay on one worker, as they share what they set up; all that run DVC share one study."""
    for item in items:
        if item.get_closest_marker("proof"):
            item.add_marker(pytest.mark.slow)
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("pipeline" if folder == "pipeline" else str(item.path)))


@pytest.fixture
def raw_params() -> dict:
    """params.yaml as plain values, to be changed and written."""
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture
def params() -> settings.Params:
    return settings.load(ROOT / "params.yaml")


@pytest.fixture
def write_params(tmp_path):
    """Write values as a params.yaml and give its path."""

    def write(values: dict) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture
def loopback(monkeypatch) -> Iterator[Server]:
    """A web server, and no proxy before it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served() as server:
        yield server


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The tiny study, reproduced from nothing and committed. It takes about a minute; a test must not change it."""
    from tests.support.tiny_study import new_study  # which needs this module

    scratch = tmp_path_factory.mktemp("study")
    made = new_study(scratch / "graybox")
    made.repro_recorded(scratch)
    made.git("add", "-A")
    made.git("commit", "-qm", "Its results")
    return made


@pytest.fixture
def clean(study, tmp_path):
    """A copy of the reproduced study, with its cache, for a test that changes it."""
    return type(study)(shutil.copytree(study.folder, tmp_path / "graybox", symlinks=True))
