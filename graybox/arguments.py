"""Checks of a caller's arguments. What is not allowed is one sentence that names the argument and what it may be."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def shown(value: object) -> str:
    """A value in a few words on one line: "'cat'", "2.0 (float)", "of type ndarray (float32 [3, 32, 32])"."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, str) and value.isprintable() and len(value) <= 40:
        return repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"of type {kind} ({value.dtype} {list(value.shape)})"
    text = repr(value) if isinstance(value, bytes | int | float | complex | list | tuple) else ""
    return f"{text} ({kind})" if text and len(text) <= 40 and "\n" not in text else f"of type {kind}"


def integer(name: str, value: Any, least: int | None = None, most: int | None = None, what: str = "") -> int:
    """The value as an int.

    Args:
        least, most: the smallest and the largest allowed value; None = no limit.
        what: what the integer is, for the message.

    Raises:
        TypeError: it is no integer (True and False are none).
        ValueError: it is outside the limits.
    """
    limits = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
    bounds = " and ".join(limits)
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        said = f", {what}" if what else f" of {bounds}" if bounds else ""
        raise TypeError(f"{name} is {shown(value)}; it should be an integer{said}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"{name} is {number}; it should be {bounds}")
    return number


def number(name: str, value: Any, low: float, high: float) -> float:
    """The value as a float from `low` to `high`.

    Raises:
        TypeError: it is no real number. ValueError: it is outside the limits, or NaN.
    """
    allowed = f"a number from {low:g} to {high:g}"
    dtype = getattr(value, "dtype", None)  # of NumPy's numbers and arrays, and of tensors
    try:
        # float() takes the real part of NumPy's complex numbers, with a mere warning.
        if isinstance(value, str | bytes | bool) or "complex" in str(dtype):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # RuntimeError: a tensor of several values
        raise TypeError(f"{name} is {shown(value)}; it should be {allowed}") from error
    if math.isnan(found) or not low <= found <= high:
        raise ValueError(f"{name} is {found:g}; it should be {allowed}")
    return found


def flag(name: str, value: Any) -> bool:
    """The value, if it is True or False; else a TypeError."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's too
        return bool(value)
    raise TypeError(f"{name} is {shown(value)}; it should be True or False")


def choice(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise a ValueError if the value is none of these."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {shown(value)}; allowed: {', '.join(allowed)}")


def instance(name: str, value: Any, kind: type[T], said: str = "") -> T:
    """The value, if it is of this class; else a TypeError that says so. `said`: the class, for the message."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{name} is {shown(value)}; it should be {said or 'a graybox.' + kind.__name__}")


def function(name: str, value: T) -> T:
    """The value, if it can be called; else a TypeError."""
    if callable(value):
        return value
    raise TypeError(f"{name} is {shown(value)}; it should be a function")


def path(name: str, value: Any) -> Path:
    """The value as a Path.

    Raises:
        TypeError: it is neither text nor a path.
        ValueError: it has a null character, which no file's name can have.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is {shown(value)}; it should be a path")
    found = Path(value)
    if "\0" in str(found):
        raise ValueError(f"{name} is {shown(str(found))}; a path has no null character")
    return found


def names(name: str, value: Any, least: int = 2) -> tuple[str, ...]:
    """The names as a tuple of text.

    Raises:
        TypeError: it is no list of names; a single text is none.
        ValueError: there are fewer than `least`.
    """
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        found = tuple(map(str, value))
    except TypeError as error:
        said = f"a list of at least {least} name{'s' * (least != 1)}"
        raise TypeError(f"{name} is {shown(value)}; it should be {said}") from error
    if len(found) < least:
        raise ValueError(f"{name} has {len(found)} name{'s' * (len(found) != 1)}; it should have at least {least}")
    return found


def pictures(name: str, value: Any) -> None:
    """Raise if the value is no array or tensor of images, uint8 [N, H, W, 3].

    Raises:
        TypeError: it is no array, or its values are not uint8.
        ValueError: its shape is another, or it is empty.
    """
    allowed = "uint8 [N, H, W, 3]"
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise TypeError(f"{name} is {shown(value)}; allowed: {allowed}")
    if str(value.dtype) not in ("uint8", "torch.uint8"):
        raise TypeError(f"{name} is of {value.dtype}; allowed: {allowed}")
    if len(value.shape) != 4 or value.shape[3] != 3 or not all(value.shape):
        raise ValueError(f"{name} has the shape {list(value.shape)}; allowed: [N, H, W, 3], each of at least 1")
