"""The GPU benchmark runs from one end to the other (on the CPU), and keeps what it measured whatever goes wrong."""

import json
import time
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import checks, material, speed
from benchmarks.gpu.record import Record
from graybox.errors import UserError
from graybox.network import inference


def rows_of(folder):
    return json.loads((folder / "gpu.json").read_text())["rows"]


def test_its_smallest_size_runs_on_the_cpu(tmp_path, capsys):
    gpu.main(["--quick", "--device", "cpu", "--output", str(tmp_path)])
    rows = rows_of(tmp_path)
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    without = [(row["what"], row["note"]) for row in rows if row["value"] is None]
    assert without == [
        ("waits of the host in an epoch", "only CUDA reports them"),
        ("the network alone, as a CUDA graph", "only on CUDA"),
    ]
    apart = [row["value"] for row in rows if row["part"] == "engines"]
    assert len(apart) == 3 and max(apart) < 1e-4
    others = [row["value"] for row in rows if row["part"] == "networks"]
    assert len(others) == 3 and max(others) < 1e-4
    assert all(row["value"] > 0 for row in rows if row["unit"].endswith("/s"))
    assert {row["value"] for row in rows if row["what"] == "the engine that `auto` chooses"} <= {"plain", "incremental"}
    resumed = [row for row in rows if row["part"] == "resuming"]
    assert len(resumed) == 4 and all("equal to the last bit" in row["note"] for row in resumed)
    assert [row["note"][:19] for row in resumed[1::2]] == ["went on from step 4"] * 2
    assert (tmp_path / "gpu.md").read_text() in capsys.readouterr().out


def test_an_error_ends_its_part_only(tmp_path, monkeypatch):
    def fails(*_) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(checks, "engines", fails)
    monkeypatch.setattr(speed, "scores_rate", fails)
    gpu.main(["--quick", "--device", "cpu", "--output", str(tmp_path), "--only", "engines", "evaluation", "accuracy"])
    rows = rows_of(tmp_path)
    notes = [(row["part"], row["note"]) for row in rows if row["value"] is None]
    error = "RuntimeError: out of memory"
    assert notes == [("engines", error), *[("evaluation", error)] * 4]
    assert rows[-1]["part"] == "accuracy" and rows[-1]["value"] is not None


def test_a_part_ends_when_its_time_is_up(tmp_path):
    record = Record(tmp_path, seconds=60)

    def endless() -> None:
        record.add("first", "", 1.0)
        while True:
            with suppress(Exception):  # as a library may
                time.sleep(0.01)

    record.part("slow", 1.01, endless)
    record.part("next", 10, lambda: record.add("second", "", 2.0))
    assert [(row["part"], row["value"]) for row in rows_of(tmp_path)] == [("slow", 1.0), ("slow", None), ("next", 2.0)]


def test_without_time_left_a_part_does_not_begin(tmp_path):
    record = Record(tmp_path, seconds=0)
    record.part("late", 10, lambda: record.add("never", "", 1.0))
    assert [row["note"] for row in rows_of(tmp_path)] == ["skipped: no time left"]


def test_waits_are_counted_where_graybox_causes_them(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def warn(*_) -> torch.Tensor:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return torch.zeros(1, 2)

    network = torch.nn.Linear(1, 1)
    monkeypatch.setattr(network, "forward", warn)
    found = Counter()
    with checks.counted(found):
        for _ in range(3):
            inference.class_scores(network, np.zeros((1, 2, 2, 3), np.uint8))
        warnings.warn("another", stacklevel=1)
    assert modes == ["warn", "default"]
    assert list(found.values()) == [3]
    assert next(iter(found)).startswith("graybox/network/inference.py:")


def test_photographs_are_split_by_class(tmp_path):
    labels = np.repeat([0, 1], [10, 5])
    images = np.arange(15, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, labels=labels)
    parts = material.photographs(tmp_path / "photos.npz")
    assert parts["test"].images[:, 0, 0, 0].tolist() == [4, 9, 14]
    assert parts["test"].labels.tolist() == [0, 0, 1]
    assert sorted(np.concatenate([part.images[:, 0, 0, 0] for part in parts.values()])) == list(range(15))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(2)}, r"not an \.npz file with the arrays images and labels"),
        ({"images": np.zeros((2, 8, 8, 3)), "labels": np.zeros(2)}, "images is float64"),
    ],
)
def test_other_files_are_no_photographs(tmp_path, arrays, message):
    np.savez(tmp_path / "photos.npz", **arrays)
    with pytest.raises(UserError, match=message):
        material.photographs(tmp_path / "photos.npz")
    with pytest.raises(UserError, match=r"not an \.npz file"):
        material.photographs(tmp_path / "missing.npz")
