"""What a recipe, a part of params.yaml, makes of all its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VARIANTS, ALL = "variants", "*"

Values = dict[str, Any]


def merged(values: Values, recipe: Values) -> Values:
    """The values of params.yaml with those of a recipe: mappings key by key, and any other value in place of the old.

    A variant takes the place of the one of its name as a whole. In `variants` null takes a variant away, and
    `"*": null` takes all away that were there before.
    """
    found = deep(values, {key: value for key, value in recipe.items() if key != VARIANTS})
    if VARIANTS in recipe:
        mine, theirs = values.get(VARIANTS), recipe[VARIANTS]
        takes_all = ALL in theirs and theirs[ALL] is None
        both = {**(mine if isinstance(mine, dict) and not takes_all else {}), **theirs}
        found[VARIANTS] = {name: variant for name, variant in both.items() if variant is not None or name not in theirs}
    return found


def with_value(values: Values, path: Sequence[str], value: Any) -> Values:
    """The values with one of them set, as by a recipe that has nothing else; `path`: the keys that lead to it.

    Below a variant only that value changes, and the variant keeps its others.
    """
    change = nested(path, value)
    return merged(values, change) if path[0] == VARIANTS and len(path) < 3 else deep(values, change)


def nested(path: Sequence[str], value: Any) -> Values:
    """The mapping of mappings in which the keys of `path`, of which there are one or more, lead to the value."""
    *above, last = path
    found: Values = {last: value}
    for key in reversed(above):
        found = {key: found}
    return found


def deep(values: Values, changes: Values) -> Values:
    """The values with others merged in, mapping by mapping."""
    found = dict(values)
    for key, value in changes.items():
        old = found.get(key)
        found[key] = deep(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
