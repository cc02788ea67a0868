"""One image on each core at a time: what is many small operations leaves all cores but one idle otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def each(function: Callable[[Item], Found], items: Iterable[Item], device: torch.device | str) -> Iterator[Found]:
    """`function` of each item, in the order of the items.

    On a CPU so many run at a time as PyTorch has threads (`torch.set_num_threads`, OMP_NUM_THREADS), each on a single
    one; elsewhere they run one after another. PyTorch lets go of Python's lock while it computes.
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or threads == 1:
        yield from map(function, items)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(threads)
