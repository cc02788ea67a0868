"""A figure's file depends on the figure alone; a chart comes as vectors and as pixels."""

from matplotlib.figure import Figure
from PIL import Image

from graybox.figures import style


def chart() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 3, 2], label="a < b & c")
    return figure


def test_an_svg_has_a_png_beside_it_and_neither_changes_when_it_is_written_again(tmp_path):
    for folder in ("first", "second"):
        style.save(chart(), tmp_path / folder / "chart.svg")
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
                     for folder in ("first", "second"))  # fmt: skip
    assert set(first) == {"chart.svg", "chart.png"} and first == second
    assert b"<image" not in first["chart.svg"] and b"<text" not in first["chart.svg"]
    with Image.open(tmp_path / "first/chart.png") as picture:
        assert picture.size == (3 * style.DPI, 2 * style.DPI)


def test_a_png_comes_alone(tmp_path):
    style.save(chart(), tmp_path / "chart.png", dpi=50)
    assert [path.name for path in tmp_path.iterdir()] == ["chart.png"]
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.size == (150, 100)
