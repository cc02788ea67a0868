"""The report: one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from matplotlib.figure import Figure

from graybox.mistakes import reasons_table
from graybox.settings import Params
from graybox.study import comparison

SHOWN = {
    "gray": "gray, {level:g} of full brightness",
    "mean": "the image's mean colour",
    "blur": "the image, blurred",
    "noise": "the image's own pixels in another order",
}

MOST_CLASSES, MOST_PANELS = 50, 24
"""The page names so many classes, and holds so many occlusion panels: 300 would be 80 MB, slow in any browser."""


def render(
    params: Params,
    data: Mapping[str, Any],
    table: pd.DataFrame,
    devices: Sequence[str],
    best: Mapping[str, Any],
    pairs: pd.DataFrame,
    mistakes: pd.DataFrame,
    reasons: pd.DataFrame,
    occlusion: pd.DataFrame,
    reliance: Mapping[str, Any],
    correspondence: Mapping[str, Any],
    findings: Mapping[str, Any],
    pictures: Mapping[str, Path | Figure],
    reason_pages: Mapping[str, Path],
    panels: Sequence[Path],
) -> str:
    """Fill the page.

    Args:
        data: number of images by split ("train", "validation", "test"), the "class_names", the source's "note", and
            how generated pictures are "made" ("" for others).
        table: from `comparison.table`. `devices`: those that the variants were trained on.
        best: the selected variant, what it was selected on, and its accuracies.
        pairs: the most confused pairs of classes. `mistakes`: the misclassified test images.
        reasons: how frequent each reason is, from `graybox.mistakes.reasons.explain`.
        reason_pages: a picture of the mistakes with a reason, by the reason's name; not every reason has one.
        occlusion: a row per occluded image, in the order of `panels`.
        reliance: the verdict's figures and "sentence". `correspondence`: its "sentence".
        findings: the table in words: sentences on the "parameters", on "combined", on the "best" and, where the classes
            are of unequal size, on the "balance"; and the "method".
        pictures: those of plots/figures, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    settings, source = params.model_dump(mode="json"), params.data.source
    settings["sources"] = {source: settings["sources"][source]}
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    return environment.get_template("page.html").render(
        params=params,
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        data=data,
        table=_html_table(comparison.readable(table), emphasised=table["best_on"] != ""),
        findings=findings,
        devices=devices,
        best=best,
        best_on_validation=comparison.best(table, "validation"),
        pairs=pairs,
        mistakes=mistakes,
        reasons=_plain_table(reasons_table.readable(reasons)),
        reason_pages=[
            (row["title"], _embedded(reason_pages[row["reason"]]))
            for _, row in reasons.iterrows()
            if row["named"] and row["reason"] in reason_pages
        ],
        reliance=reliance,
        correspondence=correspondence,
        fill=SHOWN[params.occlusion.fill].format(level=params.occlusion.gray),
        points=lambda share: f"{100 * share:+.0f}",
        pictures={name: _embedded(picture) for name, picture in pictures.items()},
        panels=[(_embedded(panel), summary) for panel, (_, summary) in zip(panels[:MOST_PANELS], occlusion.iterrows())],
        occluded=len(occlusion),
        lacks=occlusion["lacks"].iloc[0] if "lacks" in occlusion else "",
        networks="architecture" in table,
        most_classes=MOST_CLASSES,
    )


def _html_table(frame: pd.DataFrame, emphasised: pd.Series) -> str:
    styled = frame.style.hide(axis="index").apply(lambda _: ["font-weight: bold" if e else "" for e in emphasised])
    return styled.format(escape="html").to_html(uuid="comparison")


def _plain_table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0)  # it escapes HTML in the cells


def _embedded(picture: Path | Figure) -> str:
    """A picture as a data: URL, so that the page needs no other file."""
    kind = "png"
    if isinstance(picture, Figure):
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        content = buffer.getvalue()
    else:
        content, kind = picture.read_bytes(), picture.suffix[1:]
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
