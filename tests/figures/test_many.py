"""With many classes, images or variants a picture shows what can be read, and says of how many."""

import io

import numpy as np
import pytest
from PIL import Image

from graybox.figures import mistakes, panels, strip
from graybox.mistakes import confusions
from graybox.occlusion.confidence import OcclusionMap


class Occluded:
    """What the figures of many images need of an experiment."""

    def __init__(self, number: int, size: int, stride: int) -> None:
        random = np.random.default_rng(number)
        centres = np.arange(0, size, stride)
        confidence = random.random((len(centres), len(centres)), np.float32)
        self.main = OcclusionMap(confidence, np.zeros(confidence.shape, int), centres, centres,
                                 np.array([0.25, 0.75], np.float32), 1, 5)  # fmt: skip
        self.maps, self.window = {5: self.main}, 5
        self.image = random.integers(0, 256, (size, size, 3), np.uint8)
        self.shown, self.box = np.full((size, size, 3), 0.5, np.float32), np.full(4, np.nan)
        self.class_names = ("cat", f"dog {number}")


@pytest.fixture
def matrix() -> np.ndarray:
    """Of 200 classes, 50 images each; 190 and 17 are confused with each other, 3 with many others."""
    found = np.diag(np.full(200, 50))
    found[[190, 17], [17, 190]] = 20, 25
    found[3, 100:140] = 1
    return found


def test_of_many_classes_the_confusion_matrix_shows_those_of_the_most_confused_pairs(matrix):
    labels = confusions.shown_classes(matrix)
    assert len(labels) == 40 and {3, 17, 190} <= set(labels) and (np.diff(labels) > 0).all()
    names = [f"class {label}" for label in range(200)]
    shown = confusions.shown_matrix(matrix, names)
    assert shown.loc["class 190", "class 17"] == 20 and shown.loc["class 17", "class 190"] == 25
    assert sorted(shown.index) == sorted(names[label] for label in labels)
    # With the others, no image is lost.
    np.testing.assert_array_equal(shown.sum(axis=1), matrix.sum(axis=1)[[names.index(name) for name in shown.index]])
    assert shown.columns[-1] == "160 other classes" and shown.shape == (40, 41)
    assert confusions.shown_matrix(matrix[:40, :40], names[:40]).shape == (40, 40)


def test_its_picture_has_a_bounded_size_and_says_of_how_many_classes(matrix):
    figure = mistakes.confusion_matrix(matrix, ["a long name of a class, longer than a title holds"] * 200)
    assert "40 of 200 classes" in figure.get_suptitle()
    assert max(figure.get_size_inches()) < 11  # a page
    assert max(len(label.get_text()) for label in figure.axes[0].get_xticklabels()) <= 22


@pytest.mark.parametrize(("classes", "name"), [(10, "cat"), (33, "a name"), (200, "a long name of a class")])
def test_no_empty_space_lies_below_its_title(matrix, classes, name):
    figure = mistakes.confusion_matrix(matrix[:classes, :classes], [name] * classes)
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    gap = (title.y0 - figure.axes[0].get_window_extent().y1) / figure.dpi
    assert 0 <= gap < 0.25  # inches


def test_the_table_for_dvcs_page_grows_with_neither_images_nor_classes_and_holds_no_tag(matrix):
    names = ["</script><b>", *(f"class {label}" for label in range(1, 200))]
    matrix[0, 190] = 40
    table = confusions.confusion_counts(1000 * matrix, names)
    assert len(table) < 40 * 41
    assert not table.astype(str).apply(lambda column: column.str.contains("</")).any(axis=None)
    assert table["true class"].str.contains("script").any()
    shown = list(confusions.shown_matrix(matrix, names).columns)
    assert [name.replace("\u2060", "") for name in table["predicted class"].unique()] == shown  # also their order
    own = table[table["true class"] == "class 17"].set_index("predicted class")["images"]
    assert own.to_dict() == {"class 17": 50_000, "class 190": 25_000}


@pytest.mark.parametrize(("count", "size", "stride"), [(10, 48, 1), (3, 1024, 64), (40, 64, 16), (2, 32, 32)])
def test_the_strip_is_as_wide_as_a_page_whatever_the_images(count, size, stride):
    found = [Occluded(number, size, stride) for number in range(count)]
    with Image.open(io.BytesIO(strip.sliding_strip(found, frames=4))) as picture:
        assert 60 * min(count, 12) < picture.width <= strip.WIDTH
        assert picture.n_frames == min(4, len(found[0].main.rows) ** 2)
        picture.seek(picture.n_frames - 1)
        last = np.asarray(picture.convert("RGB"))[strip.HEADER : -strip.FOOTER]
    # The map's colours are its values', also where the picture is smaller than the image.
    side = last.shape[0] // 2 - strip.GAP
    step = side / len(found[0].main.rows)
    value = found[0].main.confidence[0, 0]
    from matplotlib import colormaps

    wanted = np.array(colormaps["viridis"](value, bytes=True)[:3], int)
    middle = last[side + strip.GAP + int(step / 2), int(step / 2)].astype(int)
    assert np.abs(middle - wanted).max() < 40  # 256 colours for all


def test_classes_that_are_confused_with_each_other_are_neighbours_in_the_confusion_matrix(matrix):
    some = [3, 190, 50, 17, 60]
    order = confusions.clustered(matrix[np.ix_(some, some)])
    assert sorted(order) == list(range(5))
    assert abs(order.index(some.index(190)) - order.index(some.index(17))) == 1
    assert sorted(confusions.clustered(np.diag(np.full(4, 7)))) == list(range(4))  # without a mistake
    figure = mistakes.confusion_matrix(matrix, [f"class {label}" for label in range(200)])
    rows, columns = ([label.get_text() for label in labels] for labels in
                     (figure.axes[0].get_yticklabels(), figure.axes[0].get_xticklabels()))  # fmt: skip
    assert rows == columns[:-1] and columns[-1].startswith("160 other")
    assert abs(rows.index("class 190") - rows.index("class 17")) == 1


def test_the_colours_of_the_confusion_matrix_show_the_mistakes_alone():
    matrix = np.array([[90, 10, 0], [0, 100, 0], [30, 0, 70]])
    wrong, right = mistakes.confusion_matrix(matrix, ["a", "b", "c"]).axes[0].collections
    shares = wrong.get_array().reshape(3, 3)
    np.testing.assert_array_equal(np.ma.getmaskarray(shares), np.eye(3, dtype=bool))
    np.testing.assert_allclose(shares.filled(0), [[0, 0.1, 0], [0, 0, 0], [0.3, 0, 0]])
    assert wrong.get_clim() == (0, 0.3)
    np.testing.assert_array_equal(np.ma.getmaskarray(right.get_array()).reshape(3, 3), ~np.eye(3, dtype=bool))


def test_of_many_images_the_chart_of_windows_shows_some_and_says_of_how_many():
    figure = panels.windows_chart([Occluded(number, 16, 4) for number in range(30)])
    assert "10 of 30 images" in figure.get_suptitle()
    assert max(figure.get_size_inches()) < 11  # a page
    assert "images" not in panels.windows_chart([Occluded(0, 16, 4)]).get_suptitle()
