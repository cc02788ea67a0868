"""The command line: recipes, any network on any photograph, `dvc repro` behind a guard, and the list of parameters."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import Any, NoReturn

from graybox import errors
from graybox.command_line import occlude, use
from graybox.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are the user's mistakes, in a sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` shows what is allowed")


def main(*arguments: str) -> None:
    parser = Parser(prog="python -m graybox", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    use.add(commands)
    occlude.add(commands)
    command = commands.add_parser(
        "repro",
        help="dvc repro that goes on after a kill at any moment; takes what dvc repro takes",
        prefix_chars="\0",  # so that DVC's options reach DVC
        add_help=False,
    )
    command.add_argument("arguments", nargs="*")
    command.set_defaults(run=repro)
    command = commands.add_parser("parameters", help="print docs/parameters.md, the description of every parameter")
    command.set_defaults(run=lambda options: print(_reference(), end=""))
    options = parser.parse_args(arguments)
    options.run(options)


def _reference() -> str:
    from graybox.command_line.reference import markdown

    return markdown()


def repro(options: argparse.Namespace) -> None:
    """Run `dvc repro`, and end with its exit code."""
    from graybox.command_line import guard  # which loads DVC

    sys.exit(guard.repro(*options.arguments))


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """A warning without the place in our code, which says nothing to the user."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    warnings.formatwarning = _one_line
    # Jupyter and Colab set a backend that only works in a notebook, and matplotlib would stop at its import.
    os.environ["MPLBACKEND"] = "agg"
    errors.run(main)
