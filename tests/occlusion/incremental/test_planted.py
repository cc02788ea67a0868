"""What an engine that reads a network's graph could get wrong: hooks, control flow, weights that change, and others."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graybox.occlusion import maps
from tests.support.planted_networks import (
    CHANGES,
    HEIGHT,
    LATER,
    PLANTED,
    WIDTH,
    Network,
    block,
    change,
    planted,
    settled,
    usual,
)  # fmt: skip
from tests.support.random_networks import Apply

OPTIONS = {"window": 5, "stride": 4, "fill": 0.3}
PLACES = [(0, 0), (2, 3), (1, 6), (4, 6), (4, 0)]
"""Rows and columns of window positions; some lie at the border."""


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def answers(model: nn.Module, image: np.ndarray) -> torch.Tensor:
    """The class scores [places, classes] of the network's own forward, one image at a time, with a window filled."""
    found = []
    for row, column in PLACES:
        hidden, top, left = image.astype(np.float32) / 255, 4 * row, 4 * column
        hidden[max(0, top - 2) : top + 3, max(0, left - 2) : left + 3] = OPTIONS["fill"]
        with torch.no_grad():
            found.append(model(torch.tensor(hidden).permute(2, 0, 1)[None].contiguous())[0])
    return torch.stack(found)


def map_by(engine: str, model: nn.Module, image: np.ndarray) -> torch.Tensor | None:
    """Class scores [rows, columns, classes]; None if the incremental engine does not know the network."""
    try:
        return maps.window_scores(model, image, engine=engine, **OPTIONS).scores
    except ValueError as error:
        if engine != "incremental" or not str(error).startswith("engine is 'incremental'"):
            raise
        return None


def assert_right(model: nn.Module, image: np.ndarray) -> None:
    exact = answers(model, image)
    assert exact.std(0).max() > 1e-3  # or the window would change nothing
    for engine in ("incremental", "auto", "plain"):
        scores = map_by(engine, model, image)
        if scores is not None:
            found = torch.stack([scores[row, column] for row, column in PLACES])
            assert (found - exact).abs().max() <= 1e-4 * (exact.max() - exact.min()), engine


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", [*PLANTED, *CHANGES])
def test_it_gets_its_own_map(name):
    assert_right(planted(name), picture())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", [*CHANGES, *LATER])
def test_a_network_that_changed_since_its_last_map_gets_a_new_one(name):
    network, image = usual(), picture()
    before = answers(network, image)
    assert_right(network, image)
    change(network, name)
    network.eval()
    assert (answers(network, image) - before).abs().max() > 0.03 * (before.max() - before.min())
    assert_right(network, image)


def test_a_class_that_changed_since_the_last_map_is_asked_anew(monkeypatch):
    network, image = usual(), picture()
    assert_right(network, image)
    monkeypatch.setattr(Network, "between", lambda self, x: -self.middle(x))
    assert_right(network, image)


def test_a_copy_has_a_map_of_its_own():
    network, image = usual(), picture()
    assert_right(network, image)
    twin = copy.deepcopy(network)
    change(twin, "weights in place")
    assert_right(twin, image)
    assert_right(network, image)


def test_pictures_of_other_sizes_and_other_windows_are_computed_anew():
    network = usual()
    for height, width in [(HEIGHT, WIDTH), (WIDTH, HEIGHT), (HEIGHT, WIDTH), (30, 30), (HEIGHT, WIDTH)]:
        image = picture(max(height, HEIGHT), max(width, WIDTH), seed=height)
        assert_right(network, image)
        for window, stride, fill in [(7, 4, 0.3), (5, 5, 0.3), (5, 4, 0.9)]:
            plain, found = (
                maps.window_scores(network, image, window=window, stride=stride, fill=fill, engine=engine).scores
                for engine in ("plain", "auto")
            )
            torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)


def test_the_network_is_left_as_it_was():
    network, image = usual().train(), picture()
    network.middle.eval()
    state, attributes = copy.deepcopy(network.state_dict()), [sorted(vars(part)) for part in network.modules()]
    modes, random = [part.training for part in network.modules()], torch.get_rng_state()
    for engine in ("incremental", "auto"):
        map_by(engine, network, image)
    assert [part.training for part in network.modules()] == modes
    assert [sorted(vars(part)) for part in network.modules()] == attributes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(weight.grad is None for weight in network.parameters())
    network(torch.rand(4, 3, HEIGHT, WIDTH)).sum().backward()  # nothing of it became a tensor of inference mode
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_network_that_nobody_needs_is_freed():
    network = usual()
    for engine in ("incremental", "auto"):
        map_by(engine, network, picture())
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_networks_are_asked_in_several_threads():
    """Tracing must not reach into another thread, which may ask a network at the same time."""
    image, failed, done = picture(), [], threading.Event()
    bystander = usual()
    expected = answers(bystander, image)

    def ask() -> None:
        try:
            while not done.is_set():
                assert torch.allclose(answers(bystander, image), expected, atol=1e-5)
        except Exception as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for seed in range(25):
            torch.manual_seed(seed)
            network = settled(Network(block()))
            map_by("incremental", network, image)
            map_by("auto", network, image)
    finally:
        done.set()
        asking.join()
    assert not failed


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_precision_is_the_plain_engines_or_the_same(dtype):
    network, image = usual().to(dtype), picture()
    plain = map_by("plain", network, image)
    for engine in ("auto", "incremental"):
        found = map_by(engine, network, image)
        if found is not None:
            tolerance = 1e-5 if dtype == torch.float64 else 0.0
            assert (found - plain).abs().max() <= tolerance * (plain.max() - plain.min())


def test_parts_of_other_precisions_are_the_plain_engines_or_the_same():
    network, image = usual(), picture()
    network.last = nn.Sequential(
        Apply(lambda x: x.double()), network.last.double(), Apply(lambda x: x.float()), nn.Identity()
    )
    assert_right(network, image)


def test_a_network_that_answers_at_random_does_so_with_every_engine():
    network = settled(Network(Apply(lambda x: F.dropout(x, 0.5))))  # `training` is True where it is not given
    for engine in ("plain", "auto", "incremental"):
        maps_found = [map_by(engine, network, picture()) for _ in range(2)]
        if maps_found[0] is not None:
            assert (maps_found[0] - maps_found[1]).abs().max() > 1e-3


def test_statistics_of_the_batch_are_not_taken_for_those_of_training():
    """Each answer depends on the images that are in its batch, as in the plain engine."""
    network = usual()
    norm = network.middle[1]
    norm.running_mean = norm.running_var = None
    norm.track_running_stats = False
    assert map_by("incremental", network, picture()) is None
    assert torch.equal(map_by("auto", network, picture()), map_by("plain", network, picture()))


def test_a_hook_for_all_modules_is_seen():
    network, image = usual(), picture()
    assert_right(network, image)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: output.sin() if isinstance(module, nn.Conv2d) else output
    )
    try:
        assert_right(network, image)
    finally:
        handle.remove()
    assert_right(network, image)


@pytest.mark.parametrize("engine", ["auto", "incremental", "plain"])
@pytest.mark.parametrize(
    ("output", "told"),
    [
        (lambda scores: (scores, scores), "model gives tuple"),
        (lambda scores: [scores], "model gives list"),
        (lambda scores: {"out": scores}, "model gives dict"),
        (lambda scores: scores[:, :, None], r"model gives torch.float32 \[2, 4, 1\]"),
        (lambda scores: scores.argmax(1), r"model gives torch.int64 \[2\]"),
        (lambda scores: scores[:1], r"model gives torch.float32 \[1, 4\]"),
        (lambda scores: None, "model gives NoneType"),
    ],
)
def test_what_gives_no_class_scores_is_told_by_every_engine(output, told, engine):
    network = nn.Sequential(usual(), Apply(output)).eval()
    with pytest.raises(TypeError, match=told):
        maps.window_scores(network, picture(), engine=engine, **OPTIONS)
