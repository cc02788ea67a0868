"""dvc.lock is written as DVC itself writes it, byte for byte."""

import copy
from collections import OrderedDict

import pytest
from dvc.utils.serialize import modify_yaml

from graybox.command_line import lock_file
from tests.support.basics import ROOT

STRANGE = [
    "yes", "null", "~", "1e-05", 1e-5, 0.1, 10**20, "07", "x: y", "# no", "é", "", "  lead", "a\nb\n", "'q'", True,
    None, "a" * 200, "a b " * 60, "[1]", "&x", "- ", "|", "\\n", "🐍", [], {}, [[1, [2]], {"a": [None]}],
]  # fmt: skip


def remade(data):
    stage = copy.deepcopy(data["stages"]["train@baseline"])
    stage["outs"][0]["md5"] = "0" * 32
    data["stages"].update({"train@baseline": stage})


def added(data):
    data["stages"].update({"new": OrderedDict(cmd="python -m x", params={"params.yaml": {"strange": STRANGE}})})


def removed(data):
    del data["stages"]["compare"]


def emptied(data):
    data["stages"].clear()


def with_more(data):
    data["datasets"] = [{"name": "x"}]


@pytest.mark.parametrize("change", [lambda data: None, remade, added, removed, emptied, with_more])
def test_it_is_what_dvc_writes(tmp_path, change):
    begun = (ROOT / "dvc.lock").read_bytes()
    for name, modify in (("theirs", modify_yaml), ("ours", lock_file.modifying(modify_yaml))):
        (tmp_path / name).write_bytes(begun)
        for step in (change, added, lambda data: None):  # what was written is read and written again
            with modify(str(tmp_path / name)) as data:
                step(data)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize(
    "begun", [None, "", "schema: '2.0'\n", "# a comment\nschema: '2.0'\nstages:\n  a:\n    cmd: x # y\n"]
)
def test_what_dvc_has_not_written_so_is_left_to_dvc(tmp_path, begun):
    for name, modify in (("theirs", modify_yaml), ("ours", lock_file.modifying(modify_yaml))):
        if begun is not None:
            (tmp_path / name).write_text(begun)
        with modify(str(tmp_path / name)) as data:
            data.update({"schema": "2.0"})
            data.setdefault("stages", {})["b"] = {"cmd": "z"}
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_after_an_error_the_file_is_as_it_was(tmp_path):
    lock = tmp_path / "dvc.lock"
    lock.write_bytes((ROOT / "dvc.lock").read_bytes())
    with pytest.raises(RuntimeError), lock_file.modifying(modify_yaml)(str(lock)) as data:
        removed(data)
        raise RuntimeError
    assert lock.read_bytes() == (ROOT / "dvc.lock").read_bytes()
