"""Asking a network: by several threads at once, and about images of every shape."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from graybox.network import inference, training
from graybox.network.augmentation import Batches
from graybox.network.cnn import CNN
from graybox.network.inference import class_scores, evaluating, probabilities
from graybox.network.params import ModelParams, TrainParams
from graybox.occlusion.maps import occlusion_map
from tests.support.basics import image_set


def test_the_mode_comes_back_when_the_last_of_several_threads_is_done():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    model[2].eval()
    first, second = evaluating(model), evaluating(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())  # the second is still at work
    second.__exit__(None, None, None)
    assert [module.training for module in model] == [True, True, False] and model.training
    with evaluating(model):
        pass
    assert [module.training for module in model] == [True, True, False] and model.training


def test_networks_that_share_a_part_give_it_its_mode_back():
    shared = nn.Dropout(0.5)
    one, other = nn.Sequential(shared, nn.Linear(2, 2)), nn.Sequential(shared)
    with evaluating(one):
        with evaluating(other):
            assert not shared.training
        assert not shared.training and other.training
    assert shared.training and one.training


def test_threads_that_ask_one_network_in_training_mode_get_the_answers_of_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = occlusion_map(model.eval(), image, 1, window=3).confidence
    model.train()
    statistics = model[1].running_mean.clone()
    start, found = threading.Barrier(4), []

    def work() -> None:
        start.wait()
        for _ in range(8):
            found.append(occlusion_map(model, image, 1, window=3).confidence)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 32
    for confidence in found:
        np.testing.assert_allclose(confidence, expected, atol=1e-6)
    assert torch.equal(model[1].running_mean, statistics) and all(module.training for module in model.modules())


def test_the_views_of_images_that_are_not_square_are_moved_copies():
    class TopLeft(nn.Module):
        """The scores are one pixel's red and green."""

        def forward(self, images):
            assert images.shape[2:] == (6, 9)
            return images[:, :2, 0, 0] * 20

    images = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    views = [padded[:, top : top + 6, left : left + 9] for top, left in [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]]
    views += [view[:, :, ::-1] for view in views]
    expected = np.mean([(torch.tensor(v[:, 0, 0, :2] / 255.0) * 20).softmax(1).numpy() for v in views], axis=0)
    np.testing.assert_allclose(probabilities(TopLeft(), images, flip=True, shift=2), expected, atol=1e-5)


def test_a_networks_own_error_comes_through_where_the_size_is_right():
    model = CNN(ModelParams(conv_layers=1, filters=2, fc_layers=1), 8, ("a", "b"))
    model.head = nn.Linear(3, 2)
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        class_scores(model, images)
    with pytest.raises(ValueError, match=r"images has 9 x 8 pixels; this network takes 8 x 8"):
        class_scores(model, np.zeros((2, 9, 8, 3), np.uint8))


class Small(nn.Module):
    """Gives class scores as if the memory held the maps of only so many images; notes how many it was asked for."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.asked = most, []

    def forward(self, images):
        self.asked.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.mean((2, 3))


def test_a_batch_too_large_for_the_memory_is_halved_until_it_fits():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    model = Small(9)
    assert torch.equal(class_scores(model, images), class_scores(Small(100), images, batch_size=8))
    assert model.asked == [20, 16, 8, 8, 4]
    with pytest.raises(torch.OutOfMemoryError):
        class_scores(Small(9), images, batch_size=10)  # as it was asked for
    with pytest.raises(torch.OutOfMemoryError):
        class_scores(Small(0), images)


@pytest.mark.parametrize(
    ("gigabytes", "size", "batch"), [(80, 84, 2048), (80, 48, 8192), (80, 8, 8192), (16, 84, 512), (16, 224, 64)]
)
def test_a_gpu_is_given_what_its_memory_holds(gigabytes, size, batch):
    assert inference.batch_for(gigabytes * 2**30, size * size) == batch


def test_a_picture_too_large_for_the_memory_is_tried_alone():
    assert inference.batch_for(2**20, 4096 * 4096) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA reports that the host waits")
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_the_host_never_waits_for_the_gpu_within_an_epoch_or_between_batches_that_are_scored(optimizer):
    device, images = torch.device("cuda"), image_set(64)
    schedule = TrainParams(
        batch_size=16, optimizer=optimizer, weight_average=1, zoom=1.2, color_jitter=0.2, cutout=0.3, mixup=0.2
    )
    model = CNN(ModelParams(conv_layers=2, filters=8), images.size, images.class_names).to(device)
    batches = Batches(images, schedule, device)
    step = training.Step(model.train(), schedule, batches.steps_per_epoch, torch.bfloat16)
    for waits in ("default", "error"):  # in the first epoch libraries start, which may wait
        torch.cuda.set_sync_debug_mode(waits)
        try:
            for pixels, labels in batches.epoch():
                step(pixels, labels)
            scores = inference._scores(step.result, images.images, 16, torch.float32)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(scores).all()
    # Pinned memory that is used again too early would mix the batches.
    torch.testing.assert_close(
        scores.cpu(), class_scores(step.result, images.images, batch_size=64), rtol=1e-2, atol=1e-2
    )
