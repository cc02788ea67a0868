"""Pickles as Python 2 wrote them, CIFAR's among them: no Python 3 writes byte strings so."""

from __future__ import annotations

import struct

import numpy as np


def python2(value, protocol: int) -> bytes:
    """A pickle as Python 2 with NumPy 1 writes it: all texts are byte strings."""

    def string(data: bytes) -> bytes:
        if protocol == 0:
            return b"S'" + data.decode("latin-1").encode("unicode_escape").replace(b"'", b"\\'") + b"'\n"
        return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data

    def item(value) -> bytes:
        match value:
            case dict():
                return b"(" + b"".join(item(part) for pair in value.items() for part in pair) + b"d"
            case list():
                return b"(" + b"".join(map(item, value)) + b"l"
            case tuple():
                return b"(" + b"".join(map(item, value)) + b"t"
            case None:
                return b"N"
            case bool():
                return b"I01\n" if value else b"I00\n"
            case int():
                return b"I%d\n" % value if protocol == 0 else b"J" + struct.pack("<i", value)
            case bytes():
                return string(value)
            case str():
                return string(value.encode())
            case np.ndarray():
                made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRp0\n"
                dtype = b"cnumpy\ndtype\n(" + item(value.dtype.str[1:]) + b"I0\nI1\ntRp1\n"
                dtype += item((3, value.dtype.str[0], None, None, None, -1, -1, 0)) + b"b"
                state = b"(I1\n" + item(value.shape) + dtype + item(False) + item(value.tobytes()) + b"tb"
                return made + state
        raise NotImplementedError(type(value))

    return (b"" if protocol < 2 else b"\x80\x02") + item(value) + b"."
