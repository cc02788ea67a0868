"""The document as one HTML file that needs no other one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import jinja2

from graybox.report.document import Document, pictures
from graybox.report.pictures import compact, data_url

FOLDER = Path(__file__).parent
MOST_BYTES = 4_950_000
"""Of the page: one of 5 MB opens at once, and goes by e-mail."""


def render(document: Document) -> str:
    """The page. Pictures for which MOST_BYTES leave no room, mostly the last ones, are named instead of shown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    # A class name may hold "</script>".
    environment.filters["data"] = lambda value: json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
    parts = {name: (FOLDER / f"page.{name}").read_text("utf-8") for name in ("css", "js")}
    template, plain = environment.get_template("page.html"), document.plain("html")
    urls: dict[str, str] = {}
    left = MOST_BYTES - len(template.render(document=plain, urls=urls, **parts).encode())
    for path, times in Counter(pictures(document, "html")).items():
        url = data_url(*compact(path))
        if times * len(url) <= left:
            urls[path.as_posix()] = url
            left -= times * len(url)
    return template.render(document=plain, urls=urls, **parts)
