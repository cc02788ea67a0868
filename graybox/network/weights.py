"""Weights of other people's networks: read from files without unpickling, and given to a network."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from graybox import schema
from graybox.errors import UserError

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # what only training uses of googlenet and inception_v3
COUNTER = "num_batches_tracked"  # of batch norm; old files lack it, and it has no part in the answers
# torchvision's files of densenets have dots in names that modules can't have any more.
_OLD_NAMES = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def read_state(file: Path) -> dict[str, Tensor]:
    """The weights in a file, by name: safetensors, or what `torch.save` wrote of a state dict; nothing is unpickled.

    A state dict inside another, under "state_dict", "model_state_dict" or "model", is found.

    Raises:
        UserError: there is no such file, or it holds no weights.
    """
    try:
        if file.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{file}: there is no such file; allowed: weights, .safetensors or .pth") from error
    except Exception as error:
        raise UserError(
            f"{file} holds no weights that can be read without unpickling ({type(error).__name__}); "
            f"allowed: what torch.save(model.state_dict(), ...) writes"
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{file} holds no state dict; allowed: tensors by name, as torch.save(model.state_dict(), ...)")
    return {str(key): value for key, value in found.items()}


def of_torchvision(architecture: str, name: str) -> dict[str, Tensor]:
    """The weights of torchvision with this name, from torch.hub's folder, or downloaded to it; nothing is unpickled.

    Raises:
        UserError: torchvision has no such network or weights, or they can't be downloaded or read.
    """
    from torchvision import models

    given = f"model.weights is {schema.shown(name)}"
    if architecture not in models.list_models(module=models):
        raise UserError(
            f"{given}, and model.architecture {architecture} is none of torchvision's; allowed: null, or a file"
        )
    every = models.get_model_weights(architecture)
    if name not in every.__members__:
        raise UserError(f"{given}; allowed with {architecture}: {', '.join(one.name for one in every)}, or a file")
    chosen = every[name]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / chosen.url.rpartition("/")[2]
    try:
        # torch.hub unpickles what lies in its folder unless it is told not to, and checks the hash of downloads only.
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:  # no network, too
        raise UserError(
            f"model.weights {name} of {architecture} can't be downloaded ({type(error).__name__}); put {file.name} "
            f"into {folder}"
        ) from error
    except Exception as error:  # a damaged or foreign file, of which PyTorch's errors are of many kinds
        raise UserError(
            f"model.weights {name} of {architecture}: {file} holds no weights that can be read without unpickling "
            f"({type(error).__name__}); remove it, and it is downloaded again"
        ) from error
    return state


def give(network: nn.Module, state: Mapping[str, Tensor], own_may_stay: Collection[str] = ()) -> str:
    """Give a network all its weights.

    Args:
        state: by name. What only training uses may be there or not, and counters of batches may be missing.
        own_may_stay: names of weights that the network keeps as they are if those in `state` have another shape.

    Returns:
        Why they are not its weights, about "it", which holds them; then the network stays as it is. "" if they are.
    """
    own = network.state_dict()
    for prefix in ("module.", "model."):  # of DataParallel, and of a Lightning module
        if state and all(key.startswith(prefix) and key not in own for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    given = {_OLD_NAMES.sub(r"\1\2", key): value for key, value in state.items()}
    given = {key: value for key, value in given.items() if key in own or not key.startswith(AUXILIARY)}
    for key, value in own.items():
        uncounted = key.endswith(COUNTER) and key not in given
        if uncounted or (key in own_may_stay and key in given and given[key].shape != value.shape):
            given[key] = value
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    if missing or unexpected:
        return f"it {' and '.join(filter(None, [_first('lacks', missing), _first('has also', unexpected)]))}"
    if other := next((key for key in own if own[key].shape != given[key].shape), None):
        return f"{other} is {list(given[other].shape)} in it and {list(own[other].shape)} in the network"
    load(network, given)
    return ""


def load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`module.load_state_dict`, strictly, of weights from a file that holds no versions of the layers' own layouts.

    Some layers ask for theirs, as MNASNet's does; they are given the present ones.
    """
    versioned = OrderedDict(state)
    versioned._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]  # PyTorch's own attribute
    module.load_state_dict(versioned)


def _first(verb: str, keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{verb} {keys[0]}{more}" if keys else ""
