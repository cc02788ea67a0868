"""Work on one item per core at the same time; many small operations would otherwise use one core only."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from tqdm import tqdm

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The numbers of mallopt's parameters in glibc's malloc.h."""

Item = TypeVar("Item")
Found = TypeVar("Found")


@cache
def reuse_memory() -> None:
    """Let this process keep the memory of large tensors for the next ones (only glibc, on Linux, needs to be told).

    By default glibc gives blocks of 32 MB or more back to the kernel as soon as they are free, and the kernel clears
    every page of the next such block. A training step frees and takes dozens of them, which took a third of its time.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        # Older glibc refuses more than 32 MB.
        library.mallopt(M_MMAP_THRESHOLD, 2**30) or library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def each(function: Callable[[Item], Found], items: Iterable[Item], device: torch.device | str) -> Iterator[Found]:
    """Call `function` for each item; yield the results in the order of the items.

    On a CPU, as many calls run at once as PyTorch has threads (`torch.set_num_threads`, OMP_NUM_THREADS), one thread
    each. On other devices they run one after another, and so do fewer items than threads: these share each operation.
    PyTorch releases Python's lock (GIL) while it computes.
    """
    items, threads = list(items), torch.get_num_threads()
    if torch.device(device).type != "cpu" or threads == 1 or len(items) < threads:
        yield from map(function, items)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(threads)


def counting(bar: tqdm[Any]) -> Callable[[int], None]:
    """`bar.update` for calls from several threads: tqdm's own loses counts where two threads call it at once."""

    def update(count: int) -> None:
        with bar.get_lock():  # type: ignore[no-untyped-call]  # not in its types
            bar.update(count)

    return update
