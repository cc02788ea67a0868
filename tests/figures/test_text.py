"""Names in figures are plain text, in fonts that have their characters; a missing character is said once."""

import importlib
import inspect
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

from graybox.figures import album, mistakes, panels, text
from graybox.occlusion.confidence import OcclusionMap
from tests.support.basics import ROOT, image_set

NAMES = ("$1", "$5", r"$\frac{$", "a_b^{c|*<&")
UNKNOWN = chr(0x10FFFD)  # for private use: no font has it


def drawn_functions() -> list:
    """Those of all subjects; `style` has their parts."""
    modules = [importlib.import_module(f"graybox.figures.{path.stem}") for path in
               (ROOT / "graybox/figures").glob("*.py") if path.stem not in ("__init__", "text", "style")]  # fmt: skip
    return [
        function
        for module in modules
        for function in vars(module).values()
        if inspect.isfunction(function) and inspect.signature(function).return_annotation == "Figure"
    ]


def test_every_function_that_draws_a_figure_writes_plain_text():
    assert len(drawn_functions()) >= 15
    for function in drawn_functions():
        assert getattr(function, "__wrapped__", None), f"{function.__name__} lacks the decorator plain"


def strange_figures() -> list[Figure]:
    images = image_set(8)
    images = images.__class__(images.images, images.labels, NAMES, images.files, images.boxes)
    predicted = (images.labels + 1) % 4
    wrong = pd.DataFrame(
        {
            "row": range(8), "true_class": [NAMES[label] for label in images.labels], "reason_title": "",
            "predicted_class": [NAMES[label] for label in predicted], "true_probability": 0.1,
            "predicted_probability": 0.9, "because": "the nearest are $2$ of $1, taken for $5",
        }
    )  # fmt: skip
    pairs = pd.DataFrame({"class_a": ["$1", "$5"], "class_b": ["$5", NAMES[2]]})
    centres = np.arange(16)
    found = OcclusionMap(np.ones((16, 16), np.float32), np.zeros((16, 16), int), centres, centres,
                         np.array([0.25, 0.75, 0, 0], np.float32), 1, 5)  # fmt: skip
    return [
        mistakes.mistakes_gallery(images, wrong),
        mistakes.reason_page(images, images, wrong, np.zeros((8, 3), int), "$1 and $2: ^{", 8),
        mistakes.confused_pairs_chart(images, predicted, np.ones(8), pairs),
        mistakes.confusion_matrix(np.eye(4, dtype=int), NAMES),
        panels.map_figure(found, images.images[0], NAMES),
    ]


def test_names_with_signs_of_formulas_are_drawn_as_they_are():
    for figure in strange_figures():
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        strange = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert strange and not any(text.get_parse_math() for text in strange)


def test_the_users_settings_stay_and_their_formulas_too():
    with rc_context({"font.family": ["serif"]}):
        before = dict(rcParams)
        figure = strange_figures()[-1]
        assert dict(rcParams) == before
        assert figure.axes[0]._left_title.get_fontfamily() == ["serif"]
        assert figure.text(0, 0, "$x^2$").get_parse_math()


def box_font(path: Path, family: str, characters: str) -> None:
    """A font in which each of these characters is a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), [f"c{number}" for number in range(len(characters))]
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", *names])
    font.setupCharacterMap(dict(zip(map(ord, characters), names)))
    font.setupGlyf({name: square for name in (".notdef", *names)})
    font.setupHorizontalMetrics({name: (1000, 0) for name in (".notdef", *names)})
    font.setupHorizontalHeader(ascent=1000, descent=-100)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install fonts for one test, and no others but matplotlib's own."""
    ours = [entry for entry in font_manager.fontManager.ttflist if "matplotlib" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", ours)

    def install(**fonts: str) -> None:
        for family, characters in fonts.items():
            box_font(tmp_path / f"{family}.ttf", family, characters)
        files = list(map(str, tmp_path.glob("*.ttf")))
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: files)
        font_manager.fontManager._findfont_cached.cache_clear()
        text.fonts_with.cache_clear()

    yield install
    text.fonts_with.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def ink(figure: Figure) -> int:
    """How many pixels are black."""
    figure.canvas.draw()
    return int((np.asarray(figure.canvas.buffer_rgba())[..., :3].max(axis=2) < 40).sum())


def titled(title: str) -> Figure:
    figure = Figure(figsize=(2, 1), dpi=100)
    figure.text(0.1, 0.4, title, fontsize=20)
    return figure


def test_a_character_is_drawn_in_an_installed_font_that_has_it(installed):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    installed(LatinOnly="abc", Most="猫犬鳥", Thai="แมว", Few="猫")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = text.plain(titled)("犬猫ม")
        FigureCanvasAgg(figure)
        assert ink(figure) >= 3 * 25**2  # three squares of 20 points, 27 pixels
    assert figure.texts[0].get_fontfamily()[-2:] == ["Most", "Thai"]
    assert text.plain(titled)("a cat… Ångström").texts[0].get_fontfamily() == rcParams["font.family"]


def test_what_no_font_has_is_said_once_and_drawn_as_a_box(installed):
    installed(Some="猫")
    names = ["猫", f"{UNKNOWN}犬", "dog"]
    with pytest.warns(text.UndrawableWarning) as caught:
        figure = mistakes.confusion_matrix(np.eye(3, dtype=int), names)
    assert len(caught) == 1 and set(caught[0].message.characters) == {UNKNOWN, "犬"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["猫", "□□", "dog"]


def two_figures(root: Path) -> album.Drawn:
    for number in range(2):
        yield f"{number}.png", text.plain(titled)(f"{UNKNOWN} taken for a dog")


def third_figure(root: Path) -> album.Drawn:
    yield "2.png", text.plain(titled)(f"a dog taken for {UNKNOWN}")


def test_the_album_names_the_classes_that_no_font_has(tmp_path, monkeypatch):
    folder = tmp_path / "data/prepared"
    folder.mkdir(parents=True)
    monkeypatch.setattr(album, "SUBJECTS", (two_figures, third_figure))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (folder / "classes.json").write_text(f'["dog", "{UNKNOWN}"]', "utf-8")
        assert f"can draw 1 of 2 class names ({UNKNOWN});" in album.draw(tmp_path)
        (folder / "classes.json").write_text('["dog", "cat"]', "utf-8")  # then it is a file's name
        assert f"can draw {UNKNOWN};" in album.draw(tmp_path)
