"""What the tests share."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

# Before PyTorch is loaded: tests run on every core at once, and threads that wait for one another take far longer.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml
from filelock import FileLock

from graybox import files, settings
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
    """Files with long tests come first, so that no worker begins one when the others have nothing left to do."""
    for item in items:
        if item.get_closest_marker("proof"):
            item.add_marker(pytest.mark.slow)
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent.name != "pipeline", item.path not in long))  # stable


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
    """The tiny study, reproduced from nothing and committed. It takes about a minute; a test must not change it.

    All workers of a run share the making of it, and each has a copy of its own, as DVC locks what it looks at.
    """
    from tests.support.tiny_study import Study, new_study  # which needs this module

    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    with FileLock(f"{shared}.lock"):
        if not (shared / "study.pickle").exists():
            shutil.rmtree(shared, ignore_errors=True)  # of a worker that failed at it
            shared.mkdir()
            made = new_study(shared / "graybox")
            made.repro_recorded(shared)
            made.git("add", "-A")
            made.git("commit", "-qm", "Its results")
            with files.replacing(shared / "study.pickle") as part:  # a worker that is stopped leaves no half of it
                part.write_bytes(pickle.dumps(made))
    made = pickle.loads((shared / "study.pickle").read_bytes())
    assert isinstance(made, Study)
    made.folder = shutil.copytree(made.folder, own / "study/graybox", symlinks=True)
    return made


@pytest.fixture
def clean(study, tmp_path):
    """A copy of the reproduced study, with its cache, for a test that changes it."""
    return type(study)(shutil.copytree(study.folder, tmp_path / "graybox", symlinks=True))
