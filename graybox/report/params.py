"""What the author adds to the report: the section `report` of params.yaml."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from graybox.schema import Section, Text

NOTES = "notes.md"
"""The only file that `notes` can name: stage report depends on it, so that an edit makes the report anew."""


class ReportParams(Section):
    """The section `report`: the author's own words. Only stage report reads it."""

    key: ClassVar[str] = "report"

    title: Text = Field("What does the network look at?", description="the report's title")
    author: Text | None = Field(None, description="your name, as it should stand under the title; null = none")
    notes: str | None = Field(
        NOTES,
        description=f"your own words in Markdown, before the discussion: the file {NOTES}, or the text itself; "
        "null = none",
    )

    @field_validator("notes")
    @classmethod
    def _file_or_text(cls, value: str | None) -> str | None:
        if value and value != NOTES and value.endswith((".md", ".txt")) and len(value.split()) == 1:
            raise ValueError(f"should be {NOTES}, the file of this name beside params.yaml, or the text itself")
        return value
