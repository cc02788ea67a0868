"""UserError, the exception for mistakes that the user can fix, and how commands report it."""

from __future__ import annotations

import errno
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a write to an open file fails with: it is full, over a quota or a limit, or broken.
_DISK = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO")} - {None}


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

    A UserError, a wrong number of arguments, a missing library, or a file that can't be read or written ends the
    program with one line and exit code 1; Ctrl-C ends it with one line and exit code 130.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # of stages/__init__.py
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _print_anything()
    given, signature = arguments or tuple(sys.argv[1:]), inspect.signature(main)
    try:
        signature.bind(*given)
    except TypeError:
        allowed = " ".join(signature.parameters).upper() or "none"
        sys.exit(f"error: the arguments are {' '.join(given) or 'missing'}; allowed: {allowed}")
    try:
        main(*given)
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped" + "; `python -m graybox repro` goes on" * ("DVC_STAGE" in os.environ), file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # such as `| head`
        _close_output()
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno not in _DISK:
            raise
        if error.filename is None:
            _close_output()
        sys.exit(f"error: {_of_a_file(error)}")
    except ModuleNotFoundError as error:
        if (error.name or "graybox").startswith(("graybox", "stages")):
            raise
        sys.exit(
            f"error: {error.name} is not installed; in a clone, `pip install '.[study]'` brings what the study needs"
        )


def _print_anything() -> None:
    """Have `print` write what the terminal's encoding lacks, such as é in ASCII, as \\xe9: it must not stop a stage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _close_output() -> None:
    """Have what is still to be printed vanish: Python prints it at its end, and would complain once more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no real file
        sys.stdout = None  # as in a Windows program without a console


def _of_a_file(error: OSError) -> str:
    reason = error.strerror or error
    if error.filename is None:  # of an open file: the one that a stage prints to, for example
        return f"a file can't be written ({reason})"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is missing; run `dvc repro`, which makes what the stages need"
    return f"{error.filename} can't be read or written ({reason})"
