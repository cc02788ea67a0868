"""`python -m graybox occlude` for any network: it gives what the library gives, and says what is wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torchvision import models

from graybox import __main__ as command
from graybox import draw_scenes, intervene, judge, occlusion_map, read_folder
from graybox.command_line import occlude
from graybox.errors import UserError
from graybox.network.preprocess import Normalise
from graybox.reliance import experiment
from tests.support.basics import ROOT

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NAMES = ("a rather long name of a class", "dog", "cat")
CODE = """
import torch
from torch import nn

class Flat(nn.Module):
    '''No places on the way.'''
    def __init__(self, classes):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 16, 16)
        self.second = nn.Linear(4, classes)
    def forward(self, images):
        return self.second(self.first(images).flatten(2).transpose(1, 2).softmax(1).mean(1))

def build(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, classes))

flat = Flat

def nothing(classes):
    return "a network"

def one(classes):
    return build(1)
"""


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with photographs, code, checkpoints and class names; no params.yaml."""
    made = tmp_path_factory.mktemp("place")
    photo(90, 60).save(made / "wide.png")
    photo(60, 90, 1).save(made / "tall.png")
    (made / "single/cat").mkdir(parents=True)
    photo(60, 60, 3).save(made / "single/cat/one.png")
    (made / "single.csv").write_text("file,x0,y0,x1,y1\ncat/one.png,9,9,40,40\n")
    (made / "again").mkdir()
    photo(80, 80, 2).save(made / "again/wide.png")
    (made / "my_networks.py").write_text(CODE)
    (made / "names.txt").write_text("\n".join(NAMES) + "\n\n")
    (made / "one.txt").write_text("cat\n")
    namespace: dict = {}
    exec(CODE, namespace)
    torch.manual_seed(0)
    own = namespace["build"](3)
    own[-1].weight.data.mul_(8)  # so that the window makes a difference
    safetensors.torch.save_file(own.state_dict(), made / "own.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in own.state_dict().items()}}, made / "own.pth")
    torch.save(own, made / "pickled.pth")
    torch.save({"model": {key: value for key, value in own.state_dict().items() if "6" not in key}}, made / "part.pth")
    torch.save({**own.state_dict(), "extra.weight": torch.zeros(2)}, made / "more.pth")
    torch.save(namespace["build"](4).state_dict(), made / "four.pth")
    torch.save(namespace["flat"](3).state_dict(), made / "flat.pth")
    torch.save(models.squeezenet1_1(num_classes=1000).state_dict(), made / "squeezenet1_1-b8a52dc0.pth")
    (made / "text.pth").write_text("no weights")
    return made


OWN = [
    "--model",
    "my_networks:build",
    "--checkpoint",
    "own.safetensors",
    "--classes",
    "names.txt",
    "--image-size",
    "48",
]


@pytest.fixture
def here(place, monkeypatch):
    """The working directory, in which each test leaves what it writes."""
    monkeypatch.chdir(place)
    before = {path for path in place.rglob("*")}
    yield place
    for path in sorted({path for path in place.rglob("*")} - before, reverse=True):
        if "__pycache__" not in path.parts:
            path.rmdir() if path.is_dir() else path.unlink()


def own_network(place: Path) -> nn.Module:
    namespace: dict = {}
    exec(CODE, namespace)
    network = namespace["build"](3)
    network.load_state_dict(safetensors.torch.load_file(place / "own.safetensors"))
    return network.eval()


def test_torchvisions_weights_in_a_file_give_the_librarys_map_with_imagenets_names(here, capsys):
    command.main(
        "occlude", "wide.png", "--model", "torchvision:squeezenet1_1", "--weights", "squeezenet1_1-b8a52dc0.pth",
        "--image-size", "64", "--stride", "30", "--class", "american staffordshire terrier", "--arrays", "all.npz",
    )  # fmt: skip
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    network = models.squeezenet1_1()
    network.load_state_dict(torch.load("squeezenet1_1-b8a52dc0.pth", weights_only=True))
    label = weights.meta["categories"].index("American Staffordshire terrier")
    preset = weights.transforms(crop_size=64, resize_size=73)
    expected = occlusion_map(network, photo(90, 60), label, window=9, stride=30, preprocess=preset)
    found = experiment.load("all.npz")[0]
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.main.confidence, expected.confidence, rtol=1e-4)
    assert found.class_names == weights.meta["categories"] and found.main.window == 9
    told = capsys.readouterr().out
    assert "resized to 73, centre crop of 64 pixels, normalised with mean 0.485" in told
    assert "American Staffordshire terrier" in told and Image.open("wide-occlusion.png").width > 500


@pytest.mark.parametrize(("version", "resize"), [("V1", 37), ("V2", 33)])
def test_a_file_of_torchvisions_is_known_by_its_name(here, capsys, version, resize):
    """The two weights of one network want pictures that are resized in another way."""
    file = Path(models.MobileNet_V2_Weights[f"IMAGENET1K_{version}"].url).name
    torch.save(models.mobilenet_v2().state_dict(), file)
    command.main("occlude", "wide.png", "--model", "torchvision:mobilenet_v2", "--weights", file, "--image-size", "32",
                 "--window", "31", "--stride", "31")  # fmt: skip
    told = capsys.readouterr().out
    assert f"resized to {resize}, centre crop of 32 pixels" in told and f"mobilenet_v2's IMAGENET1K_{version}." in told


@pytest.mark.parametrize("checkpoint", ["own.safetensors", "own.pth"])
def test_a_network_of_ones_own_gets_its_checkpoint_and_its_normalisation(here, capsys, checkpoint):
    command.main(
        "occlude", "wide.png", *OWN, "--checkpoint", checkpoint, "--stride", "12", "--fill", "mean",
        "--mean", *map(str, MEAN), "--std", *map(str, STD), "--arrays", "all.npz",
    )  # fmt: skip
    found = experiment.load("all.npz")[0]
    network = nn.Sequential(Normalise(MEAN, STD), own_network(here))
    expected = occlusion_map(network, found.image, found.main.label, window=5, stride=12, fill=found.shown)
    assert found.image.shape == (48, 48, 3) and np.unique(found.shown.reshape(-1, 3), axis=0).shape == (1, 3)
    np.testing.assert_allclose(found.main.confidence, expected.confidence, atol=1e-5)
    assert expected.confidence.std() > 1e-3
    assert "normalised with mean 0.4 0.5 0.6 and std 0.2 0.25 0.3" in capsys.readouterr().out


def test_a_network_of_timm_is_given_what_timm_gives_it(here, capsys):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = timm.create_model("test_resnet", num_classes=1000).eval()
    safetensors.torch.save_file(network.state_dict(), "timm.safetensors")
    command.main("occlude", "wide.png", "--model", "timm:test_resnet", "--weights", "timm.safetensors", "--stride",
                 "60", "--arrays", "all.npz")  # fmt: skip
    found = experiment.load("all.npz")[0]
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network), is_training=False)
    expected = occlusion_map(
        network, photo(90, 60), found.main.label, window=found.window, stride=60, preprocess=transform
    )
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.main.confidence, expected.confidence, rtol=1e-4)
    assert "as timm does" in capsys.readouterr().out and len(found.class_names) == 1000


def test_a_network_without_places_has_a_panel_without_maps(here):
    command.main("occlude", "tall.png", *OWN, "--model", "my_networks:flat", "--checkpoint", "flat.pth",
                 "--stride", "12", "--arrays", "all.npz")  # fmt: skip
    found = experiment.load("all.npz")[0]
    assert found.feature_map is None and found.main.activation is None
    assert Image.open("tall-occlusion.png").height < 600


def test_at_224_pixels_the_window_is_31_and_the_stride_8(here):
    command.main("occlude", "wide.png", *OWN[:-2], "--arrays", "all.npz")
    found = experiment.load("all.npz")[0].main
    assert found.window == 31 and found.rows.tolist() == found.columns.tolist() == list(range(0, 224, 8))


def test_several_photographs_go_to_a_folder_and_excite_each_others_maps(here, capsys):
    command.main("occlude", "wide.png", "again/wide.png", "tall.png", *OWN, "--stride", "16", "--output", "panels",
                 "--arrays", "all.npz")  # fmt: skip
    assert sorted(path.name for path in Path("panels").iterdir()) == [
        "tall-occlusion.png", "wide-2-occlusion.png", "wide-occlusion.png"
    ]  # fmt: skip
    found = experiment.load("all.npz")
    assert [one.name for one in found] == ["wide.png", "wide.png", "tall.png"]
    assert any(one.patches for one in found)
    said = capsys.readouterr().out
    assert said.count("again/wide.png: ") == 1 and "incremental engine" not in said


def test_a_network_that_is_not_carried_to_its_end_is_said_once(here, capsys):
    flat = ["--model", "my_networks:flat", "--checkpoint", "flat.pth", *OWN[4:]]
    command.main("occlude", "wide.png", "tall.png", *flat, "--stride", "16", "--output", "panels")
    said = capsys.readouterr().out
    assert said.count("The incremental engine can't carry the window's changes through") == 1 and "(flatten): " in said


def boxed_folder(place: Path, names: tuple[str, ...] = ("cat", "Dog")) -> Path:
    """A folder of scenes with boxes in boxes.csv."""
    scenes = draw_scenes(12, classes=2, image_size=64, split="test")
    lines = ["file,x0,y0,x1,y1"]
    for number, (image, label, box) in enumerate(zip(scenes.images, scenes.labels, scenes.boxes)):
        folder = place / "scenes" / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
        if number != 5:
            lines.append(",".join([f"{names[label]}/{number}.png", *(f"{edge:g}" for edge in box)]))
    (place / "boxes.csv").write_text("\n".join(lines))
    return place / "scenes"


def test_a_folder_with_boxes_gets_the_librarys_verdict(here, capsys):
    boxed_folder(here)
    command.main("occlude", "scenes", "--boxes", "boxes.csv", *OWN, "--arrays", "hidden.npz")
    images = read_folder("scenes", NAMES, boxes="boxes.csv", image_size=48)
    network = nn.Sequential(Normalise((0,) * 3, (1,) * 3), own_network(here))
    hidden = intervene(network, images)
    expected = judge(hidden)
    written = json.loads(Path("scenes-verdict.json").read_text("utf-8"))
    assert written["sentence"] == expected.sentence() and written["sentence"] in capsys.readouterr().out
    figures = {key: value for key, value in written.items() if key not in ("model", "folder", "fill", "sentence")}
    assert figures == pytest.approx(expected.metrics(), abs=1e-5)
    assert (written["images"], written["left_out"], written["model"]) == (11, 1, "my_networks:build")
    with np.load("hidden.npz") as arrays:
        np.testing.assert_allclose(arrays["box_hidden"], hidden.box_hidden, atol=1e-6)
        assert [images.files[row] for row in arrays["rows"]] == arrays["files"].tolist()
        assert set(arrays["labels"].tolist()) == {1, 2}
        described = (ROOT / "docs/api.md").read_text("utf-8").partition("For a folder with boxes the file has")[2]
        assert [key for key in arrays.files if f"`{key}`" not in described] == []


def test_a_folder_of_many_images_is_one_set(here, monkeypatch):
    from graybox.command_line import folder

    boxed_folder(here)
    command.main("occlude", "scenes", "--boxes", "boxes.csv", *OWN, "--output", "whole.json")
    monkeypatch.setattr(folder, "AT_ONCE", 5)
    command.main("occlude", "scenes", "--boxes", "boxes.csv", *OWN, "--output", "parts.json")
    whole, parts = (json.loads(Path(name).read_text("utf-8")) for name in ("whole.json", "parts.json"))
    assert whole.pop("sentence") == parts.pop("sentence")
    assert {key: pytest.approx(value, abs=1e-5) for key, value in whole.items()} == parts


BOXED = ["scenes", "--boxes", "boxes.csv", *OWN]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.png", *OWN], r"none\.png: can't be read \(No such file"),
        (["names.txt", *OWN], r"names\.txt: not an image"),
        (["wide.png", "--model", "resnet18"], "--model is resnet18, and there is no such file; allowed: a model that"),
        (["wide.png", "--model", "own.safetensors"], r"--model is own\.safetensors, which Graybox did not save"),
        (["wide.png", "--model", "own.pth"], r"--model is own\.pth, which Graybox .* and --weights own\.pth"),
        (["wide.png", "--model", "torchvision:resnet19"], "--model is torchvision:resnet19, .* did you mean resnet1"),
        (["wide.png", "--model", "torchvision:resnet18"], "--weights is missing: with random ones resnet18 has .*V1"),
        (["wide.png", "--model", "torchvision:resnet18", "--weights", "no.pth"], "--weights is no.pth, and there is"),
        (["wide.png", "--model", "torchvision:resnet18", "--weights", "own.pth"],
         r"own\.pth does not fit torchvision:resnet18: it lacks conv1\.weight and \d+ more and has also 0\.weight and"),
        (["wide.png", "--model", "torchvision:squeezenet1_1", "--weights", "squeezenet1_1-b8a52dc0.pth", "--classes",
          "names.txt", "--image-size", "64"], r"classifier\.1\.weight is \[1000, 512, 1, 1\] in it and \[3, 512"),
        (["wide.png", "--model", "torchvision:squeezenet1_1", "--weights", "squeezenet1_1-b8a52dc0.pth",
          "--image-size", "8"], "--model torchvision:squeezenet1_1 takes no images of 8 x 8"),
        (["wide.png", *OWN, "--checkpoint", "part.pth"], r"part\.pth does not fit my_networks:build: it lacks 6"),
        (["wide.png", *OWN, "--checkpoint", "more.pth"], r"it has also extra\.weight; allowed: its weights"),
        (["wide.png", *OWN, "--checkpoint", "four.pth"], r"6\.weight is \[4, 8\] in it and \[3, 8\] in the network"),
        (["wide.png", *OWN, "--checkpoint", "text.pth"], r"text\.pth holds no weights that can be read without unpick"),
        (["wide.png", *OWN, "--checkpoint", "pickled.pth"], r"pickled\.pth holds no weights that can be read without"),
        (["wide.png", *OWN, "--checkpoint", "none.pth"], r"none\.pth: there is no such file"),
        (["wide.png", *OWN, "--model", "my_networks:missing"], "my_networks has no function missing"),
        (["wide.png", *OWN, "--model", "elsewhere:build"], r"elsewhere:build: there is no elsewhere\.py in"),
        (["wide.png", *OWN, "--model", "my_networks:nothing"], "my_networks:nothing gives a str; allowed: a torch"),
        (["wide.png", *OWN, "--model", "my_networks:one"], r"my_networks:one gives \[1, 1\] for one image and 3"),
        (["wide.png", *OWN, "--model", "my code:build"], "--model is my code:build; allowed: a model that"),
        (["wide.png", "--model", "my_networks:build"], "--classes is missing; allowed with my_networks:build: a text"),
        (["wide.png", *OWN, "--classes", "one.txt"], r"--classes is one\.txt, which has 1 lines; allowed: one class"),
        (["wide.png", *OWN, "--classes", "none.txt"], r"--classes is none\.txt, which can't be read \(No such file"),
        (["wide.png", *OWN, "--classes", "wide.png"], r"--classes is wide\.png, which can't be read \(it is not UT"),
        (["wide.png", *OWN, "--class", "bird"], "--class is 'bird', which the model does not know; allowed: a rat"),
        (["wide.png", *OWN, "--class", "3"], "--class is '3', which the model does not know"),
        (["wide.png", *OWN, "--image-size", "4"], "--image-size is 4; allowed: 8 to 1024 pixels"),
        (["wide.png", *OWN, "--mean", "0", "0", "0"], "--std is missing; allowed: both --mean and --std, or neither"),
        (["wide.png", *OWN, "--mean", "0", "0", "0", "--std", "1", "0", "1"], "three numbers each, .* --std above 0"),
        (["wide.png", *OWN, "--window", "8"], "--window is 8; allowed: odd numbers from 1 to the image size, 48"),
        (["wide.png", *OWN, "--stride", "48"], "--stride is 48; allowed: 1 to 47, below the image size"),
        (["wide.png", *OWN, "--window", "x"], "argument --window: invalid int value: 'x'; `python -m graybox occlude"),
        (["wide.png", *OWN, "--fill", "red"], "argument --fill: invalid choice: 'red'"),
        (["wide.png", *OWN, "--colour", "red"], "unrecognized arguments: --colour red"),
        ([], "the following arguments are required: IMAGE"),
        (["wide.png", *OWN, "--device", "gpu"], "--device is 'gpu', which this machine lacks; allowed here: auto"),
        (["wide.png", "tall.png", *OWN, "--output", "one.png"], r"--output is one\.png, one file for 2 pictures"),
        (["wide.png", "tall.png", *OWN, "--box", "1", "1", "9", "9"], "--box is of one picture, and there are 2"),
        (["wide.png", *OWN, "--output", "panel.jpg"], r"--output is panel\.jpg; allowed: a \.png file in a folder"),
        (["wide.png", *OWN, "--output", "no/where"], r"--output is no/where; allowed: a \.png file or a folder, in a"),
        (["wide.png", *OWN, "--arrays", "all.npy"], r"--arrays is all\.npy; allowed: a \.npz file in a folder"),
        (["wide.png", *OWN, "--boxes", "names.txt"], "--boxes is for a folder of class-named folders; allowed with"),
        (["again", *OWN], "--boxes is missing: the verdict over the folder again hides the objects; allowed: a CSV"),
        (["again", *OWN, "--boxes", "names.txt"], "again|boxes"),
        (["again", "wide.png", *OWN], "2 places are given, one of them a folder; allowed: photographs, or one"),
        (["none.zip", *OWN, "--boxes", "names.txt"], r"none\.zip: there is no such file"),
        ([*BOXED, "--window", "5"], "--window does not go with the folder scenes; allowed: a photograph with it"),
        ([*BOXED, "--class", "cat"], "--class does not go with the folder scenes"),
        ([*BOXED, "--output", "x.png"], r"--output is x\.png; allowed with a folder: a \.json file"),
        ([*BOXED, "--classes", "bad.txt"], r"scenes: the folder Dog the model does not know; allowed: cat, horse"),
        (["single", "--boxes", "single.csv", *OWN], "single has pictures of one class only, so that one answer to all"),
        ([*BOXED, "--boxes", "none.csv"], r"boxes is 'none\.csv', which doesn't exist"),
        ([*BOXED, "--boxes", "others.csv"], r"--boxes is others\.csv, which has no box for any picture in scenes"),
        ([*BOXED, "--boxes", "outside.csv"], r"outside\.csv, line \d: the box .* reaches outside"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(here, arguments, told):
    if "scenes" in arguments:
        boxed_folder(here)
        Path("bad.txt").write_text("cat\nhorse\nbird\n")
        Path("others.csv").write_text("file,x0,y0,x1,y1\nmouse/77.png,1,1,9,9\n")
        Path("outside.csv").write_text("file,x0,y0,x1,y1\ncat/0.png,1,1,9,900\nDog/1.png,1,1,9,900\n")
    before = set(here.rglob("*"))
    with pytest.raises(UserError, match=told) as error:
        command.main("occlude", *arguments)
    assert "\n" not in str(error.value) and "params.yaml" not in str(error.value)
    assert "model.architecture" not in str(error.value) and "model.weights" not in str(error.value)
    assert {path for path in set(here.rglob("*")) - before if "__pycache__" not in path.parts} == set()


def documented() -> list[str]:
    """The commands that the pages show."""
    pages = [(ROOT / name).read_text("utf-8") for name in ("README.md", "docs/api.md")]
    lines = "\n".join(pages).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("python -m graybox occlude")]


def test_the_commands_in_the_documentation_have_options_that_there_are(monkeypatch):
    taken = []
    monkeypatch.setattr(occlude, "occlude", taken.append)
    for line in documented():
        command.main(*shlex.split(line, comments=True)[3:])
    assert len(taken) == len(documented()) >= 8
    assert any(options.weights and options.boxes for options in taken)


def test_weights_that_can_t_be_downloaded_are_named_with_the_folder_to_put_them_in(here, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"--weights IMAGENET1K_V1 .* put squeezenet1_1-b8a52dc0\.pth into {tmp_path}"):
        command.main("occlude", "wide.png", "--model", "torchvision:squeezenet1_1", "--weights", "IMAGENET1K_V1")


def test_a_model_that_graybox_saved_needs_no_other_option(here):
    with pytest.raises(UserError, match=r"--classes does not go with m\.safetensors, which holds that itself"):
        command.main("occlude", "wide.png", "--model", "m.safetensors", "--classes", "names.txt")


def test_it_ends_with_1_and_one_line_and_a_pipe_sees_no_progress(here):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        started = [sys.executable, "-m", "graybox", "occlude", *arguments]
        return subprocess.run(started, cwd=here, env=environment, capture_output=True, text=True)

    done = run("wide.png", *OWN, "--stride", "16")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("Pictures: the largest central square, resized to 48 pixels")
    assert done.stdout.endswith("wide-occlusion.png\n")
    failed = run("wide.png", *OWN, "--window", "wide")
    assert failed.returncode == 1 and failed.stdout == ""
    assert failed.stderr.startswith("error: argument --window: invalid int") and failed.stderr.count("\n") == 1


def test_torchvisions_weights_by_name_keep_their_own_classes(here, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    shutil.copy("squeezenet1_1-b8a52dc0.pth", tmp_path / "checkpoints")
    given = ["occlude", "wide.png", "--model", "torchvision:squeezenet1_1", "--weights", "IMAGENET1K_V1"]
    with pytest.raises(UserError, match=r"classifier\.1\.weight is \[1000, 512, 1, 1\] in it and \[3, 512"):
        command.main(*given, "--classes", "names.txt", "--image-size", "64")


def test_what_timm_does_to_its_pictures_is_said_or_refused(here, monkeypatch, capsys):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), "timm.pth")
    given = ["occlude", "wide.png", "--model", "timm:test_resnet", "--weights", "timm.pth", "--classes", "names.txt",
             "--image-size", "32", "--stride", "16"]  # fmt: skip
    resolved = timm.data.resolve_data_config

    def changed(mode):
        return lambda *arguments, **options: {**resolved(*arguments, **options), "crop_mode": mode}

    for mode in ("squash", "border"):
        monkeypatch.setattr(timm.data, "resolve_data_config", changed(mode))
        if mode == "squash":
            command.main(*given)
            assert "Pictures: squeezed to a square, the central" in capsys.readouterr().out
        else:
            with pytest.raises(UserError, match=r"timm:test_resnet: what timm does to its pictures is not known"):
                command.main(*given)


def test_a_function_without_weights_is_said_to_give_its_own(here, capsys):
    own = ["--model", "my_networks:build", "--classes", "names.txt", "--image-size", "32", "--stride", "16"]
    command.main("occlude", "wide.png", *own)
    assert "without --weights, the network has those that my_networks:build gives it." in capsys.readouterr().out
