"""The incremental engine: compute only what the window changes in every map of a network.

The window changes a small rectangle of each map. It is carried from step to step of the traced network (`trace`,
`graph`), each kind of step in its own way (`kinds`). Where it covers nearly the whole map, and from a step that no kind
knows on, maps are computed whole. `plan` predicts what is cheapest, and whether it saves time at all.

Window positions whose rectangles have the same offset on every stride's grid are computed together: the unoccluded
values around them are then evenly spaced in memory and need no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graybox.network import cores
from graybox.occlusion.incremental.carrier import Carrier
from graybox.occlusion.incremental.job import Job as Job
from graybox.occlusion.incremental.plan import Axis
from graybox.occlusion.incremental.results import Results
from graybox.occlusion.incremental.trace import Untraceable as Untraceable
from graybox.occlusion.incremental.trace import trace


def knows(model: nn.Module) -> bool:
    """Whether the engine can compute this network at all; see `trace.trace` for what it can't."""
    try:
        trace(model)
    except Untraceable:
        return False
    return True


@torch.inference_mode()
def job_of(model: nn.Module, size: Sequence[int], rows: range, columns: range, window: int) -> Job:
    """The job of sliding a window over an image of this height and width, on the model's device, to see its plan."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    pixels = torch.full((3, *size), 0.5, device=device)
    return Job(model, pixels, rows, columns, window, torch.zeros((), device=device))


def run(
    job: Job, depth: int | None = None, on_windows: Callable[[int], object] = lambda count: None
) -> tuple[Tensor, Tensor | None]:
    """Class scores [R, C, classes] and the map's sums [R, C]; `depth` and `on_windows`: as for `window_scores`."""
    _, groups = job.groups(depth)
    cut = next(node for node in job.network.nodes if node.name == groups.cut)
    results = Results(job, on_windows)
    carrier = Carrier(job, groups, cut, results)

    @torch.inference_mode()  # each thread has its own mode
    def compute(part: tuple[Sequence[Axis], Sequence[Axis]]) -> None:
        carrier.part(*part)

    for _ in cores.each(compute, groups.parts(job.prices), results.scores.device):
        pass
    return results.scores, results.sums


@torch.inference_mode()
def window_scores(
    model: nn.Module,
    pixels: Tensor,
    rows: range,
    columns: range,
    *,
    window: int,
    fill: Tensor | float,
    feature_map: int | None = None,
    depth: int | None = None,
    on_windows: Callable[[int], object] = lambda count: None,
) -> tuple[Tensor, Tensor | None]:
    """The network's answer for every position of a gray window.

    Args:
        model: in evaluation mode, in float32.
        pixels: float32 [3, H, W] in 0..1, on the model's device.
        rows, columns: the windows' centres, in pixels; a window is clipped at the image's border.
        window: N of the N x N window, odd, in pixels.
        fill: float32, of a shape that broadcasts to [3, H, W]; what the window shows in its place, 0..1.
        feature_map: a map of a `Classifier`'s last maps to sum over, or None.
        depth: convolutions to carry differences through; None = as many as costs the least.
        on_windows: called with the number of newly finished windows; not by two threads at once.

    Returns:
        Class scores, float32 [R, C, classes], and the sums over the feature map, float32 [R, C], or None.

    Raises:
        Untraceable: the network is not for this engine.
    """
    shown = torch.as_tensor(fill, dtype=pixels.dtype, device=pixels.device)
    return run(Job(model, pixels, rows, columns, window, shown, feature_map), depth, on_windows)
