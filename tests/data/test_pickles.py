"""Pickles: what is read, and all that is refused, without anything in the file being run."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graybox.data.sources import pickle_arrays, pickles
from graybox.errors import UserError
from tests.support.basics import ROOT
from tests.support.python2_pickles import python2

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 84, 84, 3), dtype=np.uint8)
CACHE = {"image_data": IMAGES, "class_dict": {"n01532829": [0, 2, 4], "n01558993": [1, 3, 5]}}
CIFAR = {
    b"batch_label": b"training batch 1 of 5",
    b"labels": [3, 1],
    b"data": IMAGES.reshape(-1)[: 2 * 3072].reshape(2, 3072),
    b"filenames": [b"a.png", b"b.png"],
}
PROTOCOLS = range(6)


def old_numpy(data: bytes) -> bytes:
    """The same pickle with the names of NumPy 1's modules; frames and lengths are put right."""
    changed = [(opcode, argument) for opcode, argument, _ in pickletools.genops(data)]
    out = b""
    for opcode, argument in changed:
        if opcode.name == "FRAME":
            continue
        if opcode.name == "GLOBAL":
            module, name = argument.replace("numpy._core", "numpy.core").split(" ")
            out += f"c{module}\n{name}\n".encode()
        elif opcode.name == "SHORT_BINUNICODE":
            text = argument.replace("numpy._core", "numpy.core").encode()
            out += b"\x8c" + bytes([len(text)]) + text
        else:
            out += again(opcode, argument)
    return out


def again(opcode: pickletools.OpcodeInfo, argument) -> bytes:
    """An opcode as the file had it."""
    code = opcode.code.encode("latin-1")
    match opcode.arg.name if opcode.arg else None:
        case None:
            return code
        case "uint1":
            return code + bytes([argument])
        case "uint2":
            return code + struct.pack("<H", argument)
        case "int4":
            return code + struct.pack("<i", argument)
        case "uint4":
            return code + struct.pack("<I", argument)
        case "bytes1":
            return code + bytes([len(argument)]) + argument
        case "bytes4":
            return code + struct.pack("<I", len(argument)) + argument
        case "bytearray8":
            return code + struct.pack("<Q", len(argument)) + argument
        case "unicodestring4":
            return code + struct.pack("<I", len(argument.encode())) + argument.encode()
        case "unicodestringnl":
            for character in "\\\0\n\r\x1a":
                argument = argument.replace(character, f"\\u{ord(character):04x}")
            return code + argument.encode("raw-unicode-escape") + b"\n"
        case "decimalnl_short":
            text = {True: "01", False: "00"}[argument] if isinstance(argument, bool) else str(argument)
            return code + text.encode() + b"\n"
        case "decimalnl_long":
            return code + str(argument).encode() + b"L\n"
        case "float8":
            return code + struct.pack(">d", argument)
    raise NotImplementedError(opcode.arg.name)


def genuine() -> dict[str, tuple[bytes, dict]]:
    """Name -> a pickle of the kinds that are met, and what is in it."""
    found = {}
    for protocol in PROTOCOLS:
        for order, images in {"C": IMAGES, "F": np.asfortranarray(IMAGES), "K": IMAGES.transpose(0, 2, 1, 3)}.items():
            value = CACHE | {"image_data": images}
            new = pickle.dumps(value, protocol)
            found[f"cache, protocol {protocol}, {order}, NumPy 2"] = new, value
            found[f"cache, protocol {protocol}, {order}, NumPy 1"] = old_numpy(new), value
        found[f"CIFAR, protocol {protocol}"] = pickle.dumps(CIFAR, protocol), CIFAR
        found[f"read-only, protocol {protocol}"] = pickle.dumps(read_only(CACHE), protocol), CACHE
    for protocol in (0, 1, 2):
        found[f"cache, Python 2, protocol {protocol}"] = python2(CACHE, protocol), CACHE
        found[f"CIFAR, Python 2, protocol {protocol}"] = python2(CIFAR, protocol), CIFAR
    return found


def read_only(value: dict) -> dict:
    images = value["image_data"].copy()
    images.flags.writeable = False
    return value | {"image_data": images}


GENUINE = genuine()


def assert_same(found, value) -> None:
    if isinstance(value, dict):
        found, value = pickles.dictionary(found, "x"), pickles.dictionary(value, "x")
        assert list(found) == list(value)
        for key in value:
            assert_same(found[key], value[key])
    elif isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and not found.flags.writeable
        np.testing.assert_array_equal(found, value)
    elif isinstance(value, list):
        assert [pickles.text(x) if isinstance(x, bytes) else x for x in found] == [
            pickles.text(x) if isinstance(x, bytes) else x for x in value
        ]
    else:
        assert pickles.text(found) == pickles.text(value)


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_pickles_are_read(name):
    data, value = GENUINE[name]
    assert_same(pickles.loads(data, "x.pkl"), value)


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("name", GENUINE)
def test_the_examples_are_what_pythons_own_unpickler_reads(name):
    data, value = GENUINE[name]
    assert_same_as_python(pickle.loads(data, encoding="latin-1"), value)


def assert_same_as_python(found: dict, value: dict) -> None:
    images = next(item for item in value.values() if isinstance(item, np.ndarray))
    np.testing.assert_array_equal(next(x for x in found.values() if isinstance(x, np.ndarray)), images)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_and_other_numbers(protocol):
    value = {
        "é€😀": ("a\nb\\c'\0", b"\xff\0", None, True, False, -1, 255, 65536, 2**40, -(2**70), 1.5, ()),
        "empty": ["", b"", [], {}],
        "scalars": [np.int64(3), np.float32(0.5), np.uint8(7)],
    }
    assert pickles.loads(pickle.dumps(value, protocol), "x") == value
    for dtype in ("<i8", ">i4", "u2", "<f4", "f8", "?"):
        numbers = np.array([[0, 1], [1, 0]], dtype)
        for array in (numbers, numbers[:0], np.array(numbers[0, 1])):
            found = pickles.loads(pickle.dumps([array], protocol), "x")[0]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found, array)


def test_arrays_appear_wherever_they_are_shared():
    numbers = np.arange(3)
    for protocol in PROTOCOLS:
        first, second, third = pickles.loads(pickle.dumps([numbers, numbers, {"x": numbers}], protocol), "x")
        assert first is second is third["x"] and first.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_texts_are_decoded_in_blocks(protocol, monkeypatch):
    monkeypatch.setattr(pickle_arrays, "BLOCK", 1001)  # characters are cut in two
    assert_same(pickles.loads(pickle.dumps(CACHE, protocol), "x"), CACHE)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_large_array_is_not_held_in_memory_many_times(tmp_path, protocol):
    images = np.zeros((2000, 84, 84, 3), np.uint8)  # 42 MB
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"image_data": images}, protocol))
    tracemalloc.start()
    try:
        found = pickles.load(tmp_path / "x.pkl")["image_data"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == images.shape
    # Protocol 2 writes bytes as a text, which has to be decoded; the others' arrays lie in the mapped file.
    assert peak < (2.5 * images.nbytes if protocol == 2 else 1 << 20)


# --- what is refused ----------------------------------------------------------------------------------------------


class Calls:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text8(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


U1 = b"cnumpy\ndtype\n(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntb"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
LAUGHS = b"((lp0\n" + b"".join(b"(" + b"g%d\n" % level * 10 + b"lp%d\n" % (level + 1) for level in range(9)) + b"t."
HOSTILE = {
    "os.system": (pickle.dumps(Calls(os.system, "echo no")), "system' is not allowed"),
    "os.system, protocol 0": (b"cos\nsystem\n(S'echo no'\ntR.", r"'os.system' is not allowed"),
    "builtins.eval": (pickle.dumps([Calls(eval, "1")]), "eval' is not allowed"),
    "bytes of a size": (pickle.dumps(Calls(bytes, 1 << 40)), r"bytes' is not allowed"),
    "numpy.load": (b"cnumpy\nload\n(U\x01xtR.", "numpy.load"),
    "a bare global": (b"cos\nsystem\n.", "no plain value"),
    "a bare dtype": (U1 + b".", "no plain value"),
    "another codec": (b"c_codecs\nencode\n(X\x01\0\0\0aU\x03hextR.", "_codecs.encode"),
    "object array": (pickle.dumps(np.array([None, {}], object)), "an array of 'O8'"),
    "object array of a buffer": (
        RECONSTRUCT + b"(I1\n(I1\nt" + U1.replace(b"u1", b"O8") + b"I00\nU\x08AAAAAAAAtb.",
        "an array of 'O8'",
    ),
    "structured array": (pickle.dumps(np.zeros(2, "u1,u1")), "an array of 'V2'"),
    "text array": (pickle.dumps(np.array(["a"])), "an array of 'U1'"),
    "dates": (pickle.dumps(np.array(["2020"], "M8[D]")), "an array of 'M8'"),
    "a dtype's fields": (
        b"cnumpy\ndtype\n(U\x02u1I0\nI1\ntR(I3\nU\x01|N(U\x01atNI-1\nI-1\nI0\ntb.",
        "array of an unusual kind",
    ),
    "too little data": (RECONSTRUCT + b"(I1\n(I9\nt" + U1 + b"I00\nU\x01Atb.", "1 bytes of data where .* needs 9"),
    "a shape without end": (RECONSTRUCT + b"(I1\n(I%d\nt" % 2**62 + U1 + b"I00\nU\x01Atb.", "unusual kind"),
    "a product that overflows": (
        RECONSTRUCT + b"(I1\n(" + b"I%d\n" % 2**32 * 2 + b"t" + U1 + b"I00\nU\x01Atb.",
        "where its shape needs 18,446,744,073,709,551,616",
    ),
    "a negative side": (RECONSTRUCT + b"(I1\n(I-1\nI-1\nt" + U1 + b"I00\nU\x01Atb.", "unusual kind"),
    "no state": (b"(" + RECONSTRUCT + b"l.", "an array without its data"),
    "a state twice": (RECONSTRUCT + (b"(I1\n(I1\nt" + U1 + b"I00\nU\x01Atb") * 2 + b".", "state for what takes none"),
    "a state for a dictionary": (b"})b.", "state for what takes none"),
    "a state for a global": (b"cos\nenviron\n}b.", "state for what takes none"),
    "EXT1": (b"\x82\x01.", "EXT1 is not allowed"),
    "EXT4": (b"\x84\x01\0\0\0.", "EXT4 is not allowed"),
    "persistent id": (b"Pabc\n.", "PERSID is not allowed"),
    "binary persistent id": (b"U\x01aQ.", "BINPERSID is not allowed"),
    "INST": (b"(ios\nsystem\n.", "INST is not allowed"),
    "OBJ": (b"(cos\nsystem\no.", "OBJ is not allowed"),
    "NEWOBJ": (b"cos\nsystem\n)\x81.", "NEWOBJ is not allowed"),
    "NEWOBJ_EX": (b"\x80\x04cos\nsystem\n)}\x92.", "NEWOBJ_EX is not allowed"),
    "a buffer from elsewhere": (b"\x80\x05\x97.", "NEXT_BUFFER is not allowed"),
    "set": (pickle.dumps({1, 2}), "EMPTY_SET is not allowed"),
    "numbers as keys": (pickle.dumps({1: 2}), "keys are not texts"),
    "deep tuples as keys": (b")" + b"\x85" * 100_000 + b"N\x94}h\0s.", "damaged|keys are not texts"),
    "memo of a wrong number": (b"Np-1\n.", "memo of a wrong number"),
    "memo far away": (b"Nr\xff\xff\xff\xff.", "memo of a wrong number"),
    "memo of nothing": (b"h\x07.", "damaged"),
    "billion laughs": (LAUGHS, "more than 1,000,000 values"),
    "a list in itself": (b"]q\0h\0a.", "nested deeper"),
    "deep lists": (b"]" * 200_000 + b"a" * 199_999 + b".", "nested deeper"),
    "deep tuples": (b")" + b"\x85" * 120_000 + b".", "nested deeper"),
    "no end": (b"(" * 1_100_000, "more than 1,000,000 steps"),
    "a frame past the end": (b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.", "frame of a wrong length"),
    "a frame that ends in an opcode": (b"\x80\x04\x95\x03\0\0\0\0\0\0\0J\1\0\0\0.", "frame of a wrong length"),
    "a frame in a frame": (b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N.", "frame of a wrong length"),
    "a length past the end": (b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc.", "wrong length"),
    "a negative length": (b"T\xff\xff\xff\xffabc.", "wrong length"),
    "a number without end": (b"I" + b"1" * 100_000 + b"\n.", "cut off"),
    "many bytes in one number": (b"\x8b\xff\xff\xff\x7f", "LONG4 is not allowed"),
    "protocol 6": (b"\x80\x06N.", "protocol 6"),
    "two values": (b"NN.", "damaged"),
    "no value": (b".", "damaged"),
    "an open mark": (b"N(N.", "damaged"),
    "nothing on the stack": (b"a.", "damaged"),
    "text that is no UTF-8": (b"X\x01\0\0\0\xff.", "damaged"),
    "no quotes": (b"Sabc\n.", "not quoted"),
    "half a quote": (b"S'\n.", "not quoted"),
    "an escaped quote": (b"S'abc\\'\n.", "not quoted"),
    "an escape that is none": (b"S'\\I'\n.", "not quoted"),
    "nothing": (b"", "cut off, or no pickle"),
    "a web page": (b"<!doctype html>", "cut off, or no pickle"),
    "half of a pair of surrogates": (b"V\\ud800\n.", "damaged"),
    "half of a pair of surrogates in UTF-8": (b"X\3\0\0\0\xed\xa0\x80.", "damaged"),
    "long text": (pickle.dumps("a" * 100_000), "text of more than 64 KB"),
    "long bytes": (pickle.dumps([b"a" * 100_000]), "text of more than 64 KB"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_in_one_sentence(name, capfd):
    data, told = HOSTILE[name]
    with pytest.raises(UserError, match=told) as error:
        pickles.loads(data, "cache.pkl")
    message = str(error.value)
    assert message.startswith("cache.pkl is not a pickle that can be read safely (") and "\n" not in message
    assert "allowed: numbers, texts" in message and len(message) < 400
    assert capfd.readouterr() == ("", "")


def test_texts_are_limited_together(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_TEXT_BYTES", 1000)
    assert pickles.loads(pickle.dumps(["a" * 90] * 20), "x") == ["a" * 90] * 20  # one text, 20 times
    with pytest.raises(UserError, match="MB of texts"):
        pickles.loads(pickle.dumps(["a" * 90 + str(number) for number in range(20)]), "x")


def test_a_file_that_is_too_large_is_not_begun(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="more than 0 GB"):
        pickles.loads(pickle.dumps(CACHE), "x")


def test_one_text_is_not_made_into_data_many_times():
    """A memo bomb: a megabyte of text in the file, a hundred encodings of it."""
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    data = b"(" + text + b"q\0c_codecs\nencode\nq\1(h\0U\6latin1tq\2R0".replace(b"R0", b"R")
    data += b"h\1h\2R" * 100 + b"l."
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="more data than the file has"):
            pickles.loads(data, "x")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_missing_and_empty_files_are_named(tmp_path):
    (tmp_path / "empty.pkl").touch()
    for name in ("empty.pkl", "missing.pkl", "."):
        with pytest.raises(UserError, match=f"{tmp_path}.* can't be read"):
            pickles.load(tmp_path / name)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_half_a_file_is_refused(protocol):
    data = pickle.dumps(CACHE, protocol)
    for length in (len(data) - 1, len(data) // 2, 100, 20, 3, 1):
        with pytest.raises(UserError, match="can be read safely"):
            pickles.loads(data[:length], "x")


# --- fuzzing ------------------------------------------------------------------------------------------------------

SMALL_IMAGES = IMAGES[:2, :3, :3]
SEEDS = [
    *(pickle.dumps(CACHE | {"image_data": SMALL_IMAGES}, protocol) for protocol in PROTOCOLS),
    *(old_numpy(pickle.dumps(CACHE | {"image_data": SMALL_IMAGES}, protocol)) for protocol in PROTOCOLS),
    *(python2(CACHE | {"image_data": SMALL_IMAGES}, protocol) for protocol in (0, 2)),
    *(data for data, _ in HOSTILE.values() if len(data) < 1000),
]
CODES = [info.code.encode("latin-1") for info in pickletools.opcodes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "repeat"]),
        st.integers(0, 10_000),
        st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(CODES), st.sampled_from(SEEDS)),
    ),
    max_size=6,
)


def mutated(data: bytes, edits) -> bytes:
    for kind, place, new in edits:
        place %= len(data) + 1
        if kind == "set":
            data = data[:place] + new[:4] + data[place + len(new[:4]) :]
        elif kind == "insert":
            data = data[:place] + new + data[place:]
        elif kind == "delete":
            data = data[:place] + data[place + len(new) :]
        else:
            data = data[:place] + data[place : place + 9] * len(new) + data[place + 9 :]
    return data


def assert_plain(value, depth: int = 0) -> None:
    assert depth <= pickles.MAX_DEPTH
    assert type(value) in (type(None), bool, int, float, str, bytes, list, tuple, dict, np.ndarray)
    if type(value) is np.ndarray:
        assert value.dtype.kind in "biuf"
        value.sum()  # touches all of it
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            assert_plain(part, depth + 1)


def assert_read_or_refused(data: bytes) -> None:
    modules = set(sys.modules)
    try:
        value = pickles.loads(data, "x.pkl")
    except UserError as error:
        assert str(error).startswith("x.pkl is not a pickle") and "\n" not in str(error)
    else:
        assert_plain(value)
    assert set(sys.modules) == modules


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.sampled_from(SEEDS), EDITS)
def test_changed_pickles_are_read_or_refused(data, edits):
    assert_read_or_refused(mutated(data, edits))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.sampled_from(CODES), st.sampled_from([b"\n", b"0", b"\0", U1, RECONSTRUCT])), max_size=60))
def test_random_opcodes_are_read_or_refused(parts):
    assert_read_or_refused(b"".join(parts))


FUZZ_IN_LITTLE_MEMORY = """
import random, resource, sys
from graybox.errors import UserError
from graybox.data.sources import pickles
from tests.data.test_pickles import CODES, HOSTILE, SEEDS
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
chance = random.Random(0)
for data in [data for data, _ in HOSTILE.values()] + [
    bytes(chance.choice(data) if chance.random() < 0.02 else byte for byte in data) for data in SEEDS * 2 if data
]:
    try:
        pickles.loads(data, "x")
    except UserError:
        pass
for code in (b"(", b"}", b"}\\x94"):  # a file full of what makes objects
    try:
        pickles.loads(code * 1_100_000, "x")
    except UserError:
        pass
print("whole")
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux, to limit a process's memory")
def test_neither_crashes_nor_takes_much_memory():
    """In a process of its own, which may not take more than 400 MB."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    command = [sys.executable, "-c", FUZZ_IN_LITTLE_MEMORY]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
