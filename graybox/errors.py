"""The one exception that means "the user can fix this"."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in the parameters or the data: one sentence that names it and says what is allowed."""


class ParameterError(UserError):
    """A mistake in the value of a parameter; the sentence begins with the parameter's name, as `sources.folder.path`.

    The library does not know where the value was written down; a stage does, and says so with `within`.
    """


@contextmanager
def within(where: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """A context that begins an error's sentence with where the mistake stands, such as "params.yaml: "."""
    try:
        yield
    except kind as error:
        raise UserError(f"{where}{error}") from error


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call a stage's `main` with the command line's arguments; a UserError ends it with one line and exit code 1.

    So does another number of arguments than `main` takes.
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
