"""The document as a PDF, typeset by Typst."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from graybox import files
from graybox.errors import UserError
from graybox.report.document import Document, pictures
from graybox.report.pictures import compact

TEMPLATE = Path(__file__).parent / "page.typ"
MOST_PAGES = 15


def render(document: Document, folder: Path | str) -> bytes:
    """The PDF's bytes, which depend on the document only. Typst's own fonts are in its package; nothing is downloaded.

    A document of more than MOST_PAGES loses figures and tables of its last chapter, the appendix, the last ones first.

    Args:
        folder: an existing one, where the pictures lie while the report is typeset. Not the system's folder for
            temporary files: with a full disk there is none, and Python does not say why.

    Raises:
        UserError: the folder can't be written to, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=files.PART, dir=folder) as scratch:
            return _typeset(document, Path(scratch))
    except OSError as error:
        said = f"{folder} can't be written ({error.strerror or error})"
        raise UserError(f"{said}; it is needed to typeset the report") from error


def _typeset(document: Document, folder: Path) -> bytes:
    import typst  # the page needs it not

    names: dict[str, str] = {}
    for number, path in enumerate(pictures(document, "pdf")):
        if path.as_posix() not in names:
            content, kind = compact(path)
            names[path.as_posix()] = f"{number}.{kind}"
            (folder / names[path.as_posix()]).write_bytes(content)
    (folder / "page.typ").write_bytes(TEMPLATE.read_bytes())
    plain = document.plain("pdf")
    last = plain["sections"][-1]["blocks"]
    while True:
        (folder / "document.json").write_text(json.dumps({**plain, "files": names}, ensure_ascii=False), "utf-8")
        typesetter = typst.Compiler(folder / "page.typ", root=folder)
        compiled = typesetter.compile(format="pdf")
        pages = json.loads(typesetter.query("<pages>", field="value", one=True))
        extra = [place for place, block in enumerate(last) if block["kind"] in ("figure", "table")]
        if pages <= MOST_PAGES or not extra:
            break
        # In a few steps, as each takes a moment.
        for place in reversed(extra[-max(1, len(extra) * (pages - MOST_PAGES) // (2 * pages)) :]):
            del last[place]
    assert isinstance(compiled, bytes)
    return compiled
