"""params.yaml in few lines, as the appendix shows it."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

WIDTH = 34
"""Characters after which a line ends at the next value: two columns of such lines share a page."""


def listing(values: dict[str, Any]) -> str:
    """Values of params.yaml as YAML that gives them back; a variant, or any mapping of plain values, in few lines."""
    parts = [_variants(value) if key == "variants" else _yaml({key: value}, None) for key, value in values.items()]
    return "".join(parts)


def _variants(variants: dict[str, Any]) -> str:
    lines = [
        _yaml({name: changes}, True).strip().removeprefix("{").removesuffix("}") for name, changes in variants.items()
    ]
    return "variants:\n" + textwrap.indent("\n".join(lines), "  ") + "\n"


def _yaml(values: dict[str, Any], braces: bool | None) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=braces)
    return text
