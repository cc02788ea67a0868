"""The last chapters: the discussion, and the appendix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graybox.mistakes import reasons_table
from graybox.report import captions, markdown
from graybox.report.document import Block, Bullets, Code, Heading, Numbers, Paragraph, Section, Text
from graybox.report.results import Results
from graybox.report.words import count
from graybox.study import comparison
from graybox.study.variants import COMBINED

MOST_REASONS, MOST_PANELS = 8, 24


def discussion(results: Results) -> Section:
    """The author's notes, then what the results say and what they can't say."""
    blocks: list[Block] = list(markdown.blocks(results.notes))
    if blocks:
        blocks.append(Heading("Limits"))
    return Section("Discussion and limits", [*blocks, Bullets(_limits(results))])


def _limits(results: Results) -> list[Text]:
    found: list[str] = []
    if results.table["seeds"].max() == 1:
        found.append(
            "Each network was trained once. The intervals are about other test images; another training run can differ "
            "too. More seeds (train.seeds) show by how much."
        )
    if results.best["selected_on"] == "test" and results.selection:
        found.append(f"{results.selection} With select.split: validation the validation images choose.")
    chosen = int(results.combined["validation_images"])
    found.append(
        f"The levels of {COMBINED} were chosen on {count(chosen, 'validation image')}: small gains there may be luck."
    )
    if results.data["made"]:
        found.append("The pictures are generated. Photographs are harder, and their surroundings vary in other ways.")
    found.append(
        "Hiding a part makes an image that the network has never seen. So what is left when a part is hidden is no "
        "exact measure of how much the network needs that part; the control and the second test show how large this "
        "effect is."
    )
    if results.boxes and results.data["with_box"]["test"] < results.tested:
        boxed = results.data["with_box"]["test"]
        found.append(f"Only {boxed:,} of {results.tested:,} test images have an object box: section B3 is about these.")
    if not results.boxes:
        found.append("Without object boxes the maps can't be held against the object: only the eye judges them.")
    if said := pointing(results.reliance):
        found.append(said)
    found.append(
        f"The confidence maps of section B2 show {count(len(results.experiments), 'image')} and one kind of window; "
        "the verdict does not depend on them."
    )
    return list(found)


def pointing(reliance: Mapping[str, Any]) -> str:
    """Said of maps that show the object no better than the image's centre does; "" of all others."""
    if reliance.get("maps_advantage_low", 1) > 0:
        return ""
    worse = reliance["maps_advantage_high"] < 0
    said = "The maps point at the object less often than" if worse else "The maps don't point at the object better than"
    mine, centre = (f"{reliance[f'maps_{name}']:.0%}" for name in ("pointing", "centre"))
    return f"{said} the image's centre: their largest drop lies in its box in {mine} of them, the centre in {centre}."


def appendix(results: Results, numbers: Numbers) -> Section:
    """What supports the text but does not belong into it."""
    table = comparison.readable(results.table)
    blocks: list[Block] = [
        *numbers.figure(captions.learning_curves(results), [results.picture("learning_curves")], width=0.75),
        *numbers.figure(captions.costs(results), [results.picture("costs")], width=0.75),
        *numbers.figure(captions.gaps(results), [results.picture("gaps")], width=0.6),
    ]
    if len(results.mistakes):
        blocks += numbers.figure(captions.calibration(results), [results.picture("calibration")], width=0.45)
        blocks += numbers.figure(captions.reasons(results), [results.picture("reasons")], width=0.7)
    said = results.correspondence["sentence"]
    question = "Does hiding the same part of an object do the same in every image of a class"
    blocks += [Paragraph(f"{question} (Zeiler and Fergus 2014, section 4.3)? {said}")]
    blocks += numbers.figure(captions.correspondence(results), [results.picture("correspondence")], width=0.7)
    # The figures of the page alone come last, so that those before them have the same numbers in the PDF.
    if len(results.mistakes):
        pair = results.confused.iloc[0]
        blocks += numbers.figure(
            f"Confused pairs of classes beside examples of both: {pair['class_a']} and {pair['class_b']} "
            f"{count(int(pair['together']), 'time')}.",
            [results.picture("confused_pairs")], only="html",
        )  # fmt: skip
        named = reasons_table.sentence(results.reasons)
        pages = results.pictures("reasons")[:MOST_REASONS]
        blocks += numbers.figure(f"Mistakes by their reason. {named[:1].upper()}{named[1:]}.",
                                 pages, only="html")  # fmt: skip
    blocks += numbers.figure("Images of each class and split.", [results.picture("data")], only="html")
    blocks += numbers.figure("Images that are nearly the same.", [results.picture("near_duplicates")], only="html")
    panels = results.pictures("occlusion") if results.pictures("maps") else []  # else they stand in section B2
    if panels:
        blocks += numbers.figure(
            f"All results for each occluded image{_some(panels)}: drop of the probability, most probable class, and "
            "the strongest feature map.",
            panels[:MOST_PANELS], only="html",
        )  # fmt: skip
    blocks += [
        Paragraph("How the figures of the table of variants are computed. " + results.findings["method"]),
        numbers.table("Every figure of every variant.", list(table.columns), table.astype(str).to_numpy().tolist(),
                      sortable=True, only="html"),
        *_rests(results),
        Code(results.settings, title="params.yaml"),
    ]  # fmt: skip
    return Section("Appendix", blocks)


def _some(panels: Sequence[Path]) -> str:
    return f" (the first {MOST_PANELS} of {len(panels)})" if len(panels) > MOST_PANELS else ""


def _rests(results: Results) -> list[Block]:
    sentences = results.findings["rests"][1:]
    return (
        [Heading("What each variant rests on", only="html"), Bullets(sentences, only="html")]
        if sentences and results.boxes
        else []
    )
