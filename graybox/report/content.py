"""The document, chapter by chapter."""

from __future__ import annotations

from graybox.report import (
    ending,
    improving,
    mistakes,
    networks,
    occlusion,
    parameters,
    references,
    repeat,
    summary,
    task,
)
from graybox.report.document import Document, Numbers
from graybox.report.results import Results
from graybox.report.words import SOURCES, count


def document(results: Results) -> Document:
    """The whole report, for HTML and PDF alike."""
    numbers = Numbers()
    sections = [
        summary.section(results),
        task.section(results, numbers),
        networks.section(results, numbers),
        parameters.section(results, numbers),
        improving.section(results, numbers),
        mistakes.section(results, numbers),
        occlusion.method(results, numbers),
        occlusion.images(results, numbers),
        occlusion.verdict(results, numbers),
        ending.discussion(results),
        references.references(results),
        repeat.section(results),
        ending.appendix(results, numbers),
    ]
    about = f"A study of {count(summary.different(results), 'network')} on {SOURCES[results.source]}, made with Graybox"
    return Document(results.wanted.title, results.wanted.author or "", about, sections)
