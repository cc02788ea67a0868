"""How NumPy's arrays, scalars and dtypes are spelled in a pickle, for graybox.data.sources.pickles.

Nothing here is looked up by the name that a file gives: the few spellings are compared with, and all else is refused.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

BLOCK = 1 << 20  # bytes of a long text that are decoded at a time
MAX_SIDE = 1 << 40
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


class Refused(Exception):
    """Why a pickle isn't read, in a few words."""


@dataclass(frozen=True)
class Global:
    """A name that stands in the file: module, space, name."""

    name: str


class Dtype(NamedTuple):
    """A dtype that is complete."""

    dtype: np.dtype


@dataclass(frozen=True)
class Text:
    """A long text that isn't decoded: the protocols 0 to 2 of Python 3 write an array's data so."""

    encoded: memoryview
    codec: str

    def latin1(self) -> bytearray:
        """The text's characters as one byte each, decoded block by block."""
        decoder = codecs.getincrementaldecoder(self.codec)()
        data = bytearray()
        for first in range(0, len(self.encoded), BLOCK):
            data += decoder.decode(bytes(self.encoded[first : first + BLOCK])).encode("latin-1")
        data += decoder.decode(b"", final=True).encode("latin-1")
        return data


class Pending:
    """An array or a dtype whose state is yet to come; `value` is what it becomes."""

    value: Any = None

    def build(self, state: tuple[Any, ...]) -> None:
        raise NotImplementedError


class _PendingDtype(Pending):
    def __init__(self, spelled: str) -> None:
        if not _DTYPE.fullmatch(spelled):
            raise Refused(f"an array of {spelled[:20]!r}")
        self.dtype = np.dtype(spelled)

    def build(self, state: tuple[Any, ...]) -> None:
        version, order, *details = state
        # Subarrays, fields and metadata have their place in the state too.
        if version != 3 or details != [None, None, None, -1, -1, 0] or order not in ("<", ">", "|", "="):
            raise Refused("an array of an unusual kind")
        self.value = Dtype(self.dtype if order == "|" else self.dtype.newbyteorder(order))


class _PendingArray(Pending):
    def build(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, data = state
        self.value = array(data, dtype, shape, "F" if fortran else "C")


def reduced(function: Global, arguments: tuple[Any, ...], allowance: int) -> tuple[Any, int]:
    """What calling `function` stands for.

    Args:
        allowance: bytes that may be newly made.

    Returns:
        The value, and the bytes newly made for it.
    """
    name = function.name.replace("numpy.core.", "numpy._core.")
    match name, arguments:
        case "numpy._core.multiarray _reconstruct", (Global("numpy ndarray"), (0,), _):
            return _PendingArray(), 0
        case "numpy dtype", (str() | bytes() as spelled, *_):
            return _PendingDtype(spelled if isinstance(spelled, str) else spelled.decode("latin-1")), 0
        case "numpy._core.multiarray scalar", (dtype, data):
            return array(data, dtype, (), "C").item(), 0
        case "numpy._core.numeric _frombuffer", (data, dtype, shape, "C" | "F" as order):
            return array(data, dtype, shape, order), 0
        case "numpy._core.numeric _frombuffer", (data, dtype, shape, "K", axes):
            return array(data, dtype, shape, "C").transpose(axes), 0
        case "_codecs encode", (str() | Text() as text, "latin1" | "latin-1"):
            length = len(text) if isinstance(text, str) else len(text.encoded)
            if length > allowance:  # the same text many times over
                raise Refused("more data than the file has")
            data = text.encode("latin-1") if isinstance(text, str) else memoryview(text.latin1())
            return data, length
        case "__builtin__ bytes" | "builtins bytes", ():
            return b"", 0
    raise Refused(f"{function.name[:60].replace(' ', '.')!r} is not allowed")


def array(data: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    """A view of `data` (bytes, a view, or Python 2's text) as a read-only array."""
    if isinstance(data, str):
        data = data.encode("latin-1")
    sides = isinstance(shape, tuple) and all(type(side) is int and 0 <= side <= MAX_SIDE for side in shape)
    if not isinstance(data, (bytes, memoryview)) or not isinstance(dtype, Dtype) or not sides or len(shape) > 8:
        raise Refused("an array of an unusual kind")
    needed = math.prod(shape) * dtype.dtype.itemsize
    if needed != len(data):
        raise Refused(f"an array with {len(data):,} bytes of data where its shape needs {needed:,}")
    flat = np.frombuffer(data, dtype.dtype) if needed else np.empty(0, dtype.dtype)
    found: np.ndarray = flat.reshape(shape, order=order)
    found.flags.writeable = False
    return found
