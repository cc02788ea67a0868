"""A stage called by hand, wrongly: one line, exit code 1, and nothing done."""

import sys

import pytest

from graybox import errors


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
