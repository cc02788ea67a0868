"""Where and how the study runs.

Another device rounds in another way, but no stage computes its results anew for that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from graybox import parallel
from graybox.errors import within
from graybox.schema import PLAINER, Real, Section, load

if TYPE_CHECKING:
    import torch

DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"
PLAINER[f"String should match pattern '{DEVICE}'"] = "should be one of auto, cpu, mps, cuda, cuda:0, cuda:1, ..."


class RunParams(Section):
    """The section `run`."""

    key: ClassVar[str] = "run"

    device: Annotated[str, Field(pattern=DEVICE)] = Field(
        "auto", description="auto = CUDA, else Apple's MPS, else CPU; or cpu, mps, cuda, cuda:1"
    )
    checkpoint_seconds: Annotated[Real, Field(gt=0)] | None = Field(
        60, description="time between two checkpoints of a training, from which it goes on if it is killed; null = none"
    )
    deterministic: bool = Field(
        False,
        description="the same training on a GPU twice gives the same weights, but takes longer; a CPU always does so",
    )


def device(path: Path | str = "params.yaml") -> torch.device:
    """The device that `run.device` names; PyTorch computes as `run.deterministic` says.

    On the CPU, PyTorch gets no more threads than a CPU quota allows.

    Of several GPUs, variants that run in parallel (`python -m graybox repro --jobs N`) take one after another.

    Raises:
        UserError: the file can't be read, or this machine lacks the device.
    """
    import torch  # which the schema alone does not need

    from graybox.network.inference import pick_device

    params = load(RunParams, path)
    be_deterministic(params.deterministic)
    name = params.device
    if "OMP_NUM_THREADS" not in os.environ:
        # PyTorch counts the machine's cores. Under a smaller CPU quota, threads would wait for one another.
        torch.set_num_threads(min(torch.get_num_threads(), parallel.cores()))
    with within(f"{path}: run."):
        found = pick_device(name)
    job = os.environ.get("GRAYBOX_JOB", "")
    if job.isdecimal() and found == torch.device("cuda") and (several := torch.cuda.device_count()):
        return torch.device("cuda", int(job) % several)
    return found


def be_deterministic(wanted: bool) -> None:
    """Have PyTorch take algorithms that give the same result each time, or those that are fast, which is its default.

    An operation that has no such algorithm on a GPU then raises a RuntimeError that names it. What is computed on a CPU
    is the same either way. Call it before anything is computed on a GPU.
    """
    import torch

    if torch.are_deterministic_algorithms_enabled() == wanted:  # to set it imports a lot
        return
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
        torch.backends.cudnn.benchmark = False  # which may choose another algorithm each time
    torch.use_deterministic_algorithms(wanted)
    # PyTorch would fill all new memory too, which shows mistakes in operations, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = not wanted  # type: ignore[attr-defined]  # not in its types


def checkpoint_seconds(path: Path | str = "params.yaml") -> float | None:
    """The time between two checkpoints of a training; None = none are written.

    Raises:
        UserError: the file can't be read.
    """
    return load(RunParams, path).checkpoint_seconds
