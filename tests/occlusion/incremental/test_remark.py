"""The user is told from which operation on the window's changes are not carried, and why not at all."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graybox.network.wrapped import Wrapped
from graybox.occlusion import maps
from tests.occlusion.incremental.test_engine import network

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


class Tokens(nn.Module):
    """`stage` is unknown from its softmax over the channels on."""

    def __init__(self, normal: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.stage = nn.Sequential(nn.ReLU(), nn.GroupNorm(2, 8) if normal else Softmax())
        self.last = nn.Conv2d(8, 4, 3)

    def forward(self, x):
        return self.last(self.stage(self.first(x))).amax((2, 3))


class Softmax(nn.Module):
    def forward(self, x):
        return F.softmax(x, 1)


class Asks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x):
        means = x.mean((2, 3))
        return self.layer(means) if means.sum() > 0 else self.layer(-means)


def remark(model: nn.Module, engine: str = "incremental") -> tuple[str, str]:
    found = maps.occlusion_map(model.eval(), PICTURE, 1, window=5, stride=8, engine=engine)
    return found.engine, found.remark


def test_a_network_that_is_carried_to_its_end_has_no_remark():
    assert remark(network(32)) == ("incremental", "")
    assert remark(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 3)))[1] == ""
    assert remark(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))[1] == ""


@pytest.mark.parametrize(("normal", "name"), [(True, "stage.1 (GroupNorm)"), (False, "stage.1 (softmax)")])
def test_the_first_unknown_operation_is_named_by_its_place(normal, name):
    engine, said = remark(Tokens(normal))
    assert engine == "incremental"
    assert said == (
        f"The incremental engine can't carry the window's changes through {name}: what follows is computed whole."
    )
    engine, said = remark(nn.Sequential(nn.GroupNorm(1, 3), nn.Conv2d(3, 4, 32), nn.Flatten()), "auto")
    assert engine == "plain" and "through 0 (GroupNorm): as this should be faster, all of the network is" in said
    assert remark(Tokens(normal), "plain") == ("plain", "")


def test_a_network_without_a_graph_says_why():
    for model, why in ((Asks(), "its forward can't be traced"), (network(32).bfloat16(), "it has weights of torch.bf")):
        engine, said = remark(model, "auto")
        assert engine == "plain" and said.startswith(f"The incremental engine can't compute this network: {why}")
        assert said.endswith(". All occluded images are computed whole.")


def test_a_picture_of_one_pixel_has_one_window():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 5)).eval()
    for value in (0, 200):
        picture = np.full((1, 1, 3), value, np.uint8)
        found = maps.window_scores(net, picture, window=1, engine="incremental")
        assert found.scores.shape == (1, 1, 5) and found.engine == "incremental"
        torch.testing.assert_close(found.scores[0, 0], net(torch.full((1, 3, 1, 1), 0.5))[0])


def test_a_copy_before_the_head_is_carried_even_if_the_head_changes_it_in_place():
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3, 2), nn.BatchNorm2d(8),
        nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(8 * 15 * 15, 3),
    )  # fmt: skip
    model = Wrapped(own, 32, ("a", "b", "c")).eval()
    for feature_map in (None, 5):
        options = {"window": 5, "stride": 8, "feature_map": feature_map}
        found, expected = (
            maps.window_scores(model, PICTURE, engine=engine, **options) for engine in ("incremental", "plain")
        )
        assert (found.engine, found.remark) == ("incremental", "")
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
        if feature_map is not None:
            torch.testing.assert_close(found.activation, expected.activation, rtol=1e-4, atol=1e-3)
