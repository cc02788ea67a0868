"""1 x 1 convolutions with a stride: PyTorch's CPU library writes beyond its memory where there is only AVX2."""

import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from graybox.network.strided import thinned

CPU = torch.device("cpu")


class Strides(TorchFunctionMode):
    """Notes the stride of each convolution that is computed."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is nn.functional.conv2d:
            self.seen.append(args[3])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("stride", [2, (3, 1)])
@pytest.mark.parametrize("padding", [{}, {"padding": 1, "padding_mode": "reflect"}])
@pytest.mark.parametrize("size", [7, 8])
def test_answers_and_gradients_are_those_of_the_convolution_as_it_is(channels, stride, size, padding):
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 6, 1, stride, groups=3, **padding).double()
    images = torch.rand(4, channels, size, size, dtype=torch.float64, requires_grad=True)
    wanted = plain(images)
    weights = [images, *plain.parameters()]
    gradients = torch.autograd.grad((wanted**2).sum(), weights)
    with Strides() as strides, thinned(nn.Sequential(plain), CPU):
        found = plain(images)
    assert strides.seen == [(1, 1)]
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad((found**2).sum(), weights), gradients)


def test_other_networks_run_as_they_are():
    for layer in (nn.Conv2d(3, 8, 3, 2), nn.Conv2d(3, 8, 1), nn.Conv2d(16, 8, 1, 2), nn.Conv2d(3, 8, 1, 2, padding=1)):
        assert isinstance(thinned(nn.Sequential(layer), CPU), nullcontext)
    assert isinstance(thinned(nn.Conv2d(3, 8, 1, 2), torch.device("cuda")), nullcontext)


TRAINING = """
from graybox.network import training
from graybox.network.params import ModelParams, TrainParams
from tests.support.basics import image_set

model = ModelParams(conv_layers=2, filters=16, stride=2, fc_layers=1, **{which})
schedule = TrainParams(epochs=30, batch_size=64, precision="fp32")
training.fit(model, schedule, image_set(64, size=48), image_set(8, size=48), device="cpu")
"""


# glibc's own check of each block of memory that is freed; where there is none, only what kills the process is found.
CHECKED = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
CHECKED |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.mark.parametrize("which", [{"kernel_size": 1}, {"residual": 1}])
def test_training_such_a_network_survives(which):
    program = [sys.executable, "-c", TRAINING.replace("{which}", repr(which))]
    run = subprocess.run(program, capture_output=True, text=True, env=os.environ | CHECKED)
    assert run.returncode == 0, run.stderr[-2000:]
