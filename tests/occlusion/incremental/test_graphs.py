"""The incremental engine on random networks: the plain way in float64 is the truth."""

import copy
import random
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from graybox.occlusion import maps
from graybox.occlusion.incremental import engine as incremental
from graybox.occlusion.incremental.plan import PRICES
from tests.support.random_networks import CLASSES, Draw, Joined, RandomNetwork

CLOSE = 1e-4
"""Of the logits' range: how far a map may be from the truth."""


@dataclass(frozen=True)
class Case:
    """A network, a picture, and how windows slide over it. The windows of all cases reach over the border."""

    network: RandomNetwork
    image: np.ndarray
    window: int
    stride: int
    fill: float | np.ndarray

    @property
    def options(self) -> dict:
        return {"window": self.window, "stride": self.stride, "fill": self.fill}


def case_of(seed: int, unknown: bool = False) -> Case:
    draw = random.Random(seed)
    height, width = draw.randint(8, 60), draw.randint(8, 60)
    stride = draw.choice([step for step in range(1, 17) if height * width <= 200 * step**2])
    window = 2 * draw.randint(0, min(height, width) // draw.choice([2, 4, 8, 16, 16])) + 1
    pixels = np.random.default_rng(seed)
    image = pixels.integers(0, 256, (height, width, 3), dtype=np.uint8)
    fill = draw.choice([0.5, 0.0, draw.random(), np.float32(pixels.random((height, width, 3)))])
    return Case(Draw(seed, height, width, unknown).network(), image, window, stride, fill)


def truth(model: nn.Module, image: np.ndarray, window: int, stride: int, fill: float | np.ndarray) -> np.ndarray:
    """Class scores [rows, columns, classes] in float64, from the pixels of every occluded picture."""
    exact = copy.deepcopy(model).double().eval()
    centres, hidden, half = [range(0, side, stride) for side in image.shape[:2]], [], window // 2
    for row in centres[0]:
        for column in centres[1]:
            picture = image.astype(np.float64) / 255
            part = slice(max(0, row - half), row + half + 1), slice(max(0, column - half), column + half + 1)
            picture[part] = fill if np.ndim(fill) == 0 else fill[part]
            hidden.append(picture)
    pictures = torch.tensor(np.stack(hidden)).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        scores = torch.cat([exact(part) for part in pictures.split(64)])
    return scores.view(*map(len, centres), -1).numpy()


def apart(found: maps.WindowScores, exact: np.ndarray) -> float:
    """The largest difference of the scores, in the range of the exact ones."""
    return float(np.abs(found.scores.double().numpy() - exact).max() / (exact.max() - exact.min()))


def assert_right(case: Case, engine: str) -> None:
    exact = truth(case.network, case.image, **case.options)
    assert apart(maps.window_scores(case.network, case.image, engine="plain", **case.options), exact) <= CLOSE
    found = maps.window_scores(case.network, case.image, engine=engine, **case.options)
    assert found.scores.shape == exact.shape and exact.shape[2] == CLASSES
    assert apart(found, exact) <= CLOSE


PRICE = PRICES["cpu"]
WAYS = {
    "as planned": PRICE,
    "as far as it goes": replace(PRICE, value=1e9, share=2.0),
    "few at a time": replace(PRICE, value=1e9, share=2.0, memory=1, chunk=1),
}
"""Prices for which the engine takes another way: it may not go on whole, or may hold little at a time."""


def assert_engine_right(case: Case, monkeypatch, cannot: str = "") -> None:
    """Also by other ways than the one that is planned. `cannot`: a reason for which it may be left to the plain one."""
    exact = truth(case.network, case.image, **case.options)
    for way, prices in WAYS.items():
        monkeypatch.setitem(PRICES, "cpu", prices)
        try:
            found = maps.window_scores(case.network, case.image, engine="incremental", **case.options)
        except ValueError as error:
            assert re.match(f"engine is 'incremental', which can't compute .*{cannot}", str(error))
            return assert_right(case, "auto")
        assert found.engine == "incremental" and apart(found, exact) <= CLOSE, way


IN_PLACE = "it changes a tensor that it reads again later"


@pytest.mark.parametrize("seed", range(36))
def test_a_random_network_of_known_nodes_gets_its_own_map(seed, monkeypatch):
    assert_engine_right(case_of(seed), monkeypatch, IN_PLACE)


@pytest.mark.parametrize("seed", range(18))
def test_an_unknown_node_anywhere_does_not_make_it_wrong(seed, monkeypatch):
    assert_engine_right(case_of(seed, unknown=True), monkeypatch)


@pytest.mark.parametrize("how", ["product", "sum", "difference", "cat", "in place"])
@pytest.mark.parametrize("stride", [13, 26, 40])
def test_branches_that_begin_at_the_picture_leave_it_unchanged(how, stride, monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        branches = [nn.Conv2d(3, 3, 3, padding=1), nn.Identity()]
        joined = Joined(how, *(branches if how == "in place" else branches[::-1]))
        behind = nn.Conv2d(6 if how == "cat" else 3, 4, 3, padding=1, padding_mode="reflect")  # from here on whole
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))
        network = RandomNetwork([joined, behind], head, known=True).eval()
    image = np.random.default_rng(0).integers(0, 256, (97, 114, 3), dtype=np.uint8)
    assert_engine_right(Case(network, image, window=31, stride=stride, fill=0.4), monkeypatch)


def test_nearly_all_networks_of_known_nodes_are_carried():
    """Else the tests above would compare the plain engine with itself."""
    known = [incremental.knows(case_of(seed).network) for seed in range(36)]
    assert sum(known) > 30


@pytest.mark.proof(600)
def test_random_networks_get_their_own_maps(case, monkeypatch):
    unknown = case % 3 == 2
    assert_engine_right(case_of(1000 + case, unknown), monkeypatch, "" if unknown else IN_PLACE)
