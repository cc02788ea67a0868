"""Pixels that no window hides are counted, and windows and strides that pass the check give pictures of every kind."""

import io

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from graybox.errors import UserError
from graybox.figures import panels, strip
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from graybox.occlusion.maps import occluded, occlusion_map
from graybox.occlusion.params import OcclusionParams, never_hidden
from graybox.reliance import examine
from tests.support.basics import image_set


@pytest.mark.parametrize(
    ("size", "window", "stride", "share"),
    [(15, 3, 5, 1 - (8 / 15) ** 2), (48, 11, 1, 0), (48, 48, 47, 0), (43, 11, 11, 1 - (39 / 43) ** 2), (8, 1, 2, 0.75)],
)
def test_the_share_that_no_window_hides(size, window, stride, share):
    assert never_hidden((size, size), [range(0, size, stride)] * 2, window) == pytest.approx(share)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), half=st.integers(0, 9), stride=st.integers(1, 20))
def test_it_is_what_the_windows_leave_as_it_was(height, width, half, stride):
    rows, columns = range(0, height, stride), range(0, width, stride)
    centres = torch.cartesian_prod(torch.tensor(rows), torch.tensor(columns))
    hidden = occluded(torch.zeros(3, height, width), centres, 2 * half + 1, torch.ones(())).amax((0, 1))
    share = never_hidden((height, width), (rows, columns), 2 * half + 1)
    assert share == pytest.approx(1 - hidden.mean().item(), abs=1e-6)
    if stride <= half + 1:
        assert share == 0


def network(size: int) -> CNN:
    torch.manual_seed(0)
    return CNN(ModelParams(conv_layers=1, filters=2, fc_layers=1), size, ("a", "b", "c", "d")).eval()


def test_a_map_knows_what_its_windows_left_out():
    found = occlusion_map(network(20), image_set(1, size=20).images[0], 0, window=3, stride=4)
    # 0 to 1, 3 to 5, 7 to 9, 11 to 13 and 15 to 17 are hidden: 14 of 20.
    assert found.never_hidden == pytest.approx(1 - 0.7**2) and found.arrays()["never_hidden"].ndim == 0


SIZES = st.integers(8, 20)
ODD = st.integers(0, 11).map(lambda half: 2 * half + 1)


@settings(max_examples=25, deadline=None)
@given(size=SIZES, window=ODD, stride=st.integers(1, 21), others=st.lists(ODD, max_size=2), other=st.integers(1, 21))
@example(size=8, window=7, stride=7, others=[1], other=7)
@example(size=9, window=9, stride=1, others=[9, 3], other=8)
@example(size=12, window=1, stride=12, others=[], other=1)
@example(size=12, window=13, stride=1, others=[], other=1)
@example(size=12, window=3, stride=1, others=[], other=40)  # not used without other windows
def test_windows_and_strides_either_work_in_the_strip_or_are_refused(size, window, stride, others, other):
    params = OcclusionParams(window=window, stride=stride, other_windows=others, other_stride=other)
    fits = max([window, *others]) <= size and stride < size and (not others or other < size)
    if not fits:
        with pytest.raises(UserError, match=r"^\w+(\.\d)? is \d+; it should be (at most|below) the image size = "):
            params.check_fits(size)
        return
    params.check_fits(size)
    images = image_set(2, size=size)
    found = [
        examine.examine(network(size), images.images[row], row, params, name="", box=images.boxes[row])
        for row in (0, 1)
    ]
    gaps = {f"window {found[0].window} x {found[0].window}"} if found[0].main.never_hidden else set()
    gaps |= {f"window {N} x {N}" for N, one in found[0].maps.items() if one.never_hidden}
    assert len(params.gaps(size)) == len(gaps) and all(any(gap in said for said in params.gaps(size)) for gap in gaps)
    frames = Image.open(io.BytesIO(strip.sliding_strip(found, frames=3)))
    assert frames.n_frames <= 3


@pytest.mark.parametrize(("window", "stride", "other_stride"), [(7, 7, 7), (1, 1, 5)])
def test_the_figures_of_the_coarsest_maps_are_drawn(window, stride, other_stride):
    images = image_set(1, size=8)
    params = OcclusionParams(window=window, stride=stride, other_windows=[3], other_stride=other_stride)
    params.check_fits(8)
    found = examine.examine(network(8), images.images[0], 0, params, name="", box=images.boxes[0])
    panels.windows_chart([found]).savefig(io.BytesIO(), format="png", dpi=20)
    panels.occlusion_panel(found).savefig(io.BytesIO(), format="png", dpi=20)


def test_the_strip_shows_a_single_value_and_a_coarse_map_at_their_places():
    """A map of one window centre fills its picture; with several, each pixel has the last centre's value before it."""
    images = image_set(1, size=12)
    for stride in (12, 5):
        params = OcclusionParams(window=3, stride=stride, other_windows=[])
        found = examine.examine(network(12), images.images[0], 0, params, name="")
        confidence = found.main.confidence
        confidence[...] = np.linspace(0, 1, confidence.size).reshape(confidence.shape)
        animation = Image.open(io.BytesIO(strip.sliding_strip([found], frames=1)))
        picture = np.asarray(animation.convert("RGB"), int)[strip.HEADER : -strip.FOOTER]
        zoom = 4
        lower = picture[12 * zoom + strip.GAP :][: 12 * zoom, : 12 * zoom][::zoom, ::zoom]
        blocks = np.arange(12) // stride
        for block in np.ndindex(confidence.shape):
            place = np.ix_(blocks == block[0], blocks == block[1])
            assert np.ptp(lower[place].reshape(-1, 3), axis=0).max() == 0
        if stride == 5:
            assert np.abs(lower[0, 0] - lower[11, 11]).sum() > 200
