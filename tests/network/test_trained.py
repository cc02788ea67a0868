"""Finished networks on disk: each is taken again for what it was trained with, and for nothing else."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from graybox.data.images import ImageSet
from graybox.network import checkpoint, cnn, trained
from graybox.network.params import ModelParams, Recipe, TrainParams
from graybox.network.progress import Epoch
from graybox.network.training import Fit

MODEL = ModelParams(conv_layers=1, filters=2, fc_layers=1)
CPU = torch.device("cpu")


def fitted(seed, seconds=3.0, device="CPU", loss=1.0):
    torch.manual_seed(seed)
    model = cnn.CNN(MODEL, 8, ("a", "b")).eval()
    return Fit(model, [Epoch(n, loss / n, 0.5, 1.5, 0.25, 0.1) for n in (1, 2)], seconds, device)


def image_set(seed=0, class_names=("a", "b")):
    images = np.random.default_rng(seed).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    return ImageSet(images, np.array([0, 1, 0, 1]), class_names, ("",) * 4, np.full((4, 4), np.nan))


@pytest.fixture
def kept(tmp_path):
    return trained.Kept(tmp_path / "kept")


@pytest.fixture
def write(tmp_path):
    """Writes a variant's networks; gives the bytes of its files."""

    def write(networks):
        trained.write(networks, tmp_path / "weights", tmp_path / "timing" / "x.json", tmp_path / "curves" / "x.csv")
        found = [*(tmp_path / "weights").iterdir(), tmp_path / "timing" / "x.json", tmp_path / "curves" / "x.csv"]
        return {file.name: file.read_bytes() for file in found}

    return write


def test_a_kept_network_is_found_by_its_key_with_its_curve_and_time(kept):
    assert kept.find("one") is None
    added = [kept.add("one", fitted(0)), kept.add("two", fitted(1, 9.04, "GPU"))]
    assert [kept.find("one"), kept.find("two")] == added
    assert kept.find("three") is None
    assert (added[1].seconds, added[1].device, len(added[1].curve)) == (9.0, "GPU", 2)
    for network, seed in zip(added, (0, 1)):
        state = cnn.load(network.weights, CPU).state_dict()
        assert all(torch.equal(state[name], value) for name, value in fitted(seed).model.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        lambda weights, record: weights.write_bytes(weights.read_bytes()[:-1] + b"x"),
        lambda weights, record: weights.write_bytes(b""),
        lambda weights, record: weights.unlink(),
        lambda weights, record: weights.with_name("two.safetensors").replace(weights),
        lambda weights, record: record.write_text("{"),
        lambda weights, record: record.write_text("[]"),
        lambda weights, record: record.write_text("{}"),
        lambda weights, record: record.write_text('{"weights_sha256": "", "seconds": 1, "device": "", "curve": 5}'),
        lambda weights, record: record.write_bytes(b"\xff"),
        lambda weights, record: record.unlink(),
    ],
)
def test_a_network_whose_files_are_not_whole_is_not_taken_and_can_be_kept_anew(kept, change):
    first = kept.add("one", fitted(0))
    kept.add("two", fitted(1))
    change(first.weights, kept.folder / "one.json")
    assert kept.find("one") is None
    assert kept.add("one", fitted(0)) == kept.find("one") == first


def test_the_same_weights_keep_their_first_time_and_others_do_not(kept):
    kept.add("one", fitted(0, seconds=10.04))
    for key in ("one", "other"):  # other code, say, that comes to the same
        again = kept.add(key, fitted(0, 99, "GPU"))
        assert (again.seconds, again.device) == (10.0, "CPU")
    assert kept.add("one", fitted(7, 99, "GPU")).seconds == 99


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe(model=MODEL, train=TrainParams(seed=1))},
        {"recipe": Recipe(model=MODEL, train=TrainParams(precision="bf16"))},
        {"recipe": Recipe(model=MODEL.model_copy(update={"filters": 3}), train=TrainParams(precision="fp32"))},
        {"train": image_set(1)},
        {"train": image_set(0, ("a", "c"))},
        {"validation": image_set(1)},
        {"device": torch.device("mps")},
    ],
    ids=str,
)
def test_the_key_changes_with_all_that_the_weights_depend_on(change):
    same = {"recipe": Recipe(model=MODEL, train=TrainParams(precision="fp32")), "train": image_set(),
            "validation": image_set(), "device": CPU}  # fmt: skip
    more_seeds = Recipe(model=MODEL, train=TrainParams(precision="fp32", seeds=3))
    assert trained.key_of(**same) == trained.key_of(**{**same, "recipe": more_seeds})
    assert trained.key_of(**same) != trained.key_of(**{**same, **change})


def test_the_key_changes_with_the_libraries_and_the_code_and_not_with_threads_or_line_ends(monkeypatch, tmp_path):
    def key():
        return trained.key_of(Recipe(model=MODEL), image_set(), image_set(), CPU)

    before, threads = key(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    assert key() == before
    torch.set_num_threads(threads)
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert key() != before
    monkeypatch.undo()

    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "checkpoint.py"))
    digests = []
    for content in (b"a = 1\nb = 2\n", b"a = 1\r\nb = 2\r\n", b"a = 1\nb = 3\n"):
        (tmp_path / "checkpoint.py").write_bytes(content)
        digests.append(checkpoint.code())
    (tmp_path / "checkpoint.py").rename(tmp_path / "other.py")
    digests.append(checkpoint.code())
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_variants_files_are_those_of_its_seeds_and_of_no_other(kept, write):
    first, second, third = (kept.add(f"key {seed}", fitted(seed, 3.0 + 4 * seed, f"D{seed}")) for seed in range(3))
    one = write({0: first})
    three = write({0: first, 1: second, 5: third})
    assert [f"seed-{seed}.safetensors" in three for seed in (0, 1, 5)] == [True] * 3 and len(three) == 5
    assert three["seed-0.safetensors"] == one["seed-0.safetensors"] == first.weights.read_bytes()
    assert three["seed-5.safetensors"] == third.weights.read_bytes()
    timing = json.loads(three["x.json"])
    assert (timing["seconds"], timing["device"]) == (7.0, "D0, D1, D2")
    assert timing["networks"]["5"] == {"seconds": 11.0, "device": "D2"}
    assert write({0: first}) == one


def test_curves_have_a_row_for_each_seed_and_epoch_also_of_what_is_not_finite(kept, write, tmp_path):
    kept.add("one", fitted(0, loss=math.nan))
    assert "NaN" not in (kept.folder / "one.json").read_text()
    write({0: kept.find("one"), 1: kept.add("two", fitted(1))})
    curves = pd.read_csv(tmp_path / "curves" / "x.csv")
    assert curves["seed"].tolist() == [0, 0, 1, 1] and curves["epoch"].tolist() == [1, 2] * 2
    assert curves["train_loss"].isna().tolist() == [True, True, False, False]
    assert curves["train_loss"].tolist()[2:] == [1.0, 0.5]


def test_a_link_to_dvcs_cache_is_replaced_and_not_written_through(kept, write, tmp_path):
    write({0: kept.add("one", fitted(0))})
    cached = tmp_path / "cached"
    for file in (tmp_path / "weights/seed-0.safetensors", tmp_path / "timing/x.json", tmp_path / "curves/x.csv"):
        file.replace(cached)
        before = cached.read_bytes()
        file.symlink_to(cached)
        write({0: kept.add("two", fitted(5, 8))})
        assert cached.read_bytes() == before and not file.is_symlink()
