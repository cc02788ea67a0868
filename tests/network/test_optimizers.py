"""Muon steps as PyTorch's does on flattened filters, moves only hidden layers, and leaves the rest to SGD."""

import copy

import pytest
import torch

from graybox.network import training
from graybox.network.cnn import CNN

NETWORK = {"filters": 6, "conv_layers": 3, "fc_units": 8}


def network(params, **changes):
    torch.manual_seed(0)
    return CNN(params.model.model_copy(update={**NETWORK, **changes}), 16, ("a", "b")).train()


def trained(model, params, steps=5, **changes):
    """The weights, by name, after some steps on random images, the same for every call."""
    schedule = params.train.model_copy(update={"epochs": 1, "optimizer": "muon", **changes})
    step, random = training.Step(model, schedule, steps, torch.float32), torch.Generator().manual_seed(1)
    for _ in range(steps):
        step(torch.rand(8, 3, 16, 16, generator=random), torch.randint(2, (8,), generator=random))
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(
    "change, names",
    [
        ({}, ["features.4.weight", "features.8.weight", "head.1.weight"]),
        (
            {"residual": True, "fc_layers": 1},
            [f"features.{layer}.{part}.0.weight" for layer in (3, 6) for part in ("conv", "shortcut")],
        ),
        ({"conv_layers": 1, "fc_layers": 3, "batch_norm": False}, ["head.1.weight", "head.3.weight"]),
    ],
)
def test_hidden_layers_step_as_pytorchs_muon_and_the_rest_as_its_sgd(params, change, names):
    start = network(params, **change)
    schedule = params.train.model_copy(update={"muon_learning_rate": 0.05, "muon_weight_decay": 0.5})
    found = trained(copy.deepcopy(start), params, **schedule.model_dump(exclude={"epochs", "optimizer"}))

    weights = dict(start.named_parameters())
    flat = {name: torch.nn.Parameter(weights[name].detach().flatten(1).clone()) for name in names}
    muon = torch.optim.Muon(flat.values(), weight_decay=0.5, momentum=0.9, ns_steps=3)
    others = [weight for name, weight in weights.items() if name not in names]
    sgd = torch.optim.SGD(others, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay)
    loss, random = torch.nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing), torch.Generator().manual_seed(1)
    for number in range(5):
        images, labels = torch.rand(8, 3, 16, 16, generator=random), torch.randint(2, (8,), generator=random)
        start.zero_grad()
        loss(start(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(start.parameters(), schedule.gradient_clip)
        sgd.param_groups[0]["lr"] = training.one_cycle(number, 5, schedule.learning_rate, schedule.warmup_fraction)
        muon.param_groups[0]["lr"] = training.one_cycle(number, 5, 0.05, schedule.warmup_fraction)
        for name in names:
            flat[name].grad = weights[name].grad.flatten(1)
        sgd.step()
        muon.step()
        with torch.no_grad():
            for name in names:
                weights[name].copy_(flat[name].view_as(weights[name]))
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight.detach(), rtol=1e-3, atol=1e-4)


def test_a_step_is_near_the_orthonormal_factor_of_the_gradient(params):
    """Its singular values are all about one, whatever the gradient's are, so no direction is left behind."""
    model = network(params)
    name = "features.4.weight"
    before = dict(model.named_parameters())[name].detach().clone()
    rate = training.one_cycle(0, 1, 1.0, params.train.warmup_fraction)
    images, labels = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 2
    schedule = params.train.model_copy(
        update={"epochs": 1, "optimizer": "muon", "muon_learning_rate": 1.0, "muon_weight_decay": 0.0}
    )
    step = training.Step(model, schedule, 1, torch.float32)
    reference = copy.deepcopy(model)
    step.loss(reference(images), labels).backward()
    gradient = dict(reference.named_parameters())[name].grad.flatten(1)
    step(images, labels)
    moved = (before - dict(model.named_parameters())[name].detach()).flatten(1) / rate
    u, values, v = torch.linalg.svd(gradient, full_matrices=False)
    assert values.max() > 3 * values.min()
    sizes = torch.linalg.svdvals(moved)
    assert sizes.min() > 0.3 and sizes.max() < 1.6 and sizes.max() < 3 * sizes.min()
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (u @ v).flatten(), dim=0) > 0.95


@pytest.mark.parametrize("change", [{}, {"residual": True}])
def test_the_memorys_order_changes_nothing(params, change):
    plain, last = network(params, **change), network(params, **change).to(memory_format=torch.channels_last)
    assert any(not weight.is_contiguous() for weight in last.parameters())
    first, second = trained(plain, params), trained(last, params)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("residual", [False, True])
def test_without_hidden_layers_muon_is_sgd(params, residual):
    small = {"conv_layers": 1, "fc_layers": 1, "residual": residual}
    first = trained(network(params, **small), params)
    second = trained(network(params, **small), params, optimizer="sgd")
    assert all(torch.equal(first[name], second[name]) for name in first)
