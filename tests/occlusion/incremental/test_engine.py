"""The incremental engine against the plain one, and the predicted work against counting what a window reaches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from graybox.errors import UserError
from graybox.network.cnn import CNN
from graybox.network.geometry import Slide
from graybox.network.params import ModelParams
from graybox.network.wrapped import Wrapped
from graybox.occlusion import maps
from graybox.occlusion.incremental import engine as incremental
from graybox.occlusion.incremental.plan import PRICES
from graybox.occlusion.incremental.receptive import Spans, window_work
from tests.support.basics import ROOT
from tests.support.configurations import with_room_for_shortcuts

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
BASE = PARAMS["model"]
CLASSES = ("a", "b", "c", "d", "e")


def network(image_size: int, seed: int = 0, **changes) -> CNN:
    """A network as training might leave it: every batch norm, bias and pixel statistic has a value of its own."""
    torch.manual_seed(seed)
    net = CNN(ModelParams(**{**BASE, **changes}), image_size, CLASSES).eval()
    net.mean.uniform_(0.3, 0.6)
    net.std.uniform_(0.2, 0.3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.3)
    # Without this the scores of a deep untrained network lie far apart, and every probability is 0 or 1.
    net.head[-1].weight.data /= 4
    return net.to(memory_format=torch.channels_last)


def image(height: int, width: int | None = None, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width or height, 3), dtype=np.uint8)


def assert_same(net: CNN, picture: np.ndarray, depth: int | None = None, **options) -> None:
    feature_map = net.params.filters_per_layer[-1] - 1
    plain = maps.window_scores(net, picture, engine="plain", feature_map=feature_map, **options)
    pixels = torch.tensor(picture).permute(2, 0, 1).float() / 255
    stride = options.pop("stride", 1)
    rows, columns = (range(0, size, stride) for size in picture.shape[:2])
    settings = {"fill": 0.5, **options}
    if isinstance(settings["fill"], np.ndarray):
        settings["fill"] = torch.tensor(settings["fill"]).permute(2, 0, 1)
    scores, sums = incremental.window_scores(
        net, pixels, rows, columns, feature_map=feature_map, depth=depth, **settings
    )
    assert scores.shape == plain.scores.shape
    assert (scores.softmax(-1) - plain.probabilities).abs().max() <= 1e-5
    largest = plain.activation.abs().max().clamp(min=1)
    assert ((sums - plain.activation) / largest).abs().max() <= 1e-5


ARCHITECTURES = {
    "conv_layers": st.integers(1, 4),
    "filters": st.integers(1, 6),
    "filter_growth": st.sampled_from([0.5, 1, 2]),
    "kernel_size": st.sampled_from([1, 3, 5]),
    "stride": st.integers(1, 3),
    "stride_layers": st.sampled_from(["first", "all"]),
    "max_pool": st.sampled_from([None, 2, 3]),
    "pool_stride": st.sampled_from([None, 1, 2, 3, 4]),
    "fc_layers": st.integers(1, 3),
    "fc_units": st.integers(1, 9),
    "pool_every": st.one_of(st.integers(1, 3), st.just([1])),
    "batch_norm": st.booleans(),
    "residual": st.integers(0, 3),
    "dropout": st.sampled_from([0.0, 0.5]),
    "global_average_pool": st.booleans(),
}


def test_every_parameter_of_a_network_is_varied():
    """Else the engine might compute something else than the network with a new one, and nobody would notice."""
    assert set(ARCHITECTURES) == set(ModelParams().used())


def buildable(image_size: int, changes: dict, seed: int = 0) -> CNN | None:
    try:
        return network(image_size, seed, **changes)
    except UserError:
        return None  # nothing of the image would be left


@settings(max_examples=120, deadline=None)
@given(
    changes=st.fixed_dictionaries(ARCHITECTURES).map(with_room_for_shortcuts),
    image_size=st.integers(4, 26),
    window=st.integers(0, 15).map(lambda half: 2 * half + 1),
    stride=st.integers(1, 9),
    gray=st.none() | st.floats(0, 1, width=16),
    seed=st.integers(0, 99),
    depth=st.integers(1, 4),
)
def test_it_equals_the_plain_engine(changes, image_size, window, stride, gray, seed, depth):
    net = buildable(image_size, changes, seed)
    if net and incremental.knows(net):
        depth = min(depth, net.params.conv_layers)
        fill = np.float32(image(image_size, seed=seed + 1) / 255) if gray is None else gray  # a picture, or one gray
        assert_same(net, image(image_size, seed=seed), depth, window=window, stride=stride, fill=fill)


@pytest.mark.parametrize("name", PARAMS["variants"])
def test_every_default_variant(name):
    changes = {**PARAMS["variants"][name].get("model", {})}
    changes["filters"] = changes.get("filters", 32) // 4  # the shapes are what matters here
    net = network(48, **{**changes, "fc_units": 32})
    for depth in (1, net.params.conv_layers):
        assert_same(net, image(48), depth, window=11, stride=5)
    assert_same(net, image(48), window=11, stride=4)


@pytest.mark.parametrize("window", [1, 15, 17, 33, 99])
def test_windows_of_one_pixel_and_of_the_whole_image(window):
    net = network(17, conv_layers=2, filters=4, max_pool=3, pool_stride=2)
    assert_same(net, image(17), window=window, depth=2)
    assert_same(net, image(17), window=window, depth=1)


def test_an_image_need_not_be_square_where_the_features_are_averaged():
    net = network(20, conv_layers=3, filters=4, global_average_pool=True)
    for depth in (1, 2, 3):
        assert_same(net, image(23, 38), depth, window=7)


def test_positions_are_cut_into_groups_without_a_trace(monkeypatch):
    """However few positions are computed together, and wherever patches are widened to the whole map."""
    net = network(24, conv_layers=2, filters=4)
    for change in ({}, {"chunk": 1}, {"chunk": 10**9, "step": 1e12}, {"share": 0.3}, {"share": 1.0}, {"memory": 1}):
        monkeypatch.setitem(PRICES, "cpu", replace(PRICES["cpu"], **change))
        assert_same(net, image(24), 2, window=5)
        assert_same(net, image(24), 1, window=5, stride=3)


@pytest.mark.parametrize("engine", ["auto", "incremental", "plain"])
def test_the_map_is_the_same_whatever_the_engine(engine):
    net = network(24, conv_layers=3, filters=8)
    with torch.no_grad():
        net.head[-1].weight.mul_(20)  # an untrained network hardly notices the window
    picture = image(24)
    plain = maps.occlusion_map(net, picture, 3, window=7, engine="plain", batch_size=50)
    found = maps.occlusion_map(net, picture, 3, window=7, engine=engine)
    np.testing.assert_allclose(found.confidence, plain.confidence, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.unoccluded, plain.unoccluded, atol=1e-6)
    assert (found.predicted == plain.predicted).mean() > 0.99  # a tie may fall either way
    assert plain.confidence.std() > 1e-3  # or there was nothing to tell apart


@pytest.mark.parametrize("changes", [{}, {"global_average_pool": True, "fc_layers": 1}])
def test_parts_that_are_computed_side_by_side_give_the_same_answers_for_any_number_of_threads(changes, monkeypatch):
    monkeypatch.setitem(PRICES, "cpu", replace(PRICES["cpu"], chunk=2**15))  # many small groups
    torch.manual_seed(0)
    size = 48
    network = CNN(ModelParams(filters=16, fc_units=8, **changes), size, tuple("abc")).eval()
    pixels, before = torch.rand(3, size, size), torch.get_num_threads()
    found, counts = [], list[int]()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                work = incremental.job_of(network, (size, size), range(size), range(0, size, 2), 7)
                groups = work.groups()[1]
                assert len(list(groups.parts(work.prices))) >= 3
            counts.clear()
            found.append(
                incremental.window_scores(
                    network, pixels, range(size), range(0, size, 2), window=7, fill=0.5, feature_map=1,
                    on_windows=counts.append,
                )
            )  # fmt: skip
            assert sum(counts) == size * size // 2
    finally:
        torch.set_num_threads(before)
    for scores, sums in found[1:]:
        torch.testing.assert_close(scores, found[0][0], rtol=0, atol=1e-6)
        torch.testing.assert_close(sums, found[0][1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_padded_convolution_sees_zeros_beyond_the_border_and_not_what_a_patch_holds_there(stride):
    """With a kernel no larger than the stride, no output sees past the patch, but some see past the border."""
    torch.manual_seed(0)
    pool, conv = nn.MaxPool2d(2, 1, dilation=2), nn.Conv2d(3, 6, 1, stride=3, padding=2)
    net = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), pool, conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    net.eval()
    found = [
        maps.window_scores(net, image(20), window=5, stride=stride, engine=e).scores for e in ("plain", "incremental")
    ]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)


def test_the_sums_of_a_map_that_single_pixels_decide_are_recorded_too():
    torch.manual_seed(0)
    net = Wrapped(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(768, 3)).eval(), 16, tuple("abc")).eval()
    plain, ours = (
        maps.window_scores(net, image(16), window=5, stride=2, engine=engine, feature_map=1)
        for engine in ("plain", "incremental")
    )
    torch.testing.assert_close(ours.activation, plain.activation, rtol=0, atol=1e-3)


def test_what_is_recorded_of_a_feature_map_is_its_sum_in_the_plain_forward():
    net = network(20, conv_layers=2, filters=4)
    picture = image(20)
    for engine in ("plain", "incremental"):
        found = maps.window_scores(net, picture, window=5, stride=3, fill=0.25, feature_map=6, engine=engine)
        for row, column in [(0, 0), (3, 5), (6, 6)]:
            hidden = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
            top, left = 3 * row, 3 * column
            hidden[..., max(0, top - 2) : top + 3, max(0, left - 2) : left + 3] = 0.25
            expected = net.features((hidden - net.mean) / net.std)[0, 6].sum().item()
            assert found.activation[row, column].item() == pytest.approx(expected, rel=1e-5, abs=1e-4)
        whole = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
        expected = net.features((whole - net.mean) / net.std)[0, 6].sum().item()
        assert found.unoccluded_activation == pytest.approx(expected, rel=1e-5)
        assert found.activation.std() > 0


def test_what_is_not_allowed_is_named():
    net = network(16, conv_layers=1, filters=2)
    with pytest.raises(ValueError, match="engine is 'fast'; allowed: auto, plain, incremental"):
        maps.window_scores(net, image(16), window=3, engine="fast")
    with pytest.raises(ValueError, match="window is 4; it should be odd"):
        maps.window_scores(net, image(16), window=4)
    with pytest.raises(ValueError, match="float32"):
        maps.window_scores(net.bfloat16(), image(16), window=3, engine="incremental")


@pytest.mark.parametrize("engine", ["plain", "incremental"])
def test_float32_is_not_rounded_on_a_gpu(engine, monkeypatch):
    """What the backends are told, which can be seen without a GPU: TF32 would cost three of seven digits."""
    conv, seen = torch.backends.cudnn.conv, []
    before, real = conv.fp32_precision, nn.functional.conv2d

    def watched(*args, **kwargs):
        seen.append((conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        return real(*args, **kwargs)

    net = network(16, conv_layers=1, filters=2)
    monkeypatch.setattr(nn.functional, "conv2d", watched)
    maps.window_scores(net, image(16), window=3, engine=engine)
    assert set(seen) == {("ieee", "ieee")}
    assert conv.fp32_precision == before != "ieee"


# The predicted work.


@settings(max_examples=60, deadline=None)
@given(
    changes=st.fixed_dictionaries(ARCHITECTURES | {"residual": st.just(0)}),
    image_size=st.integers(4, 24),
    window=st.integers(0, 6).map(lambda half: 2 * half + 1),
    stride=st.integers(1, 7),
)
def test_predicted_work_is_what_a_window_reaches(changes, image_size, window, stride):
    """Not-a-number under the window spreads to every activation that sees it: what it reaches is counted."""
    net = buildable(image_size, changes)
    if net is None:
        return
    counted = np.zeros((len(net.features) + len(net.head), 2), dtype=np.int64)
    layers = [*net.features, *net.head]
    for centre in torch.cartesian_prod(*[torch.arange(0, image_size, stride)] * 2):
        x = maps.occluded(torch.ones(3, image_size, image_size), centre[None], window, torch.nan)
        for number, module in enumerate(layers):
            reached = x[0, :1].isnan().double()
            x = module(x)
            if isinstance(module, nn.Conv2d):
                pair = module.weight[:, :, 0, 0].numel()
                ones = torch.ones(1, 1, *module.kernel_size, dtype=torch.float64)
                taps = nn.functional.conv2d(reached[None], ones, stride=module.stride, padding=module.padding)
                counted[number] += (
                    int(x[0, 0].isnan().sum()) * pair * ones.numel(),
                    int(taps.sum()) * pair,
                )
    work = window_work(net.params, image_size, len(CLASSES), window, stride)
    convs = [number for number, module in enumerate(layers) if isinstance(module, nn.Conv2d)]
    assert [(layer.recomputed, layer.changed) for layer in work[: len(convs)]] == [tuple(counted[n]) for n in convs]
    assert all(layer.changed <= layer.recomputed <= layer.full for layer in work)


def test_the_first_fully_connected_layer_needs_the_changed_features_only():
    net = network(20, conv_layers=2, filters=4, fc_layers=2, fc_units=9)
    reached = 0
    for centre in torch.cartesian_prod(*[torch.arange(20)] * 2):
        hidden = maps.occluded(torch.ones(3, 20, 20), centre[None], 3, torch.nan)
        reached += int(net.features(hidden).isnan().sum())
    first, last = window_work(net.params, 20, 5, 3)[2:]
    assert first.changed == reached * 9
    assert first.full == 400 * 8 * 25 * 9
    assert (last.full, last.recomputed, last.changed) == (400 * 45,) * 3


def test_the_published_ratio():
    """84 pixels, N = 11, a 32-64-128-256 network: full work 6 to 8 times the recomputed, 16 times the changed."""
    work = window_work(ModelParams(**{**BASE, "filters": 32}), 84, 10, 11)
    full, recomputed, changed = (
        sum(getattr(layer, kind) for layer in work) for kind in ("full", "recomputed", "changed")
    )
    assert full / recomputed == pytest.approx(7.56, abs=0.01)
    assert full / changed == pytest.approx(16.15, abs=0.01)


# The choice of the engine.


def job(image_size: int, window: int, stride: int = 1, **changes) -> incremental.Job:
    centres = range(0, image_size, stride)
    return incremental.job_of(network(image_size, **changes), (image_size, image_size), centres, centres, window)


def test_the_plain_engine_is_chosen_where_there_is_little_to_save():
    assert job(84, 11, 4).cheapest() == 4
    assert job(48, 47, stride=16).cheapest() == 0  # nine windows, each nearly the image
    assert job(32, 63, 4).cheapest() == 0
    costs = [job(84, window, 4).groups()[0] for window in (1, 9, 21, 41)]
    assert costs == sorted(costs)


def test_patches_are_carried_as_far_as_it_pays():
    """In conv-5 at 48 pixels the fifth layer's map has 3 x 3 pixels, all of which a window in the middle changes."""
    assert job(48, 11, 4, conv_layers=5).carried() < 5
    assert job(128, 5, 8, conv_layers=5).carried() == 5


def test_spans_know_how_windows_spread():
    spans = Spans.of_windows(range(8, 40, 8), 11)
    assert (spans.first, spans.size, spans.step, spans.count) == (3, 11, 8, 4)
    wider = spans.through(Slide(3, 1, 1))
    assert (wider.first, wider.size) == (2, 13)
    pooled = wider.through(Slide(2, 2))
    assert (pooled.first, pooled.size, pooled.step) == (1, 7, 4)
    assert pooled.seen_by(Slide(2, 2)) == Spans(2, 14, 8, 4)
    assert pooled.every(1, 2) == Spans(5, 7, 8, 2)
    assert Spans(-1, 3, 2, 3).crossing(5) == [0, 2]


class Leaky(CNN):
    """The same layers with another activation, as a user may try."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for name, module in list(self.features.named_children()):
            if isinstance(module, nn.ReLU):
                self.features[int(name)] = nn.LeakyReLU(0.3)


class Inverted(CNN):
    """The same layers, and another `forward`."""

    def last_maps(self, images):
        return super().last_maps(1 - images)


def _leaky() -> CNN:
    torch.manual_seed(0)
    return Leaky(ModelParams(**BASE), 32, CLASSES).eval()


def _inverted() -> CNN:
    torch.manual_seed(0)
    return Inverted(ModelParams(**BASE), 32, CLASSES).eval()


def _other_activation(part: str, module: nn.Module) -> CNN:
    """Another module in place of the first ReLU of `features` or `head`."""
    net = network(32)
    layers = getattr(net, part)
    layers[next(place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU))] = module
    return net


def _exchanged() -> CNN:
    return _other_activation("features", nn.ELU())


def _dilated() -> CNN:
    net = network(32)
    net.features[0].dilation, net.features[0].padding = (2, 2), (2, 2)
    return net


def _hooked() -> CNN:
    net = network(32)
    net.features[0].register_forward_hook(lambda module, inputs, output: output.sign())
    return net


def _own_forward() -> CNN:
    net = network(32)
    net.forward = lambda images: net.head(net.last_maps(images.flip(-1)))
    return net


def _own_normalisation() -> CNN:
    net = network(32)
    net.normalised = lambda images: (1 - images - net.mean) / net.std
    return net


def _hooked_head() -> CNN:
    net = network(32)
    net.head[-1].register_forward_pre_hook(lambda module, inputs: (inputs[0].sqrt(),))
    return net


def _parametrized() -> CNN:
    net = network(32)
    nn.utils.parametrizations.weight_norm(net.features[0])
    with torch.no_grad():
        net.features[0].parametrizations.weight.original0.mul_(2)
    return net


def _pruned() -> CNN:
    net = network(32).to(memory_format=torch.contiguous_format)  # else torch's pruning fails
    prune.l1_unstructured(net.features[0], "weight", 0.9)
    return net


def _longer() -> CNN:
    net = network(32)
    net.head.append(nn.Softsign())
    return net


def _soft_head() -> CNN:
    return _other_activation("head", nn.Hardtanh())


def _mean_picture() -> CNN:
    """The pixels' mean is a picture, as in Krizhevsky et al. 2012, and no longer one colour."""
    net = network(32)
    net.mean = torch.rand(3, 32, 32)
    return net


class Rounded(torch.Tensor):
    """Weights that look like float32 and compute in another way, as quantised ones do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is nn.functional.linear:
            args = [args[0], (args[1].as_subclass(torch.Tensor) * 8).round() / 8, *args[2:]]
        return super().__torch_function__(func, types, args, kwargs or {})


def _quantised() -> CNN:
    net = network(32)
    net.head[-1].weight = nn.Parameter(net.head[-1].weight.detach().as_subclass(Rounded))
    return net


TRACED = [_leaky, _inverted, _exchanged, _dilated, _parametrized, _longer, _soft_head, _mean_picture]
REFUSED = [_hooked, _own_forward, _own_normalisation, _hooked_head, _pruned, _quantised]


@pytest.mark.parametrize("made", TRACED + REFUSED)
def test_what_is_not_a_network_as_it_is_built_gets_its_own_map(made):
    net, picture = made(), image(32)
    assert incremental.knows(network(32)) and incremental.knows(net) == (made in TRACED)
    for engine in ("auto", "incremental") if made in TRACED else ("auto",):
        found = maps.occlusion_map(net, picture, 2, window=5, stride=4, engine=engine)
        for row, column in [(0, 0), (4, 12), (28, 28)]:
            hidden = picture.astype(np.float32) / 255
            hidden[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0.5
            with torch.no_grad():
                answer = net(torch.tensor(hidden).permute(2, 0, 1)[None]).softmax(1)[0]
            assert found.confidence[row // 4, column // 4] == pytest.approx(answer[2].item(), abs=1e-5)
    if made in REFUSED:
        with pytest.raises(ValueError, match="engine is 'incremental', which can't compute this network: it has"):
            maps.occlusion_map(net, picture, 2, window=5, engine="incremental")


@pytest.mark.parametrize("changes", [{}, {"residual": 1, "dropout": 0.5}, {"global_average_pool": True}])
def test_the_engine_knows_each_network_as_it_is_built_and_draws_no_random_number_to_tell(changes):
    net = network(32, **changes)
    before = torch.get_rng_state()
    assert incremental.knows(net)
    assert torch.equal(torch.get_rng_state(), before)
    assert not incremental.knows(net.double())


def test_a_hook_for_all_modules_is_seen():
    net, picture = network(32), image(32)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: output.abs() if isinstance(module, nn.Conv2d) else output
    )
    try:
        assert not incremental.knows(net)
        plain = maps.occlusion_map(net, picture, 2, window=5, stride=4, engine="plain")
        found = maps.occlusion_map(net, picture, 2, window=5, stride=4)
    finally:
        handle.remove()
    np.testing.assert_array_equal(found.confidence, plain.confidence)
    assert incremental.knows(net)
    unhooked = maps.occlusion_map(net, picture, 2, window=5, stride=4)
    assert np.abs(found.confidence - unhooked.confidence).max() > 1e-4


def test_a_traced_network_is_the_engines_too():
    net, picture = network(32), image(32)
    expected = maps.occlusion_map(net, picture, 2, window=5, stride=4).confidence
    found = maps.occlusion_map(torch.fx.symbolic_trace(net), picture, 2, window=5, stride=4, engine="incremental")
    np.testing.assert_allclose(found.confidence, expected, atol=1e-6)


@pytest.mark.slow  # it loads PyTorch's compiler
def test_a_compiled_network_is_not_the_engines():
    assert not incremental.knows(torch.compile(network(32)))


def test_a_batch_norm_without_statistics_of_its_own_is_not_the_engines():
    net = network(32)
    norm = next(module for module in net.features if isinstance(module, nn.BatchNorm2d))
    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    assert not incremental.knows(net)


@pytest.mark.parametrize("engine", ["plain", "incremental"])
def test_the_callers_autocast_does_not_round_the_map(engine):
    net, picture = network(32), image(32)
    expected = maps.occlusion_map(net, picture, 2, window=5, stride=4, engine=engine)
    with torch.autocast("cpu", torch.bfloat16):
        found = maps.occlusion_map(net, picture, 2, window=5, stride=4, engine=engine)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
