"""Any module as a `Classifier`: its maps, their receptive fields, its cost."""

from __future__ import annotations

import copy
import re
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from graybox.features.rectified import rectified
from graybox.network.architectures import build, torchvision_names
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.network.wrapped import Wrapped, classes_of

NAMES = ("cat", "dog", "fox")
# Of torchvision: a plain one, residuals, concatenations, squeeze-and-excitation, shuffled channels, a last convolution.
WITH_MAPS = ("alexnet", "resnet18", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")


def torchvision(name: str, size: int = 64) -> Wrapped:
    torch.manual_seed(0)
    model = build(ModelParams(architecture=name), size, NAMES)
    assert isinstance(model, Wrapped)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: else the last maps of a deep network are nearly 0
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


class Tokens(nn.Module):
    """A small vision transformer: what it knows of an image are tokens, and it has no last maps."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 4, 4), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.scores = nn.Linear(8, classes)

    def forward(self, x):
        return self.scores(self.mix(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class Branches(nn.Module):
    """Two branches that see differently far, one with uneven kernels, and maps that are wider than high."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
        self.two = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d((2, 1), ceil_mode=True))
        self.scores = nn.Linear(8, 3)

    def forward(self, x):
        narrow = self.one(x)
        wide = self.two(x)[..., : narrow.shape[-1]]
        return self.scores(torch.cat([narrow, wide], 1).mean((2, 3)))


@pytest.mark.parametrize("name", WITH_MAPS)
def test_the_head_answers_the_last_maps_as_the_network_answers_the_image(name):
    model, images = torchvision(name), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        maps = model.last_maps(images)
        torch.testing.assert_close(model.head(maps), model(images))
    assert model.has_maps and maps.ndim == 4
    rows, columns = model.receptive_fields()
    assert (rows.shape, columns.shape) == ((maps.shape[2], 2), (maps.shape[3], 2))
    # Other maps, another answer: the head does compute with them.
    assert not torch.equal(model.head(maps.flip(1) + 1), model(images))


@pytest.mark.parametrize("made", [Tokens, lambda: torchvision("vit_b_32").network])
def test_a_transformer_has_no_last_maps_and_says_so(made):
    model = Wrapped(made(), 64, NAMES).eval()
    assert not model.has_maps
    for question in (lambda: model.last_maps(torch.rand(1, 3, 64, 64)), model.receptive_fields):
        with pytest.raises(NotImplementedError, match="no last maps"):
            question()


class Hesitant(nn.Module):
    """What it computes depends on the image, so it has no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(3, 3)

    def forward(self, x):
        return self.scores(x.mean((2, 3)) if x.mean() > 0 else x.amax((2, 3)))


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    network(torch.rand(1, 3, 16, 16))
    network.register_forward_hook(lambda module, inputs, given: given * 2)
    return network


def test_the_work_of_a_network_that_looks_at_its_numbers_is_counted():
    assert Wrapped(Hesitant(), 16, NAMES).multiply_accumulates == 9


@pytest.mark.parametrize("made", [Hesitant, hooked])
def test_a_network_that_is_no_graph_has_no_last_maps(made):
    assert not Wrapped(made(), 16, NAMES).has_maps


def furthest(model: Wrapped, size: int, row: int, column: int) -> torch.Tensor:
    """The pixels that a place of the last maps answers to, by its gradient."""
    pixels = torch.rand(1, 3, size, size).requires_grad_()
    maps = model.last_maps(pixels)
    return torch.autograd.grad(maps[0, :, row, column].sum(), pixels)[0][0].abs().sum(0) > 0


def positive(network: nn.Module) -> nn.Module:
    """With positive weights and without what hides an input, each place answers to all that it sees."""
    for name, module in network.named_modules():
        for weight in module.parameters(recurse=False):
            nn.init.uniform_(weight, 0.1, 1)
        if isinstance(module, nn.MaxPool2d):
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
    return network


@pytest.mark.parametrize("kind", ["branches", "resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_receptive_fields_hold_all_that_a_place_sees_and_no_more_where_each_operation_is_known(kind):
    size = 24 if kind == "branches" else 96
    network = Branches() if kind == "branches" else torchvision(kind, size).network
    model = Wrapped(positive(network), size, NAMES, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    rows, columns = model.receptive_fields()
    for row, column in {(0, 0), (len(rows) // 2, len(columns) // 2), (len(rows) - 1, 0)}:
        seen = furthest(model, size, row, column)
        expected = torch.zeros(size, size, dtype=torch.bool)
        expected[slice(*rows[row]), slice(*columns[column])] = True
        assert not (seen & ~expected).any()
        if kind == "squeezenet1_1":  # whose last maps do not see the whole image
            assert not expected.all()
            torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize(
    "change", [{}, {"residual": 1}, {"global_average_pool": True, "fc_layers": 1}, {"stride": 2, "kernel_size": 5}]
)
def test_multiply_accumulates_of_any_network_agree_with_our_formula_for_the_cnn(change):
    network = CNN(ModelParams(conv_layers=3, filters=4, fc_units=8, **change), 32, NAMES)
    assert Wrapped(network, 32, NAMES).multiply_accumulates == network.multiply_accumulates


def test_attention_is_counted():
    # Patches; then for each of 4 tokens queries, keys and values, both products of attention, its output, two layers.
    tokens, width = 4, 8
    each = width * 3 * width + 2 * tokens * width + width * width + 2 * width * 16
    expected = tokens * width * 48 + tokens * each + width * 3
    assert Wrapped(Tokens(), 8, NAMES).multiply_accumulates == expected


def test_a_copy_has_its_own_weights_and_maps():
    model, images = torchvision("resnet18"), torch.rand(1, 3, 64, 64)
    assert model.has_maps
    other = copy.deepcopy(model)
    before = model.last_maps(images)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.05)
    torch.testing.assert_close(model.last_maps(images), before, rtol=0, atol=0)
    torch.testing.assert_close(other.head(other.last_maps(images)), other(images))
    assert not torch.equal(other.last_maps(images), before)
    assert set(model.state_dict()) == {"mean", "std", *(f"network.{key}" for key in model.network.state_dict())}


def test_another_thread_may_run_the_network_while_it_is_traced():
    model, images = torchvision("googlenet"), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            with torch.no_grad():
                given = model(images)
            if not torch.equal(given, expected):
                wrong.append(given)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(5):
        assert copy.deepcopy(model).has_maps
    for _ in range(3):
        model.__dict__.pop("_cut", None)
        assert model.has_maps
    done.set()
    thread.join()
    assert not wrong


def test_the_first_and_the_last_layer_are_found():
    model = torchvision("squeezenet1_1")
    assert model.first_layer is model.network.features[0]
    assert model.last_layer is model.network.classifier[1]
    tokens = Tokens()
    assert Wrapped(tokens, 64, NAMES).last_layer is tokens.scores


def test_images_are_normalised_before_the_network_sees_them():
    seen = []

    class Ask(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.mean((2, 3))

    Wrapped(Ask(), 4, NAMES, mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))(torch.full((1, 3, 4, 4), 0.6))
    np.testing.assert_allclose(seen[0][0, :, 0, 0], [1.0, 0.4, 0.15], rtol=1e-6)


@pytest.mark.slow
def test_torchvisions_classifiers_of_each_family_are_built_and_have_maps_but_the_transformers():
    """On the meta device, which computes nothing: the shapes are right, and the graph is found."""
    families = {re.split(r"[\d_]", name)[0]: name for name in reversed(torchvision_names())}  # the first of each
    del families["regnet"]  # whose making needs numbers
    names = families.values()
    lacking = set()
    for name in names:
        with torch.device("meta"):
            model = build(ModelParams(architecture=name), 224, NAMES)
        assert isinstance(model, Wrapped)
        if not model.has_maps:
            lacking.add(name)
            continue
        maps = model.last_maps(torch.empty(2, 3, 224, 224, device="meta"))
        assert model.head(maps).shape == (2, 3)
        rows, columns = model.receptive_fields()
        assert (len(rows), len(columns)) == maps.shape[2:] and maps.shape[2] >= 5, name
        assert classes_of(model.last_layer) == 3
    assert lacking == {name for name in names if name.startswith("vit_")}


class InPlace(nn.Module):
    """ReLUs in place, with which `way` goes on."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.one, self.two = way, nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.relu, self.scores = nn.ReLU(inplace=True), nn.Linear(512 if way == "flat" else 8, 3)

    def forward(self, x):
        x = self.one(x)
        if self.way == "ignored":  # the result, so that nothing in the graph needs it
            self.relu(x)
        if self.way == "both":
            x = x + self.relu(x)
        x = self.two(x)
        if self.way == "flat":
            return self.scores(self.relu(x.flatten(1)))
        return self.scores(self.relu(x).mean((2, 3)))


def test_a_network_that_changes_values_beside_its_graph_has_no_maps():
    torch.manual_seed(0)
    assert not Wrapped(InPlace("ignored"), 12, NAMES).has_maps
    assert Wrapped(InPlace("both"), 12, NAMES).has_maps


def test_a_network_that_needs_its_relus_in_place_is_not_projected():
    torch.manual_seed(0)
    assert rectified(Wrapped(InPlace("both"), 12, NAMES)) is None
    assert rectified(Wrapped(InPlace("plain"), 12, NAMES)) is not None


def test_the_head_leaves_its_maps_as_they_are():
    torch.manual_seed(0)
    model, images = Wrapped(InPlace("flat"), 12, NAMES), torch.rand(2, 3, 12, 12)
    maps = model.last_maps(images)
    before = maps.clone()
    torch.testing.assert_close(model.head(maps), model(images))
    assert before.min() < 0
    torch.testing.assert_close(maps, before, rtol=0, atol=0)


def test_maps_and_head_are_those_in_evaluation_mode_and_leave_the_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                            nn.Dropout(0.9), nn.Linear(8, 3))  # fmt: skip
    model, images = Wrapped(network, 12, NAMES).train(), torch.rand(4, 3, 12, 12)
    with torch.no_grad():
        answer = model.head(model.last_maps(images))
        assert model.training and torch.equal(network[1].running_mean, torch.zeros(8))
        torch.testing.assert_close(answer, model.eval()(images))


def test_of_the_layers_values_only_those_are_kept_that_are_still_needed():
    alive: weakref.WeakSet = weakref.WeakSet()
    most = []

    def note(layer, inputs, output):
        alive.add(output)
        most.append(len(alive))

    network = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(12)], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Wrapped(network, 8, NAMES)
    assert model.has_maps
    for layer in network:
        layer.register_forward_hook(note)
    with torch.no_grad():
        model.last_maps(torch.rand(2, 3, 8, 8))
    assert len(most) == 12 and max(most) <= 2  # what a layer is given, and what it gives
