"""A stage that another Python than the environment's runs says so in one sentence."""

import runpy
import subprocess
import sys

import pytest

from tests.support.basics import ROOT


def test_a_python_without_the_studys_packages_is_named():
    command = [sys.executable, "-S", "-m", "stages.settings"]  # -S: without installed packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: python, here {sys.executable}, has no pydantic; activate the environment")
    assert done.stderr.count("\n") == 1


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"is Python 3\.10, and 3\.11 or newer is needed; activate"):
        runpy.run_path(str(ROOT / "stages/__init__.py"))
