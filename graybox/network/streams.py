"""Random numbers: one stream for each purpose, so that what one purpose draws changes no other's numbers.

Two variants with the same seed see the images in the same order, although their weights differ in number; and a variant
with another augmentation starts from the same weights.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

Purpose = Literal["weights", "order", "augmentation", "dropout", "mixup"]


def sequence(seed: int, purpose: Purpose) -> np.random.SeedSequence:
    """NumPy's seed of a purpose's stream; the streams of one seed are independent of each other, as NumPy's docs say.

    Args:
        seed: `train.seed` of this network, at least 0.
    """
    return np.random.SeedSequence(seed, spawn_key=(get_args(Purpose).index(purpose),))


def torch_seed(seed: int, purpose: Purpose) -> int:
    """The seed of a purpose's stream for PyTorch, 0..2**63 - 1."""
    return int(sequence(seed, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, purpose: Purpose, device: torch.device | str = "cpu") -> torch.Generator:
    """A purpose's stream as PyTorch's generator on a device."""
    return torch.Generator(device).manual_seed(torch_seed(seed, purpose))
