"""A stage called by hand, wrongly: one line, exit code 1, and nothing done."""

import os
import subprocess
import sys

import numpy as np
import pytest

from graybox import errors, files
from tests.support.basics import ROOT


def stage(variant: str) -> None:
    raise errors.UserError(f"variants has no {variant!r}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("basline",), "error: variants has no 'basline'"),
        (("a", "b"), "error: the arguments are a b; allowed: VARIANT"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        errors.run(stage, *arguments)
    assert stopped.value.code == message


@pytest.mark.parametrize(
    ("main", "given", "message"),
    [
        (stage, [], "error: the arguments are missing; allowed: VARIANT"),
        (lambda: None, ["extra"], "error: the arguments are extra; allowed: none"),
    ],
)
def test_the_command_lines_arguments_are_counted_too(monkeypatch, main, given, message):
    monkeypatch.setattr("sys.argv", ["stage", *given])
    with pytest.raises(SystemExit) as stopped:
        errors.run(main)
    assert stopped.value.code == message


def test_a_missing_package_is_one_line_that_says_what_brings_it(monkeypatch):
    def needy(variant: str) -> None:
        import captum  # noqa: F401

    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(SystemExit) as stopped:
        errors.run(needy, "baseline")
    assert stopped.value.code == (
        "error: captum is not installed; in a clone, `pip install '.[study]'` brings what the study needs"
    )


def test_a_stage_says_where_a_parameter_stands_and_a_file_keeps_its_own_name():
    with (
        pytest.raises(errors.UserError, match=r"^params\.yaml: sources\.folder\.path is"),
        errors.within("params.yaml: ", errors.ParameterError),
    ):
        raise errors.ParameterError("sources.folder.path is null")
    with (
        pytest.raises(errors.UserError, match=r"^photos\.zip is"),
        errors.within("params.yaml: ", errors.ParameterError),
    ):
        raise errors.UserError("photos.zip is not a whole zip archive")


def test_a_faulty_stage_shows_where_it_failed():
    def faulty(variant: str) -> None:
        len(3)

    with pytest.raises(TypeError, match="has no len"):
        errors.run(faulty, "baseline")


def test_a_file_that_is_missing_or_broken_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").touch()  # a file where the folder should be: not even root may write into it

    def reads() -> None:
        np.load("data/predictions.npz")

    def writes() -> None:
        files.write_json("report/best.json", {})

    def asks() -> None:
        files.read_json("report/best.json")

    for main, line in (
        (reads, "error: data/predictions.npz is missing; run `dvc repro`, which makes what the stages need"),
        (writes, "error: report/best.json can't be written (File exists)"),
        (asks, "error: report/best.json can't be read (Not a directory); run `dvc repro`, which makes it"),
    ):
        monkeypatch.setattr("sys.argv", ["stage"])
        with pytest.raises(SystemExit) as stopped:
            errors.run(main)
        assert stopped.value.code == line


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_lacks_a_character_stops_nothing(encoding):
    program = "from graybox import errors; errors.run(lambda: print('Ångström → 猫'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    umlaut = "ö" if encoding == "cp1252" else r"\xf6"
    assert done.stdout.decode(encoding).strip().endswith(f"ngstr{umlaut}m " + r"\u2192 \u732b")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_output_that_is_full_is_one_line():
    program = "from graybox import errors; errors.run(lambda: print('done'))"
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: a file can't be written (No space left on device)\n")


def test_an_output_that_nobody_reads_is_no_traceback():
    program = "from graybox import errors; errors.run(lambda: print('x' * 1_000_000))"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 1
