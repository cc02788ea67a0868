"""The command `use`: merge recipes into params.yaml, show the difference, and take it back."""

from __future__ import annotations

import argparse
import difflib
import json
import shlex
from pathlib import Path
from typing import Any

from graybox import files, schema, settings
from graybox.command_line import recipes
from graybox.command_line.rewrite import rewritten
from graybox.errors import UserError, within
from graybox.network.sizes import check_fits
from graybox.study.merging import Values, merged

PARAMS = Path("params.yaml")
DVC, USES = Path(".dvc"), Path(".dvc/tmp/uses.json")  # which git ignores
MOST = 100  # uses that are remembered
ABSENT = object()


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser(
        "use",
        help="merge recipes (recipes/NAME.yaml) into params.yaml; without a name, list them",
        description="Merge recipes into params.yaml, one after the other, and print the difference. Nothing is "
        "written if a key or a value is not allowed. Without a name, list the recipes. recipes/README.md says more.",
    )
    command.add_argument("recipes", nargs="*", metavar="RECIPE",
                         help="a name in the folder recipes, such as ten, or the path of a YAML file")  # fmt: skip
    command.add_argument("-S", "--set-param", action="append", default=[], dest="settings", metavar="KEY=VALUE",
                         help="one more value, after the recipes, such as -S train.epochs=20")  # fmt: skip
    command.add_argument("--undo", action="store_true", help="take the last use back; later edits stay")
    command.set_defaults(run=use)


def use(options: argparse.Namespace) -> None:
    """Merge, list or take back, as the options say.

    Raises:
        UserError: the options, a recipe, or what would come of it is not allowed. Then params.yaml stays as it was.
    """
    if options.undo and (options.recipes or options.settings):
        raise UserError("--undo takes back the last use, and goes with no recipe and no -S")
    if not (options.undo or options.recipes or options.settings):
        print(_listed())
        return
    if not PARAMS.is_file() or not DVC.is_dir():
        missing = PARAMS if DVC.is_dir() else DVC
        raise UserError(f"{missing} is not in this folder; allowed: the folder where the study's files are")
    if options.undo:
        undo()
    else:
        apply(options.recipes, options.settings)


def apply(names: list[str], changes: list[str]) -> None:
    """Merge recipes, then KEY=VALUE settings, into params.yaml, and print the difference.

    Raises:
        UserError: a recipe is not there or not allowed, or what would come of all is not.
    """
    paths = [recipes.find(name) for name in names]
    values, text = schema.read(PARAMS), _text(PARAMS)
    steps = [(str(PARAMS), values)]
    read = [recipes.read(path) for path in paths]
    for path, recipe in zip(paths, read):
        values = merged(values, recipe)
        steps.append((f"{PARAMS} with {path}", values))
    for change in changes:
        values = recipes.set_one(values, change)
        steps.append((f"{PARAMS} with -S {schema.shown(change)}", values))
    _check(steps)
    with within(f"{PARAMS}: "):
        made = rewritten(text, values, [_text(path) for path in paths])
    if made == text:
        print(f"{PARAMS} is so already; nothing is changed.")
        return
    command = shlex.join(["use", *names, *(word for change in changes for word in ("-S", change))])
    # Remembered first: a use that a kill stopped in between changed nothing, and is found to be so.
    _remember([*_uses(), {"command": command, "before": text, "after": made}])
    files.write_text(PARAMS, made)
    print(_difference(text, made))
    only = [name for recipe in read if [*recipe] == ["variants"] for name in recipe["variants"]]
    added = [f"evaluate@{name}" for name in only if name in values["variants"]]
    alone = f", `dvc repro {' '.join(added)}` what the recipe adds alone" if added else ""
    print(f"`dvc repro` runs the study with it{alone}; `python -m graybox use --undo` takes it back.")


def undo() -> None:
    """Take the last use back. What was changed in params.yaml since then stays, and is named if it is the same key.

    Raises:
        UserError: there is no use to take back, or what would come of it is not allowed.
    """
    if not (uses := _uses()):
        raise UserError(f"there is no use to take back; `git diff {PARAMS}` shows what else was changed")
    *earlier, last = uses
    command, before, after, now = last["command"], last["before"], last["after"], _text(PARAMS)
    kept: list[str] = []
    if now in (before, after):
        made = before
    else:
        values, kept = taken_back(*(schema.parse(text) for text in (before, after, now)))
        _check([(f"{PARAMS} without `{command}`", values)])
        with within(f"{PARAMS}: "):
            made = rewritten(now, values, [before])
    if made != now:
        files.write_text(PARAMS, made)
    _remember(earlier)
    print(_difference(now, made) if made != now else f"`{command}` was taken back already; nothing is changed.")
    for key in kept:
        print(f"{key} stays as it is: it was changed after `{command}`.")


def taken_back(before: Values, after: Values, now: Values) -> tuple[Values, list[str]]:
    """What is now, without the change from `before` to `after`.

    Returns:
        The values, and the keys that stay as they are now because they were changed once more.
    """
    kept: list[str] = []

    def back(was: Any, made: Any, found: Any, where: str) -> Any:
        if repr(found) == repr(made):
            return was
        if repr(was) in (repr(made), repr(found)):
            return found
        if isinstance(was, dict) and isinstance(made, dict) and isinstance(found, dict):
            inner = {}
            for key in _joined(list(found), list(was)):
                of_key = [values.get(key, ABSENT) for values in (was, made, found)]
                inner[key] = back(of_key[0], of_key[1], of_key[2], f"{where}.{key}".lstrip("."))
            return {key: value for key, value in inner.items() if value is not ABSENT}
        kept.append(where)
        return found

    return back(before, after, now, ""), kept


def _joined(keys: list[str], others: list[str]) -> list[str]:
    """Some keys in their order, and each of the others that is not among them after the one that it follows there."""
    for place, key in enumerate(others):
        if key not in keys:
            keys.insert(keys.index(others[place - 1]) + 1 if place else 0, key)
    return keys


def _check(steps: list[tuple[str, Values]]) -> None:
    """Check the values of the last step.

    Raises:
        UserError: they are not allowed. The sentence begins with the step that brought the mistake.
    """
    named, values = steps[-1]
    if (mistake := _mistake(values, named)) is None:
        return
    blamed = named
    for earlier, before in reversed(steps[:-1]):
        if _mistake(before, earlier) != mistake:
            break
        blamed = earlier
    raise UserError(f"{blamed}{mistake}")


def _mistake(values: Values, named: str) -> str | None:
    """What is wrong with values of params.yaml, without their name; None if nothing is."""
    try:
        params = settings.checked(values, named)
        for name, recipe in params.recipes.items():
            with within(f"{named}: variants.{name}: "):
                check_fits(recipe.model, recipe.train, params.image_size)
    except UserError as error:
        return str(error).removeprefix(named)
    return None


def _listed() -> str:
    """The recipes, a line each."""
    names = recipes.names()
    if not names:
        raise UserError(f"the folder {recipes.FOLDER} is not here or has no recipes; run this in the study's folder")
    width = max(map(len, names))
    lines = [f"{name:{width}}  {recipes.summary(name)}" for name in names]
    return "\n".join([*lines, "", "`python -m graybox use NAME ...` merges one or several into params.yaml."])


def _difference(old: str, new: str) -> str:
    """What was changed, as `diff -u` shows it."""
    before, now = (text.removeprefix("\ufeff").splitlines() for text in (old, new))
    return "\n".join(difflib.unified_diff(before, now, f"{PARAMS} before", f"{PARAMS} now", lineterm=""))


def _text(path: Path) -> str:
    """A file's text, with its byte order mark and its line ends."""
    return path.read_bytes().decode("utf-8")


def _uses() -> list[dict[str, str]]:
    """The uses that can be taken back, the last at the end."""
    try:
        found: list[dict[str, str]] = json.loads(USES.read_text("utf-8"))
    except (OSError, ValueError):  # none yet
        return []
    return found


def _remember(uses: list[dict[str, str]]) -> None:
    files.write_json(USES, uses[-MOST:])
