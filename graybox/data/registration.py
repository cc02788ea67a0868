"""Whether two pictures are the same photograph: lay one over the other, then compare their detail."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
from scipy.ndimage import gaussian_filter

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
MARGIN = 0.1  # share of the side that is left out at each edge, because a cropped copy lacks it
LARGEST_MOVE = 0.25  # of half the side
DETAIL = 2.0  # pixels: detail is what a Gaussian blur of this standard deviation takes away
BLOCKS = 5  # the compared part is cut into 5 x 5 blocks
NOISE = 3.0  # of 255: where the detail of both pictures has a smaller standard deviation, the block is flat
LEAST_BLOCKS = 8  # so many blocks must have detail


def thumbnails(pixels: np.ndarray, side: int) -> np.ndarray:
    """Gray pictures of another size, each pixel the mean of the area that it covers.

    Args:
        pixels: uint8 [N, H, H, 3], RGB.

    Returns:
        float32 [N, side, side], 0..255.
    """
    size = pixels.shape[1]
    edges, pixel = np.linspace(0, size, side + 1), np.arange(size)
    covered = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, None)
    weights = (covered * side / size).astype(np.float32)
    gray = pixels.astype(np.float32) @ LUMA
    means: np.ndarray = weights @ gray @ weights.T
    return means


def register(
    pictures: np.ndarray, others: np.ndarray, start: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretch and move each picture until it matches its other: Gauss-Newton steps, as Lucas & Kanade (1981).

    Differences in brightness and contrast are fitted too.

    Args:
        pictures, others: float32 [P, n, n].
        start: float32 [P, 4], the stretch and the move along x, then along y, to start from: the point x (-1 = left
            edge, 1 = right edge) of the result shows the picture's point x + stretch * x + move.

    Returns:
        The stretches and moves found, [P, 4], and the inner parts of the moved pictures and of the others, [P, m, m].
    """
    side = pictures.shape[1]
    edge = int(np.ceil(MARGIN * side))
    inner = slice(edge, side - edge)
    x = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1)[inner]
    targets = others[:, inner, inner]
    found = start.astype(np.float32)
    for _ in range(steps):
        to_x, slope_x = _sampling(found[:, :2], x, side)
        to_y, slope_y = _sampling(found[:, 2:], x, side)
        rows = to_y @ pictures
        moved = rows @ to_x.transpose(0, 2, 1)
        by_x = rows @ slope_x.transpose(0, 2, 1)
        by_y = slope_y @ pictures @ to_x.transpose(0, 2, 1)
        # others = contrast * (moved + change by the four numbers) + brightness: linear in six unknowns.
        columns = [moved, np.ones_like(moved), by_x * x, by_x, by_y * x[:, None], by_y]
        terms = np.stack(columns, axis=1).reshape(len(moved), 6, -1)
        squares = (terms @ terms.transpose(0, 2, 1)).astype(np.float64)
        products = (terms @ targets.reshape(len(moved), -1, 1)).astype(np.float64)
        # A little damping: a flat picture can't tell where it should go.
        squares += np.eye(6) * (1e-4 * np.trace(squares, axis1=1, axis2=2)[:, None, None] + 1e-3)
        solution = np.linalg.solve(squares, products)[..., 0]
        change = solution[:, 2:] / np.maximum(solution[:, :1], 0.2)
        found = np.clip(found + change, -LARGEST_MOVE, LARGEST_MOVE).astype(np.float32)
    (to_x, _), (to_y, _) = _sampling(found[:, :2], x, side), _sampling(found[:, 2:], x, side)
    return found, to_y @ pictures @ to_x.transpose(0, 2, 1), targets


def _sampling(stretch_and_move: np.ndarray, x: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [P, m, side] that interpolate a line of pixels at the moved points x, and those that give its slope."""
    stretch, move = stretch_and_move[:, :1], stretch_and_move[:, 1:]
    places = (x + stretch * x + move + 1) * (side / 2) - 0.5

    def weights(places: np.ndarray) -> np.ndarray:
        inside = np.clip(places, 0, side - 1)[..., None]
        nearness: np.ndarray = np.maximum(0, 1 - np.abs(inside - np.arange(side, dtype=np.float32)))
        return nearness

    return weights(places), (weights(places + 0.5) - weights(places - 0.5)) * np.float32(side / 2)


def compare_whole(pictures: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two measures for each pair of pictures, float [P] each, of two [P, m, n].

    Returns:
        Pearson's correlation, -1..1 (0 where one is flat), and the root mean square of the pixels' differences.
    """
    difference = np.sqrt(((pictures - others) ** 2).mean(axis=(1, 2)))
    a, b = (each - each.mean(axis=(1, 2), keepdims=True) for each in (pictures, others))
    scale = np.sqrt((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2))) + 1e-6
    correlation: np.ndarray = (a * b).sum(axis=(1, 2)) / scale
    return correlation, difference


def _detail(pictures: np.ndarray) -> np.ndarray:
    reach = int(3 * DETAIL)
    sides = ((0, 0), (reach, reach), (reach, reach))
    padded = np.pad(pictures, sides, "reflect", reflect_type="odd")  # a slope goes on: an edge is no detail
    blurred = gaussian_filter(padded, (0, DETAIL, DETAIL), truncate=3)
    detail: np.ndarray = pictures - blurred[:, reach:-reach, reach:-reach]
    return detail


def compare_detail(pictures: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How well registered pictures agree, block by block: pictures of similar things agree in their large forms, but
    only copies agree in their detail nearly everywhere.

    Args:
        pictures, others: float32 [P, m, m], 0..255.

    Returns:
        What three quarters of the blocks reach, float [P] each: a correlation of their detail of at least so much, and
        a root mean square of the pixels' differences of at most so much. Flat blocks don't count; where too few blocks
        have detail it is -1 and infinity.
    """
    details = [_detail(each) for each in (pictures, others)]
    edges = np.linspace(0, pictures.shape[1], BLOCKS + 1).round().astype(int)
    parts = [slice(*pair) for pair in pairwise(edges)]
    measures = []
    for block in product(parts, parts):
        a, b = (detail[:, *block] for detail in details)
        agreement, _ = compare_whole(a, b)
        _, difference = compare_whole(pictures[:, *block], others[:, *block])
        flat = np.maximum(a.std(axis=(1, 2)), b.std(axis=(1, 2))) < NOISE
        measures.append(np.where(flat, np.nan, [agreement, difference]))
    agreements, differences = np.stack(measures, axis=-1)
    enough = np.count_nonzero(~np.isnan(agreements), axis=1) >= LEAST_BLOCKS
    agreement, difference = np.full(len(enough), -1.0), np.full(len(enough), np.inf)
    agreement[enough] = np.nanquantile(agreements[enough], 0.25, axis=1)
    difference[enough] = np.nanquantile(differences[enough], 0.75, axis=1)
    return agreement, difference
