"""UserError, the exception for mistakes that the user can fix, and how commands report it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in the parameters or the data. The message is one sentence: what is wrong, and what is allowed."""


class ParameterError(UserError):
    """A mistake in a parameter's value. The message begins with the parameter's name, such as `sources.folder.path`.

    The library does not know which file the value came from; a stage does, and adds it with `within`.
    """


@contextmanager
def within(where: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """A context that puts the place of the mistake before an error's message, such as "params.yaml: "."""
    try:
        yield
    except kind as error:
        raise UserError(f"{where}{error}") from error


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call a stage's `main` with the command line's arguments.

    A UserError, a wrong number of arguments or a missing library ends the program with one line and exit code 1.
    """
    given, signature = arguments or tuple(sys.argv[1:]), inspect.signature(main)
    try:
        signature.bind(*given)
    except TypeError:
        allowed = " ".join(signature.parameters).upper() or "none"
        sys.exit(f"error: the arguments are {' '.join(given) or 'missing'}; allowed: {allowed}")
    try:
        main(*given)
    except UserError as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if (error.name or "graybox").startswith(("graybox", "stages")):
            raise
        sys.exit(
            f"error: {error.name} is not installed; in a clone, `pip install '.[study]'` brings what the study needs"
        )
