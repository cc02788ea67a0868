"""What the other stages found, read from their files once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from graybox import files, schema
from graybox.data import params as data_params
from graybox.data.params import DataParams, SourceParams
from graybox.errors import UserError
from graybox.occlusion.params import OcclusionParams
from graybox.reliance import experiment
from graybox.reliance.experiment import Experiment
from graybox.report.params import NOTES, ReportParams
from graybox.statistics import tables
from graybox.study import comparison, variants, winner
from graybox.study.variants import Variants


@dataclass(frozen=True)
class Results:
    """All that the report is made of.

    Attributes:
        root: the study's folder.
        wanted: the section `report` of params.yaml. `notes`: the author's Markdown, "" = none.
        images: the section `data`. `source`: the data source's name. `origin`: its own parameters.
        occlusion: the section `occlusion`.
        settings: params.yaml as text, with the chosen source only.
        data: data/prepared/summary.json.
        brought: data/raw/source.json, what the stage download brought.
        recipes: each variant's parameters, `combined` among them. `table`: of stage compare.
        best, combined, findings, reliance, correspondence: the JSON files of these names in report/.
        confused, mistakes, reasons, occluded: confused_pairs.csv, mistakes.csv, reasons.csv, occlusion.csv there.
        devices: on what the variants were trained.
        experiments: the occluded images, in the order of `occluded`.
    """

    root: Path
    wanted: ReportParams
    notes: str
    images: DataParams
    source: str
    origin: SourceParams
    occlusion: OcclusionParams
    settings: str
    data: Mapping[str, Any]
    brought: Mapping[str, Any]
    recipes: Variants
    table: pd.DataFrame
    best: Mapping[str, Any]
    combined: Mapping[str, Any]
    findings: Mapping[str, Any]
    reliance: Mapping[str, Any]
    correspondence: Mapping[str, Any]
    confused: pd.DataFrame
    mistakes: pd.DataFrame
    reasons: pd.DataFrame
    occluded: pd.DataFrame
    devices: Sequence[str]
    experiments: Sequence[Experiment]

    @property
    def classes(self) -> list[str]:
        """The classes' names."""
        return list(self.data["images_per_class"])

    @property
    def tested(self) -> int:
        """The number of test images."""
        return int(self.data["images_per_split"]["test"])

    @cached_property
    def levels(self) -> dict[str, pd.DataFrame]:
        """For each of the six parameters, the rows of its levels (`comparison.factor_levels`)."""
        return comparison.factor_levels(self.recipes, self.table)

    @property
    def winner(self) -> pd.Series:
        """The best variant's row of the table."""
        return comparison.row_of(self.table, self.best["variant"])

    @property
    def baseline(self) -> pd.Series:
        """The baseline's row of the table."""
        return comparison.row_of(self.table, self.recipes.baseline)

    @property
    def selection(self) -> str:
        """How the best network was chosen, and what that does to its accuracy; the same wherever it is said."""
        if len(self.table) < 2:
            return ""
        eligible = int(comparison.can_win(self.table).sum())
        if eligible == 1:
            return "The best network is the only one that may be chosen."
        of = "of those that may be chosen, " if eligible < len(self.table) else ""
        split = self.best["selected_on"]
        said = f"The best network is{',' * bool(of)} {of}the one with the highest {split} accuracy"
        if split != "test":
            return f"{said}; no test image had a part in this."
        said += ". So its own accuracy can be a little too high"
        return f"{said}; section A2 says by how much on average." if winner.is_measured(self.table) else f"{said}."

    @property
    def boxes(self) -> bool:
        """Whether object and context could be compared."""
        return bool(self.reliance.get("images"))

    def picture(self, name: str) -> Path | None:
        """A file of plots/figures, without its ending: the SVG if there is one, else the PNG; None if neither is."""
        folder = self.root / "plots/figures"
        return next((path for end in (".svg", ".png") if (path := folder / f"{name}{end}").is_file()), None)

    def pictures(self, folder: str) -> list[Path]:
        """The pictures in a folder of plots/figures, by name; each once, as SVG if there is one."""
        names = sorted({path.stem for path in (self.root / "plots/figures" / folder).glob("*.*")})
        return [path for name in names if (path := self.picture(f"{folder}/{name}"))]


def load(root: Path, settings: str) -> Results:
    """Read everything below `root`.

    Args:
        settings: params.yaml as text.

    Raises:
        UserError: a file is missing, or a value of params.yaml is not allowed.
    """
    report = root / "report"
    found: dict[str, Mapping[str, Any]] = {
        name: files.read_json(report / f"{name}.json")
        for name in ("best", "combined", "findings", "reliance", "correspondence")
    }
    reasons = tables.read(report / "reasons.csv").fillna({"compared_with": "", "finding": "", "kind": ""})
    parameters = root / "params.yaml"
    wanted = schema.load(ReportParams, parameters)
    chosen, origin = data_params.load(parameters)
    table = comparison.read(report / "comparison.csv")
    timings = [files.read_json(root / f"models/timing/{name}.json") for name in table["variant"]]
    return Results(
        root=root,
        wanted=wanted,
        notes=_notes(root, wanted),
        images=chosen,
        source=chosen.source,
        origin=origin,
        occlusion=schema.load(OcclusionParams, parameters),
        settings=settings,
        data=files.read_json(root / "data/prepared/summary.json"),
        brought=files.read_json(root / "data/raw/source.json"),
        recipes=variants.load(root / "data/settings", root / "data/combined.yaml"),
        table=table,
        devices=sorted({timing["device"] for timing in timings}),
        experiments=experiment.load(root / "data/occlusion.npz"),
        confused=tables.read(report / "confused_pairs.csv"),
        mistakes=tables.read(report / "mistakes.csv"),
        reasons=reasons,
        occluded=tables.read(report / "occlusion.csv"),
        **found,
    )


def _notes(root: Path, wanted: ReportParams) -> str:
    if wanted.notes != NOTES:
        return wanted.notes or ""
    try:
        return (root / NOTES).read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{NOTES} can't be read ({error}); it should be text in UTF-8") from error
