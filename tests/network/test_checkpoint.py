"""A training that was killed goes on to the same weights, bit for bit, and from no checkpoint but its own."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graybox.network import checkpoint, cnn, training
from graybox.network.checkpoint import Checkpoint, key_of
from graybox.network.params import ModelParams, TrainParams
from tests.support.basics import ROOT, image_set

TRAIN, VALIDATION = image_set(70), image_set(20, seed=1)
MODEL = ModelParams(conv_layers=2, filters=4, fc_layers=2, fc_units=8, dropout=0.2)
SETTINGS = TrainParams(epochs=3, batch_size=16, precision="fp32", shift=1)


class Killed(Exception):
    pass


class Stopping(Checkpoint):
    """Writes after every step, and stops training once it has written `left` times, as a kill would."""

    left = 1

    @property
    def due(self):
        return True

    def write(self, key, state):
        super().write(key, state)
        self.left -= 1
        if not self.left:
            raise Killed


def trained(path, model=MODEL, settings=SETTINGS, stops=(), **changes):
    """Train with a stop after so many steps, and again so many, until it is done."""
    given = {"train": TRAIN, "validation": VALIDATION, "device": "cpu", **changes}
    for steps in stops:
        stopping = Stopping(path)
        stopping.left = steps
        with pytest.raises(Killed):
            training.fit(model, settings, checkpoint=stopping, **given)
    return training.fit(model, settings, checkpoint=Checkpoint(path, None), **given)


def same(one, other):
    first, second = one.model.state_dict(), other.model.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed():
    return training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu")


@bounds(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stops=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    optimizer=st.sampled_from(["sgd", "muon"]),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_average=st.sampled_from([0.0, 0.5]),
    mixup=st.sampled_from([0.0, 0.3]),
    zoom=st.sampled_from([1.0, 1.3]),
    start_size=st.sampled_from([1.0, 0.5]),
    schedule=st.sampled_from(["one_cycle", "constant"]),
    residual=st.integers(0, 1),
    seed=st.integers(0, 2**31 - 1),
)
def test_wherever_training_stops_it_ends_the_same(tmp_path_factory, stops, start_size, residual, **changes):
    settings = SETTINGS.model_copy(update={"start_size": start_size, "cutout": 0.2, "color_jitter": 0.1, **changes})
    model = MODEL.model_copy(update={"global_average_pool": start_size < 1, "residual": residual})
    whole = training.fit(model, settings, TRAIN, VALIDATION, device="cpu")
    found = trained(tmp_path_factory.mktemp("stopped") / "x.safetensors", model, settings, stops)
    assert found.resumed == sum(stops)  # of 12 steps: three stops may all lie in the last epoch
    assert same(found, whole) and found.curve == whole.curve


def test_the_epochs_before_the_stop_are_told_again_and_their_time_counts(tmp_path, undisturbed):
    told = []
    with pytest.raises(Killed):
        stopping = Stopping(tmp_path / "x")
        stopping.left = 9
        training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, told.append, device="cpu", checkpoint=stopping)
    assert told == undisturbed.curve[:2]
    before = Checkpoint(tmp_path / "x").read(_key(tmp_path / "x"))["seconds"]
    time.sleep(0.5)
    told.clear()
    found = training.fit(
        MODEL, SETTINGS, TRAIN, VALIDATION, told.append, device="cpu", checkpoint=Checkpoint(tmp_path / "x", None)
    )
    assert told == undisturbed.curve == found.curve and found.resumed == 9
    assert found.seconds > before


def _key(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["state"])["key"]


OTHERS = {
    "a seed": ({}, {"seed": 1}, {}),
    "a learning rate": ({}, {"learning_rate": 0.031}, {}),
    "a layer": ({"fc_units": 9}, {}, {}),
    "other dropout": ({"dropout": 0.3}, {}, {}),
    "another pixel": ({}, {}, {"train": "pixel"}),
    "another label": ({}, {}, {"train": "label"}),
    "another validation pixel": ({}, {}, {"validation": "pixel"}),
    "another name": ({}, {}, {"both": "name"}),
}


def altered(images, what):
    if what == "name":
        return dataclasses.replace(images, class_names=("other", *images.class_names[1:]))
    pixels, labels = images.images.copy(), images.labels.copy()
    if what == "pixel":
        pixels[-1, -1, -1, -1] ^= 1
    else:
        labels[-1] ^= 1
    return dataclasses.replace(images, images=pixels, labels=labels)


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_training_is_not_taken(tmp_path, other):
    model, settings, data = OTHERS[other]
    with pytest.raises(Killed):
        training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu", checkpoint=Stopping(tmp_path / "x"))
    given = {"train": TRAIN, "validation": VALIDATION}
    for name, what in data.items():
        given |= {one: altered(given[one], what) for one in (given if name == "both" else [name])}
    arguments = MODEL.model_copy(update=model), SETTINGS.model_copy(update=settings)
    found = trained(tmp_path / "x", *arguments, **given)
    assert found.resumed == 0 and same(found, trained(tmp_path / "none", *arguments, **given))


def test_nor_one_of_other_code_threads_or_libraries(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu", checkpoint=Stopping(tmp_path / "x"))
    assert trained(tmp_path / "x").resumed == 1
    for where, name in ((checkpoint, "code"), (training, "libraries"), (training, "describe")):
        with monkeypatch.context() as changed:
            changed.setattr(where, name, lambda *_: "another")
            assert trained(tmp_path / "x").resumed == 0
    assert trained(tmp_path / "x").resumed == 1


def test_the_key_is_of_the_code_that_computes():
    source = ROOT / "graybox/network/cnn.py"
    before, found = source.read_bytes(), checkpoint.code()
    assert checkpoint.code() == found
    read = type(source).read_bytes
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(type(source), "read_bytes", lambda path: read(path) + b"#" * (path.name == "cnn.py"))
        assert checkpoint.code() != found
    assert source.read_bytes() == before


def test_more_seeds_do_not_change_a_networks_key():
    one, three = (key_of(MODEL, SETTINGS.model_copy(update={"seeds": n}), TRAIN, VALIDATION) for n in (1, 3))
    assert one == three


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def _flipped(whole, place):
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


def test_a_damaged_checkpoint_is_not_taken_wherever_the_damage_is(tmp_path, undisturbed):
    path = tmp_path / "x"
    with pytest.raises(Killed):
        training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu", checkpoint=Stopping(path))
    whole, key = path.read_bytes(), _key(path)
    assert Checkpoint(path).read(key) is not None
    random = np.random.default_rng(0)
    for place in [*range(16), *random.integers(0, len(whole), 300), len(whole) - 1]:
        path.write_bytes(_flipped(whole, int(place)))
        assert Checkpoint(path).read(key) is None, f"byte {place}"
    for length in [0, 1, 8, *random.integers(0, len(whole), 30), len(whole) - 1]:
        path.write_bytes(whole[: int(length)])
        assert Checkpoint(path).read(key) is None, f"{length} bytes"
    path.write_bytes(_flipped(whole, len(whole) // 2))
    found = trained(path)
    assert found.resumed == 0 and same(found, undisturbed)


def test_nothing_is_unpickled(tmp_path):
    for number, planted in enumerate(
        [pickle.dumps(Planted(tmp_path / "made")), None, b"\x80\x04" + b"." * 50, b"{" * 10_000]
    ):
        path = tmp_path / f"{number}"
        if planted is None:
            torch.save({"key": Planted(tmp_path / "made")}, path)
        else:
            path.write_bytes(planted)
        assert Checkpoint(path).read("key") is None
        assert trained(path).resumed == 0
    path.unlink()
    path.mkdir()
    assert Checkpoint(path).read("key") is None
    assert not (tmp_path / "made").exists()


def test_a_file_with_the_right_key_and_no_digest_is_not_taken(tmp_path):
    with pytest.raises(Killed):
        training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu", checkpoint=Stopping(tmp_path / "x"))
    with safe_open(tmp_path / "x", framework="pt") as file:
        metadata = dict(file.metadata())
    tensors, key = load_file(tmp_path / "x"), _key(tmp_path / "x")
    for sha256 in (None, "", "0" * 64):
        told = {"state": metadata["state"], **({} if sha256 is None else {"sha256": sha256})}
        save_file(tensors, tmp_path / "y", metadata=told)
        assert Checkpoint(tmp_path / "y").read(key) is None
    save_file(tensors, tmp_path / "y", metadata=metadata)
    assert Checkpoint(tmp_path / "y").read(key) is not None


def test_a_checkpoint_is_written_when_it_is_due_and_costs_a_hundredth_at_most(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    written = Checkpoint(tmp_path / "x", 60)
    assert not Checkpoint(tmp_path / "x", None).due and not written.due
    now[0] = 60.0
    assert written.due
    fast = checkpoint.safetensors.torch.save

    def save(*arguments, **named):
        now[0] += 2.0
        return fast(*arguments, **named)

    monkeypatch.setattr(checkpoint.safetensors.torch, "save", save)
    written.write("key", {"a": torch.ones(2), "b": 3})
    now[0] += 199.0
    assert not written.due  # two seconds of 200 would be more than a hundredth
    now[0] += 1.0
    assert written.due
    monkeypatch.setattr(checkpoint.safetensors.torch, "save", fast)
    written.write("key", {"a": torch.ones(2), "b": 3})
    now[0] += 60.0
    assert written.due
    assert written.read("key")["b"] == 3


def test_training_goes_on_without_checkpoints_where_none_can_be_written(tmp_path, undisturbed, capsys):
    (tmp_path / "file").touch()
    blocked = Checkpoint(tmp_path / "file" / "x", 1e-9)
    found = training.fit(MODEL, SETTINGS, TRAIN, VALIDATION, device="cpu", checkpoint=blocked)
    assert same(found, undisturbed)
    said = capsys.readouterr().err
    assert said.count("can't be written") == 1 and "training goes on without checkpoints" in said


def test_tensors_come_back_in_the_memory_layout_that_they_had(tmp_path):
    state = {
        "filters": torch.rand(4, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        "turned": torch.rand(3, 5).T, "none": torch.empty(0), "one": torch.tensor(3), "half": torch.rand(3).bfloat16(),
    }  # fmt: skip
    written = Checkpoint(tmp_path / "x")
    written.write("key", {**state, "plain": {"a": [1, 2.5, None]}})
    found = written.read("key")
    assert found.pop("plain") == {"a": [1, 2.5, None]}
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor) and found[name].stride() == tensor.stride()
    written.remove()
    written.remove()
    assert written.read("key") is None


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from graybox.network import checkpoint, cnn, training
from tests.network.test_checkpoint import MODEL, SETTINGS, TRAIN, VALIDATION
checkpoint.LARGEST_SHARE = 1e9  # so that one is written at nearly every step
path = sys.argv[1]
settings = SETTINGS.model_copy(update={"epochs": 40, "weight_average": 1.0})
written = checkpoint.Checkpoint(path + "/checkpoint", 1e-9)
print("ready", flush=True)
fitted = training.fit(MODEL, settings, TRAIN, VALIDATION, device="cpu", checkpoint=written)
cnn.save(fitted.model, path + "/model.safetensors")
written.remove()
print("steps", fitted.resumed)
"""


def _start(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_killed_at_seeded_moments_a_process_ends_with_the_same_bytes(tmp_path):
    """Kills fall anywhere, also into the writing of a checkpoint: what is left is the one before, or the new one."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    started = time.perf_counter()
    assert _start(whole).wait() == 0
    lasts = time.perf_counter() - started
    random, kills, resumed = np.random.default_rng(14), 0, []
    while True:
        process = _start(broken)
        try:
            process.wait(random.uniform(0, lasts / 3))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += process.wait() != 0
            if kills < 5:
                continue
            process = _start(broken)
        assert process.wait() == 0
        resumed.append(int(process.stdout.read().split()[-1]))
        break
    assert kills and resumed[-1] > 0
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [file.name for file in broken.iterdir() if not file.name.startswith(".part-")] == ["model.safetensors"]
    assert cnn.load(broken / "model.safetensors").class_names == TRAIN.class_names
