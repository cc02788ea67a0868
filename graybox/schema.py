"""The base of all parameter schemas, and how to read one section of params.yaml.

Each room owns the schema of its own section (`graybox.network.params`, `graybox.occlusion.params`, ...), so that a new
parameter touches one room only. The message for a bad value is one sentence: the key, the value and what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from graybox.errors import UserError, within


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


# Not strict, because YAML 1.1 reads `1e-3` (no dot) as text; but `true` does not pass as 1.
Real = Annotated[float, BeforeValidator(_no_bool), Field(strict=False, allow_inf_nan=False)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
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


def read(path: Path | str = "params.yaml") -> dict[str, Any]:
    """Read a YAML file of named sections, as plain values.

    Raises:
        UserError: the file is missing, is not YAML, or is not a mapping.
    """
    import yaml  # not needed for parameters made in Python

    try:
        # The fast C parser, if this PyYAML has it, because every stage reads params.yaml.
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} should hold sections of parameters, such as `data:` and `model:`")
    return raw


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
    location = [str(part) for part in error["loc"]]
    key = ".".join([where] * bool(where) + location)
    if key in MOVED:
        raise UserError(f"{key} is now {MOVED[key]}; write it there")
    if error["type"] == "extra_forbidden":
        for part in location[:-1]:
            section = _subsection(section, part)
        raise UserError(f"{key} is not a known key; allowed: {', '.join(section.model_fields)}")
    if error["type"] == "missing":
        raise UserError(f"{key} is missing")
    message = error["msg"].removeprefix("Value error, ")
    for theirs, ours in PLAINER.items():
        message = message.replace(theirs, ours)
    if isinstance(error["input"], dict) and error["type"] == "value_error":
        raise UserError(f"{key}: {message}")
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        message = "should hold parameters and their values"
    if message.startswith("should"):
        message = f"it {message}"
    raise UserError(f"{key} is {shown(error['input'])}; {message}")


def _subsection(section: type[Section], key: str) -> type[Section]:
    annotation = section.model_fields[key].annotation
    return next(t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Section))


def shown(value: Any) -> str:
    """A value as params.yaml would write it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
