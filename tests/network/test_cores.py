"""Work on every core: the same answers in the same order, and PyTorch's threads as they were."""

import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from graybox.network import cores


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_comes_back_is_in_order_and_threads_are_as_before(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = []

        together = threading.Barrier(threads, timeout=30)  # nobody goes on before so many are at work

        def work(number: int) -> tuple[int, int]:
            together.wait()
            seen.append(threading.get_ident())
            return number, torch.get_num_threads()

        count = 6 * threads
        assert list(cores.each(work, range(count), "cpu")) == [(number, 1) for number in range(count)]
        assert torch.get_num_threads() == threads
        assert len(set(seen)) == threads
    finally:
        torch.set_num_threads(before)


def test_fewer_items_than_threads_use_all_threads_one_after_another():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(cores.each(lambda number: (number, torch.get_num_threads()), range(2), "cpu")) == [(0, 3), (1, 3)]
    finally:
        torch.set_num_threads(before)


def test_an_error_comes_through_and_the_threads_are_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            list(cores.each(lambda number: 1 // number, [1, 0], "cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Slow:
    """A bar that counts as tqdm does, and lets another thread in between reading and writing."""

    def __init__(self):
        self.n, self.lock = 0, threading.RLock()

    def get_lock(self):
        return self.lock

    def update(self, count):
        before = self.n
        time.sleep(0.001)
        self.n = before + count


def test_no_count_is_lost_where_several_threads_count():
    bar = Slow()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(cores.counting(bar), [1, 2, 3, 4] * 10))
    assert bar.n == 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told to keep memory")
def test_large_tensors_take_the_memory_of_earlier_ones():
    program = """
import resource, torch
from graybox.network import cores

from torch import nn

layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3))
images = torch.rand(64, 3, 96, 96)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        layers(images).mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
cores.reuse_memory()
print([faults() for _ in range(6)][-1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    usual, reusing = map(int, done.stdout.split())
    assert reusing < usual / 10
