"""Correspondence on features whose answer is known, distances against SciPy, and what cannot be measured."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import ttest_rel
from torch import nn

from graybox.data.images import ImageSet
from graybox.features import consistency, correspondence
from graybox.figures.correspondence import correspondence_chart
from graybox.network.cnn import CNN
from graybox.network.params import ModelParams
from tests.support.basics import image_set

SIZE, CLASSES, PER_CLASS = 32, 6, 8


def parted_objects(red: bool = True) -> ImageSet:
    """Noise with an object box anywhere in it, whose top left ninth is red: the part that planted features look for."""
    rng = np.random.default_rng(0)
    count = CLASSES * PER_CLASS
    images = rng.integers(56, 200, (count, SIZE, SIZE, 3), dtype=np.uint8)  # gray in the mean, as what hides them
    boxes = np.empty((count, 4), np.float32)
    for image, box in zip(images, boxes):
        width, height = rng.integers(15, 22, 2)
        x0, y0 = rng.integers(0, SIZE - width + 1), rng.integers(0, SIZE - height + 1)
        box[:] = x0, y0, x0 + width, y0 + height
        left, top, right, bottom = correspondence.part_box(box, 0, 0)
        if red:
            image[top:bottom, left:right] = 255, 0, 0
    names = tuple(f"class {label}" for label in range(CLASSES))
    return ImageSet(images, np.arange(count) % CLASSES, names, tuple(f"{row}.png" for row in range(count)), boxes)


def planted(strength: float):
    """40 features that tell how much red there is, each its own way, and 60 that answer to noise in every pixel."""
    generator = torch.Generator().manual_seed(0)
    ways = torch.randn(40, generator=generator)
    noise = torch.randn(3 * SIZE * SIZE, 60, generator=generator)

    def features(_: nn.Module, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        red = ((pixels[:, 0] > 0.9) & (pixels[:, 1] < 0.1)).float().mean((1, 2))
        return {"planted layer": torch.cat([strength * red[:, None] * ways, pixels.flatten(1) @ noise], dim=1)}

    return features


def measured(images: ImageSet, features, **options) -> correspondence.Correspondence:
    return correspondence.measure(None, images, images.labels, features=features, **options)


@pytest.fixture(scope="module")
def found() -> correspondence.Correspondence:
    return measured(parted_objects(), planted(100))


def test_a_planted_part_is_found_and_no_other(found):
    table = found.summary[found.summary["kind"] == "changed features"].set_index("region")
    part, others = table.loc["top left"], table.drop(["top left", consistency.ALL_PARTS])
    # 40 of 100 features change alike and 60 as coins fall: half of these differ.
    assert part["distance"] == pytest.approx(0.3, abs=0.03)
    assert part["difference_low"] > 0.2 and part["excess_low"] > 0.2
    assert (others["difference"] < part["difference"] / 3).all() and (others["excess"] < part["excess"] / 3).all()
    assert "more consistently" in found.sentence


def test_the_distance_over_all_features_praises_parts_that_nothing_looks_for(found):
    """Why the sentence rests on the other distance: here a part scores that leaves the 40 features alone."""
    table = found.summary[found.summary["kind"] == "all features"].set_index("region")
    assert table.loc["bottom right", "difference_low"] > 0
    assert table.loc["bottom right", "difference"] > 0.75 * table.loc["top left", "difference"]
    assert table.loc["bottom right", "changed"] < 0.7 < 0.9 < table.loc["top left", "changed"]


def test_features_that_look_for_no_part_show_no_difference():
    null = measured(parted_objects(red=False), planted(0))
    table = null.summary[null.summary["region"] == consistency.ALL_PARTS]
    assert (table["difference_low"] < 0).all() and (table["difference_high"] > 0).all()
    assert "o difference" in null.sentence and "more consistently" not in null.sentence


def test_features_that_only_know_their_place_are_no_correspondence():
    """Objects that lie alike, of noise, and the brightness of each spot: the same part is but the same place."""
    images = parted_objects()
    rng = np.random.default_rng(1)
    corners = 5 + rng.integers(-1, 2, (len(images), 2))
    boxes = np.concatenate([corners, corners + 21], axis=1).astype(np.float32)
    noise = rng.integers(0, 256, images.images.shape, dtype=np.uint8)

    def spots(_, pixels):
        return {"spots": nn.functional.avg_pool2d(pixels, 4).flatten(1)}

    placed = measured(replace(images, images=noise, boxes=boxes), spots, random_draws=20)
    table = placed.summary[placed.summary["region"] == consistency.ALL_PARTS]
    assert (table["difference_low"] > 0.02).all()
    assert (table["excess"].abs() < table["difference"] / 3).all()
    assert "same place in the image" in placed.sentence and "more consistently" not in placed.sentence


def test_what_is_hidden_is_the_part_and_random_regions_of_the_same_size_in_the_same_box():
    images, seen = parted_objects(), []

    def watch(_, pixels):
        seen.append(pixels.permute(0, 2, 3, 1).numpy())
        return {"pixels": pixels.flatten(1)}

    measured(images, watch, images_per_class=3, random_draws=40, gray=1.0)
    originals = {image.tobytes(): row for row, image in enumerate(images.images)}
    rows = [originals[np.rint(pictures[0] * 255).astype(np.uint8).tobytes()] for pictures in seen]
    assert len(rows) == 2 * 3 * CLASSES and len(set(rows)) == 3 * CLASSES
    for turn in range(0, len(rows), 6):  # each class: three images with their own boxes, then with one another's
        own, exchanged = rows[turn : turn + 3], rows[turn + 3 : turn + 6]
        assert own == exchanged and len(set(images.labels[own])) == 1
        for row, owner, pictures in zip(own + exchanged, own + [own[2], *own[:2]], seen[turn : turn + 6]):
            assert (pictures[0] == images.images[row] / np.float32(255)).all()
            check_regions((pictures[1:] != pictures[0]).any(-1), pictures[1:], *images.boxes[owner].astype(int))


def check_regions(hidden: np.ndarray, pictures: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> None:
    spots = []
    for mask, picture in zip(hidden, pictures, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        spots.append((rows[0], columns[0]))
        assert mask.sum() == len(rows) * len(columns) and (picture[mask] == 1).all()
        assert (len(rows), len(columns)) == (round((y1 - y0) / 3), round((x1 - x0) / 3))
        assert y0 <= rows[0] and rows[-1] < y1 and x0 <= columns[0] and columns[-1] < x1
    assert spots[0] == (y0, x0) and len(set(spots[:9])) == 9 and len(spots[9:]) == 40 and len(set(spots[9:])) > 15
    assert hidden[:9].any(0).sum() > 0.8 * (x1 - x0) * (y1 - y0)  # thirds, rounded to whole pixels


def test_distances_are_scipys_and_count_only_what_changes():
    signs = np.array([[1, 0, -1, 0], [1, 0, 1, 0]])
    assert consistency.distances(signs) == (0.25, 0.5, 0.5)
    signs = np.random.default_rng(0).integers(-1, 2, (5, 50))
    signs[:, 30:] = 0
    every, changed, share = consistency.distances(signs)
    assert every == pytest.approx(pdist(signs, "hamming").mean())
    either = [np.any(signs[[i, j]], axis=0).sum() for i in range(5) for j in range(i)]
    differ = [(signs[i] != signs[j]).sum() for i in range(5) for j in range(i)]
    assert changed == pytest.approx(np.mean(np.divide(differ, either)))
    assert share == (signs != 0).mean()
    every, changed, share = consistency.distances(np.zeros((3, 4), int))
    assert every == share == 0 and np.isnan(changed)


def test_rounding_is_no_change(found):
    plain = planted(100)

    def shaky(model, pixels):
        values = plain(model, pixels)["planted layer"]
        still = torch.ones(len(values), 50)
        return {"planted layer": torch.cat([values, still * (1 + 1e-7 * torch.randn(still.shape))], dim=1)}

    measures = measured(parted_objects(), shaky).measures
    np.testing.assert_allclose(measures["distance_of_changed"], found.measures["distance_of_changed"])
    np.testing.assert_allclose(measures["distance"], found.measures["distance"] * 100 / 150)


def test_the_interval_is_that_of_a_paired_test_over_the_classes(found):
    measures = found.measures
    for region in ("top left", "centre"):
        own = measures[measures["boxes"] == "own"]
        by_class = [own[own["region"] == name].groupby("class")["distance"].mean()
                    for name in (region, consistency.RANDOM)]  # fmt: skip
        theirs = ttest_rel(by_class[1], by_class[0]).confidence_interval(0.95)
        row = found.summary[(found.summary["region"] == region) & (found.summary["kind"] == "all features")].iloc[0]
        assert (row["difference_low"], row["difference_high"]) == pytest.approx((theirs.low, theirs.high))
        assert row["difference"] == pytest.approx(row["random"] - row["distance"]) and row["classes"] == CLASSES
        assert row["excess"] == pytest.approx(row["difference"] - row["exchanged"])


def test_the_same_seed_gives_the_same_and_a_class_does_not_depend_on_another(found):
    images = parted_objects()
    pd.testing.assert_frame_equal(found.measures, measured(images, planted(100)).measures)
    assert not found.measures.equals(measured(images, planted(100), seed=1).measures)
    some = correspondence.measure(None, images, np.where(images.labels == 2, 0, images.labels), features=planted(100))
    rest = found.measures[found.measures["class"] != "class 2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(some.measures, rest)


def test_without_boxes_it_cannot_be_measured_and_says_so(tmp_path):
    images = parted_objects()
    bare = measured(replace(images, boxes=np.full_like(images.boxes, np.nan)), planted(100))
    assert "cannot be measured without object boxes" in bare.sentence
    assert bare.measures.empty and bare.summary.empty
    assert list(bare.summary) == list(measured(images, planted(100)).summary)
    correspondence_chart(bare.summary).savefig(tmp_path / "empty.png")
    outside = images.boxes + np.float32([SIZE, 0, SIZE, 0])
    assert "no class has 5 correctly" in measured(replace(images, boxes=outside), planted(100)).sentence


def test_only_correct_images_with_a_box_in_the_image_are_used():
    images = parted_objects()
    boxes, predicted = images.boxes.copy(), images.labels.copy()
    boxes[3] = np.nan
    boxes[4, 2] = SIZE + 1
    boxes[5, 2] = boxes[5, 0] + 2
    predicted[6] += 1
    images = replace(images, boxes=boxes)
    rows = correspondence.correct_with_box(images, predicted)
    assert rows.tolist() == [row for row in range(len(images)) if row not in (3, 4, 5, 6)]


def test_a_single_class_gives_no_interval_and_no_claim():
    images = parted_objects()
    one = np.where(images.labels == 0, 0, -1)
    single = correspondence.measure(None, images, one, features=planted(100))
    assert single.summary[["difference_low", "excess_high"]].isna().all(axis=None)
    assert "consistently" not in single.sentence and "Too few classes" in single.sentence


@pytest.mark.parametrize("fc_layers", [1, 2, 3])
def test_the_layers_are_the_last_conv_and_the_last_hidden_fully_connected_one(params, fc_layers):
    torch.manual_seed(0)
    changes = {"conv_layers": 2, "filters": 4, "fc_layers": fc_layers, "fc_units": 7, "dropout": 0.5}
    model = CNN(ModelParams(**params.model.model_dump() | changes), 16, ("a", "b", "c")).eval()
    pixels = torch.rand(2, 3, 16, 16)
    layers = correspondence.layer_features(model, pixels)
    with torch.no_grad():
        maps = model.features((pixels - 0.5) / 0.25)
        torch.testing.assert_close(layers["last conv layer"], maps.flatten(1))
        torch.testing.assert_close(layers["last conv layer's map totals"], maps.sum((2, 3)))
        if fc_layers == 1:
            torch.testing.assert_close(layers["class scores"], model(pixels))
        else:
            assert layers["last hidden fc layer"].shape == (2, 7) and layers["last hidden fc layer"].min() >= 0
            torch.testing.assert_close(model.head[-1](layers["last hidden fc layer"]), model(pixels))
    assert len(layers) == 3


def test_a_real_network_is_measured_from_end_to_end(params, tmp_path):
    torch.manual_seed(0)
    images = image_set(40, size=16)
    model = CNN(ModelParams(**params.model.model_dump() | {"conv_layers": 2, "filters": 4}), 16, images.class_names)
    found = correspondence.measure(model.eval(), images, images.labels, random_draws=4)
    assert len(found.measures) == 4 * 2 * (9 + 4) * 3 and len(found.summary) == 3 * 2 * 10
    assert found.summary["distance"].between(0, 1).all()
    correspondence_chart(found.summary).savefig(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 0
