"""The author's notes: Markdown as blocks of the document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graybox.report.document import Block, Bullets, Code, Heading, Paragraph, Run

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

PLAIN = Run("")


def blocks(text: str) -> list[Block]:
    """Headings, paragraphs, lists, code and quotations of a Markdown text; HTML in it is left out.

    Pictures are shown as their alternative text, tables as they are written.
    """
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    parser = MarkdownIt("commonmark")
    return [block for node in SyntaxTreeNode(parser.parse(text)).children for block in _blocks(node)]


def _blocks(node: SyntaxTreeNode) -> list[Block]:
    if node.type == "heading":
        return [Heading(_inline(node))]
    if node.type == "paragraph":
        return [Paragraph(_inline(node))]
    if node.type in ("bullet_list", "ordered_list"):
        return [Bullets([_inline(item) for item in node.children], numbered=node.type == "ordered_list")]
    if node.type in ("fence", "code_block"):
        return [Code(node.content.rstrip("\n"))]
    if node.type in ("html_block", "hr"):
        return []
    return [block for child in node.children for block in _blocks(child)]


def _inline(node: SyntaxTreeNode, style: Run = PLAIN) -> Sequence[Run]:
    """The text below a node, in pieces of one style."""
    found: list[Run] = []
    for child in node.children:
        bold, italic = style.bold or child.type == "strong", style.italic or child.type == "em"
        link = str(child.attrs.get("href", "")) if child.type == "link" else style.link
        if not link.startswith(("http://", "https://", "mailto:")):
            link = ""  # a place in another document, or a script
        if child.type in ("text", "code_inline", "image"):
            found.append(Run(child.content, bold, italic, child.type == "code_inline", link))
        elif child.type in ("softbreak", "hardbreak"):
            found.append(Run(" "))
        elif child.type != "html_inline":
            inner = _inline(child, Run("", bold, italic, link=link))
            found += ([Run(" ")] if found and child.type == "paragraph" else []) + list(inner)
    return found
