"""Deletion and insertion curves: known answers, an independent implementation, and what cannot help a map."""

import numpy as np
import pytest
import torch
from torch import nn

from graybox.occlusion import faithfulness, window_words, windows
from graybox.occlusion.confidence import OcclusionMap
from graybox.occlusion.faithfulness import Curves, area, by_drop, curves
from graybox.occlusion.windows import Look

SIZE, SQUARE = 16, np.s_[4:8, 8:12]


class SquareIsBright(nn.Module):
    """The probability of class 1 is the brightness of one square, kept within 0.01 and 0.99."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images[:, :, SQUARE[0], SQUARE[1]].mean((1, 2, 3)).clamp(0.01, 0.99)
        return torch.stack([1 - bright, bright], 1).log()


@pytest.fixture
def image() -> np.ndarray:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[SQUARE] = 255
    return picture


BLACK = np.zeros((SIZE, SIZE, 3), np.float32)


def square(value: float) -> np.ndarray:
    importance = np.zeros((SIZE, SIZE))
    importance[SQUARE] = value
    return importance


def test_the_square_first_the_square_last(image):
    # 16 of 256 pixels: exactly one of 16 steps.
    found = curves(SquareIsBright(), image, 1, np.array([square(1), square(-1)]), BLACK, steps=16)
    assert found.deletion[0] == pytest.approx([0.99] + [0.01] * 16)
    assert found.insertion[0] == pytest.approx([0.01] + [0.99] * 16)
    assert found.deletion[1] == pytest.approx([0.99] * 16 + [0.01])
    assert found.insertion[1] == pytest.approx([0.01] * 16 + [0.99])
    assert area(found.deletion[0]) == pytest.approx(0.01 + 0.98 / 32)
    assert found.faithfulness == pytest.approx([0.98 - 0.98 / 16, -(0.98 - 0.98 / 16)])


def test_equal_to_one_pixel_after_another(image):
    random = np.random.default_rng(3)
    picture, other = random.integers(0, 256, image.shape, np.uint8), random.random(image.shape, np.float32)
    importance, steps, model = random.random((2, SIZE, SIZE)), 7, SquareIsBright()
    found = curves(model, picture, 1, importance, other, steps)
    others = np.rint(other * 255).astype(np.uint8)
    for number, values in enumerate(importance):
        places = sorted(np.ndindex(SIZE, SIZE), key=lambda place: -values[place])
        deleted, inserted = picture.copy(), others.copy()
        done = 0
        for step in range(steps + 1):
            for place in places[done : round(SIZE * SIZE * step / steps)]:
                deleted[place], inserted[place] = others[place], picture[place]
            done = round(SIZE * SIZE * step / steps)
            for curve, changed in ((found.deletion, deleted), (found.insertion, inserted)):
                pixels = torch.from_numpy(changed).permute(2, 0, 1)[None].float() / 255
                assert curve[number, step] == pytest.approx(float(model(pixels).softmax(1)[0, 1]), abs=1e-6)


def test_equal_to_quantus(image):
    quantus = pytest.importorskip("quantus", reason="quantus is not installed, which is compared with")
    random = np.random.default_rng(4)
    picture, values = random.integers(0, 256, image.shape, np.uint8), random.random((SIZE, SIZE))
    found = curves(SquareIsBright(), picture, 1, values[None], BLACK, steps=16)
    flipping = quantus.PixelFlipping(
        features_in_step=16, perturb_baseline="black", abs=False, normalise=False, disable_warnings=True
    )
    pixels = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
    theirs = flipping(
        SquareIsBright().eval(), pixels, np.array([1]), np.float32(values)[None, None], device="cpu", softmax=True
    )[0]
    # It counts each channel of a pixel as a feature, so that three of its steps replace 16 pixels.
    assert found.deletion[0, 1:] == pytest.approx(np.array(theirs[2::3]), abs=1e-6)


def test_a_map_without_order_is_not_read_from_the_top():
    order = faithfulness.orders(np.zeros((2, SIZE, SIZE)))
    assert (order[0] == order[1]).all() and sorted(order[0]) == list(range(SIZE * SIZE))
    assert abs(np.corrcoef(order[0], np.arange(SIZE * SIZE))[0, 1]) < 0.25


def test_a_maps_drop_lies_at_its_window_centres_and_between_them():
    drop = np.array([[0.0, 0.4], [0.2, 0.6]], np.float32)
    found = OcclusionMap(
        confidence=0.9 - drop, predicted=np.zeros((2, 2), np.int64), rows=np.array([1, 5]), columns=np.array([0, 4]),
        unoccluded=np.array([0.9, 0.1], np.float32), label=0, window=3,
    )  # fmt: skip
    pixels = by_drop(found, 7, 6)
    assert pixels.shape == (7, 6)
    assert pixels[np.ix_([1, 5], [0, 4])] == pytest.approx(drop)
    assert pixels[3, 2] == pytest.approx(0.3) and pixels[0, 0] == pytest.approx(0.0)
    assert pixels[6, 5] == pytest.approx(0.6)


def test_windows_are_compared_image_by_image(image):
    looks = [
        windows.look(SquareIsBright(), np.roll(image, shift, 1), 1, [(5, "gray"), (1, "gray"), (15, "gray")], stride=1)
        for shift in (0, 0, 0, 1)
    ]
    table = windows.compare(looks).set_index(["window", "fill"])
    # A window of the square's size finds it; random order and the centre know nothing of it.
    assert table.loc[(5, "gray"), "faithfulness"] > table.loc[(0, "random"), "faithfulness"] + 0.2
    assert table.loc[(5, "gray"), "faithfulness"] > table.loc[(0, "centre"), "faithfulness"] + 0.1
    assert (table.loc[(5, "gray"), ["difference", "difference_low", "difference_high"]] == 0).all()
    for name, row in table.iterrows():
        assert row["faithfulness"] == pytest.approx(row["insertion"] - row["deletion"]), name
        assert row["difference"] == pytest.approx(row["faithfulness"] - table.loc[(5, "gray"), "faithfulness"])
    assert table["flat"].notna().to_list() == [True, True, True, False, False]
    curve = windows.mean_curves(looks).set_index(["window", "fill", "replaced_by"])
    for (window, fill), row in table.iterrows():
        areas = [area(curve.loc[(window, fill, other), "deletion"].to_numpy()) for other in windows.REPLACED_BY]
        assert np.mean(areas) == pytest.approx(row["deletion"])


def test_a_map_with_more_window_centres_is_read_at_those_of_the_others():
    rows = np.arange(8)
    drop = np.where((rows[:, None] + rows) % 2, 0.9, 0.0) + rows[:, None] / 100  # a detail at every second pixel
    found = OcclusionMap(
        confidence=np.float32(1 - drop), predicted=np.zeros((8, 8), np.int64), rows=rows, columns=rows,
        unoccluded=np.array([1, 0], np.float32), label=0, window=3,
    )  # fmt: skip
    assert by_drop(found, 8, 8) == pytest.approx(drop, abs=1e-6)
    assert by_drop(found, 8, 8, every=2)[:7] == pytest.approx(np.tile(rows[:7, None] / 100, 8), abs=1e-6)


def looks_of(faithful: dict[tuple[int, str], list[float]], under_mean: dict[str, float] | None = None) -> list[Look]:
    """Images whose maps have these areas between insertion and deletion, and more for a fill under its own colour."""
    methods = (*faithful, (0, "random"), (0, "centre"))
    number = len(next(iter(faithful.values())))
    found = []
    for place in range(number):
        values = [own[place] for own in faithful.values()] + [0.01 * (-1) ** place, 0.3]
        by_fill = {}
        for other in windows.REPLACED_BY:
            more = [(under_mean or {}).get(fill, 0.0) * (other == "mean") for _, fill in methods]
            insertion = np.tile(np.array(values)[:, None] + np.array(more)[:, None], 5)
            by_fill[other] = Curves(np.zeros_like(insertion), insertion)
        found.append(Look(methods, by_fill, (False,) * len(faithful), (0.5,) * len(faithful)))
    return found


MAIN = [0.5, 0.4, 0.6, 0.5, 0.7, 0.3, 0.5, 0.6]


def plus(change: float, spread: float) -> list[float]:
    return [value + change + spread * (-1) ** place for place, value in enumerate(MAIN)]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({5: (0.1, 0.02)}, "The figures favour N = 5 over N = 11, the configured one: +0.10 (95% CI +0.08 to +0.12)."),
        ({5: (-0.1, 0.02)}, "The figures favour N = 11, the configured one: the maps of N = 5 are less faithful."),
        (
            {5: (-0.1, 0.02), 15: (0.01, 0.1)},
            "The figures favour no other N: no difference is found between N = 11 and N = 15 (corrected for 4 "
            "comparisons); N = 5 is worse.",
        ),
        (
            {5: (0.01, 0.1), 15: (0.01, 0.1), 21: (-0.01, 0.1)},
            "The figures favour no other N: no difference is found between N = 11 and N = 5, 15 and 21 (corrected for "
            "5 comparisons).",
        ),
        # Alone it would be told apart (p = 0.04); of five differences it is not.
        (
            {5: (0.043, 0.045), 15: (0.0, 0.1), 21: (0.0, 0.1)},
            "The figures favour no other N: no difference is found between N = 11 and N = 5, 15 and 21 (corrected for "
            "5 comparisons).",
        ),
        ({}, ""),
    ],
)
def test_the_n_that_the_figures_favour_is_named_only_where_it_is_told_apart(others, said):
    kinds = {(11, "gray"): MAIN} | {(side, "gray"): plus(*how) for side, how in others.items()}
    assert window_words.which_window(windows.compare(looks_of(kinds))) == said


def test_few_images_favour_nothing():
    kinds = {(11, "gray"): MAIN[:4], (5, "gray"): [value + 0.2 for value in MAIN[:4]]}
    assert "4 images are too few" in window_words.which_window(windows.compare(looks_of(kinds)))
    alone = windows.compare(looks_of({(11, "gray"): MAIN[:1], (5, "gray"): MAIN[:1]}))
    assert window_words.which_window(alone).endswith("1 image is too few.")
    assert "nan" not in window_words.faithful(alone)


def test_the_maps_are_said_to_be_better_than_what_they_are_better_than():
    better = window_words.faithful(windows.compare(looks_of({(11, "gray"): MAIN})))
    assert better == (
        "Faithfulness of the maps with N = 11 is 0.51 (95% CI 0.41 to 0.62); random order has 0.00 and the order from "
        "the image's centre has 0.30. So the maps are better than random order and the order from the image's centre."
    )
    level = window_words.faithful(windows.compare(looks_of({(11, "gray"): [value - 0.2 for value in MAIN]})))
    assert level.endswith(
        "are better than random order; they are not found to differ from the order from the image's centre."
    )
    worse = window_words.faithful(windows.compare(looks_of({(11, "gray"): [value - 0.5 for value in MAIN]})))
    assert worse.endswith(
        "are worse than the order from the image's centre; they are not found to differ from random order."
    )


@pytest.mark.parametrize(("sign", "word"), [(-1, "more"), (1, "less")])
def test_a_difference_that_the_correction_takes_away_is_said_to_be_none(sign, word):
    table = windows.compare(looks_of({(11, "gray"): MAIN}))
    ends = [0.25 * sign, *sorted((0.45 * sign, 0.05 * sign)), 0.07]
    columns = ["difference", "difference_low", "difference_high", "p_value"]
    table.loc[table["fill"] == "random", columns] = ends
    assert (
        f"have 0.25 {word} than random order (95% CI 0.05 to 0.45), which does not count as a difference after "
        "correction for 2 comparisons (p = 0.070)" in window_words.faithful(table)
    )


def test_an_n_that_is_surely_better_is_named_though_another_seems_more_so():
    kinds = {(11, "gray"): MAIN, (5, "gray"): plus(0.05, 0.01), (15, "gray"): plus(0.06, 0.3)}
    assert "favour N = 5 over N = 11" in window_words.which_window(windows.compare(looks_of(kinds)))


def test_a_fill_gains_nothing_from_what_it_foretells():
    kinds = {(11, "gray"): MAIN, (11, "mean"): plus(0.0, 0.02)}
    table = windows.compare(looks_of(kinds, under_mean={"mean": 0.3}))
    assert table["difference"][1] == pytest.approx(0, abs=1e-9)
    assert window_words.which_fill(table).startswith(
        "No difference is found between maps with gray in the window and with the image's mean colour"
    )
    better = windows.compare(looks_of({(11, "gray"): MAIN, (11, "mean"): plus(0.1, 0.02)}))
    assert window_words.which_fill(better) == (
        "Maps with the image's mean colour in the window are more faithful: with the image's mean colour faithfulness "
        "changes by +0.10 (95% CI +0.08 to +0.12)."
    )
    worse = windows.compare(looks_of({(11, "gray"): MAIN, (11, "mean"): plus(-0.1, 0.02)}))
    assert window_words.which_fill(worse).startswith("Maps with gray in the window are more faithful")
    assert window_words.which_fill(windows.compare(looks_of({(11, "gray"): MAIN}))) == ""
