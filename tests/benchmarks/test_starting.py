"""Each benchmark starts from the command line, at its smallest size; a user's mistake ends it with one sentence."""

import runpy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision import models

from benchmarks import data, maps, mistakes, networks, occlusion, torchvision_networks, training, windows
from graybox.data import images
from graybox.data.params import DataParams, ScenesParams
from graybox.data.prepare import prepare
from graybox.data.sources import generated
from graybox.network import cnn
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from tests.support.basics import ROOT

NAMES = sorted(
    path.stem if path.suffix else path.name
    for path in (ROOT / "benchmarks").iterdir()
    if (path / "__main__.py").is_file() or (path.suffix == ".py" and "__main__" in path.read_text())
)


def start(monkeypatch, name: str, *arguments: str) -> str | int | None:
    """Run `python -m benchmarks.NAME`; how it ended."""
    monkeypatch.setattr("sys.argv", [f"benchmarks.{name}", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return ended.value.code


def test_all_are_found():
    measured = ["ablation", "accuracy", "data", "gpu", "maps", "mistakes", "networks", "occlusion"]
    assert [*measured, "planted_photographs", "size", "training", "verdict", "windows"] == NAMES


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", NAMES)
def test_help_says_how_it_is_used(name, monkeypatch, capsys):
    assert start(monkeypatch, name, "--help") == 0
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "ablation",
            [],
            "data/prepared: no prepared images are there; run `dvc repro prepare`, or name another folder",
        ),
        ("accuracy", ["--prepared", "nowhere"], "nowhere: no prepared images are there;"),
        ("accuracy", ["--params", "nowhere.yaml"], "nowhere.yaml"),
        ("accuracy", ["--variant", "largest"], "--variant largest is not in params.yaml; allowed: baseline, conv-2,"),
        ("data", ["--photos", "nowhere.zip"], "--photos nowhere.zip: there is no such file"),
        ("gpu", ["--device", "cpu", "--photographs", "nowhere.npz"], "nowhere.npz: not an .npz file"),
        ("maps", [], "data/prepared: no prepared images are there;"),
        ("mistakes", [], "data/prepared: no prepared images are there;"),
        ("networks", ["--device", "cpu", "--window", "8"], "--window 8: a window has a centre, so its side is odd"),
        ("networks", ["--device", "cpu", "--pixels", "16"], "--pixels 16: at least 32, and no smaller than the window"),
        ("networks", ["--device", "cpu", "--names", "resnet"], "--names resnet: torchvision has no such classifier"),
        ("occlusion", ["--device", "cpu", "--sides", "8"], "--sides 8: a window has a centre, so its side is odd"),
        ("occlusion", ["--device", "cpu", "--pixels", "10"], "--pixels 10: at least 16, and no smaller than a window"),
        ("planted_photographs", ["--archive", "nowhere.zip"], "--archive nowhere.zip: there is no such file or folder"),
        ("training", [], "data/prepared: no prepared images are there;"),
        ("verdict", ["--worlds", "objects"], "--worlds: world 'objects'; allowed: object, context,"),
        ("verdict", ["--worlds", "bias 2"], "--worlds: world 'bias 2'; allowed: object, context,"),
        ("verdict", ["--object-size", "0.9", "0.2"], "--image-size or --object-size: object_size"),
        ("windows", [], "data/prepared: no prepared images are there;"),
        ("windows", ["--sides", "5", "8"], "--sides 8: a window has a centre, so its side is odd"),
    ],
)
def test_a_mistake_is_one_sentence(name, arguments, sentence, monkeypatch, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = start(monkeypatch, name, *arguments)
    assert isinstance(ended, str) and ended.startswith(f"error: {sentence}") and "\n" not in ended


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_without_a_gpu_its_benchmark_ends_with_one_sentence(monkeypatch, tmp_path):
    ended = start(monkeypatch, "gpu", "--output", str(tmp_path / "results"))
    assert isinstance(ended, str) and ended.startswith("error: device is 'cuda', which this machine lacks; allowed")
    assert not (tmp_path / "results").exists()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_a_number_below_one_is_refused(monkeypatch, capsys):
    assert start(monkeypatch, "training", "--rounds", "0") == 2
    assert "argument --rounds: 0 is not a whole number of at least 1" in capsys.readouterr().err


def test_preparing_is_timed_at_its_smallest(capsys):
    data.main(["--images", "80", "--size", "32", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "80 JPEGs of 500 x 375 to 32 x 32" in printed
    difference = next(line for line in printed.splitlines() if "mean difference" in line)
    assert float(difference.split()[5]) < 3  # of 255: both read the same pictures


def test_occlusion_is_timed_at_its_smallest(capsys):
    occlusion.main(
        ["--device", "cpu", "--pixels", "16", "--sides", "5", "--windows", "9", "--rounds", "1", "--networks"]
    )
    table = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("    16 ")]
    assert len(table) == 1 and table[0][1] == "5"
    assert all(float(cell) > 0 for cell in table[0][2:4])


def cells(printed: str, name: str) -> list[list[str]]:
    """The cells of a Markdown table's rows that begin with this name."""
    return [line.split(" | ")[1:] for line in printed.splitlines() if line.startswith(f"| {name} | ")]


def test_other_networks_are_timed_at_their_smallest(capsys, monkeypatch):
    small = ["--device", "cpu", "--pixels", "64", "--window", "17", "--strides", "32", "16", "--rounds", "1"]
    model, picture = torchvision_networks.network("squeezenet1_1", 64), torchvision_networks.image(64)
    assert 5 < int(networks.carried(model, picture, 16, 9).rstrip("%")) < 100
    networks.main(["--names", "squeezenet1_1", *small])
    rows = cells(capsys.readouterr().out, "squeezenet1_1")
    assert [row[0] for row in rows] == ["32", "16"]
    assert all(float(row[2].split(" (")[0]) > 0 for row in rows)  # the plain engine's milliseconds
    monkeypatch.setattr(networks, "knows", lambda *_: False)  # as of a vision transformer, which takes long to build
    networks.main(["--every", "--names", "squeezenet1_1", *small])
    printed = capsys.readouterr().out
    (row,) = cells(printed, "squeezenet1_1")
    assert float(row[0]) > 0.01  # billion multiply-accumulates
    assert row[1:3] == ["the plain way", "-"]


@pytest.mark.parametrize(("name", "weights"), [("squeezenet1_1", "SqueezeNet1_1"), ("mobilenet_v2", "MobileNet_V2")])
def test_multiply_accumulates_are_torchvisions_own_figures(name, weights):
    stated = models.get_weight(f"{weights}_Weights.IMAGENET1K_V1").meta["_ops"]
    found = networks.macs(torchvision_networks.network(name, 224), torchvision_networks.image(224))
    assert found / 1e9 == pytest.approx(stated, abs=0.002)


def test_training_is_timed_at_its_smallest(prepared, capsys):
    training.main(["--prepared", str(prepared), "--images", "40", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "40 images of 16 x 16, batches of 40" in printed
    rates = [line.split("images/s")[0].split()[-1] for line in printed.splitlines() if "images/s   (" in line]
    assert len(rates) == 4 and all(float(rate.replace(",", "")) > 0 for rate in rates)


@pytest.fixture
def finished(tmp_path, raw_params, write_params, monkeypatch):
    """A folder as `dvc repro` leaves it, in which two untrained networks competed."""
    raw_params["sources"]["scenes"]["image_size"] = 32
    write_params(raw_params)
    options = ScenesParams(image_size=32, train_per_class=10, test_per_class=4)
    catalogue = generated.open(options, tmp_path, 0)
    prepare(catalogue, DataParams(), 32, tmp_path / "data/prepared", workers=1)
    names = images.load(tmp_path / "data/prepared", "test").class_names
    for seed, name in enumerate(("baseline", "conv-2")):
        torch.manual_seed(seed)
        file = tmp_path / "models/variants" / name / "0.safetensors"
        file.parent.mkdir(parents=True)
        cnn.save(CNN(ModelParams(conv_layers=4 - 2 * seed, filters=4, fc_units=8), 32, names), file)
    shutil.copy(file, tmp_path / "models/best.safetensors")
    (tmp_path / "report").mkdir()
    (tmp_path / "report/best.json").write_text('{"variant": "conv-2"}', encoding="utf-8")
    pd.DataFrame({"variant": ["baseline", "conv-2"], "best_on": ["", "test"]}).to_csv(
        tmp_path / "report/comparison.csv"
    )
    monkeypatch.chdir(tmp_path)


def test_faults_are_planted_at_its_smallest(finished, capsys):
    mistakes.main(["--planted", "10"])
    printed = capsys.readouterr().out
    planted = [line.split(" planted in 10: ")[0] for line in printed.splitlines() if " planted in 10: " in line]
    assert planted[:2] == ["nothing", "label_suspect"] and len(planted) == 8
    wrong = [int(line.split("10: ")[1].split()[0]) for line in printed.splitlines() if " planted in 10: " in line]
    assert np.mean(wrong) > 5  # untrained networks are mostly wrong


def test_windows_are_compared_at_their_smallest(finished, capsys):
    windows.main(["--images", "3", "--stride", "8", "--sides", "5", "11", "--fills", "mean"])
    printed = capsys.readouterr().out
    rows = [line.split()[:3] for line in printed.splitlines()[1:5]]
    assert rows == [["5", "mean", "3"], ["11", "mean", "3"], ["0", "random", "3"], ["0", "centre", "3"]]
    assert "object boxes: the shorter side is" in printed


def test_maps_are_compared_at_their_smallest(finished, capsys):
    beside = "models/variants/conv-2/0.safetensors"  # which is the best network
    maps.main(["--images", "3", "--stride", "8", "--networks", "1", "--beside", beside])
    printed = capsys.readouterr().out
    first, ranks, absolute = printed.split("\n\n")
    lines = first.splitlines()
    names = ["occlusion, N = 11, gray", "occlusion, N = 11, mean", "Grad-CAM", "gradient x input"]
    assert [line.strip().startswith(name) for line, name in zip(lines[1:], names)] == [True] * 4
    assert [line.split()[0] for line in lines[6:8]] == ["random", "centre"] and "The boxes cover" in lines[8]
    for table in (ranks, absolute):
        steps = ["nothing", "fc 2", "fc 1 and above", "conv 2 and above", "conv 1 and above", "two networks", beside]
        rows = table.splitlines()[2:]
        assert [row.startswith(step) for row, step in zip(rows, steps, strict=True)] == [True] * 7
        for same in (rows[0], rows[-1]):
            assert same.count("1.00 (1.00 to 1.00)") == 5
        assert rows[4].count("1.00 (1.00 to 1.00)") == 0
