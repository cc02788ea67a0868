"""The base of all parameter schemas, and how to read one section of params.yaml.

Each room owns the schema of its own section (`graybox.network.params`, `graybox.occlusion.params`, ...), so that a new
parameter touches one room only. The message for a bad value is one sentence: the key, the value and what is allowed.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from graybox.errors import UserError, within

if TYPE_CHECKING:
    from ruamel.yaml.error import YAMLError


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _is_text(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("should be text of at least one letter, without control characters")
    return value


# Every number has a least and a greatest value: a slip of some zeros is a sentence, not a full memory hours later.
MANY = 1_000_000
"""The greatest number of images, files or classes that can be asked for. Where fewer are there, all are taken."""
# Not strict, so that a number in quotes passes, too; but `true` does not pass as 1.
Real = Annotated[float, BeforeValidator(_no_bool), Field(strict=False, allow_inf_nan=False)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(_is_text)]
"""A path, a name or an address: not blank, and without characters that no file's name can have."""
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
# Pydantic's phrases -> plainer ones for the author of params.yaml; rooms add their own patterns.
PLAINER = {
    "Input should be": "should be",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "unable to parse string as an integer": "written in digits",
}


# Keys that had another place in earlier versions.
MOVED = {"train.device": "run.device"}


class Section(BaseModel):
    """A group of parameters. It is frozen and refuses unknown keys and values of another type.

    Attributes:
        key: the name of the section in params.yaml, such as "occlusion"; "" for a part of a section.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    key: ClassVar[str] = ""


S = TypeVar("S", bound=Section)


MOST_CHARACTERS, DEEPEST = 1_000_000, 20
"""Of a YAML file that is read; the parser crashes on a file that is nested some 20,000 levels deep."""


def read(path: Path | str = "params.yaml") -> dict[str, Any]:
    """Read a YAML file of named sections, as plain values.

    The parser is DVC's, so that both read the same: YAML 1.2, in which `no` is text, `010` is 10 and `1e-3` a number.

    Raises:
        UserError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8-sig"), path)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error


def parse(text: str, path: Path | str = "params.yaml") -> dict[str, Any]:
    """A YAML text of named sections as plain values; `path` names it in messages.

    Raises:
        UserError: the text is not YAML, or is not a mapping.
    """
    from ruamel.yaml import YAML  # not needed for parameters made in Python
    from ruamel.yaml.error import YAMLError

    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{path} has {len(text):,} characters; allowed: at most {MOST_CHARACTERS:,}")
    try:
        _check_depth(path, text)
        raw = YAML(typ="safe").load(text.removeprefix("\ufeff"))  # a byte order mark
    except YAMLError as error:
        raise UserError(f"{path} is not YAML: {_why(error)}") from error
    except (ValueError, LookupError) as error:  # such as the date 2020-13-45, !!int x, or a number of 5,000 digits
        raise UserError(f"{path} is not YAML: it has a value that can't be read ({_line(error)})") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} should hold sections of parameters, such as `data:` and `model:`")
    return raw


def _check_depth(path: Path | str, text: str) -> None:
    """Raise a UserError if the file is nested too deep. The events come one by one, without recursion."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            line = event.start_mark.line + 1
            raise UserError(f"{path} is nested {depth} levels deep in line {line}; allowed: at most {DEEPEST}")


def _why(error: YAMLError) -> str:
    """What the parser did not understand, and where, in one line."""
    problem, mark = getattr(error, "problem", None) or str(error), getattr(error, "problem_mark", None)
    place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
    return _line(problem) + place


def _line(text: object) -> str:
    """Text as one line that can be printed, shortened in its middle if it is long."""
    line = " ".join(str(text).split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return line if len(line) <= 160 else f"{line[:120]}...{line[-20:]}"


def load(section: type[S], path: Path | str = "params.yaml") -> S:
    """Load one section of params.yaml; a missing key has its default.

    Raises:
        UserError: the file can't be read, a key is unknown, or a value is not allowed.
    """
    values = read(path).get(section.key, {})
    with within(f"{path}: "):
        return validated(section, values, section.key)


def validated(section: type[S], values: Any, where: str = "") -> S:
    """`section` with these values.

    Args:
        where: the key above them, for the message.

    Raises:
        UserError: a key is unknown, or a value is not allowed.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        _fail(section, error.errors()[0], where)


def _fail(section: type[Section], error: Any, where: str) -> NoReturn:
    """Raise a UserError with pydantic's first error in one sentence."""
    location = [_line(part) for part in error["loc"]]
    key = ".".join([where] * bool(where) + location)
    if key in MOVED:
        raise UserError(f"{key} is now {MOVED[key]}; write it there")
    if error["type"] in ("extra_forbidden", "invalid_key"):
        for part in location[:-1]:
            section = _subsection(section, part)
        raise UserError(f"{key} is not a known key; {_known(location[-1], list(section.model_fields))}")
    if location and location[-1] == "[key]":
        *_, above, name, _ = [where, *location]
        raise UserError(f"{above} has the name {name}, which YAML does not read as text; allowed: a name in quotes")
    if error["type"] == "missing":
        raise UserError(f"{key} is missing")
    message = error["msg"].removeprefix("Value error, ")
    for theirs, ours in PLAINER.items():
        message = message.replace(theirs, ours)
    if isinstance(error["input"], dict) and error["type"] == "value_error" and not message.startswith("should"):
        # Keys that don't go together; the message names them.
        raise UserError(f"{key}: {message}")
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        message = "should hold parameters and their values"
    if message.startswith("should"):
        message = f"it {message}"
    raise UserError(f"{key} is {shown(error['input'])}; {message}")


def _subsection(section: type[Section], key: str) -> type[Section]:
    annotation = section.model_fields[key].annotation
    return next(t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Section))


def _known(key: str, keys: list[str]) -> str:
    """The keys that are allowed, and the one that was probably meant."""
    from difflib import get_close_matches

    close = get_close_matches(key, keys, 1, 0.75)
    return f"did you mean {close[0]}? allowed: {', '.join(keys)}" if close else f"allowed: {', '.join(keys)}"


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 40, 60


def shown(value: Any) -> str:
    """A value as params.yaml would write it, shortened if it is long."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else _line(_SHORT.repr(value))
