"""The report as data: sections of numbered tables, figures and text, which HTML and PDF show alike.

A document is built once (`graybox.report.content`). `graybox.report.html` and `graybox.report.pdf` render the same
plain values (`Document.plain`), so a figure that changes changes in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Run:
    """A piece of text in one style. `link`: the address that it leads to."""

    text: str
    bold: bool = False
    italic: bool = False
    code: bool = False
    link: str = ""


# The kinds of block that are numbered, and what they are called.
NUMBERED = {"table": "Table", "figure": "Figure"}

# Text is shown as it is: nothing in a class name is read as markup.
Text = str | Sequence[Run]


@dataclass(frozen=True)
class Block:
    """A part of a section. `only`: "html" or "pdf" if the other leaves it out."""

    kind: ClassVar[str]
    only: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Paragraph(Block):
    """Text. `lead`: whether it is larger, as the first words of the report."""

    kind: ClassVar[str] = "paragraph"
    text: Text
    lead: bool = False


@dataclass(frozen=True)
class Heading(Block):
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: Text


@dataclass(frozen=True)
class Bullets(Block):
    """A list. `numbered`: 1, 2, 3 instead of dots."""

    kind: ClassVar[str] = "bullets"
    items: Sequence[Text]
    numbered: bool = False


@dataclass(frozen=True)
class Card:
    """One result at a glance: what it is, the result in a few words, and its figures.

    `first`: what a terminal says of the figures; "" = the first sentence of `detail`.
    """

    title: str
    value: str
    detail: str
    first: str = ""


@dataclass(frozen=True)
class Cards(Block):
    """The main results side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Table(Block):
    """A numbered table.

    Attributes:
        label: "Table 1". `caption`: what it shows.
        header: the columns' names. `rows`: a text for each column.
        strong: the numbers of the rows to emphasise.
        sortable: whether a reader of the page can sort it by a column.
        narrow: how many of the first columns hold text; the others hold figures and stand to the right.
    """

    kind: ClassVar[str] = "table"
    label: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()
    sortable: bool = False
    narrow: int = 1


@dataclass(frozen=True)
class Figure(Block):
    """A numbered figure.

    Attributes:
        label: "Figure 1". `caption`: what it shows, the finding first.
        pictures: files, one below the other, or `columns` of them side by side.
        alt: the finding, for those who don't see the picture.
        width: of the PDF's text, 0..1.
    """

    kind: ClassVar[str] = "figure"
    label: str
    caption: str
    pictures: Sequence[Path]
    alt: str
    columns: int = 1
    width: float = 1.0


@dataclass(frozen=True)
class Code(Block):
    """Text in a fixed-width type: commands or settings. `title`: if given, the page shows the text when it is asked."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Viewer(Block):
    """The occlusion viewer. `data`: from `graybox.report.viewer.data`."""

    kind: ClassVar[str] = "viewer"
    label: str
    caption: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A chapter of the report. `blocks` in their order."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The title as the name of a place in a page."""
        return "".join(c if c.isascii() and c.isalnum() else "-" for c in self.title.lower()).strip("-")


@dataclass(frozen=True)
class Document:
    """The whole report. `about`: who and when, in a line."""

    title: str
    author: str
    about: str
    sections: Sequence[Section]

    def plain(self, medium: str) -> dict[str, Any]:
        """The document as lists, dicts, strings and numbers, with paths for pictures.

        Args:
            medium: "html" or "pdf"; what is for the other only is left out. Tables and figures are numbered as they
                come here, so that no number is missing.
        """
        sections, count = [], Counter[str]()
        for section in self.sections:
            blocks = [_plain(block) for block in section.blocks if block.only in ("", medium)]
            for block in blocks:
                if block["kind"] in NUMBERED:
                    count[block["kind"]] += 1
                    block["label"] = f"{NUMBERED[block['kind']]} {count[block['kind']]}"
            sections.append({"title": section.title, "anchor": section.anchor, "blocks": blocks})
        return {"title": self.title, "author": self.author, "about": self.about, "sections": sections}


class Numbers:
    """Makes tables and figures; `Document.plain` numbers them, for each medium those that it shows.

    What only one medium shows stands last among the figures of a chapter, and of the document if it can: then a figure
    has the same number in both.
    """

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], **more: Any) -> Table:
        """A table, to be numbered."""
        return Table("Table", caption, header, rows, **more)

    def figure(self, caption: str, pictures: Sequence[Path | None], alt: str = "", **more: Any) -> list[Block]:
        """A figure, to be numbered, or nothing if none of its pictures exists. `alt`: "" = the caption."""
        found = [picture for picture in pictures if picture is not None]
        return [Figure("Figure", caption, found, alt or caption, **more)] if found else []

    def viewer(self, caption: str, data: dict[str, Any]) -> Viewer:
        """The viewer, which is a figure of the page only and so takes no number away from the PDF."""
        return Viewer("Viewer", caption, data, only="html")


def runs(text: Text) -> list[Run]:
    """A text as pieces in one style each."""
    return [Run(text)] if isinstance(text, str) else list(text)


TEXTS = {"text", "items"}


def _plain(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": block.kind}
    for each in fields(block):
        value = getattr(block, each.name)
        if block.kind != "code" and each.name in TEXTS:
            value = [_styled(item) for item in value] if each.name == "items" else _styled(value)
        found[each.name] = _values(value)
    return found


def _styled(text: Text) -> list[dict[str, Any]]:
    return [_values(run) for run in runs(text)]


def _values(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _values(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: _values(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_values(one) for one in value]
    return value.as_posix() if isinstance(value, Path) else value


def pictures(document: Document, medium: str) -> Iterator[Path]:
    """The files of all pictures that a medium shows, in their order."""
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Figure) and block.only in ("", medium):
                yield from block.pictures
