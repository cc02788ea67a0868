"""Values are changed in a YAML text, and its comments, its order and all other lines stay."""

from __future__ import annotations

import copy
import difflib
import itertools

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from graybox import schema
from graybox.command_line.rewrite import rewritten
from graybox.errors import UserError
from tests.support.basics import ROOT

TEXT = (ROOT / "params.yaml").read_text("utf-8")
VALUES = schema.parse(TEXT)
LEAVES = [
    (*above, key)
    for section, values in VALUES.items()
    if section != "variants"
    for above, inner in [((section,), values), *(((section, k), v) for k, v in values.items() if isinstance(v, dict))]
    for key, value in inner.items()
    if not isinstance(value, dict)
]


def lines_changed(before: str, now: str) -> tuple[list[str], list[str]]:
    """The lines that went, and those that came."""
    lines = list(difflib.ndiff(before.splitlines(), now.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def comment(line: str) -> str:
    return line.partition(" #")[2]


@st.composite
def changes(draw: st.DrawFn) -> tuple[dict, int]:
    """The values of params.yaml with some keys changed, variants removed and variants added; how many changes."""
    values = copy.deepcopy(VALUES)
    keys = draw(st.lists(st.sampled_from(LEAVES), max_size=4, unique=True))
    for *above, key in keys:
        at = values
        for section in above:
            at = at[section]
        new = draw(st.sampled_from([None, True, 3, 0.125, "text: 1", "no", [1, 2], [], ["a b", None]]))
        at[key] = new if repr(at[key]) != repr(new) else "another"
    removed = draw(st.lists(st.sampled_from(list(VALUES["variants"])), max_size=13, unique=True))
    for name in removed:
        del values["variants"][name]
    added = draw(
        st.sampled_from([{}, {"new": {}}, {"a": {"model": {"filters": [4, 8]}}, "b": {"train": {"epochs": 1}}}])
    )
    values["variants"] |= added
    return values, len(keys) + len(removed) + len(added)


@settings(max_examples=20, phases=[Phase.generate], deadline=None, derandomize=True, database=None)
@given(changes())
def test_a_change_reaches_its_own_lines_only_and_can_be_taken_back(drawn):
    values, count = drawn
    now = rewritten(TEXT, values)
    assert repr(parse_yaml(now, "params.yaml")) == repr(values)
    went, came = lines_changed(TEXT, now)
    assert max(len(went), len(came)) <= count
    # A comment goes with a variant only.
    lost = {comment(line) for line in went} - {comment(line) for line in came}
    assert lost <= {
        "",
        " as much work, shared otherwise",
        " overlapping windows",
        " strided convolutions shrink instead",
    }
    assert rewritten(now, VALUES, [TEXT]) == TEXT


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_the_line_ends_of_windows_stay(mark, ends):
    text = mark + TEXT.replace("\n", ends)
    values = copy.deepcopy(VALUES)
    assert rewritten(text, values) == text
    values["data"]["classes"] = [f"n{number:08}" for number in range(40)]
    now = rewritten(text, values)
    assert now == mark + rewritten(TEXT, values).replace("\n", ends)
    assert max(map(len, now.splitlines())) <= max(map(len, TEXT.splitlines())) + 60  # a long list takes several lines
    assert rewritten(now, VALUES, [text]) == text


SMALL = """\
# head
a:
  x: 1   # beside x
  # above y
  y: {m: {k: 2}}   # beside y
  # below y

# above b
b:
  p:
    q: [1,
        2]
  # above r
  r:
  - 1
  - 'two'   # beside two
  # below two

c: 3
# end
"""


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"a": {"x": 2, "y": {"m": {"k": 2}}}, "b": {"p": {"q": [3]}, "r": [1, "two"]}, "c": 4}, set()),
        ({"a": {"x": 1, "y": {"m": {"k": 3}}, "z": []}, "b": {"p": {"q": [1, 2]}, "r": 7, "s": 8}, "c": 3}, {"two"}),
        ({"a": {"y": {"m": {"k": 2}}}, "b": {"p": {"q": [1, 2]}}, "c": 3}, {"x", "two"}),
        ({"a": {"x": 1}, "b": {"new": 1, "r": [1, "two"]}, "c": 3, "d": {"e": 5}}, {"y"}),
        ({"a": {"z": 5}, "b": {"p": {"q": [1, 2]}, "r": [1, "two"]}, "c": None}, {"x", "y"}),
    ],
)
def test_lines_of_comment_stay_and_what_stands_beside_a_value_goes_with_it_only(values, gone):
    now = rewritten(SMALL, values)
    assert yaml.safe_load(now) == values
    for line in SMALL.splitlines():
        said = line.partition("#")[2]
        assert not said or (said in now) == (said.removeprefix(" beside ") not in gone), now
    # Blank lines and comments stay before the section that they stood before.
    assert "\n\n# above b\nb:\n" in now and "\n\nc:" in now and rewritten(now, values) == now
    assert rewritten(now, yaml.safe_load(SMALL), [SMALL]).splitlines()[0] == "# head"


def test_a_new_value_is_written_as_where_it_comes_from():
    recipe = (
        "variants:\n  # no line above comes along\n  new:   # beside new\n    model:\n      filters: [1, 2]   # two\n"
    )
    values = {"variants": {"old": {}, "new": {"model": {"filters": [1, 2]}}}, "z": 1}
    start, end = "variants:\n  old: {}   # beside old\n", "\nz: 1\n"
    assert rewritten(start + end, values, [recipe]) == (
        f"{start}  new:   # beside new\n    model:\n      filters: [1, 2]   # two\n{end}"
    )


@pytest.mark.parametrize(
    "text", ["a: &one {x: 1}\nb: *one\n", "a: &one {x: 1}\nb:\n  <<: *one\n  y: 2\n"], ids=["alias", "merge key"]
)
def test_values_that_are_shared_are_refused_and_only_if_something_changes(text):
    values = yaml.safe_load(text)
    assert rewritten(text, values) == text
    with pytest.raises(UserError, match=r"anchors \(&name\)"):
        rewritten(text, values | {"c": 1})
    # Of a recipe the values are taken, not the anchors.
    assert rewritten("c: 1\n", {"c": 1, **values}, [text]) == f"c: 1\na: {{x: 1}}\nb: {values['b']}\n".replace("'", "")


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")), ids="".join)
def test_values_get_the_order_that_they_should_have_and_lines_of_comment_stay(order):
    text = "top: 0\nvariants:\n  a: {x: 1}   # first\n  # above b\n  b: {x: 2}\n  c: {x: 3}\n  d: {x: 4}\n"
    text += "\n# below\nlast: 5\n"
    variants = {key: {"x": "abcd".index(key) + 1} for key in order}
    made = rewritten(text, {"top": 0, "variants": variants, "last": 5})
    assert list(schema.parse(made)["variants"].items()) == list(variants.items())
    assert "# above b\n" in made and "\n\n# below\nlast: 5\n" in made
