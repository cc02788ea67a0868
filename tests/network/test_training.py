"""Training learns, repeats itself exactly, and its batched augmentation is what it says."""

import copy
import dataclasses
import re
import tracemalloc
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as vision

from graybox.errors import UserError
from graybox.network import cnn, inference, streams, training
from graybox.network.cnn import CNN
from graybox.network.divergence import divergence
from graybox.network.params import ModelParams
from tests.support.basics import image_set

SMALL = {"conv_layers": 2, "filters": 8, "fc_layers": 1}


@pytest.fixture
def settings(params):
    network = ModelParams(**{**params.model.model_dump(), **SMALL})
    schedule = params.train.model_copy(
        update={"epochs": 6, "batch_size": 16, "precision": "fp32", "flip": False, "shift": 1}
    )
    return network, schedule


def test_it_learns_what_can_be_learned(settings):
    train, validation = image_set(160), image_set(40, seed=1)
    fitted = training.fit(*settings, train, validation)
    assert fitted.curve[-1].validation_accuracy > 0.9
    assert [epoch.epoch for epoch in fitted.curve] == [1, 2, 3, 4, 5, 6]
    answers = inference.probabilities(fitted.model, validation.images)
    assert (answers.argmax(1) == validation.labels).mean() == pytest.approx(fitted.curve[-1].validation_accuracy)
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("leak", [False, True])
def test_of_labels_that_mean_nothing_only_those_trained_on_are_known(settings, leak):
    """The validation labels are drawn at random: whoever has not seen them is right one time in four, by chance alone.

    So a leak shows: if the validation images are among the training images, their labels are learned by heart.
    """
    network, schedule = settings
    schedule = schedule.model_copy(update={"epochs": 20, "shift": 0, "label_smoothing": 0.0})
    random = np.random.default_rng(2)
    train, validation = (replace(image_set(64, seed=n), labels=random.integers(0, 4, 64)) for n in (0, 1))
    seen = validation if leak else train
    fitted = training.fit(network, schedule, seen, validation)
    assert fitted.curve[-1].train_accuracy > 0.9  # enough is learned by heart to show
    known = fitted.curve[-1].validation_accuracy
    # 36 of 64 guesses or more are right once in ten million times.
    assert known > 0.8 if leak else known < 36 / 64


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(settings):
    network, schedule = settings
    schedule = schedule.model_copy(update={"epochs": 2, "flip": True, "shift": 2})
    first, second, other = (
        training.fit(network, schedule.model_copy(update={"seed": seed}), image_set(64), image_set(16)).model
        for seed in (0, 0, 1)
    )
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters())]
    different = [not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters())]
    assert all(same) and any(different)


def test_networks_of_one_seed_see_the_same_images_in_the_same_order_whatever_else_differs(settings, monkeypatch):
    network, schedule = settings
    seen = {}

    class Recorded(training.Step):
        def __call__(self, images, labels):
            order.append(images.numpy(force=True).copy())
            return super().__call__(images, labels)

    monkeypatch.setattr(training, "Step", Recorded)
    plain = schedule.model_copy(update={"shift": 0, "epochs": 2})
    changes = {
        "plain": (network, plain),
        "wide": (network.model_copy(update={"filters": 16}), plain),
        "dropout": (network.model_copy(update={"dropout": 0.5}), plain),
        "other seed": (network, plain.model_copy(update={"seed": 1})),
    }
    for name, (model, train) in changes.items():
        order = []
        training.fit(model, train, image_set(64), image_set(16))
        seen[name] = np.concatenate(order)
    np.testing.assert_array_equal(seen["wide"], seen["plain"])
    np.testing.assert_array_equal(seen["dropout"], seen["plain"])
    assert not np.array_equal(seen["other seed"], seen["plain"])


def test_the_order_of_the_images_is_no_copy_of_the_weights_random_numbers():
    """From one seed, PyTorch's generators would give the weights and the order the same numbers."""
    first = {name: streams.generator(5, name).get_state().numpy().tobytes() for name in get_args(streams.Purpose)}
    assert len(set(first.values())) == len(first)
    assert streams.torch_seed(5, "order") == streams.torch_seed(5, "order") != streams.torch_seed(6, "order")


def test_epochs_factor_halves_the_epochs_and_the_schedule_ends_at_zero(settings):
    network, schedule = settings
    fitted = training.fit(network, schedule.model_copy(update={"epochs_factor": 0.5}), image_set(64), image_set(16))
    assert len(fitted.curve) == 3
    assert fitted.curve[-1].learning_rate < schedule.learning_rate / 50


@pytest.mark.parametrize("count", [16, 32, 48, 64, 80])
def test_a_run_of_a_few_steps_is_possible(settings, count):
    network, schedule = settings
    fitted = training.fit(network, schedule.model_copy(update={"epochs": 1}), image_set(count), image_set(16))
    assert len(fitted.curve) == 1 and np.isfinite(fitted.curve[0].train_loss)


def test_batches_reach_the_network_in_channels_last():
    batch = inference.to_float(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))
    assert batch.shape == (2, 3, 8, 8) and batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"learning_rate": 1e30}, r"a smaller learning_rate \(now 1e\+30\), or"),
        (
            {"optimizer": "muon", "muon_learning_rate": 1e38},
            r"or a smaller muon_learning_rate \(now 1e\+38\), or",
        ),
    ],
)
def test_divergence_is_an_error_not_a_result(settings, change, named):
    network, schedule = settings
    wild = schedule.model_copy(update={"gradient_clip": None, **change})
    with pytest.raises(UserError, match=r"diverged in epoch 1; allowed: .*" + named) as error:
        training.fit(network, wild, image_set(64), image_set(16))
    assert len(error.value.fit.curve) == 1
    assert error.value.fit.model.diverged == "its training loss is not finite in epoch 1"


def test_a_loss_far_above_a_constant_answers_is_divergence_too_and_is_saved_with_the_network(settings, tmp_path):
    """The labels are drawn at random, so that huge scores are wrong ones."""
    network, schedule = settings
    random = np.random.default_rng(0)
    images = [replace(image_set(count), labels=random.integers(0, 4, count)) for count in (64, 16)]
    fitted = training.fit(network, schedule.model_copy(update={"learning_rate": 1e3, "schedule": "constant"}), *images)
    last = fitted.curve[-1]
    assert np.isfinite(last.train_loss) and last.train_loss > 10 and last.validation_loss > 10
    assert re.fullmatch(
        r"after the last epoch its training loss \S+ and its validation loss \S+, where a constant answer has 1\.39",
        fitted.model.diverged,
    )
    cnn.save(fitted.model, tmp_path / "x.safetensors")
    assert cnn.load(tmp_path / "x.safetensors").diverged == fitted.model.diverged
    sound = training.fit(network, schedule, image_set(64), image_set(16)).model
    cnn.save(sound, tmp_path / "x.safetensors")
    assert sound.diverged == cnn.load(tmp_path / "x.safetensors").diverged == ""


@pytest.mark.parametrize(
    ("train_loss", "validation_loss", "found"),
    [
        (1.38, 1.39, ""),  # learned nothing: no better than a constant answer, and no worse
        (2.3, 2.3, ""),  # a few steps old
        (0.01, 9.0, ""),  # learned by heart
        (9.0, 1.0, ""),  # trained on pictures that are hard by augmentation
        (9.0, 9.0, "after the last epoch its training loss 9 and its validation loss 9, where a constant"),
        (np.nan, 1.0, "its training loss is not finite in epoch 3"),
        (np.inf, np.inf, "its training loss is not finite in epoch 3"),
        (1.0, np.nan, "its validation loss is not finite after epoch 3"),
    ],
)
def test_what_divergence_is(settings, train_loss, validation_loss, found):
    model = CNN(settings[0], 16, ("a", "b", "c", "d"))
    last = training.Epoch(3, train_loss, 0.25, validation_loss, 0.25, 0.1)
    why = divergence(last, model)
    assert why.startswith(found) and bool(why) == bool(found)
    with torch.no_grad():
        model.features[1].running_var[0] = np.inf
    assert (
        divergence(training.Epoch(3, 1.0, 0.5, 1.0, 0.5, 0.1), model) == "its weights are not all finite after epoch 3"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"device is 'cuda'.*cpu"):
        inference.pick_device("cuda")


@pytest.fixture
def untrained(settings):
    """A network with its first weights, but for the last layer's: they are ten times as large, so that it is as sure as
    a trained one. What its answers are compared for holds of any weights, so none need be learned.

    It is in training mode, where an answer depends on the rest of the batch: evaluation must leave that mode.
    """
    torch.manual_seed(0)
    images = image_set(32)
    model = CNN(settings[0], images.size, images.class_names)
    training.set_pixel_statistics(model, images.images)
    with torch.no_grad():
        model.head[-1].weight *= 10
    return model.to(memory_format=torch.channels_last).train()


def test_bf16_and_fp32_agree_roughly_and_evaluation_leaves_the_mode_as_it_was(untrained):
    model, images = untrained, image_set(32, seed=3).images
    exact = inference.probabilities(model, images)
    rough = inference.probabilities(model, images, precision=torch.bfloat16)
    assert model.training
    # Scores of about 3 are rounded by up to 2**-9 in each of three layers: by 0.02; of a probability it is a quarter.
    assert 0 < np.abs(exact - rough).max() < 0.05


def test_with_flip_an_image_and_its_mirror_image_have_the_same_answer(untrained):
    images = image_set(16, seed=3).images
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    plain, of_mirrored = inference.probabilities(untrained, images), inference.probabilities(untrained, mirrored)
    both = inference.probabilities(untrained, images, flip=True)
    np.testing.assert_allclose(both, (plain + of_mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(both, inference.probabilities(untrained, mirrored, flip=True), atol=1e-6)
    assert np.abs(both - plain).max() > 0.01


@pytest.mark.parametrize("flip", [False, True])
def test_with_shift_the_answer_is_the_mean_over_torchvisions_five_crops(untrained, flip):
    """Moving towards each corner is cropping from the mirror-padded image, at its corners and in its centre."""
    images = torch.as_tensor(image_set(16, seed=3).images)
    padded = vision.pad(images.permute(0, 3, 1, 2), [3], padding_mode="reflect")
    crops = (vision.ten_crop if flip else vision.five_crop)(padded, list(images.shape[1:3]))
    wanted = [inference.probabilities(untrained, crop.permute(0, 2, 3, 1)) for crop in crops]
    found = inference.probabilities(untrained, images.numpy(), flip=flip, shift=3)
    np.testing.assert_allclose(found, np.mean(wanted, axis=0), atol=1e-6)
    assert np.abs(found - inference.probabilities(untrained, images, flip=flip)).max() > 0.01


def test_the_views_of_many_images_are_made_of_some_at_a_time(untrained):
    one = image_set(16, seed=3).images
    many = np.tile(one, (80, 1, 1, 1))
    wanted = inference.probabilities(untrained, one, flip=True, shift=2)
    tracemalloc.start()
    found = inference.probabilities(untrained, many, flip=True, shift=2)
    most = tracemalloc.get_traced_memory()[1]  # what numpy took
    tracemalloc.stop()
    assert most < many.nbytes
    np.testing.assert_allclose(found, np.tile(wanted, (80, 1)), atol=1e-6)


def test_batching_changes_no_answer(untrained):
    images = image_set(33, seed=3).images
    whole = inference.probabilities(untrained, images)
    assert np.ptp(whole, axis=0).max() > 0.1  # the images do not all have one answer
    # Another batch size may add up the 256 inputs of a score in another order: sqrt(256) * 2**-24 * a score below 10.
    np.testing.assert_allclose(inference.probabilities(untrained, images, batch_size=5), whole, atol=1e-5)


def test_the_pixels_statistics_are_the_training_images(settings):
    network, schedule = settings
    train = image_set(50)
    model = training.fit(network, schedule.model_copy(update={"epochs": 1}), train, image_set(16)).model
    pixels = train.images.reshape(-1, 3) / 255
    np.testing.assert_allclose(model.mean.flatten(), pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(model.std.flatten(), pixels.std(0), atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(3999, 84), (20, 1024)])
def test_the_pixels_statistics_are_exact_of_many_rows_in_little_memory(count, size):
    """One pixel in four is bright. Summed in float32, 28 million rows have a mean of 107 in place of 132.

    The images are one row of pixels, seen many times, so that they take no memory themselves.
    """
    row = np.tile(np.array([100, 100, 100, 228], np.uint8), size // 4)[:, None] + np.array([0, 5, 20], np.uint8)
    images = np.broadcast_to(row, (count, size, size, 3))
    tracemalloc.start()
    mean, std = training.pixel_statistics(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(mean, np.array([132, 137, 152]) / 255, rtol=1e-12)
    np.testing.assert_allclose(std, 32 * np.sqrt(3) / 255, rtol=1e-12)
    assert peak < 32 * 2**20


@pytest.mark.parametrize("count", [2000, 3999, 4000, 9001])
def test_of_many_images_the_pixels_statistics_take_some_from_everywhere(count):
    images = np.arange(count)[:, None, None, None] * 255 // (count - 1) + np.zeros((1, 2, 2, 3), int)
    mean, std = training.pixel_statistics(images.astype(np.uint8))
    np.testing.assert_allclose(mean, 0.5, atol=0.005)
    np.testing.assert_allclose(std, 12**-0.5, atol=0.005)


@pytest.mark.parametrize("warmup", [0.05, 0.25, 0.9])
@pytest.mark.parametrize("steps", [40, 231])
def test_the_schedule_is_pytorchs_one_cycle(steps, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=steps + 1, pct_start=warmup, cycle_momentum=False
    )
    for step in range(steps + 1):
        assert training.one_cycle(step, steps, 0.3, warmup) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < steps:
            theirs.step()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_a_few_steps_has_usable_rates(steps):
    rates = [training.one_cycle(step, steps, 0.3, 0.25) for step in range(steps)]
    assert all(0 < rate <= 0.3 for rate in rates)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_is_pytorchs_sgd(params, clip):
    """The same weights after five steps as torch.optim.SGD, clip_grad_norm_ and OneCycleLR give."""
    schedule = params.train.model_copy(update={"gradient_clip": clip, "epochs": 1})
    torch.manual_seed(0)
    ours = CNN(params.model.model_copy(update={"filters": 4, "fc_units": 8}), 16, ("a", "b")).train()
    theirs = copy.deepcopy(ours)
    step = training.Step(ours, schedule, 5, torch.float32)
    optimizer = torch.optim.SGD(
        theirs.parameters(), momentum=schedule.momentum, nesterov=True, weight_decay=schedule.weight_decay
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=6, pct_start=schedule.warmup_fraction, cycle_momentum=False
    )
    loss = torch.nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    for _ in range(5):
        images, labels = torch.rand(8, 3, 16, 16), torch.randint(2, (8,))
        step(images, labels)
        optimizer.zero_grad()
        loss(theirs(images), labels).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizer.step()
        cycle.step()
    for mine, reference in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_the_averaged_weights_are_pytorchs_moving_average(params):
    """After each step the average is lerped towards the weights; weights that stay are their own average."""
    schedule = params.train.model_copy(update={"weight_average": 2.0, "epochs": 1, "label_smoothing": 0.0})
    torch.manual_seed(0)
    model = CNN(params.model.model_copy(update={"filters": 4, "fc_units": 8}), 16, ("a", "b")).train()
    step = training.Step(model, schedule, 4, torch.float32)  # an average over about 2 * 4 steps
    expected = None
    for _ in range(4):
        step(torch.rand(8, 3, 16, 16), torch.randint(2, (8,)))
        now = {name: value.clone().double() for name, value in model.state_dict().items()}
        expected = expected or now
        expected = {name: value + (now[name] - value) / 9 for name, value in expected.items()}
    found = step.result.state_dict()
    for name in expected:
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-4, atol=1e-6)
    assert not torch.equal(found["features.0.weight"], model.state_dict()["features.0.weight"])


@pytest.mark.parametrize(
    "change",
    [
        {"weight_average": 1.0}, {"schedule": "constant"}, {"zoom": 1.3}, {"color_jitter": 0.2}, {"cutout": 0.2},
        {"mixup": 0.2}, {"start_size": 0.5}, {"optimizer": "muon"},
    ],
)  # fmt: skip
def test_it_learns_with_every_addition(settings, change):
    network, schedule = settings
    network = network.model_copy(update={"residual": 1, "global_average_pool": "start_size" in change})
    schedule = schedule.model_copy(update={"epochs": 10 if "start_size" in change else 5, **change})
    fitted = training.fit(network, schedule, image_set(160), image_set(40, seed=1))
    needed = 0.6 if network.global_average_pool else 0.9  # an average over places can hardly tell corners
    assert fitted.curve[-1].validation_accuracy >= needed
    answers = inference.probabilities(fitted.model, image_set(40, seed=1).images).argmax(1)
    assert (answers == image_set(40, seed=1).labels).mean() == pytest.approx(fitted.curve[-1].validation_accuracy)


def test_a_constant_schedule_is_constant(settings):
    network, schedule = settings
    fitted = training.fit(network, schedule.model_copy(update={"schedule": "constant"}), image_set(64), image_set(16))
    assert {epoch.learning_rate for epoch in fitted.curve} == {schedule.learning_rate}


def test_images_that_start_too_small_for_the_layers_stop_before_any_work(settings):
    network, schedule = settings
    network = network.model_copy(update={"conv_layers": 4, "global_average_pool": True})
    with pytest.raises(UserError, match=r"max pooling 4.*8 x 8 image"):
        training.fit(network, schedule.model_copy(update={"start_size": 0.5}), image_set(64), image_set(16))


def test_small_images_without_an_average_stop_before_any_work(settings):
    network, schedule = settings
    with pytest.raises(ValueError, match=r"start_size is 0\.5.*global_average_pool"):
        training.fit(network, schedule.model_copy(update={"start_size": 0.5}), image_set(64), image_set(16))


class Faulty(torch.nn.Module):
    """Fails on what it is given; one of its parts is in another mode than the whole."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.BatchNorm2d(3).eval()
        self.free = torch.nn.BatchNorm2d(3)

    def forward(self, images):
        assert not any(module.training for module in self.modules())
        raise RuntimeError("no answer")


def test_every_module_has_its_own_mode_again_even_after_a_failure():
    net = Faulty()
    with pytest.raises(RuntimeError, match="no answer"):
        inference.class_scores(net, image_set(2).images)
    assert (net.training, net.frozen.training, net.free.training) == (True, False, True)


def test_training_leaves_the_callers_random_numbers_alone(settings):
    model, train = settings
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.fit(model, train, image_set(40), image_set(8))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda images: {"train": _cut(images["train"])}, r"train has images of 16 x 12 pixels; they should be square"),
        (lambda images: {"validation": _cut(images["validation"])}, r"validation has images of 16 x 12 pixels"),
        (lambda images: {"validation": image_set(8, classes=3)}, "validation has other class_names"),
    ],
)
def test_images_that_do_not_fit_together_stop_before_any_work(settings, change, told):
    images = {"train": image_set(16), "validation": image_set(8)}
    with pytest.raises(ValueError, match=told):
        training.fit(*settings, **{**images, **change(images)})


def _cut(images):
    return dataclasses.replace(images, images=images.images[:, :, :12])


@pytest.mark.parametrize("pixels", [image_set(2).images / 255, torch.rand(2, 16, 16, 3)])
def test_pixels_that_are_no_bytes_are_refused_and_not_made_dark(pixels):
    with pytest.raises(TypeError, match=r"images is of .*float\d\d; allowed: uint8"):
        inference.probabilities(torch.nn.Flatten(), pixels)
    with pytest.raises(ValueError, match=r"images has the shape \[16, 16, 3\]"):
        inference.probabilities(torch.nn.Flatten(), image_set(1).images[0])


@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cpu:x", "cuda:99", ""])
def test_a_device_of_no_kind_or_number_that_is_here_is_named(name):
    with pytest.raises(UserError, match=f"^device is '{name}', which this machine lacks; allowed here: auto, .*cpu"):
        inference.pick_device(name)


@pytest.mark.parametrize("given", ["cpu", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)])
def test_the_cpu_is_a_device_however_it_is_named(given):
    assert inference.pick_device(given).type == "cpu"
