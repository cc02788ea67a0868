"""Work on one item per core at the same time; many small operations would otherwise use one core only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")
Found = TypeVar("Found")


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
