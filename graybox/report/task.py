"""The chapter on the task and its images: how many, of what, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graybox.report.document import Bullets, Numbers, Paragraph, Section
from graybox.report.results import Results
from graybox.report.words import SOURCES, count, listed

SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def section(results: Results, numbers: Numbers) -> Section:
    """The images: how many, of what, and what is known about them."""
    data, size = results.data, results.data["image_size"]
    splits, boxed = data["images_per_split"], data["with_box"]
    said = (
        f"The network gets a colour image of {size} x {size} pixels and names its class, one of "
        f"{len(results.classes)}: {listed(results.classes)}. Training images set the weights, validation images "
        f"choose each parameter's best level, and test images give the accuracies in this report. {results.selection}"
    ).strip()
    header = ["", *(SPLITS[name] for name in splits)]
    rows = [["images", *(f"{splits[name]:,}" for name in splits)],
            ["with an object box", *(f"{boxed[name]:,}" for name in splits)],
            ["fewest in a class", *(f"{_fewest(results, name):,}" for name in splits)]]  # fmt: skip
    remarks = [remark for remark in data["remarks"] if remark]
    notes = " ".join(filter(None, [data["made"], results.brought.get("note"), _chosen(results), *_left_out(data)]))
    box = ", with the object box outlined" if any(boxed.values()) else ""
    return Section(
        "Task and data",
        [
            Paragraph(said),
            *([Paragraph(notes)] if notes else []),
            numbers.table(f"The images of the source: {SOURCES[results.source]}.", header, rows),
            *([Bullets(remarks)] if remarks else []),
            *numbers.figure(
                f"Training images of {'each class' if len(results.classes) <= 12 else 'the classes'}{box}.",
                [results.picture("contact_sheet")],
                width=0.5,
            ),
        ],
    )


def _fewest(results: Results, split: str) -> int:
    return min(int(counts[split]) for counts in results.data["images_per_class"].values())


def _chosen(results: Results) -> str:
    """Which of the source's classes the study is about, where params.yaml says so."""
    wanted = results.images.classes
    if wanted is None:
        return ""
    which = "those that data.classes names" if isinstance(wanted, list) else "the first ones (data.classes)"
    return f"Of the source's classes this study uses {len(results.classes)}, {which}."


def _left_out(data: Mapping[str, Any]) -> list[str]:
    found = []
    if data["unreadable"]:
        found.append(f"{count(data['unreadable'], 'file')} could not be decoded and are left out.")
    if copies := sum(data["duplicates"].values()):
        found.append(f"{count(copies, 'exact copy', 'exact copies')} of other images were found and are left out.")
    return found
