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
        help="dvc repro that goes on after a kill at any moment, and takes what dvc repro takes; --jobs N: variants in "
        "parallel (--help says more)",
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
    parallel, rest = _parallel(options.arguments)
    if parallel is None:
        from graybox.command_line import guard  # which loads DVC

        sys.exit(guard.repro(*rest))
    if rest:
        raise UserError(
            f"repro: {' '.join(rest)} can't go with --jobs, --scheduler or --slurm, which run the whole study"
        )
    try:
        from graybox.command_line.jobs import command  # which loads Dask
    except ModuleNotFoundError as error:
        if (error.name or "graybox").split(".")[0] in ("graybox", "stages", "dvc"):
            raise
        raise UserError(f"repro: {error.name} is not installed; `pip install '.[study,parallel]'` brings it") from error
    sys.exit(command.repro(parallel))


def _parallel(arguments: list[str]) -> tuple[argparse.Namespace | None, list[str]]:
    """The options of `repro` that are ours, None if there are none, and the arguments that are DVC's."""
    parser = Parser(prog="python -m graybox repro", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    ours = parser.add_argument_group("Variants in parallel (docs/scale.md)")
    group = ours.add_mutually_exclusive_group()
    group.add_argument("--jobs", type=_count, metavar="N", help="train and score N variants at a time on this machine")
    group.add_argument("--scheduler", metavar="ADDRESS", help="on the workers of a running Dask scheduler")
    group.add_argument("--slurm", type=_count, metavar="N", help="in up to N SLURM jobs at a time")
    ours.add_argument(
        "--by-remote",
        action="store_true",
        help="with --scheduler: data and results go by way of the DVC remote, even if the workers see this disk",
    )
    options, rest = parser.parse_known_args(arguments)
    if {"-h", "--help"} & {*rest}:
        print(parser.format_help())
    if options.by_remote and not options.scheduler:
        raise UserError("repro: --by-remote goes with --scheduler only")
    return (options if any(vars(options).values()) else None), rest


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a whole number from 1 to 1024")
    return int(text)


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """A warning without the place in our code, which says nothing to the user."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    warnings.formatwarning = _one_line
    # Jupyter and Colab set a backend that only works in a notebook, and matplotlib would stop at its import.
    os.environ["MPLBACKEND"] = "agg"
    errors.run(main)
