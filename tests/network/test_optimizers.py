"""Muon steps as PyTorch's does on flattened filters, moves only hidden layers, and leaves the rest to SGD."""

import copy

import pytest
import torch

from graybox.network import optimizers, training
from graybox.network.cnn import CNN

NETWORK = {"filters": 6, "conv_layers": 3, "fc_units": 8}
STEPS = 5
ROUNDING = STEPS * 10 * 2**-24
"""How far two weights may be apart after the same steps. A step of SGD, or of Muon once its direction is found, rounds
fewer than ten times to float32, each time by at most 2**-24 of a number that here is below 1."""


def network(params, **changes):
    torch.manual_seed(0)
    return CNN(params.model.model_copy(update={**NETWORK, **changes}), 16, ("a", "b")).train()


def trained(model, params, **changes):
    """Train on random images, the same for every call, and note what the optimizer is given.

    Two networks that each follow their own gradients drift apart: a gradient's last bit can change what Muon rounds to
    bf16, that the next gradient, and so on. So a test gives the other optimizer the gradients that this one had.

    Returns:
        The weights, by name, and a pair (gradients, rate) for each step.
    """
    schedule = params.train.model_copy(update={"epochs": 1, "optimizer": "muon", **changes})
    step, random = training.Step(model, schedule, STEPS, torch.float32), torch.Generator().manual_seed(1)
    given, take = [], step.optimizer.step

    def noted(gradients, rate):
        given.append(([gradient.clone() for gradient in gradients], rate))
        take(gradients, rate)

    step.optimizer.step = noted
    for _ in range(STEPS):
        step(torch.rand(8, 3, 16, 16, generator=random), torch.randint(2, (8,), generator=random))
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}, given


@pytest.mark.parametrize(
    "change, names",
    [
        ({}, ["features.4.weight", "features.8.weight", "head.1.weight"]),
        (
            {"residual": 1, "fc_layers": 1},
            [f"features.{layer}.{part}.0.weight" for layer in (3, 6) for part in ("conv", "shortcut")],
        ),
        ({"residual": 2, "pool_every": 2, "fc_layers": 1}, ["features.0.conv.3.weight", "features.3.weight"]),
        ({"conv_layers": 1, "fc_layers": 3, "batch_norm": False}, ["head.1.weight", "head.3.weight"]),
    ],
)
def test_hidden_layers_step_as_pytorchs_muon_and_the_rest_as_its_sgd(params, change, names):
    start = network(params, **change)
    schedule = params.train.model_copy(update={"muon_learning_rate": 0.05, "muon_weight_decay": 0.5})
    changes = schedule.model_dump(exclude={"epochs", "optimizer"})
    found, given = trained(copy.deepcopy(start), params, **changes)

    weights = dict(start.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    flat = {name: torch.nn.Parameter(weights[name].detach().flatten(1).clone()) for name in names}
    muon = torch.optim.Muon(flat.values(), weight_decay=0.5, momentum=0.9, ns_steps=3)
    others = [weight for name, weight in weights.items() if name not in names]
    sgd = torch.optim.SGD(others, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay)
    for number, (gradients, rate) in enumerate(given):
        assert rate == training.one_cycle(number, STEPS, schedule.learning_rate, schedule.warmup_fraction)
        sgd.param_groups[0]["lr"] = rate
        muon.param_groups[0]["lr"] = training.one_cycle(number, STEPS, 0.05, schedule.warmup_fraction)
        for (name, weight), gradient in zip(weights.items(), gradients):
            if name in names:
                flat[name].grad = gradient.flatten(1)
            else:
                weight.grad = gradient
        sgd.step()
        with optimizers.in_fast_type(torch.device("cpu")):
            muon.step()
    assert len(given) == STEPS
    for name, weight in weights.items():
        wanted = flat[name].view_as(weight) if name in names else weight
        assert (wanted - before[name]).abs().max() > 10 * ROUNDING
        torch.testing.assert_close(found[name], wanted.detach(), rtol=0, atol=ROUNDING)


def test_a_step_is_near_the_orthonormal_factor_of_the_gradient(params):
    """Its singular values are all about one, whatever the gradient's are, so no direction is left behind."""
    model = network(params)
    schedule = params.train.model_copy(
        update={"optimizer": "muon", "learning_rate": 1.0, "muon_learning_rate": 1.0, "muon_weight_decay": 0.0}
    )
    names, weights = zip(*model.named_parameters())
    place, random = names.index("features.4.weight"), torch.Generator().manual_seed(1)
    gradients = [torch.randn(weight.shape, generator=random) for weight in weights]
    u, _, v = torch.linalg.svd(gradients[place].flatten(1), full_matrices=False)
    gradients[place] = (u * torch.linspace(1, 0.2, len(u)) @ v).view_as(gradients[place])
    before = weights[place].detach().clone()
    optimizers.optimizer_of(model, schedule).step(gradients, 1.0)
    moved = (before - weights[place].detach()).flatten(1)
    # In exact arithmetic these become 0.70 to 1.13. Newton-Schulz rounds to bf16 about ten times, by 2**-9 of matrices
    # whose singular values are about 1: that moves none by more than 0.02 a time, and 0.05 is what it moved none by.
    sizes = torch.linalg.svdvals(moved)
    assert sizes.min() > 0.6 and sizes.max() < 1.3
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (u @ v).flatten(), dim=0) > 0.95


@pytest.mark.parametrize("nesterov", [False, True])
def test_where_bf16_is_emulated_the_direction_is_float32s(monkeypatch, nesterov):
    monkeypatch.setattr(optimizers, "pick_precision", lambda name, device: torch.float32)
    random = torch.Generator().manual_seed(2)
    start, gradient = (torch.randn(6, 20, generator=random, dtype=torch.float64) for _ in range(2))
    weight = torch.nn.Parameter(start.float())
    weight.grad = gradient.float()
    muon = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.5, nesterov=nesterov, ns_steps=3)
    with optimizers.in_fast_type(torch.device("cpu")):
        muon.step()
    u, sizes, v = torch.linalg.svd(gradient, full_matrices=False)
    sizes = sizes / sizes.norm()
    for _ in range(3):  # Newton-Schulz acts on the singular values alone
        sizes = 3.4445 * sizes - 4.775 * sizes**3 + 2.0315 * sizes**5
    torch.testing.assert_close(start - weight.detach().double(), (u * sizes) @ v, rtol=0, atol=1e-5)
    torch.testing.assert_close(muon.state[weight]["momentum_buffer"].double(), gradient / 2, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("change", [{}, {"residual": 1}])
def test_the_memorys_order_changes_nothing(params, change):
    plain, last = network(params, **change), network(params, **change).to(memory_format=torch.channels_last)
    assert any(not weight.is_contiguous() for weight in last.parameters())
    start = {name: weight.detach().clone() for name, weight in plain.named_parameters()}
    first, given = trained(plain, params)
    second = dict(last.named_parameters())
    optimizer = optimizers.optimizer_of(last, params.train.model_copy(update={"optimizer": "muon"}))
    for gradients, rate in given:
        # As a network in channels_last gives them.
        optimizer.step([torch.empty_like(w).copy_(g) for w, g in zip(second.values(), gradients)], rate)
    for name in first:
        apart, way = (first[name] - second[name]).norm(), (first[name] - start[name]).norm()
        assert apart < 0.1 * way


@pytest.mark.parametrize("residual", [0, 1])
def test_without_hidden_layers_muon_is_sgd(params, residual):
    small = {"conv_layers": 1, "fc_layers": 1, "residual": residual}
    first, _ = trained(network(params, **small), params)
    second, _ = trained(network(params, **small), params, optimizer="sgd")
    assert all(torch.equal(first[name], second[name]) for name in first)
