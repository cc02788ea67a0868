"""Stage report on a study: a result that changes is changed in the page, in the PDF and on the terminal."""

from __future__ import annotations

import json
import re

import pandas as pd
import pypdf


def texts(folder) -> list[str]:
    """The page and the PDF, as text with single spaces."""
    pages = pypdf.PdfReader(folder / "report/report.pdf").pages
    printed = " ".join(page.extract_text() for page in pages)
    page = (folder / "report/index.html").read_text("utf-8")
    return [re.sub(r"\s+", " ", text) for text in (page, printed)]


def test_a_changed_result_is_changed_in_both_files_and_on_the_terminal(clean):
    path = clean.folder / "report/comparison.csv"
    table = pd.read_csv(path)
    best = json.loads((clean.folder / "report/best.json").read_text())["variant"]
    for accuracy in (0.4321, 0.8765):
        table.loc[table["variant"] == best, "test_accuracy"] = accuracy
        table.to_csv(path, index=False)
        said = clean.run("python", "-m", "stages.report").splitlines()
        assert (
            f"The variant {best} classifies {accuracy:.1%}" in said[-4]
            and "report/index.html and report/report.pdf" in said[-1]
        )
        for text in texts(clean.folder):
            assert text.count(f"{accuracy:.1%}") >= 3


def test_the_author_s_words_are_in_both_and_make_only_the_report_anew(clean):
    clean.set(report__title="Mugs & fish", report__author="A. Student")
    (clean.folder / "notes.md").write_text("I expected the *background* to matter.\n", "utf-8")
    assert clean.stale() == {"settings", "report"}
    clean.run("python", "-m", "stages.report")
    page, printed = texts(clean.folder)
    assert "Mugs &amp; fish" in page and "Mugs & fish" in printed
    for text in (page, printed):
        assert "A. Student" in text and "I expected the" in text
    assert "Commonest mistake" in page or "no mistake to explain" in page
