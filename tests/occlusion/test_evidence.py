"""What is read off confidence maps that are drawn by hand."""

import math

import numpy as np
import pytest

from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.evidence import FLAT, map_evidence, summarize


def drawn(drop: np.ndarray, stride: int = 1) -> OcclusionMap:
    """A map with the given drop from a probability of 0.9."""
    height, width = drop.shape
    return OcclusionMap(
        confidence=(0.9 - drop).astype(np.float32),
        predicted=np.zeros(drop.shape, np.int64),
        rows=np.arange(height) * stride,
        columns=np.arange(width) * stride,
        unoccluded=np.array([0.9, 0.1], np.float32),
        label=0,
        window=3,
    )


def spot(row: int, column: int, size: int = 10) -> np.ndarray:
    drop = np.zeros((size, size))
    drop[row, column] = 0.6
    return drop


def test_a_drop_all_in_the_box_and_one_all_outside():
    inside = map_evidence(drawn(spot(3, 4)), [4, 2, 6, 4])
    assert inside.drop_in_box == pytest.approx(1, abs=1e-6) and inside.peak_in_box is True
    assert inside.box_share == 4 / 100 and inside.centre_in_box is False
    assert inside.largest_drop == pytest.approx(0.6) and not inside.flat
    outside = map_evidence(drawn(spot(9, 9)), [4, 2, 6, 6])
    assert outside.drop_in_box == pytest.approx(0, abs=1e-6) and outside.peak_in_box is False
    assert outside.centre_in_box is True


def test_an_even_drop_has_the_boxs_share_in_the_box_and_half_in_half_of_the_windows():
    even = map_evidence(drawn(np.full((10, 10), 0.25)), [0, 0, 5, 6])
    assert even.drop_in_box == pytest.approx(0.3) and even.box_share == 0.3
    assert even.concentration == pytest.approx(0.5, abs=0.011)


def test_concentration_is_the_smallest_share_that_holds_half():
    drop = np.zeros((10, 10))
    drop[0, :4] = 0.5, 0.2, 0.2, 0.2  # half of 1.1 needs the largest and one more
    assert map_evidence(drawn(drop), None).concentration == 2 / 100


def test_confidence_that_is_gained_does_not_cancel_a_drop():
    drop = spot(3, 4)
    drop[8:] = -0.5
    assert map_evidence(drawn(drop), [4, 2, 6, 4]).drop_in_box == pytest.approx(1, abs=1e-6)


def test_a_flat_map_is_judged_no_further():
    flat = map_evidence(drawn(spot(3, 4) / 0.6 * (FLAT - 0.001)), [4, 2, 6, 4])
    assert flat.flat and flat.largest_drop == pytest.approx(FLAT - 0.001, abs=1e-6)
    assert math.isnan(flat.drop_in_box) and math.isnan(flat.concentration) and flat.peak_in_box is None
    assert flat.box_share == 0.04
    assert map_evidence(drawn(np.full((4, 4), -0.3)), None).largest_drop == 0
    assert not map_evidence(drawn(spot(3, 4) / 0.6 * (FLAT + 0.001)), None).flat


@pytest.mark.parametrize("box", [None, np.full(4, np.nan)])
def test_without_a_box_its_figures_are_missing(box):
    found = map_evidence(drawn(spot(3, 4)), box)
    assert math.isnan(found.drop_in_box) and math.isnan(found.box_share)
    assert found.peak_in_box is None and found.centre_in_box is None
    assert found.concentration == 0.01


def test_a_stride_moves_the_centres_not_the_box():
    strided = map_evidence(drawn(spot(2, 1, 5), stride=4), [4, 8, 5, 9])
    assert strided.peak_in_box is True and strided.box_share == 1 / 25
    assert map_evidence(drawn(spot(2, 1, 5), stride=4), [5, 8, 8, 9]).peak_in_box is False


def test_several_maps_are_compared_with_the_centre_image_by_image():
    hit = map_evidence(drawn(spot(3, 4)), [4, 2, 6, 4])  # off the centre
    both = map_evidence(drawn(spot(5, 5)), [4, 4, 7, 7])
    miss = map_evidence(drawn(spot(0, 0)), [4, 4, 7, 7])
    flat = map_evidence(drawn(np.zeros((10, 10))), [4, 4, 7, 7])
    found = summarize([hit] * 6 + [both] * 3 + [miss] + [flat] * 2 + [map_evidence(drawn(spot(0, 0)), None)])
    assert (found.count, found.pointed, found.flat.value) == (13, 10, 2 / 13)
    assert (found.pointing.value, found.centre.value) == (0.9, 0.4)
    assert found.advantage.value == pytest.approx(0.5)
    assert found.advantage.low < 0.5 < found.advantage.high
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # six against one, two-sided
    assert found.pointing.low == pytest.approx(0.5958, abs=1e-4)  # Wilson's interval for 9 of 10
    assert found == summarize([hit] * 6 + [both] * 3 + [miss] + [flat] * 2 + [map_evidence(drawn(spot(0, 0)), None)])


def test_no_maps_or_none_with_a_box_leave_figures_missing():
    assert summarize([]).count == 0 and math.isnan(summarize([]).flat.value)
    found = summarize([map_evidence(drawn(spot(0, 0)), None)])
    assert found.pointed == 0 and math.isnan(found.p_value) and found.concentration == 0.01
