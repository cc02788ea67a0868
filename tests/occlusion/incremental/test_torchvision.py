"""The incremental engine on torchvision's classifiers, with random weights and settled batch norms."""

import numpy as np
import pytest
import torch
from torchvision import models

from benchmarks import torchvision_networks
from graybox.occlusion import maps
from graybox.occlusion.incremental import engine as incremental
from tests.occlusion.incremental.test_graphs import CLOSE, apart, truth

SMALL = (
    "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf",
    "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
)  # fmt: skip
TRANSFORMERS = ("maxvit", "swin", "vit")
"""How the names begin of those in which every place looks at others, which need pictures of 224 pixels."""
LARGE = 150_000_000
"""Weights of a network that is not copied in float64 as well."""


def assert_right(name: str, height: int, width: int, window: int, stride: int) -> None:
    model = torchvision_networks.network(name, max(height, width), classes=10)
    image = torchvision_networks.image(max(height, width))[:height, :width]
    options = {"window": window, "stride": stride, "fill": 0.5}
    plain = maps.window_scores(model, image, engine="plain", **options)
    if sum(weight.numel() for weight in model.parameters()) < LARGE:
        exact = truth(model, image, **options)
        assert apart(plain, exact) <= CLOSE
    else:
        exact = plain.scores.double().numpy()
    assert np.ptp(exact, (0, 1)).max() > 1e-3 * np.ptp(exact)  # or the windows would change nothing
    assert incremental.knows(model)
    for engine in ("incremental", "auto"):
        assert apart(maps.window_scores(model, image, engine=engine, **options), exact) <= CLOSE


@pytest.mark.parametrize("name", SMALL)
def test_a_small_classifier_gets_its_own_map(name):
    assert_right(name, 64, 72, 11, 24)


@pytest.mark.proof(80)
def test_every_classifier_gets_its_own_map(case, request):
    names = torchvision_networks.names()
    assert len(names) <= 80 or torch.__version__ > "2.15"
    if case < len(names):
        weights = models.get_model_weights(names[case]).DEFAULT.meta["num_params"]
        if weights > 3e7 and "proof" not in request.config.option.markexpr:
            pytest.skip(f"{names[case]} has {weights:,} weights; pytest -m proof has it")
        side = 224 if names[case].startswith(TRANSFORMERS) else 96
        assert_right(names[case], side, side, 31 if side == 224 else 15, 72 if side == 224 else 16)
