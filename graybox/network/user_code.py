"""The user's own functions that build a network: which files they are made of, and which of them may be run."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graybox.errors import UserError

OURS = {"graybox", "stages", "tests", "benchmarks"}
"""Packages of this project; their functions build no network."""


def is_function(architecture: str) -> bool:
    """Whether an architecture names the user's own function, `package.module:function`."""
    return ":" in architecture and not architecture.startswith("timm:")


def hashes(architecture: str, folder: Path | None = None) -> dict[str, str]:
    """The files that a function's module is made of, and their SHA-256: itself, its packages, and all that they import.

    Nothing is imported: the import statements are read. Modules outside the folder are not in it.

    Args:
        architecture: `package.module:function`.
        folder: where the module lies; None = the current folder.

    Returns:
        By the files' paths in the folder, with / between their parts; a line's end may be another on another system.

    Raises:
        UserError: the folder has no such module, or it can't be read.
    """
    root = (folder or Path.cwd()).resolve()
    module = architecture.partition(":")[0]
    if not (start := _files(module, root)) or module.split(".")[0] in OURS:
        wanted = Path(*module.split(".")).with_suffix(".py")
        raise UserError(
            f"{architecture}: there is no {wanted.as_posix()} in {root}; allowed: a function of a module there"
        )
    found: dict[str, str] = {}
    waiting = start
    while waiting:
        file = waiting.pop()
        name = file.relative_to(root).as_posix()
        if name in found:
            continue
        try:
            text = file.read_bytes().replace(b"\r\n", b"\n")
            imported = _imported(ast.parse(text), _name(file, root), file.name == "__init__.py")
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{architecture}: {name} can't be read ({type(error).__name__}: {error})") from error
        found[name] = hashlib.sha256(text).hexdigest()
        waiting += [one for name in imported if name.split(".")[0] not in OURS for one in _files(name, root)]
    return dict(sorted(found.items()))


def function(architecture: str, recorded: Mapping[str, str] | None = None) -> Callable[[int], Any]:
    """The function that an architecture names. Its module lies in the current folder.

    Args:
        architecture: `package.module:function`.
        recorded: the hashes that the module's files must have; None = any.

    Raises:
        UserError: there is no such module or function, or its files are not the recorded ones.
    """
    module_name, _, name = architecture.partition(":")
    present, root = hashes(architecture), Path.cwd().resolve()
    if recorded is not None and present != dict(recorded):
        changed = sorted(file for file in {*present, *recorded} if present.get(file) != recorded.get(file))
        raise UserError(
            f"{architecture}: {changed[0]} is not the file that the model was saved with; allowed: the same file, or "
            f"train it again"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    top = module_name.split(".")[0]
    found = importlib.machinery.PathFinder.find_spec(top)
    places = [found.origin, *(found.submodule_search_locations or [])] if found else []
    if not any(place and Path(place).resolve().is_relative_to(root) for place in places):
        raise UserError(f"{architecture}: Python finds another {top} than the one in {root}; rename yours")
    try:
        module = _fresh(module_name, present, root)
    except Exception as error:
        raise UserError(f"{architecture}: {module_name} can't be imported ({where(error)})") from error
    place = getattr(module, "__file__", None)
    if place is None or Path(place).resolve() not in {(root / file).resolve() for file in present}:
        raise UserError(f"{architecture}: {module_name} is already loaded from elsewhere; rename yours")
    made = getattr(module, name, None)
    if not callable(made):
        raise UserError(f"{architecture}: {module_name} has no function {name}")
    checked: Callable[[int], Any] = made
    return checked


def where(error: BaseException) -> str:
    """An error of the user's code in a few words, with the line in which it happened."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f", {Path(last[0].filename).name} line {last[0].lineno}" if last else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}"


_LOADED: dict[str, dict[str, str]] = {}
"""The hashes with which each module was imported: one that was edited since is imported anew."""


def forget() -> None:
    """Import every module anew when it is next asked for."""
    _LOADED.clear()


def _fresh(module: str, present: dict[str, str], root: Path) -> Any:
    if _LOADED.get(module) != present:  # also if somebody else imported it, before an edit maybe
        names = [_name(root / file, root) for file in present]
        # With their packages, which hold the modules that were imported from them.
        for name in {".".join(one.split(".")[:count]) for one in names for count in range(1, one.count(".") + 2)}:
            if Path(getattr(sys.modules.get(name), "__file__", None) or root).is_relative_to(root):
                sys.modules.pop(name, None)
        importlib.invalidate_caches()
    _LOADED[module] = present
    return importlib.import_module(module)


def _files(module: str, root: Path) -> list[Path]:
    """The files of a module in the folder, with those of the packages that it lies in; [] if it is not there."""
    parts, found = module.split("."), []
    for count in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:count])
        options = [path / "__init__.py", path.with_suffix(".py")]
        file = next((one for one in options if one.is_file() and one.resolve().is_relative_to(root)), None)
        if file is None and (count == len(parts) or not path.is_dir()):
            return []
        found += [file] if file else []
    return found


def _name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """The modules that a file may import: of `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found - {""}
