"""Reading pickles of plain values and NumPy arrays without running them.

Python's own unpickler imports and calls what a file names, so that a file can do anything; even where only NumPy may
be named, a crafted one crashes the interpreter or takes all memory. This reader interprets the opcodes itself: it
imports nothing, calls nothing that the file names, and knows only the few steps that make up a dictionary of
texts, numbers and arrays, as Python 2 and 3 and NumPy 1 and 2 write it in the protocols 0 to 5.
"""

from __future__ import annotations

import codecs
import mmap
import pickletools
import re
import struct
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from graybox.data.sources.pickle_arrays import Dtype, Global, Pending, Refused, Text, reduced
from graybox.errors import UserError

MAX_BYTES = 4 << 30
MAX_STEPS = 1_000_000  # opcodes, each of which makes at most one small object
MAX_VALUES = 1_000_000  # in the result, where what is shared counts as often as it appears
MAX_DEPTH = 16
MAX_TEXT_BYTES = 64 << 20  # of all texts together that aren't an array's data
SMALL = 1 << 16  # bytes: what is longer is an array's data, and stays where it is in the file
ALLOWED = "allowed: numbers, texts, lists, tuples, dictionaries with texts as keys, and arrays of numbers"

_OPCODES = {info.code.encode("latin-1"): info for info in pickletools.opcodes}
# The width of the length that comes before the data, in bytes.
_SIZED = {"bytes1": 1, "bytes4": 4, "bytes8": 8, "bytearray8": 8, "string1": 1, "string4": 4}
_SIZED |= {"unicodestring1": 1, "unicodestring4": 4, "unicodestring8": 8}
# Possessive, so that nothing is remembered for each of many million bytes.
_ESCAPED = re.compile(rb"""(?:[^\\]|\\[\\'"nrt]|\\x[0-9a-f]{2})*+""")
_KNOWN_OPCODES = """
    PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_KNOWN = frozenset(_KNOWN_OPCODES.split())


def load(path: Path, name: str | None = None) -> Any:
    """Read a pickle file; its arrays are views of the file, which stays mapped and isn't read into memory.

    Args:
        name: what messages call the file; None = its path.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, dict (keys str or bytes) and read-only arrays of numbers.

    Raises:
        UserError: the file can't be read, is damaged or too large, or holds or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # a ValueError for an empty file
        raise UserError(f"{name or path} can't be read ({error})") from error
    return loads(data, name or str(path))


def loads(data: bytes | mmap.mmap, name: str) -> Any:
    """Read a pickle from memory, as `load` does; `name` is what messages call it."""
    machine = _Machine(data)
    try:
        if len(data) > MAX_BYTES:
            raise Refused(f"more than {MAX_BYTES >> 30} GB")
        return _checked(machine.run())
    except Refused as error:
        why = str(error)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error):
        why = "damaged or cut off"
    _refuse(name, why, machine.position)


def dictionary(value: Any, name: str) -> dict[str, Any]:
    """A dictionary with str for keys, which Python 2 wrote as bytes.

    Raises:
        UserError: `value`, which messages call `name`, is none.
    """
    if not isinstance(value, dict):
        raise UserError(f"{name} holds a {type(value).__name__}; it should hold a dictionary")
    return {text(key): item for key, item in value.items()}


def text(value: str | bytes) -> str:
    """A text of Python 2 or 3 as str."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _refuse(name: str, why: str, position: int) -> NoReturn:
    raise UserError(f"{name} is not a pickle that can be read safely ({why}, near byte {position:,}); {ALLOWED}")


class _Machine:
    """The unpickler's stack and memo over one file."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.view = memoryview(data)
        self.position = 0
        self.frame_end = 0
        self.text_bytes = 0
        self.array_bytes = len(data)  # what may still be made of texts: no more than the file has
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    # What pickletools' readers of arguments need of a file.
    def read(self, count: int) -> bytes:
        found = self.data[self.position : self.position + count]
        self.position += len(found)
        return found

    def readline(self) -> bytes:
        return bytes(self._line(limit=200))

    def run(self) -> Any:
        """Go through the opcodes up to STOP, and give the one value that is left."""
        for _ in range(MAX_STEPS):
            start = self.position
            info = _OPCODES.get(self.read(1))
            if info is None:
                raise Refused("cut off, or no pickle")
            if info.name not in _KNOWN:
                raise Refused(f"{info.name} is not allowed")
            argument = self._argument(info)
            if start < self.frame_end < self.position:
                raise Refused("a frame of a wrong length")
            if info.name == "STOP":
                (value,) = self.stack
                if self.marked:
                    raise Refused("damaged")
                return value
            self._step(info.name, argument)
        raise Refused(f"more than {MAX_STEPS:,} steps")

    def _argument(self, info: pickletools.OpcodeInfo) -> Any:
        kind = info.arg.name if info.arg else None
        if kind in _SIZED:
            return self._sized(info.name, int.from_bytes(self._exactly(_SIZED[kind]), "little"))
        if info.name == "STRING":  # pickletools would allow ASCII only
            return self._string(codecs.escape_decode(_unquoted(bytes(self._line())))[0])
        if info.name == "GLOBAL":  # pickletools would undo escapes, which no name has
            return " ".join(str(self.readline()[:-1], "ascii") for _ in range(2))
        if info.name == "UNICODE":
            return self._text(self._line()[:-1], "raw-unicode-escape")
        return info.arg.reader(cast(IO[bytes], self)) if info.arg else None  # which reads and reads lines only

    def _exactly(self, count: int) -> bytes:
        found = self.read(count)
        if len(found) < count:
            raise Refused("cut off")
        return found

    def _line(self, limit: int | None = None) -> memoryview:
        """The rest of the line, with its end."""
        start = self.position
        end = self.data.find(b"\n", start, len(self.data) if limit is None else start + limit) + 1
        if not end:
            raise Refused("cut off")
        self.position = end
        return self.view[start:end]

    def _sized(self, name: str, length: int) -> Any:
        """Data with its length before it: bytes and Python 2's texts that are long stay a view of the file."""
        if length > len(self.data) - self.position:
            raise Refused("cut off, or with a wrong length")
        found = self.view[self.position : self.position + length]
        self.position += length
        if "UNICODE" in name:
            return self._text(found, "utf-8")
        if "STRING" in name:
            return self._string(found)
        return found if length > SMALL else self._counted(bytes(found))

    def _text(self, encoded: memoryview, codec: str) -> str | Text:
        if len(encoded) > SMALL:
            return Text(encoded, codec)
        decoded = str(self._counted(encoded), codec)
        decoded.encode("utf-8")  # or else nobody can write it down
        return decoded

    def _string(self, data: bytes | memoryview) -> str | memoryview:
        """Python 2's str: Latin-1, as NumPy's data in it needs."""
        return memoryview(data) if len(data) > SMALL else str(self._counted(data), "latin-1")

    def _counted(self, data: bytes | memoryview) -> bytes | memoryview:
        self.text_bytes += len(data)
        if self.text_bytes > MAX_TEXT_BYTES:
            raise Refused(f"more than {MAX_TEXT_BYTES >> 20} MB of texts")
        return data

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO":
                if argument > 5:
                    raise Refused(f"protocol {argument}, which is unknown")
            case "FRAME":
                if self.position < self.frame_end or argument > len(self.data) - self.position:
                    raise Refused("a frame of a wrong length")
                self.frame_end = self.position + argument
            case "MARK":
                self.marked.append(stack)
                self.stack = []
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "LIST" | "TUPLE" | "DICT":
                items = self._items()
                self.stack.append(items if name == "LIST" else tuple(items) if name == "TUPLE" else _pairs(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack[-int(name[-1]) :] = [tuple(_built(stack[-1 - place]) for place in reversed(range(int(name[-1]))))]
            case "APPEND":
                item = _built(stack.pop())
                _exact(stack[-1], list).append(item)
            case "APPENDS":
                items = self._items()
                _exact(self.stack[-1], list).extend(items)
            case "SETITEM":
                pair = [_built(item) for item in (stack.pop(-2), stack.pop())]
                _exact(stack[-1], dict).update(_pairs(pair))
            case "SETITEMS":
                items = self._items()
                _exact(self.stack[-1], dict).update(_pairs(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                key = len(self.memo) if argument is None else argument
                if not 0 <= key < MAX_STEPS:
                    raise Refused("a memo of a wrong number")
                self.memo[key] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._recalled(argument))
            case "GLOBAL":
                stack.append(Global(argument))
            case "STACK_GLOBAL":
                function, module = stack.pop(), stack.pop()
                stack.append(Global(f"{_exact(module, str)} {_exact(function, str)}"))
            case "REDUCE":
                arguments, function = _exact(stack.pop(), tuple), _exact(stack.pop(), Global)
                value, made = reduced(function, arguments, self.array_bytes)
                self.array_bytes -= made
                stack.append(value)
            case "BUILD":
                state, pending = stack.pop(), stack[-1]
                if not isinstance(pending, Pending) or pending.value is not None:
                    raise Refused("a state for what takes none")
                pending.build(_exact(state, tuple))
                stack[-1] = pending.value
            case _:  # a number or a text
                stack.append(argument)

    def _items(self) -> list[Any]:
        """What is on the stack above the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return [_built(item) for item in items]

    def _recalled(self, key: int) -> Any:
        value = self.memo[key]
        # The memo got it before its state came.
        return value.value if isinstance(value, Pending) and value.value is not None else value


def _built(value: Any) -> Any:
    if isinstance(value, Pending):
        raise Refused("an array without its data")
    return value


def _exact(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Refused("damaged")
    return value


def _pairs(items: list[Any]) -> dict[str | bytes, Any]:
    keys = items[::2]
    # Texts only: numbers can be chosen to have all the same hash, and deep tuples overflow C's stack.
    if len(items) % 2 or not all(type(key) in (str, bytes) for key in keys):
        raise Refused("a dictionary whose keys are not texts")
    return dict(zip(keys, items[1::2], strict=True))


def _unquoted(line: bytes) -> bytes:
    quoted = line[:1] in (b"'", b'"') and line[-2:-1] == line[:1]
    if not quoted or not _ESCAPED.fullmatch(line, 1, len(line) - 2):
        raise Refused("a text that is not quoted as in Python 2")
    return line[1:-2]


def _checked(value: Any) -> Any:
    """The value itself, if it is plain all through.

    What is shared is walked each time that it appears, since whoever uses the value will do so too.
    """
    waiting = [(value, 0)]
    count = 0
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if isinstance(item, (Global, Pending, Dtype)):
            raise Refused("no plain value")
        if isinstance(item, (Text, memoryview)):
            raise Refused(f"a text of more than {SMALL >> 10} KB")
        parts = item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ()
        if parts and depth == MAX_DEPTH:
            raise Refused(f"nested deeper than {MAX_DEPTH}")
        if count + len(waiting) + len(parts) > MAX_VALUES:
            raise Refused(f"more than {MAX_VALUES:,} values")
        waiting += [(part, depth + 1) for part in parts]
    return value
