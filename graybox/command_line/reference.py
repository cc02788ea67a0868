"""Write docs/parameters.md: every parameter of params.yaml with its default, allowed values and description."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter

from graybox.schema import Section, shown
from graybox.settings import Params

HEAD = """# Parameters

What can be set in `params.yaml`, and what is allowed?

To change a parameter for a single run: `dvc exp run -S section.key=value`. A parameter that the file leaves out has its
default, but what `dvc.yaml` lists under `params`, such as `evaluate` and `occlusion.window`, must be in the file. This
page is written by `python -m graybox parameters > docs/parameters.md`.
"""
VARIANTS = """
## variants

The variants by name, each with its changes to `model` and `train`: `conv-3: {model: {conv_layers: 3}}`. The variant
without changes is the baseline. A name starts with a letter; letters, digits, - and _ follow.
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, field in Params.model_fields.items():
        parts.append(VARIANTS if name == "variants" else _section(name, field.annotation))
    return "".join(parts)


def _section(name: str, section: Any) -> str:
    inner = {key: field.annotation for key, field in section.model_fields.items() if _is_section(field.annotation)}
    about = section.__doc__.strip().splitlines()[0]
    about = about.removeprefix(f"The section `{name}`").removeprefix(":").strip(" .")
    text = f"\n## {name}\n" + (f"\n{about[:1].upper()}{about[1:]}.\n" if about else "")
    if inner:
        return text + "".join(_section(f"{name}.{key}", kind) for key, kind in inner.items())
    rows = [f"| `{key}` | {_default(field)} | {_allowed(section, key)} | {_cell(field.description)} |\n"
            for key, field in section.model_fields.items()]  # fmt: skip
    return f"{text}\n| key | default | allowed | what it is |\n|---|---|---|---|\n{''.join(rows)}"


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _default(field: Any) -> str:
    value = field.default
    text = "[" + ", ".join(map(shown, value)) + "]" if isinstance(value, list) else shown(value)
    return f"`{text}`" if len(text) < 30 else f"`{text[:12]}...`"


def _allowed(section: type[Section], key: str) -> str:
    """The field's JSON schema in words."""
    schema = section.model_json_schema()["properties"][key]
    if not {"anyOf", "enum", "type"} & schema.keys():  # the field has our own validator instead
        kind: Any = section.model_fields[key].annotation
        schema = TypeAdapter(kind).json_schema()
    limits = _limits(section.model_fields[key])
    return " or ".join(_words(one, limits) for one in schema.get("anyOf", [schema]))


def _limits(field: Any) -> dict[str, float]:
    """The bounds of a number; a validator hides them from its JSON schema."""
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    optional = [one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ())]
    constraints = [*field.metadata, *optional]
    constraints += [inner for one in constraints for inner in getattr(one, "metadata", ())]
    return {names[name]: getattr(one, name) for one in constraints for name in names if hasattr(one, name)}


def _words(schema: dict[str, Any], limits: dict[str, float]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text", "null": "null"}
    if schema.get("type") == "array":
        kind, _, rest = _words(schema["items"], {}).partition(" from ")
        return f"list of {kind}s" + (f" from {rest}" if rest else "")
    if schema["type"] == "number":
        schema = schema | limits
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    said = [f"{word} {_figure(schema[name])}" for name, word in bounds.items() if name in schema]
    return " ".join([kinds[schema["type"]], *said])


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
