"""Networks by name: what is built, what is refused, what is saved and read again, and whose code is run."""

from __future__ import annotations

import importlib
import json
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from graybox.errors import UserError
from graybox.network import architectures, cnn, user_code, weights
from graybox.network.architectures import build
from graybox.network.checkpoint import Checkpoint, key_of
from graybox.network.params import ModelParams, Recipe, TrainParams
from graybox.network.sizes import check_fits
from graybox.network.training import fit
from graybox.network.wrapped import IMAGENET_MEAN, Wrapped
from graybox.schema import validated
from tests.support.basics import image_set

NAMES = ("cat", "dog", "fox")

MINE = """
from torch import nn

from nets import parts
from nets.parts import WIDTH


def build(classes):
    return nn.Sequential(parts.layer(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, classes))


def numbers(classes):
    return [classes]


def four(classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))


def broken(classes):
    return nn.Linear(3, "many")


def frozen(classes):
    return build(classes).requires_grad_(False)


nothing = None
"""
PARTS = """
from torch import nn

WIDTH = 6


def layer():
    return nn.Conv2d(3, WIDTH, 3)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """A folder with a module of the user's, which is the current one."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/mine.py").write_text(MINE)
    (tmp_path / "nets/parts.py").write_text(PARTS)
    source = Path(__file__).with_name("test_wrapped.py").read_text()
    tokens = source[source.index("class Tokens") : source.index("class Branches")]
    (tmp_path / "tokens.py").write_text(f"from torch import nn\n\n\n{tokens}")
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "nets.mine", "nets.parts", "tokens"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    user_code.forget()
    return tmp_path


def made(architecture: str, size: int = 32, **more) -> Wrapped:
    model = build(ModelParams(architecture=architecture, **more), size, NAMES).eval()
    assert isinstance(model, Wrapped)
    return model


@pytest.mark.parametrize("name", ["cnn", "squeezenet1_1", "tokens:Tokens", "nets.mine:build"])
def test_a_network_of_each_kind_is_saved_and_read_again(name, mine, tmp_path):
    torch.manual_seed(0)
    model = build(ModelParams(architecture=name), 32, NAMES).eval()
    model.mean.fill_(0.25)
    model.diverged = "for a reason"
    cnn.save(model, tmp_path / "model.safetensors")
    read = cnn.load(tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(read(images), model(images), rtol=1e-5, atol=1e-5)
    assert (read.params, read.class_names, read.image_size) == (model.params, NAMES, 32)
    assert read.diverged == "for a reason" and not read.training
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        written = json.loads(file.metadata()["graybox"])
    assert written["format"] == (1 if name == "cnn" else 2)
    assert ("architecture" in written["model"]) == (name != "cnn")
    assert ("files" in written) == (":" in name)


def test_a_network_of_timm_is_built_and_saved(tmp_path):
    pytest.importorskip("timm")
    for name in ("timm:resnet10t", "timm:vit_tiny_patch16_224"):
        model = made(name, 64)
        cnn.save(model, tmp_path / "model.safetensors")
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(cnn.load(tmp_path / "model.safetensors")(images), model(images))
        assert model.has_maps == ("resnet" in name)
    with pytest.raises(UserError, match=r"which timm .* lacks"):
        made("timm:resnet_of_nobody")


def test_one_that_was_wrapped_by_hand_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="wrapped by hand"):
        cnn.save(Wrapped(nn.Sequential(nn.Flatten(), nn.Linear(3, 3)), 1, NAMES), tmp_path / "model.safetensors")


def test_weights_that_two_layers_share_are_saved(mine, tmp_path):
    (mine / "nets/mine.py").write_text(
        MINE + "\n\ndef tied(classes):\n    layer = nn.Conv2d(3, 3, 1)\n"
        "    other = nn.Conv2d(3, 3, 1)\n    other.weight = layer.weight\n"
        "    return nn.Sequential(layer, other, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))\n"
    )
    model = made("nets.mine:tied")
    cnn.save(model, tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(cnn.load(tmp_path / "model.safetensors")(images), model(images))


@pytest.mark.parametrize(
    ("architecture", "size", "said"),
    [
        ("resnet19", 32, "which torchvision.models lacks; did you mean resnet18?"),
        ("vit_b_16", 50, "vit_b_16 can't be built for 50 x 50 images|takes no images of 50 x 50"),
        ("maxvit_t", 50, "maxvit_t can't be built for 50 x 50 images"),
        ("squeezenet1_1", 2, "squeezenet1_1 takes no images of 2 x 2 pixels"),
        ("nets.absent:build", 32, "there is no nets/absent.py"),
        ("nets.mine:absent", 32, "nets.mine has no function absent"),
        ("nets.mine:nothing", 32, "nets.mine has no function nothing"),
        ("nets.mine:numbers", 32, "gives a list; allowed: a torch.nn.Module"),
        ("nets.mine:four", 32, r"gives \[1, 4\] for one image and 3 classes"),
        ("nets.mine:broken", 32, "can't be built for 32 x 32 images and 3 classes"),
        ("nets.mine:build", 2, "takes no images of 2 x 2 pixels"),
        ("nets:build", 32, "there is no nets.py"),
        ("os:system", 32, "there is no os.py"),
        ("graybox.network.cnn:load", 32, "there is no graybox/network/cnn.py"),
    ],
)
def test_what_can_not_be_built_is_a_sentence(architecture, size, said, mine):
    with pytest.raises(UserError, match=said) as found:
        made(architecture, size)
    assert "\n" not in str(found.value)


def test_a_module_that_can_not_be_imported_is_a_sentence(mine):
    (mine / "nets/parts.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match=r"nets.mine can't be imported .*nothing_of_this_name.*line"):
        made("nets.mine:build")
    (mine / "nets/parts.py").write_text("def\n")
    with pytest.raises(UserError, match=r"nets/parts.py can't be read \(SyntaxError"):
        made("nets.mine:build")


def test_the_hashes_are_of_the_module_and_of_all_that_it_imports_from_the_folder(mine):
    (mine / "nets/unused.py").write_text("import os\n")
    (mine / "nets/__init__.py").write_text("")
    before = user_code.hashes("nets.mine:build")
    assert list(before) == ["nets/__init__.py", "nets/mine.py", "nets/parts.py"]
    (mine / "nets/unused.py").write_text("import sys\n")
    assert user_code.hashes("nets.mine:build") == before
    (mine / "nets/parts.py").write_text(PARTS + "# changed\n")
    assert user_code.hashes("nets.mine:build") != before
    (mine / "nets/parts.py").write_bytes(PARTS.replace("\n", "\r\n").encode())
    assert user_code.hashes("nets.mine:build") == before


@pytest.mark.parametrize(
    "line",
    ["from . import parts", "from .parts import layer", "import nets.parts", "def f():\n    from nets import parts"],
)
def test_each_form_of_an_import_is_seen(line, mine):
    (mine / "nets/mine.py").write_text(line + "\n")
    assert "nets/parts.py" in user_code.hashes("nets.mine:build")


def test_an_edited_module_is_imported_anew(mine):
    assert made("nets.mine:build").network[0].out_channels == 6
    (mine / "nets/parts.py").write_text(PARTS.replace("WIDTH = 6", "WIDTH = 11"))
    assert made("nets.mine:build").network[0].out_channels == 11


def test_a_module_that_was_imported_before_an_edit_is_imported_anew(mine, monkeypatch):
    monkeypatch.syspath_prepend(str(mine))
    assert importlib.import_module("nets.parts").WIDTH == 6
    (mine / "nets/parts.py").write_text(PARTS.replace("WIDTH = 6", "WIDTH = 11"))
    assert made("nets.mine:build").network[0].out_channels == 11


def test_a_model_is_not_read_with_other_code_than_it_was_saved_with(mine, tmp_path):
    cnn.save(made("nets.mine:build"), tmp_path / "model.safetensors")
    (mine / "nets/parts.py").write_text(PARTS + "print('run')\n")
    with pytest.raises(UserError, match=r"model.safetensors: nets.mine:build: nets/parts.py is not the file that"):
        cnn.load(tmp_path / "model.safetensors")


def planted(folder: Path, architecture: str, **changes) -> Path:
    """A model file that names a function to be run."""
    network = {"format": 2, "model": {"architecture": architecture}, "image_size": 8, "class_names": NAMES, **changes}
    file = folder / "planted.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, file, {"graybox": json.dumps(network)})
    return file


def test_a_planted_model_file_runs_nothing(mine, tmp_path, capsys):
    evil = "from pathlib import Path\nPath('touched').touch()\n\n\ndef build(classes):\n    Path('called').touch()\n"
    (mine / "evil.py").write_text(evil)
    outside = tmp_path.parent / "outside.py"
    outside.write_text(evil)
    known = user_code.hashes("evil:build")
    cases = [
        planted(tmp_path, "evil:build"),  # without the hash of its file
        planted(tmp_path, "evil:build", files={"evil.py": "0" * 64}),
        planted(tmp_path, "evil:build", files={**known, "nets/mine.py": "0" * 64}),
    ]
    for case in cases:
        with pytest.raises(UserError, match=r"evil.py|nets/mine.py"):
            cnn.load(case)
    for name in (
        "os:system",
        "subprocess:run",
        "graybox.files:replacing",
        "stages.train:main",
        "tests.conftest:params",
        "outside:build",
    ):
        with pytest.raises(UserError, match=r"there is no|allowed"):
            cnn.load(planted(tmp_path, name, files={}))
    for name in ("..outside:build", "evil:build.__globals__", "timm:../../x", "", 5, None):
        with pytest.raises(UserError):
            cnn.load(planted(tmp_path, name, files=known))
    assert not (mine / "touched").exists() and not (mine / "called").exists()
    cnn_of_the_future = planted(tmp_path, "resnet18", format=cnn.FORMAT + 1)
    told = f"has format {cnn.FORMAT + 1}, and this Graybox reads formats up to {cnn.FORMAT}"
    with pytest.raises(UserError, match=told):
        cnn.load(cnn_of_the_future)


def test_another_module_of_the_same_name_is_not_run_in_its_place(mine):
    (mine / "json.py").write_text("def build(classes):\n    raise SystemExit\n")
    with pytest.raises(UserError, match=r"Python finds another json|json is already loaded from elsewhere"):
        user_code.function("json:build")


# Initial weights.


@pytest.fixture
def resnet_file(tmp_path):
    """The weights of a resnet18 for 5 classes."""
    torch.manual_seed(1)
    network = architectures.torchvision_network("resnet18", 32, 5)
    return network.state_dict(), tmp_path


@pytest.mark.parametrize("form", ["safetensors", "pth", "nested", "parallel"])
def test_initial_weights_come_from_a_file_and_a_last_layer_of_other_classes_is_new(form, resnet_file):
    state, folder = resnet_file
    file = folder / f"weights.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        safetensors.torch.save_file(state, file)
    else:
        given = {f"module.{key}": value for key, value in state.items()} if form == "parallel" else state
        torch.save({"state_dict": given, "epoch": 3} if form == "nested" else given, file)
    torch.manual_seed(0)
    model = made("resnet18", weights=str(file))
    found = model.network.state_dict()
    for key, value in state.items():
        if not key.startswith("fc."):
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    assert model.last_layer.out_features == 3
    np.testing.assert_allclose(model.mean.flatten(), IMAGENET_MEAN)
    assert architectures.files_of(model.params).keys() == {file.as_posix()}


def test_a_pickled_object_is_not_read(tmp_path, resnet_file):
    state, _ = resnet_file
    torch.save({"fc.weight": state["fc.weight"], "run": print}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="without unpickling"):
        made("resnet18", weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("conv1.weight"), "it lacks conv1.weight; allowed"),
        (lambda state: state.update({"more.weight": torch.zeros(1)}), "it has also more.weight; allowed"),
        (
            lambda state: state.update({"bn1.weight": torch.zeros(3)}),
            r"bn1.weight is \[3\] in it and \[64\] in the network",
        ),
    ],
)
def test_weights_of_another_network_are_a_sentence(change, said, resnet_file):
    state, folder = resnet_file
    state = dict(state)
    change(state)
    torch.save(state, folder / "weights.pth")
    with pytest.raises(UserError, match=said):
        made("resnet18", weights=str(folder / "weights.pth"))
    with pytest.raises(UserError, match=r"absent.pth: there is no such file"):
        made("resnet18", weights=str(folder / "absent.pth"))


def test_torchvisions_weights_without_a_network_are_a_sentence_that_names_file_and_folder(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(UserError, match=f"put resnet18-f37072fd.pth into {tmp_path}/checkpoints"):
        made("resnet18", weights="IMAGENET1K_V1")
    with pytest.raises(UserError, match="allowed with resnet18: IMAGENET1K_V1, or a file"):
        made("resnet18", weights="IMAGENET1K_V9")


def test_torchvisions_weights_are_taken_from_torch_hubs_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(2)
    state = architectures.torchvision_network("squeezenet1_1", 64, 1000).state_dict()
    torch.save(state, tmp_path / "checkpoints/squeezenet1_1-b8a52dc0.pth")
    found = made("squeezenet1_1", 64, weights="IMAGENET1K_V1").network.state_dict()
    torch.testing.assert_close(found["features.0.weight"], state["features.0.weight"], rtol=0, atol=0)
    assert found["classifier.1.weight"].shape[0] == 3


def test_the_cnn_starts_from_random_weights():
    with pytest.raises(UserError, match="architecture is cnn, which starts from random weights"):
        validated(ModelParams, {"weights": "IMAGENET1K_V1"}, "model")


# Training.


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("name", ["nets.mine:build", "shufflenet_v2_x0_5", "tokens:Tokens"])
def test_a_network_of_each_kind_is_trained(name, optimizer, mine):
    train = image_set(16, 32, 3)
    schedule = TrainParams(epochs=1, batch_size=8, optimizer=optimizer, weight_average=0.5, precision="fp32")
    torch.manual_seed(3)
    found = fit(ModelParams(architecture=name), schedule, train, image_set(6, 32, 3, seed=1), device="cpu")
    before = torch.get_rng_state()
    again = fit(ModelParams(architecture=name), schedule, train, image_set(6, 32, 3, seed=1), device="cpu")
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random state is as it was
    for mine_now, theirs in zip(found.model.parameters(), again.model.parameters()):
        torch.testing.assert_close(mine_now, theirs, rtol=0, atol=0)
    assert not found.model.diverged and found.model.class_names == train.class_names
    cnn.save(found.model, mine / "model.safetensors")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(cnn.load(mine / "model.safetensors")(images), found.model(images))


def test_a_modules_own_tensors_have_numbers_although_the_network_was_first_tried_without(mine):
    (mine / "own_tensors.py").write_text(
        "import torch\nfrom torch import nn\n\nWHITE = torch.ones(3, 1, 1)\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.scores = nn.Linear(3, classes)\n\n"
        "    def forward(self, x):\n"
        "        return self.scores((x * WHITE).mean((2, 3)))\n"
    )
    params = ModelParams(architecture="own_tensors:Net")
    check_fits(params, TrainParams(), 32)
    assert architectures.build(params, 32, ("a", "b"))(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_training_goes_on_from_a_checkpoint_of_the_same_code_alone(mine):
    train, validation = image_set(16, 32, 3), image_set(6, 32, 3, seed=1)
    schedule = TrainParams(epochs=2, batch_size=8, precision="fp32")
    params = ModelParams(architecture="nets.mine:build")
    whole = fit(params, schedule, train, validation, device="cpu")

    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    def unfinished() -> Checkpoint:
        checkpoint = Checkpoint(mine / "checkpoint.safetensors", seconds=1e-9)
        with pytest.raises(Killed):
            fit(params, schedule, train, validation, kill, device="cpu", checkpoint=checkpoint)
        return checkpoint

    resumed = fit(params, schedule, train, validation, device="cpu", checkpoint=unfinished())
    assert resumed.resumed
    for one, other in zip(whole.model.parameters(), resumed.model.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    checkpoint = unfinished()
    (mine / "nets/parts.py").write_text(PARTS + "# changed\n")
    assert not fit(params, schedule, train, validation, device="cpu", checkpoint=checkpoint).resumed


def test_the_key_of_a_network_has_its_code_and_weights(mine, tmp_path):
    images = image_set(4, 32, 3)

    def key(**model) -> str:
        return key_of(ModelParams(**model), TrainParams(), images, images)

    before = key(architecture="nets.mine:build"), key(architecture="resnet18"), key()
    (mine / "nets/parts.py").write_text(PARTS + "# changed\n")
    assert key(architecture="nets.mine:build") != before[0]
    assert (key(architecture="resnet18"), key(filters=8) == before[2]) == (before[1], False)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    first = key(architecture="resnet18", weights=str(file))
    file.write_bytes(b"two")
    assert len({first, key(architecture="resnet18", weights=str(file)), before[1]}) == 3


def test_a_frozen_part_stays_and_a_frozen_network_is_refused(mine):
    (mine / "nets/mine.py").write_text(
        MINE + "\n\ndef half(classes):\n    network = build(classes)\n    network[0].requires_grad_(False)\n"
        "    return network\n"
    )
    train = image_set(16, 32, 3)
    schedule = TrainParams(epochs=1, batch_size=8, precision="fp32", optimizer="muon")
    found = fit(ModelParams(architecture="nets.mine:half"), schedule, train, train, device="cpu").model
    with torch.random.fork_rng():
        from graybox.network import streams

        torch.manual_seed(streams.torch_seed(schedule.seed, "weights"))
        fresh = made("nets.mine:half")
    torch.testing.assert_close(found.network[0].weight, fresh.network[0].weight, rtol=0, atol=0)
    assert not torch.equal(found.network[-1].weight, fresh.network[-1].weight)
    with pytest.raises(UserError, match="has no weights to train"):
        check_fits(ModelParams(architecture="nets.mine:frozen"), schedule, 32)


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf", "nets.mine:build"])
def test_a_network_fits_its_images_or_is_refused_before_any_work(name, mine):
    params, schedule = ModelParams(architecture=name), TrainParams(start_size=0.5)
    check_fits(params, schedule, 64)
    Recipe(model=params, train=schedule)
    with pytest.raises(UserError, match="takes no images of 2 x 2 pixels"):
        check_fits(ModelParams(architecture="nets.mine:build"), TrainParams(), 2)


def test_a_network_of_one_size_is_not_trained_on_smaller_images():
    check_fits(ModelParams(architecture="vit_b_32"), TrainParams(), 64)
    with pytest.raises(UserError, match=r"train.start_size 0.5: model.architecture vit_b_32 takes no images of 32"):
        check_fits(ModelParams(architecture="vit_b_32"), TrainParams(start_size=0.5), 64)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_the_usual_checkpoints_hold_a_networks_weights(key, prefix, tmp_path):
    network, other = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 3))
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "checkpoint.pth")
    assert weights.give(other, weights.read_state(tmp_path / "checkpoint.pth")) == ""
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters()))


def test_a_prefix_that_belongs_to_the_network_stays():
    network, other = (nn.ModuleDict({"model": nn.Linear(2, 3)}) for _ in range(2))
    assert weights.give(other, network.state_dict()) == ""
    assert torch.equal(network["model"].weight, other["model"].weight)
