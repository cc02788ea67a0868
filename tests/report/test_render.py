"""One document, rendered as a page and as a PDF: both say all of it, and neither needs anything else."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pypdf
import pytest
from matplotlib.figure import Figure as Chart
from PIL import Image

from graybox.report import html, pdf
from graybox.report.document import Bullets, Card, Cards, Code, Document, Numbers, Paragraph, Run, Section
from graybox.report.markdown import blocks

NASTY = 'cat</script> "dog" & #fox $1$ *x* _y_ [z] \\u @me'


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    """A chart as SVG and a noisy picture as PNG."""
    figure = Chart(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    figure.savefig(tmp_path / "chart.svg")
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return [tmp_path / "chart.svg", tmp_path / "noise.png"]


def document(pictures: list[Path], accuracy: str = "71.3%", more: int = 0) -> Document:
    numbers = Numbers()
    first = [
        Paragraph("The question", lead=True),
        Paragraph([Run("plain "), Run("bold", bold=True), Run("a link", link="https://example.org/x")]),
        Cards([Card("Best network", f"wide, {accuracy}", f"It gets {accuracy} of {NASTY} right.")]),
        numbers.table(
            "Classes.", ["class", "accuracy"], [[NASTY, accuracy], ["bird", "5%"]], strong=[1], sortable=True
        ),
        *numbers.figure("The finding.", pictures, alt="What is found", columns=2),
        *numbers.figure("Nothing to see.", [None]),
        Bullets(["one", [Run("two", italic=True)]], numbered=True),
        numbers.viewer("Try it.", {"images": [], "name": NASTY}),
        Code("dvc repro", title="how"),
    ]
    last = [block for _ in range(more) for block in numbers.figure("More.", pictures[1:])]
    sections = [Section("Summary", first), Section("Appendix", [*last, Paragraph("End.")])]
    return Document("A title", "A. Author", "about", sections)


def text_of(compiled: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(compiled)).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def test_both_say_every_word_and_nothing_is_read_as_markup(pictures):
    made = document(pictures)
    printed, page = text_of(pdf.render(made, pictures[0].parent)), html.render(made)
    escaped = NASTY.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    for said in ("A title", "A. Author", "Summary", "The question", "bold", "a link", "Best network", "71.3%",
                 "Table 1.", "Figure 1.", "The finding.", "one", "two", "dvc repro", "End."):  # fmt: skip
        assert said in page, said
        # A PDF's capitals and ligatures are its own.
        assert said.casefold() in printed.casefold().replace("ﬁ", "fi"), said
    assert escaped in page and NASTY not in page and "Figure 2" not in page + printed
    assert page.count("</script>") == 2  # of the viewer's data, and of the page's own program
    assert 'cat</script> "dog" & #fox $1$ *x* _y_ [z]' in printed.replace("“", '"').replace("”", '"')


def test_a_changed_figure_is_changed_in_both(pictures):
    for accuracy, other in (("71.3%", "68.2%"), ("68.2%", "71.3%")):
        made = document(pictures, accuracy)
        for text in (html.render(made), text_of(pdf.render(made, pictures[0].parent))):
            assert text.count(accuracy) == 3 and other not in text


def test_the_page_needs_no_other_file_and_is_never_too_large(pictures):
    page = html.render(document(pictures))
    assert set(re.findall(r'(?:src|href)="([a-z]+:[^,"]{0,30})', page)) == {
        "data:image/svg+xml;base64", "data:image/jpeg;base64", "https://example.org/x"
    }  # fmt: skip
    assert page.count('alt="What is found (') == 2
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (1600, 1600, 3), np.uint8)).save(pictures[1])
    large = html.render(document(pictures, more=3))
    assert len(large) < 5e6 and "is left out, to keep this page small" in large
    several = pictures[1:] * 2 + pictures[:1]
    many = Document("t", "", "", [Section("S", Numbers().figure("Many.", several * 400))])
    assert "pictures are left out, to keep this page small" in html.render(many)


def test_the_pdf_has_the_same_bytes_again_and_at_most_fifteen_pages(pictures):
    made = document(pictures)
    assert pdf.render(made, pictures[0].parent) == pdf.render(made, pictures[0].parent)
    long = pypdf.PdfReader(io.BytesIO(pdf.render(document(pictures, more=40), pictures[0].parent)))
    assert 10 < len(long.pages) <= pdf.MOST_PAGES
    assert "End." in long.pages[-1].extract_text()


def test_numbers_follow_each_other_in_each_medium_whatever_it_leaves_out(pictures):
    numbers = Numbers()
    made = [
        *numbers.figure("First.", pictures[:1]),
        *numbers.figure("Of the page.", pictures[:1], only="html"),
        numbers.table("Of the page.", ["a"], [["1"]], only="html"),
        *numbers.figure("Second.", pictures[:1]),
        numbers.table("Table.", ["a"], [["1"]]),
    ]
    document = Document("t", "", "", [Section("One", made[:3]), Section("Two", made[3:])])
    for medium, wanted in (
        ("pdf", ["Figure 1", "Figure 2", "Table 1"]),
        ("html", ["Figure 1", "Figure 2", "Table 1", "Figure 3", "Table 2"]),
    ):
        sections = document.plain(medium)["sections"]
        assert [block["label"] for section in sections for block in section["blocks"]] == wanted
    assert "Figure 2. Second." in text_of(pdf.render(document, pictures[0].parent))


def test_a_small_table_stays_on_one_page_and_a_large_one_goes_on_to_the_next(tmp_path):
    def pages(above: int, rows: int) -> list[int]:
        """How many of the table's rows each page has."""
        cells = [[f"row{place}row", "1"] for place in range(rows)]
        blocks = [*(Paragraph(f"line {place}") for place in range(above)), Numbers().table("T.", ["a", "b"], cells)]
        sections = [Section("Summary", [Paragraph("x")]), Section("Chapter", blocks)]
        compiled = pdf.render(Document("t", "", "", sections), tmp_path)
        return [
            len(re.findall(r"row\d+row", page.extract_text())) for page in pypdf.PdfReader(io.BytesIO(compiled)).pages
        ]

    for above in (37, 39):
        assert sorted(pages(above, 12))[-1] == 12
    assert max(pages(39, 80)) < 80


def test_the_lines_of_the_settings_are_not_broken(tmp_path):
    lines = [f"{place:02}{' word' * (10 + place % 8)} end" for place in range(90)]
    made = Document("t", "", "", [Section("Appendix", [Code("\n".join(lines), title="params.yaml")])])
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.render(made, tmp_path))).pages)
    found = set(text.split("\n"))
    assert set(lines) <= found


def test_markdown_becomes_blocks_and_its_html_is_left_out():
    text = "# Mine\n\nSome **bold** `code` [here](https://a.b) [no](javascript:alert(1)).\n\n- a\n- b\n\n"
    text += "<script>x</script>\n"
    heading, paragraph, bullets = blocks(text + "\n<!-- hidden -->\n")
    assert [run.text for run in heading.text] == ["Mine"]
    bold, code, link = (next(run for run in paragraph.text if run.text == word) for word in ("bold", "code", "here"))
    assert bold.bold and code.code and link.link == "https://a.b"
    assert not any(run.link for run in paragraph.text if run.text == "no")
    assert [item[0].text for item in bullets.items] == ["a", "b"] and not bullets.numbered
