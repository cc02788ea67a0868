"""The networks of a variant on disk: each seed's stays as long as what it was trained with stays, and no longer."""

import json
import math

import pandas as pd
import pytest
import torch

from graybox.network import cnn
from graybox.network.params import ModelParams
from graybox.network.progress import Epoch
from graybox.network.trained import Networks
from graybox.network.training import Fit

MODEL = ModelParams(conv_layers=1, filters=2, fc_layers=1)


def fitted(seed, seconds=3.0, device="CPU", loss=1.0):
    torch.manual_seed(seed)
    model = cnn.CNN(MODEL, 8, ("a", "b")).eval()
    return Fit(model, [Epoch(n, loss / n, 0.5, 1.5, 0.25, 0.1) for n in (1, 2)], seconds, device)


@pytest.fixture
def networks(tmp_path):
    """Opens the same folder anew, as the next run does."""
    return lambda: Networks(tmp_path / "weights", tmp_path / "timing" / "x.json", tmp_path / "curves" / "x.csv")


def files(networks):
    found = [*networks.weights.glob("*"), networks.record, networks.curves]
    return {file.name: file.read_bytes() for file in found if file.exists()}


def add(networks, seeds, key="key", **changes):
    for seed in seeds:
        networks.add(seed, f"{key} {seed}", fitted(seed, **changes))


def keys(seeds, key="key"):
    return {seed: f"{key} {seed}" for seed in seeds}


def test_more_seeds_keep_the_first_network_its_curve_and_its_time(networks):
    first = networks()
    assert first.keep(keys([0])) == set()
    add(first, [0], seconds=3.0)
    one = files(first)
    again = networks()
    assert again.keep(keys([0])) == {0} and files(again) == one
    more = networks()
    assert more.keep(keys(range(3))) == {0}
    add(more, [1, 2], seconds=9.0, device="GPU")
    found = files(more)
    assert sorted(found)[:3] == ["seed-0.safetensors", "seed-1.safetensors", "seed-2.safetensors"]
    assert found["seed-0.safetensors"] == one["seed-0.safetensors"]
    curves = pd.read_csv(more.curves)
    assert curves["seed"].tolist() == [0, 0, 1, 1, 2, 2] and curves["epoch"].tolist() == [1, 2] * 3
    assert curves["train_loss"].tolist() == [1.0, 0.5] * 3
    record = json.loads(more.record.read_text())
    assert (record["seconds"], record["device"]) == (7.0, "CPU, GPU")
    fewer = networks()
    assert fewer.keep(keys([0])) == {0}
    assert files(fewer) == one


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.file(0).write_bytes(n.file(0).read_bytes()[:-1] + b"x"),
        lambda n: n.file(0).write_bytes(b""),
        lambda n: n.file(0).unlink(),
        lambda n: n.file(1).replace(n.file(0)),
        lambda n: n.record.write_text("{"),
        lambda n: n.record.write_text("[]"),
        lambda n: n.record.write_text('{"networks": {"0": {"key": "key 0"}}}'),
        lambda n: n.record.write_text('{"networks": {"0": 5}}'),
        lambda n: n.record.write_text('{"seconds": 3, "device": "CPU", "weights_sha256": "of an earlier version"}'),
        lambda n: n.record.unlink(),
    ],
)
def test_weights_that_are_not_those_of_the_record_are_not_kept(networks, change):
    add(networks(), [0])
    add(first := networks(), [0, 1])
    change(first)
    then = networks()
    assert 0 not in then.keep(keys([0, 1]))
    assert not then.file(0).exists()


def test_other_keys_keep_nothing_and_what_is_no_network_of_the_variant_goes(networks):
    first = networks()
    add(first, [0, 1])
    (first.weights / "notes.txt").touch()
    assert networks().keep({0: "key 0", 1: "another"}) == {0}
    assert [file.name for file in first.weights.iterdir()] == ["seed-0.safetensors"]
    assert networks().keep({0: "key 1", 1: "key 0"}) == set()  # a key of another seed
    assert list(first.weights.iterdir()) == []


def test_the_same_weights_keep_their_first_time_and_others_do_not(networks):
    add(networks(), [0], seconds=10.04)
    for seconds, key, wanted in ((99, "key", 10.0), (99, "other", 10.0)):
        then = networks()
        then.keep({})
        then.add(0, key, fitted(0, seconds, "GPU"))
        record = json.loads(then.record.read_text())
        assert (record["seconds"], record["device"]) == (wanted, "CPU")
    then.add(0, "key", fitted(7, 99, "GPU"))
    assert json.loads(then.record.read_text())["seconds"] == 99


def test_a_curve_can_be_watched_and_is_kept_with_what_is_not_finite(networks):
    first = networks()
    add(first, [0], loss=math.nan)
    assert "NaN" not in first.record.read_text()
    then = networks()
    assert then.keep(keys([0, 1])) == {0}
    then.watch(1, fitted(1).curve[:1])
    curves = pd.read_csv(then.curves)
    assert curves["seed"].tolist() == [0, 0, 1]
    assert curves["train_loss"].isna().tolist() == [True, True, False]


def test_a_link_to_dvcs_cache_is_replaced_and_not_written_through(networks, tmp_path):
    first = networks()
    add(first, [0])
    cached = tmp_path / "cached"
    for file in (first.file(0), first.record, first.curves):
        file.replace(cached)
        before = cached.read_bytes()
        file.symlink_to(cached)
        networks().add(0, "key", fitted(5))
        assert cached.read_bytes() == before and not file.is_symlink()
