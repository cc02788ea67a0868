"""The section `run`: PyTorch is set to be deterministic and back, and what is computed on a CPU stays the same."""

import os

import pytest
import torch

from graybox import run
from graybox.network import trained, training
from graybox.network.params import ModelParams, Recipe, TrainParams
from tests.support.basics import image_set


@pytest.fixture
def as_before(monkeypatch):
    """PyTorch's own settings after the test."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    yield
    run.be_deterministic(False)


def weights(device: str, **more) -> list[torch.Tensor]:
    schedule = TrainParams(epochs=2, batch_size=16, weight_average=1, zoom=1.2, **more)
    fitted = training.fit(ModelParams(conv_layers=2, filters=8), schedule, image_set(64), image_set(16), device=device)
    return [tensor.cpu() for tensor in fitted.model.state_dict().values()]


def test_the_parameter_sets_it_and_takes_it_back(as_before, write_params):
    run.device(write_params({"run": {"device": "cpu", "deterministic": True}}))
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    run.device(write_params({"run": {"device": "cpu"}}))
    assert not torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory


def test_what_the_user_has_set_for_cublas_stays(as_before, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    run.be_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_on_a_cpu_it_changes_no_weight_and_trains_no_network_again(as_before):
    recipe, cpu = Recipe(model=ModelParams(), train=TrainParams()), torch.device("cpu")
    before, key = weights("cpu"), trained.key_of(recipe, image_set(8), image_set(8), cpu)
    run.be_deterministic(True)
    assert all(torch.equal(*pair) for pair in zip(before, weights("cpu"), strict=True))
    assert trained.key_of(recipe, image_set(8), image_set(8), cpu) == key


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CPU always gives the same weights")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_trainings_on_a_gpu_give_the_same_weights(as_before, precision):
    run.be_deterministic(True)
    first, second = weights("cuda", precision=precision), weights("cuda", precision=precision)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
