"""A stage called by hand, wrongly: one line, exit code 1, and nothing done."""

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


def test_a_faulty_stage_shows_where_it_failed():
    def faulty(variant: str) -> None:
        len(3)

    with pytest.raises(TypeError, match="has no len"):
        errors.run(faulty, "baseline")
