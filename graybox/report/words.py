"""Figures in words, as the whole report writes them."""

from __future__ import annotations

from collections.abc import Sequence

CI = "95% CI"
SOURCES = {
    "scenes": "drawn scenes",
    "mini_imagenet": "mini-ImageNet",
    "tiny_imagenet": "Tiny ImageNet",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "folder": "a folder of images",
}
"""What the sources of images are called; each by its key in `sources`."""


def share(value: float) -> str:
    """A share with one decimal: "92.3%"."""
    return f"{value:.1%}"


def interval(low: float, high: float) -> str:
    """The ends of a share's 95% interval in percent: "95% CI 90.5 to 93.8"."""
    return f"{CI} {100 * low:.1f} to {100 * high:.1f}"


def whole(low: float, high: float) -> str:
    """The same in whole percent."""
    return f"{CI} {round(100 * low) + 0} to {round(100 * high) + 0}"


def listed(items: Sequence[str], most: int = 12) -> str:
    """ "a, b and c"; of many items the first ones, and how many more."""
    items = list(items)
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 image", "1,000 images"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def large(number: float) -> str:
    """A count of weights or operations: "982 k", "34.4 M"."""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:,.1f}{word}" if number < 100 * unit else f"{number / unit:,.0f}{word}"
    return f"{number:.0f}"
