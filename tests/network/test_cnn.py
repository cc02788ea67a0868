"""The parametric CNN: its sizes and costs against PyTorch's own, what it refuses, and its file."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock

from graybox.errors import UserError
from graybox.network import cnn as models
from graybox.network import sizes
from graybox.network.params import ModelParams, TrainParams
from tests.support.configurations import with_room_for_shortcuts

BASE = {
    "conv_layers": 4, "filters": 32, "filter_growth": 2, "kernel_size": 3, "stride": 1, "stride_layers": "first",
    "max_pool": 2, "pool_stride": None, "pool_every": 1, "fc_layers": 2, "fc_units": 256, "batch_norm": True,
    "residual": 0, "dropout": 0.0, "global_average_pool": False,
}  # fmt: skip


def network(image_size=32, classes=5, **changes) -> models.CNN:
    return models.CNN(ModelParams(**{**BASE, **changes}), image_size, tuple(f"class {n}" for n in range(classes)))


architectures = st.fixed_dictionaries(
    {
        "conv_layers": st.integers(1, 4),
        "filters": st.integers(1, 6),
        "filter_growth": st.sampled_from([0.5, 1, 2]),
        "kernel_size": st.sampled_from([1, 3, 5]),
        "stride": st.integers(1, 3),
        "stride_layers": st.sampled_from(["first", "all"]),
        "max_pool": st.sampled_from([None, 2, 3]),
        "pool_stride": st.sampled_from([None, 1, 2]),
        "fc_layers": st.integers(1, 3),
        "fc_units": st.integers(1, 9),
        "pool_every": st.one_of(st.integers(1, 3), st.just([1])),
        "batch_norm": st.booleans(),
        "residual": st.integers(0, 3),
        "dropout": st.sampled_from([0.0, 0.5]),
        "global_average_pool": st.booleans(),
    }
).map(with_room_for_shortcuts)


@settings(max_examples=60, deadline=None)
@given(architectures, st.integers(8, 40))
def test_sizes_and_costs_are_what_pytorch_computes(changes, image_size):
    params = ModelParams(**{**BASE, **changes})
    try:
        expected = sizes.layer_sizes(params, image_size, 5)
    except UserError:
        with pytest.raises(UserError):
            models.CNN(params, image_size, ("a", "b", "c", "d", "e"))
        return
    net = models.CNN(params, image_size, ("a", "b", "c", "d", "e")).eval()
    seen, macs = [], 0
    shortcuts = [part for module in net.modules() if isinstance(module, models.Residual) for part in module.shortcut]

    def look(module, inputs, output):
        nonlocal macs
        if module not in shortcuts:
            seen.append((output.shape[1], output.shape[-1] if output.dim() == 4 else 1))
        if isinstance(module, nn.Conv2d):
            macs += output[0].numel() * module.weight[0].numel()
        if isinstance(module, nn.Linear):
            macs += module.weight.numel()

    counted = (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear)
    for module in net.modules():
        if isinstance(module, counted):
            module.register_forward_hook(look)
    scores = net(torch.rand(2, 3, image_size, image_size))
    assert scores.shape == (2, 5)
    assert [(layer.channels, layer.size) for layer in expected] == seen
    assert sizes.multiply_accumulates(params, image_size, 5) == macs


@pytest.mark.parametrize(
    "residual, pool_every, conv_layers, expected",
    [
        (0, 2, 4, []),
        (1, 2, 3, [[1], [2], [3]]),
        (2, 2, 4, [[1, 2], [3, 4]]),
        (1, 1, 1, [[1]]),
        (2, 2, 5, [[1, 2], [3, 4]]),  # the fifth begins a block that nothing ends
        (2, [1, 1, 2, 2], 8, [[3, 4], [5, 6], [7, 8]]),
        (2, 5, 5, [[2, 3], [4, 5]]),  # from the block's end: its first layer changes the number of channels
        (3, [3, 2], 9, [[1, 2, 3], [7, 8, 9]]),
    ],
)
def test_a_shortcut_stays_within_its_block(residual, pool_every, conv_layers, expected):
    params = ModelParams(conv_layers=conv_layers, pool_every=pool_every, residual=residual)
    assert [list(layers) for layers in params.shortcut_spans] == expected


def test_a_shortcut_around_two_layers_is_he_and_others_block():
    """torchvision's BasicBlock with the same weights: two layers, then the sum of both ways, then the activation."""
    net = network(residual=2, pool_every=2, filters=[4, 6], conv_layers=2, max_pool=None, stride=2).eval()
    ours = net.features[0]
    projection = nn.Sequential(nn.Conv2d(3, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
    block = BasicBlock(3, 6, 2, projection)
    block.conv1, block.bn1 = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)  # theirs has one width
    block.conv2 = nn.Conv2d(4, 6, 3, 1, 1, bias=False)
    for theirs, its in zip((block.conv1, block.bn1, block.conv2, block.bn2), (ours.conv[n] for n in (0, 1, 3, 4))):
        nn.init.normal_(its.weight)
        theirs.load_state_dict(its.state_dict())
    projection.load_state_dict(ours.shortcut.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(net.features(x), block.eval()(x))


def test_a_shortcut_around_two_layers_of_one_shape_is_the_identity(tmp_path):
    net = network(residual=2, conv_layers=4, pool_every=[2, 2], filters=4, filter_growth=1, max_pool=None).eval()
    ours, block = net.features[2], BasicBlock(4, 4)
    for theirs, its in zip((block.conv1, block.bn1, block.conv2, block.bn2), (ours.conv[n] for n in (0, 1, 3, 4))):
        nn.init.normal_(its.weight)
        theirs.load_state_dict(its.state_dict())
    x = torch.rand(2, 4, 16, 16)
    torch.testing.assert_close(net.features[2:](x), block.eval()(x))
    models.save(net, tmp_path / "x.safetensors")
    assert _metadata(tmp_path / "x.safetensors")["format"] == 3  # an older Graybox says that it needs a newer one
    assert torch.equal(models.load(tmp_path / "x.safetensors").features[2:](x), net.features[2:](x))


def test_a_shortcut_adds_what_comes_in():
    """With its convolution at zero a layer is the identity, pooled and rectified, where the shape allows."""
    net = network(residual=1, batch_norm=False, filters=[4, 4], conv_layers=2, max_pool=None).eval()
    first, second = (module for module in net.features if isinstance(module, models.Residual))
    assert len(first.shortcut) == 1 and len(second.shortcut) == 0
    for layer in (first, second):
        nn.init.zeros_(layer.conv[0].weight)
        nn.init.zeros_(layer.conv[0].bias)
    x = torch.rand(2, 3, 32, 32)
    expected = first.shortcut((x - net.mean) / net.std).relu()
    torch.testing.assert_close(net.features((x - net.mean) / net.std), expected)
    assert expected.std() > 0


def test_pooling_follows_every_so_many_layers():
    net = network(conv_layers=5, pool_every=2, filters=4, filter_growth=1)
    kinds = [type(module).__name__ for module in net.features if not isinstance(module, nn.BatchNorm2d)]
    one, pooled = ["Conv2d", "ReLU"], ["Conv2d", "MaxPool2d", "ReLU"]
    assert kinds == one + pooled + one + pooled + one
    net = network(conv_layers=6, pool_every=[1, 2, 2], filters=4)
    kinds = [type(module).__name__ for module in net.features if not isinstance(module, nn.BatchNorm2d)]
    assert kinds == pooled + one + pooled + one + pooled + one
    names = [layer.name for layer in sizes.layer_sizes(net.params, net.image_size, 5) if "pooling" in layer.name]
    assert names == ["max pooling 1", "max pooling 2", "max pooling 3"]


def test_the_number_of_layers_is_what_is_asked():
    net = network(conv_layers=3, fc_layers=3)
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == 3
    assert sum(isinstance(module, nn.Linear) for module in net.modules()) == 3
    assert [m.stride[0] for m in network(stride=2).modules() if isinstance(m, nn.Conv2d)] == [2, 1, 1, 1]
    every = network(stride=2, stride_layers="all", max_pool=None)
    assert [m.stride[0] for m in every.modules() if isinstance(m, nn.Conv2d)] == [2, 2, 2, 2]


def test_a_network_that_leaves_nothing_names_the_layer_and_the_sizes():
    with pytest.raises(UserError, match=r"max pooling 5 .*1 x 1 pixels.*16 x 16 image"):
        network(image_size=16, conv_layers=5)


def test_pooling_before_relu_is_the_usual_order_of_relu_and_pooling():
    net = network().eval()
    x = torch.rand(3, 3, 32, 32)
    usual = (x - net.mean) / net.std
    for conv, norm in zip(net.features[0::4], net.features[1::4]):
        usual = nn.functional.max_pool2d(norm(conv(usual)).relu(), 2)
    torch.testing.assert_close(net.head(usual), net(x))


def test_saving_and_loading_gives_the_same_answers_and_settings(tmp_path):
    net = network(batch_norm=True, dropout=0.3)
    net.mean.fill_(0.4)
    net.features[1].running_mean.normal_()
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    x = torch.rand(2, 3, 32, 32)
    for name, tensor in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    torch.testing.assert_close(again(x), net.eval()(x), rtol=1e-4, atol=1e-4)  # the memory format may differ
    assert (again.params, again.image_size, again.class_names) == (net.params, net.image_size, net.class_names)
    assert not again.training


def test_the_same_network_gives_the_same_bytes(tmp_path):
    net = network()
    models.save(net, tmp_path / "a")
    models.save(net, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("fault", ["missing", "not safetensors", "foreign", "truncated", "other weights"])
def test_a_file_that_is_no_model_is_named(tmp_path, fault):
    path = tmp_path / "best.safetensors"
    if fault == "not safetensors":
        path.write_bytes(b"\x80\x04 a pickle, perhaps")
    elif fault == "foreign":
        save_file({"weight": torch.ones(2)}, path)
    elif fault == "truncated":
        models.save(network(), path)
        path.write_bytes(path.read_bytes()[:-100])
    elif fault == "other weights":
        metadata = {"model": BASE, "image_size": 32, "class_names": ["a", "b"]}
        save_file({"weight": torch.ones(2)}, path, metadata={"graybox": json.dumps(metadata)})
    with pytest.raises(UserError, match=r"best\.safetensors"):
        models.load(path)


def _metadata(path) -> dict:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["graybox"])


def _rewritten(path, change) -> None:
    """Change the metadata of a model's file, as another version of Graybox would have written them."""
    metadata = _metadata(path)
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    change(metadata)
    save_file(weights, path, metadata={"graybox": json.dumps(metadata)})


def test_a_model_saved_before_formats_and_before_a_parameter_still_loads(tmp_path):
    net, path = network(), tmp_path / "old.safetensors"
    models.save(net, path)

    def older(metadata):
        assert metadata.pop("format") == 1  # so that an older Graybox reads it
        del metadata["model"]["residual"], metadata["model"]["pool_every"]

    _rewritten(path, older)
    again, x = models.load(path), torch.rand(2, 3, 32, 32)
    assert again.params == net.params
    torch.testing.assert_close(again(x), net.eval()(x), rtol=1e-4, atol=1e-4)


def test_a_model_saved_when_a_shortcut_spanned_one_layer_or_none_still_loads(tmp_path):
    for residual in (0, 1):
        net, path = network(residual=residual), tmp_path / "old.safetensors"
        models.save(net, path)
        metadata = _metadata(path)  # which an older Graybox reads
        assert metadata["format"] == 1 and metadata["model"]["residual"] is bool(residual)
        again, x = models.load(path), torch.rand(2, 3, 32, 32)
        assert again.params == net.params
        torch.testing.assert_close(again(x), net.eval()(x), rtol=1e-4, atol=1e-4)


def test_a_newer_format_is_refused_in_one_sentence_that_says_so(tmp_path):
    path = tmp_path / "new.safetensors"
    models.save(network(), path)
    _rewritten(path, lambda metadata: metadata.update(format=models.FORMAT + 1, image_sizes=[32, 48]))
    with pytest.raises(UserError, match=rf"new\.safetensors has format {models.FORMAT + 1}, .* up to {models.FORMAT};"):
        models.load(path)


def test_a_saved_size_that_leaves_nothing_of_the_image_names_the_file(tmp_path):
    path = tmp_path / "small.safetensors"
    models.save(network(), path)
    _rewritten(path, lambda metadata: metadata.update(image_size=4))
    with pytest.raises(UserError, match=r"small\.safetensors"):
        models.load(path)


def test_what_is_not_there_is_named_the_file_and_the_device(tmp_path):
    with pytest.raises(UserError, match=r"best\.safetensors: there is no such file"):
        models.load(tmp_path / "best.safetensors")
    models.save(network(), tmp_path / "best.safetensors")
    with pytest.raises(UserError, match=r"^device is 'cuda:99', which this machine lacks"):
        models.load(tmp_path / "best.safetensors", "cuda:99")


@pytest.mark.parametrize(
    ("changes", "size", "told"),
    [
        ({"stride": 17}, 16, "conv layer 1 has the stride 17 and is given only 16 x 16"),
        ({"stride": 2, "stride_layers": "all", "conv_layers": 6}, 16, "conv layer 5 has the stride 2"),
        # Each layer's stride of 2 would do.
        (
            {"stride": 2, "stride_layers": "all", "conv_layers": 6, "pool_every": 6, "residual": 2},
            48,
            "the shortcut around conv layers 5 to 6 has the stride 4 and is given only 3 x 3",
        ),
        ({"stride": 9, "global_average_pool": True}, 16, "only 8 x 8 pixels of the 8 x 8 image"),
    ],
)
def test_a_stride_larger_than_the_map_is_refused_as_its_gradient_would_be_chance(changes, size, told):
    """In bf16 on a CPU, PyTorch 2.15 reads memory that nothing was written to: NaN in one training of sixty."""
    network = ModelParams(**{"max_pool": None} | changes)
    schedule = TrainParams(start_size=0.5 if network.global_average_pool else 1)
    with pytest.raises(UserError, match=told):
        sizes.check_fits(network, schedule, size)
    sizes.check_fits(ModelParams(stride=16, max_pool=None), TrainParams(), 16)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"batch_norm": False, "conv_layers": 3, "fc_layers": 1},
        {"residual": 1, "stride": 2, "filter_growth": 1, "fc_layers": 3},
        {"residual": 2, "pool_every": 2},
        {"residual": 1, "batch_norm": False, "filters": [4, 4, 6, 6], "global_average_pool": True},
    ],
)
def test_the_layers_weights_are_the_networks(changed):
    params = ModelParams(**{"filters": 4, "fc_units": 9, **changed})
    layers = sizes.layer_sizes(params, 32, 7)
    network = models.CNN(params, 32, [str(name) for name in range(7)])
    assert sum(layer.weights for layer in layers) == network.parameter_count
