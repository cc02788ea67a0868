"""Weights of other people's networks: old files fit, foreign ones do not, and nothing is unpickled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from graybox.errors import UserError
from graybox.network import architectures, cnn, training, weights
from graybox.network.params import ModelParams, TrainParams


class Touches:
    """Unpickling it would make the file "touched"."""

    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def built(name: str, classes: int = 3) -> architectures.Wrapped:
    params = ModelParams(architecture=name)
    return architectures.build(params, 64, tuple("abcdefgh"[:classes])).eval()


def test_an_old_densenet_file_has_dots_in_its_names_and_no_counters():
    torch.manual_seed(0)
    sound, other = built("densenet121"), built("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])", r"\1.\2", key): value
        for key, value in sound.network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert weights.give(other.network, old) == ""
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(image), sound(image))


def test_a_network_stays_as_it_is_if_the_weights_are_not_its_own():
    network = built("squeezenet1_1").network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given = {key: value + 1 for key, value in before.items()}
    name = "classifier.1.weight"
    given[name] = torch.zeros(7, 512, 1, 1)
    why = r"classifier.1.weight is [7, 512, 1, 1] in it and [3, 512, 1, 1] in the network"
    assert weights.give(network, given) == why
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert weights.give(network, given, {name}) == ""  # which stays, and the others come
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key] + (key != name), rtol=0, atol=0)


def test_a_network_that_asks_for_versions_of_its_layers_is_saved_read_and_restored(tmp_path):
    torch.manual_seed(0)
    sound = built("mnasnet0_5")
    cnn.save(sound, tmp_path / "model.safetensors")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(cnn.load(tmp_path / "model.safetensors")(image), sound(image))
    params = TrainParams(weight_average=1.0)
    step, other = (training.Step(one, params, 4, torch.float32) for one in (sound, built("mnasnet0_5")))
    other.restore({name: value.clone() if name != "taken" else value for name, value in step.state().items()})
    with torch.no_grad():
        torch.testing.assert_close(other.result.eval()(image), sound(image))


def test_a_planted_file_in_torch_hubs_folder_is_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"fc.weight": Touches()}, tmp_path / "checkpoints/resnet18-f37072fd.pth")
    with pytest.raises(UserError, match="holds no weights that can be read without unpickling"):
        weights.of_torchvision("resnet18", "IMAGENET1K_V1")
    assert not (tmp_path / "touched").exists()
