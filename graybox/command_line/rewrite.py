"""Change values in a YAML file's text, and keep its comments, its order and its other lines."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from graybox.errors import UserError

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

WIDTH = 120  # longer lists take several lines, unless the text has longer lines already


def rewritten(text: str, values: dict[str, Any], written: Iterable[str] = ()) -> str:
    """A YAML text with as few changes as possible, so that it reads as `values`.

    Args:
        text: YAML; a byte order mark and the line ends of Windows stay.
        values: plain values, in the order that they should have.
        written: other YAML texts. A new value that one of them has at the same place is written as there.

    Raises:
        UserError: the text shares values by anchors, so that a change in one place would change another.
    """
    mark, ends = text[: text.startswith("\ufeff")], "\r\n" if "\r\n" in text else "\n"
    plain = text.removeprefix(mark).replace("\r\n", "\n")
    if repr(_read(plain)) == repr(values):
        return text
    yaml = _yaml(plain)
    if _shares(plain):
        raise UserError("values are shared by anchors (&name), so that a change would reach more than its own key; "
                        "allowed: each value written at its own key")  # fmt: skip
    found = yaml.load(plain)
    others = [other.removeprefix("\ufeff").replace("\r\n", "\n") for other in written]
    _sync(found, values, [yaml.load(other) for other in others if not _shares(other)])
    stream = io.StringIO()
    yaml.dump(found, stream)
    made = re.sub(r", +$", ",", stream.getvalue(), flags=re.MULTILINE)  # ruamel.yaml breaks lists after the space
    if repr(_read(made)) != repr(values):
        raise UserError("its text can't be changed by a program; allowed: plain values, lists and mappings")
    return mark + made.replace("\n", ends)


def _yaml(text: str) -> YAML:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Which writes null as `null`."""

    Representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.preserve_quotes = True
    yaml.explicit_start = text.startswith("---")
    yaml.width = max([WIDTH, *map(len, text.splitlines())])
    return yaml


def _read(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _shares(text: str) -> bool:
    """Whether a text has anchors."""
    from ruamel.yaml import YAML

    return any(getattr(event, "anchor", None) for event in YAML().parse(text))


def _sync(node: CommentedMap, values: dict[str, Any], written: list[Any]) -> None:
    """Make a mapping of the text equal to `values`. `written`: the other texts' values at its place."""
    from ruamel.yaml.comments import CommentedMap

    for key in _out_of_order(list(node), list(values)):
        _remove(node, key)  # and the loop below puts it at its new place
    before = None
    for key, value in values.items():
        theirs = [other for other in written if isinstance(other, CommentedMap) and key in other]
        if key not in node or repr(_plain(node[key])) != repr(value):
            if key in node and isinstance(node[key], CommentedMap) and isinstance(value, dict) and value:
                _sync(node[key], value, [other[key] for other in theirs])
            else:
                same = [other for other in theirs if repr(_plain(other[key])) == repr(value)]
                _put(node, before, key, value, same[-1] if same else None)
        before = key
    for key in reversed([key for key in node if key not in values]):
        _remove(node, key)


def _out_of_order(present: list[Any], wanted: list[Any]) -> list[Any]:
    """The keys in both lists that have to move so that those of `present` are in the order of `wanted`."""
    have, want = [key for key in present if key in wanted], [key for key in wanted if key in present]
    blocks = SequenceMatcher(None, have, want, autojunk=False).get_matching_blocks()
    stay = {key for block in blocks for key in have[block.a : block.a + block.size]}
    return [key for key in have if key not in stay]


def _put(node: CommentedMap, before: Any, key: Any, value: Any, written: CommentedMap | None) -> None:
    """Set a key of a mapping, a new one after `before`; in the words of `written`, if that is given."""
    keys = list(node)
    new = key not in keys
    _give_above(node, key)
    tail = _cut_tail(node, before if new else key)
    if written is not None:
        written = copy.deepcopy(written)
        _cut_tail(written, key)
        value = written[key]
    if new:
        place = 0 if before is None else keys.index(before) + 1
    else:
        place = keys.index(key)
        del node[key]  # else ruamel.yaml puts the new text in quotes like the old
    node.insert(place, key, _noded(value))
    theirs, mine = (each.ca.items.get(key) if each is not None else None for each in (written, node))
    if theirs and (new or (mine and mine[2] and theirs[2] and mine[2].value == theirs[2].value)):
        node.ca.items[key] = theirs  # the same words may begin at another column
    _add_tail(node, key, tail)


def _remove(node: CommentedMap, key: Any) -> None:
    """Remove a key of a mapping with the comment beside it; the lines of comment below it stay."""
    _give_above(node, key)
    keys = list(node)
    place, tail = keys.index(key), _cut_tail(node, key)
    del node[key]
    node.ca.items.pop(key, None)
    if place:
        _add_tail(node, keys[place - 1], tail)
    elif tail.strip() and len(node):
        lines = [line.strip().removeprefix("#").strip() for line in tail.splitlines()]
        node.yaml_set_start_comment("\n".join(lines), indent=len(tail) - len(tail.lstrip(" ")))


def _plain(value: Any) -> Any:
    """A value of a text that keeps comments, without them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    for kind in (bool, int, float, str):  # true is an int too
        if isinstance(value, kind):
            return kind(value)
    return value


def _noded(value: Any) -> Any:
    """A value to be written: lists in one line, mappings too unless they are from a text."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, (CommentedMap, CommentedSeq)) or not isinstance(value, (dict, list)):
        return value
    node = CommentedMap(value) if isinstance(value, dict) else CommentedSeq(value)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        node[key] = _noded(inner)
    node.fa.set_flow_style()
    return node


# A token of ruamel.yaml holds what stands beside a value, and all lines of comment and blank lines up to the next one.
# So the lines below the last value of a section are the last value's: they must stay where they are.


def _token(node: Any, key: Any) -> tuple[Any, Any, Any]:
    """Where the token after a value hangs: the innermost mapping or list, its last key, and the token or None."""
    while getattr(value := node[key], "fa", None) is not None and len(value) and not value.fa.flow_style():
        node, key = value, list(value)[-1] if isinstance(value, dict) else len(value) - 1
    tokens = node.ca.items.get(key)
    return node, key, tokens and tokens[2 if isinstance(node, dict) else 0]


def _cut_tail(node: CommentedMap, key: Any) -> str:
    """Take away the lines below a value, up to the next one, and give them. `key`: None for none."""
    if key is None or (token := _token(node, key)[2]) is None:
        return ""
    beside, _, below = token.value.partition("\n")
    token.value = f"{beside}\n"
    return str(below)


def _give_above(node: CommentedMap, key: Any) -> None:
    """Hang the lines above a key, where ruamel.yaml has hung them there, below the value before it, where most are."""
    keys, tokens = list(node), node.ca.items.get(key)
    if key not in keys[1:] or not tokens or not tokens[1]:
        return
    lines = [" " * token.start_mark.column * bool(token.value.strip()) + token.value for token in tokens[1]]
    tokens[1] = None
    _add_tail(node, keys[keys.index(key) - 1], "".join(lines))


def _add_tail(node: CommentedMap, key: Any, tail: str) -> None:
    """Put lines below a value, after those that are there."""
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    if not tail:
        return
    node, key, token = _token(node, key)
    if token is not None:
        token.value += tail
    else:
        token = CommentToken(f"\n{tail}", CommentMark(0), None)
        node.ca.items[key] = [None, None, token, None] if isinstance(node, dict) else [token, None, None, None]
