"""Recipes: YAML files of parameters in the folder `recipes`, and what they make of the values of params.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from graybox import schema
from graybox.errors import UserError, within
from graybox.schema import Section
from graybox.settings import Params
from graybox.study.merging import VARIANTS, Values, nested, with_value

FOLDER = Path("recipes")
SETTING = re.compile(r"\+{0,2}(?P<key>[\w-]+(\.[\w-]+)*)=(?P<value>.*)", re.DOTALL)
# How a list, a mapping or quoted text begins, and what else is not simply text: a path may have any letters.
QUOTES, PLAIN = "[{\"'", (bool, int, float, type(None))


def names() -> list[str]:
    """The short names of the recipes in the folder `recipes`, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def summary(name: str) -> str:
    """What a recipe is: the first line of its file, a comment."""
    with (FOLDER / f"{name}.yaml").open(encoding="utf-8-sig") as file:
        return file.readline().lstrip("#").strip()


def find(name: str) -> Path:
    """The file of a recipe, given by its short name or its path.

    Raises:
        UserError: there is none.
    """
    if name in (known := names()):
        return FOLDER / f"{name}.yaml"
    path = Path(name)
    if path.is_file():
        return path
    from difflib import get_close_matches

    meant = f"did you mean {close[0]}? " if (close := get_close_matches(path.stem, known, 1)) else ""
    listed = ", ".join(known) or f"none, as the folder {FOLDER} is not here"
    raise UserError(f"there is no recipe {schema.shown(name)}; {meant}allowed: {listed}, or the path of a YAML file")


def read(path: Path) -> Values:
    """The values of a recipe.

    Raises:
        UserError: the file can't be read, is not YAML, or has a key that params.yaml does not know.
    """
    values = schema.read(path)
    with within(f"{path}: "):
        _check_keys(Params, values)
    return values


def set_one(values: Values, setting: str) -> Values:
    """The values of params.yaml with one more KEY=VALUE, as `dvc exp run -S` takes it; the value is YAML.

    Raises:
        UserError: it is something else, or the key is unknown.
    """
    match = SETTING.fullmatch(setting)
    if match is None or not match["value"].strip():
        raise UserError(f"-S is {schema.shown(setting)}; allowed: KEY=VALUE, such as model.filters=64")
    path, value = match["key"].split("."), _value(match["value"].strip())
    with within("-S "):
        _check_keys(Params, nested(path, value))
    return with_value(values, path, value)


def _check_keys(section: type[Section], values: Values, where: str = "") -> None:
    """Raise a UserError if a key is unknown, or a section holds no parameters; values are not looked at."""
    for key, value in values.items():
        field = section.model_fields.get(key)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, Section) and isinstance(value, dict):
            _check_keys(inner, value, f"{where}.{key}".lstrip("."))
        elif field is None or key == VARIANTS or (isinstance(inner, type) and issubclass(inner, Section)):
            needed: Values = {VARIANTS: {}} if section is Params else {}
            schema.validated(section, {**needed, key: value}, where)  # which says it as of params.yaml


def _value(text: str) -> Any:
    """A value as YAML reads it; what is no number, true, false, null, list, mapping or quoted text is text as it is."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        if text[0] in QUOTES:
            raise UserError(f"-S: {schema.shown(text)} is not YAML; allowed: such as [1, 2]") from error
        return text
    return value if text[0] in QUOTES or (isinstance(value, PLAIN) and "#" not in text) else text
