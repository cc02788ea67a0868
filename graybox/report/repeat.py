"""How to repeat the study: where the code and the images are, and the commands."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from graybox import schema
from graybox.errors import UserError
from graybox.report import locations
from graybox.report.document import Block, Bullets, Code, Paragraph, Run, Section, Text
from graybox.report.results import Results
from graybox.report.words import SOURCES, count, listed
from graybox.study.merging import VARIANTS, Values, merged, with_value

PACKAGES = ("torch", "torchvision", "numpy", "dvc")
PARAMS = "params.yaml"
CODE = ("graybox", "stages", "networks", PARAMS, "dvc.yaml", "requirements.txt")
"""What a result depends on: if it is not as committed, the report says so."""
WORDS = ("true", "false", "null")  # which are not text in YAML
MOST_SETTINGS = 8  # in a command; more are read from the appendix


def section(results: Results) -> Section:
    """All that is needed to get the same figures again."""
    root, seconds = results.root, float(results.table["train_seconds"].sum())
    found = commit(root)
    where = address(root) if found else ""
    use, complete = difference(root, found) if found else ("", True)
    lines = [f"git clone {shlex.quote(where)} study && cd study"] if where else []
    # Only now: the folder may be missing from the branch that a clone begins with.
    if found:
        folder = prefix(root)
        lines.append(f"git checkout {found}" + f" && cd {shlex.quote(folder)}" * bool(folder))
    lines += ["python -m venv .venv && . .venv/bin/activate", "pip install -r requirements.txt"]
    lines += [use] if use else []
    lines += ["dvc repro"]
    first = _first(root, found, where)
    if not complete:
        first += f" Before the last one, set {PARAMS} as in the appendix."
    versions = [
        f"Python {platform.python_version()}",
        *(f"{name} {_version(name)}" for name in PACKAGES if _version(name)),
    ]
    items: list[Text] = [
        [Run("Code: ", bold=True), Run(code(root, found, where, [PARAMS] if complete else []))],
        [Run("Data: ", bold=True), Run(_data(results))],
        [Run("Versions: ", bold=True), Run(", ".join(versions) + "; all others are pinned in requirements.txt.")],
        [Run("Trained on: ", bold=True), Run("; ".join(results.devices) + ".")],
        [
            Run("Time: ", bold=True),
            Run(
                f"{_time(seconds)} for the training of {count(len(results.table), 'network')} together, by the clock; "
                "other programs that ran meanwhile make it longer."
            ),
        ],
    ]
    blocks: list[Block] = [Paragraph(first), Code("\n".join(lines)), Bullets(items)]
    return Section("How to repeat it", blocks)


def _first(root: Path, found: str, where: str) -> str:
    """Whether the commands repeat the study, or why not."""
    if not found:
        return "The study has no commit, so these commands repeat it only in a copy of its folder."
    if set(changed_files(root)) - {PARAMS}:
        return "These commands do not repeat it exactly, because its code has changes that are not committed."
    if not where:
        return "In a copy of the repository, these commands repeat it."
    if not pushed(root, found):
        return f"These commands do not repeat it before commit {found} is pushed."
    return "These commands repeat it."


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def commit(root: Path) -> str:
    """The commit of the code and parameters that wrote the report; "" outside a git repository.

    It is the last one that changed such a file, so that a commit of results alone leaves the report as it is.
    """
    return _git(root, "log", "-1", "--abbrev=12", "--format=%h", "--", *CODE)


def code(root: Path, found: str, where: str, made: Sequence[str] = ()) -> str:
    """In words: the commit, whether it is where `address` says, and which files that matter were changed since.

    `made`: the files whose changes the commands make.
    """
    if not found:
        return "not in a git repository."
    names = sorted(set(changed_files(root)) - set(made))
    said = f"commit {found}" + (f" of {where}" if where else "")
    said += f", with changes in {listed(names, 4)}" * bool(names)
    if where and not pushed(root, found):
        said += ". It was not pushed there when this report was written"
    return f"{said}."


def changed_files(root: Path) -> list[str]:
    """The files that matter and are not as committed, new ones too; their paths start at `root`."""
    status = _git(root, "-c", "core.quotePath=off", "status", "--porcelain", "--no-renames", "--", *CODE)
    folder = prefix(root)
    return [line[3:].strip().strip('"').removeprefix(folder) for line in status.splitlines()]


def prefix(root: Path) -> str:
    """The folder of the study in its repository, such as "study/"; "" if it is the repository's own."""
    return _git(root, "rev-parse", "--show-prefix")


def remote(root: Path) -> str:
    """The name of git's remote: origin, if there is one, else the first; "" if there is none."""
    names = _git(root, "remote").split()
    return "origin" if "origin" in names else (names or [""])[0]


def pushed(root: Path, found: str) -> bool:
    """Whether the remote that `address` names has the commit, as far as this machine knows."""
    return bool(_git(root, "branch", "--remotes", "--list", f"{remote(root)}/*", "--contains", found))


def address(root: Path) -> str:
    """Where others find the repository: git's remote, without a password; "" if there is none but on this machine."""
    name = remote(root)
    return locations.public(_git(root, "config", "--get", f"remote.{name}.url")) if name else ""


def difference(root: Path, found: str) -> tuple[str, bool]:
    """The command that makes of the commit's params.yaml the one that is there, and whether it makes all of it.

    Returns:
        `python -m graybox use ...` with the recipe and the values that come closest, or "" if nothing is to be changed.
    """
    try:
        mine = schema.read(root / PARAMS)
        theirs = schema.parse(_git(root, "show", f"{found}:./{PARAMS}"))
    except UserError:
        return "", False
    choices: list[tuple[bool, int, list[str], list[str]]] = []
    for name in ("", *_recipes(root, found)):
        try:
            made = merged(theirs, schema.parse(_git(root, "show", f"{found}:./{name}"))) if name else theirs
            settings, complete = changes(made, mine)
        except (UserError, AttributeError, TypeError):  # what is no recipe
            continue
        choices.append((not complete, len(settings) + bool(name), [Path(name).stem] * bool(name), settings))
    if not choices:
        return "", False
    # First those that make all of it within the number that a command may have.
    missing, _, recipe, settings = min(
        choices, key=lambda choice: (choice[0] or len(choice[3]) > MOST_SETTINGS, choice[1])
    )
    complete = not missing
    if len(settings) > MOST_SETTINGS:
        settings, complete = [], False
    if not recipe and not settings:
        return "", complete
    words = ["python", "-m", "graybox", "use", *recipe, *(word for one in settings for word in ("-S", one))]
    return shlex.join(words), complete


def _recipes(root: Path, found: str) -> list[str]:
    listed = _git(root, "ls-tree", "--name-only", found, "./recipes/").splitlines()
    return [name for name in listed if name.endswith(".yaml")]


def changes(made: Values, mine: Values) -> tuple[list[str], bool]:
    """What turns values of params.yaml into others, as KEY=VALUE; and whether that is all.

    It is all if the values with these changes are the others, and the variants have the same order: the first is the
    baseline. The section `report` changes no result and is left out. A path on this machine is not shown.
    """
    made, mine = ({key: value for key, value in values.items() if key != "report"} for values in (made, mine))
    changed = [one for key in mine for one in _changed(key, made.get(key), mine[key])]
    ours, theirs = (values.get(VARIANTS) for values in (mine, made))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        changed += [(f"{VARIANTS}.{name}", None) for name in theirs if name not in ours]
    for path, value in changed:
        made = with_value(made, path.split("."), value)
    complete = _same(made, mine) and list(made.get(VARIANTS) or ()) == list(ours or ())
    return [f"{path}={_value(path, value)}" for path, value in changed], complete


def _same(one: Any, other: Any) -> bool:
    """Equality that tells true from 1; the order of keys does not matter."""
    first, second = (json.dumps(value, sort_keys=True, default=str) for value in (one, other))
    return first == second


def _changed(path: str, theirs: Any, mine: Any) -> list[tuple[str, Any]]:
    """The keys below `path` with another value; a variant counts as one value."""
    if _same(theirs, mine):
        return []
    whole = path.startswith(f"{VARIANTS}.")
    if isinstance(mine, dict) and isinstance(theirs, dict) and not whole:
        return [one for key in mine for one in _changed(f"{path}.{key}", theirs.get(key), mine[key])]
    return [(path, mine)]


def _value(path: str, value: Any) -> str:
    """A value as `-S` reads it: text as it is if it can't be taken for something else, all else as JSON."""
    key = path.rpartition(".")[2]
    shown = locations.masked({key: value})[key]
    if isinstance(shown, str) and shown[:1].isalpha() and shown == shown.strip() and shown.lower() not in WORDS:
        return shown
    return json.dumps(shown, ensure_ascii=False)


def _data(results: Results) -> str:
    """Where the images come from, by what the stage download wrote of them."""
    facts, origin, key = results.brought, results.origin, f"sources.{results.source}"
    said = f"{SOURCES[results.source]}, {count(int(results.data['images']), 'image')}"
    if results.source == "scenes":
        return f"{said}, drawn from the seed in {PARAMS}: nothing is downloaded."
    size = f"{facts['bytes'] / 1e9:.1f} GB" if facts.get("bytes", 0) >= 1e9 else f"{facts.get('bytes', 0) / 1e6:.0f} MB"
    name = "archive" if results.source == "tiny_imagenet" else "path"
    location = getattr(origin, name)
    if location is None:
        what = "the Hugging Face hub" if results.source == "mini_imagenet" else "its makers' address"
        which = f" ({facts['archive']}, {size})" if "archive" in facts else ""
        said += f". dvc repro downloads them from {what}{which}."
    elif web := locations.web(location):
        said += f". dvc repro downloads them from {web} ({size})."
    else:
        digest = f", SHA-256 {facts['sha256']}" if "sha256" in facts and "folder" not in facts else ""
        said += f" of the author's own copy, {locations.name(location)} ({size}{digest})."
        said += f" Set {key}.{name} to yours."
        if results.source != "folder":
            said += " With null the program downloads the data set, where its splits can be others." * (name == "path")
    if "boxes" in facts:
        boxes = facts["boxes"]
        said += f" {count(int(boxes['boxes']), 'object box', 'object boxes')} come from "
        said += f"{locations.web(boxes['from']) or locations.name(boxes['from'])} ({key}.boxes)."
    return f"{said} The seeds of splits and training are in {PARAMS}."


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8")
    except OSError:
        return ""
    return done.stdout.rstrip() if done.returncode == 0 else ""
