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
from benchmarks.gpu import checks, limits, material, pack, speed
from benchmarks.gpu.record import Record
from graybox.data.images import ImageSet
from graybox.errors import UserError
from graybox.network import inference
from tests.support.basics import image_set


def rows_of(folder):
    return json.loads((folder / "gpu.json").read_text())["rows"]


def test_its_smallest_size_runs_on_the_cpu(tmp_path, capsys):
    gpu.main(["--quick", "--device", "cpu", "--output", str(tmp_path)])
    rows = rows_of(tmp_path)
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    without = [(row["what"], row["note"]) for row in rows if row["value"] is None and row["part"] != "reaching"]
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
    together = [row["setting"][:11] for row in rows if row["part"] == "jobs"]
    assert together == ["1 at a time", "2 at a time"]
    largest = [row for row in rows if row["what"] == "the largest batch"]
    assert [(row["value"], row["note"]) for row in largest] == [(32, "no more was tried")]
    assert [row["what"] for row in rows if row["what"].startswith("reaches")] == [f"reaches {n}%" for n in (60, 70, 75)]
    resumed = [row for row in rows if row["part"] == "resuming"]
    assert len(resumed) == 4 and all("equal to the last bit" in row["note"] for row in resumed)
    assert [row["note"][:19] for row in resumed[1::2]] == ["went on from step 4"] * 2
    assert (tmp_path / "gpu.md").read_text() in capsys.readouterr().out


def test_the_shortest_training_that_reaches_an_accuracy_is_named(tmp_path, monkeypatch):
    record, found = Record(tmp_path, 60), {5: 0.5, 10: 0.72, 20: 0.74}
    asked = []

    def trained(model, schedule, *_):
        asked.append((schedule.epochs, schedule.optimizer, model.conv_layers))
        return found[schedule.epochs], f"{schedule.epochs} s"

    monkeypatch.setattr(limits, "accuracy_and_time", trained)
    parts = {"train": image_set(4), "test": image_set(4)}
    limits.reaching(record, torch.device("cpu"), parts, "photographs", "hour", (5, 10, 20))
    assert asked == [(5, "muon", 8), (10, "muon", 8), (20, "muon", 8)]
    reached = [(row["what"], row["value"], row["note"]) for row in rows_of(tmp_path) if row["unit"] == "epochs"]
    assert reached == [
        ("reaches 60%", 10, "10 s"), ("reaches 70%", 10, "10 s"), ("reaches 75%", None, "not within 20 epochs")
    ]  # fmt: skip
    limits.reaching(record, torch.device("cpu"), parts, "photographs", "hour", (10, 20), targets=(0.6, 0.7))
    assert len(asked) == 4  # nothing is trained that is not needed


def test_the_largest_batch_is_the_last_that_fits(tmp_path, monkeypatch):
    def step(part, _):
        if len(part) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr(limits, "step_rate", step)
    limits.largest_batch(Record(tmp_path, 60), torch.device("cpu"), image_set(8), 16, 4096)
    assert [row["value"] for row in rows_of(tmp_path)] == [1.0, 1.0, 1.0, None, 64]


def test_a_training_that_ends_beside_the_others_says_why():
    with pytest.raises(RuntimeError, match="device is 'cuda:99', which this machine lacks"):
        limits.together(1, torch.device("cuda:99"), 32, 8, 0.1)


def test_photographs_are_packed_small_and_come_back(tmp_path, monkeypatch):
    random, smooth = np.random.default_rng(0), np.linspace(0, 200, 24)[:, None, None] + np.zeros((24, 24, 3))
    images = (smooth + 40 * random.random((6, 1, 1, 3))).astype(np.uint8)
    whole = image_set(6)
    part = ImageSet(images, whole.labels, whole.class_names, whole.files, whole.boxes)
    parts = {"train": part, "validation": part, "test": material.taken(part, np.array([4, 1]))}
    monkeypatch.setattr(pack, "prepared", lambda _: parts)
    pack.main([str(tmp_path / "photographs.npz")])
    found = material.photographs(tmp_path / "photographs.npz")
    for split in ("train", "test"):
        np.testing.assert_array_equal(found[split].labels, parts[split].labels)
        assert np.abs(found[split].images.astype(int) - parts[split].images).mean() < 3
    monkeypatch.setattr(pack, "QUALITIES", ())
    with pytest.raises(UserError, match="--megabytes 1: too few"):
        pack.main([str(tmp_path / "photographs.npz"), "--megabytes", "1"])


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
