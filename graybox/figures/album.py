"""The figures of the stage `figures`, subject by subject, and the results that each is drawn from.

Every function reads other stages' results below `root` and yields figures with their file names in plots/figures/.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from graybox import files, parallel, schema
from graybox.data import images
from graybox.errors import UserError
from graybox.figures import correspondence, data, mistakes, panels, reliance, study, style
from graybox.figures.strip import sliding_strip
from graybox.figures.text import UndrawableWarning, sentence
from graybox.mistakes.params import MistakesParams
from graybox.mistakes.reasons_table import COVERED
from graybox.reliance import experiment
from graybox.statistics import scores, tables
from graybox.study import comparison, variants

# A file's name, its figure or its bytes, and the dots per inch.
Drawn = Iterator[tuple[str, Figure | bytes, int]]


def draw(root: Path | str = ".") -> str:
    """Draw everything; each core draws a subject at a time.

    The folder `root`/plots/figures is replaced as a whole: another run's figures don't stay.

    Returns:
        A sentence on the names that no installed font can draw; empty if there is none.

    Raises:
        UserError: the folder can't be written to.
    """
    root, undrawable = Path(root), set[str]()
    with files.replacing(root / "plots/figures") as folder:
        pool = parallel.pool(len(SUBJECTS))
        arguments = SUBJECTS, [root] * len(SUBJECTS), [folder] * len(SUBJECTS)
        try:
            undrawable.update(*(pool.map if pool else map)(_draw, *arguments))
        except BrokenProcessPool as error:
            raise UserError("a process that draws figures was stopped; is memory short?") from error
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)  # before the folder gets its name, or is removed
    return _undrawable(root, undrawable) if undrawable else ""


def _draw(subject: Callable[[Path], Drawn], root: Path, folder: Path) -> str:
    """Draw a subject's figures; the characters that no installed font has."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UndrawableWarning)
        for name, drawn, dpi in subject(root):
            if isinstance(drawn, bytes):
                with files.replacing(folder / name) as part:
                    part.write_bytes(drawn)
            else:
                style.save(drawn, folder / name, dpi)
    said = [one.message for one in caught]
    for one in caught:
        if not isinstance(one.message, UndrawableWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return "".join(message.characters for message in said if isinstance(message, UndrawableWarning))


def _undrawable(root: Path, characters: set[str]) -> str:
    """Say it of the classes' names; else the characters are a file's, or another name's."""
    names = files.read_json(root / "data/prepared/classes.json")
    boxes = [name for name in names if characters & set(name)]
    if not boxes:
        return sentence("".join(sorted(characters)))
    some = ", ".join(boxes[:5]) + (f" and {len(boxes) - 5} more" if len(boxes) > 5 else "")
    return sentence(f"{len(boxes)} of {len(names)} class names ({some})")


def _data(root: Path) -> Drawn:
    summary = files.read_json(root / "data/prepared/summary.json")
    yield "contact_sheet.png", data.contact_sheet(images.load(root / "data/prepared", "train")), 75
    pairs = tables.read(root / "data/prepared/near_duplicates.csv")
    yield "data.png", data.counts_chart(summary, pairs, np.load(root / "data/prepared/near_duplicates.npy")), 110


def _study(root: Path) -> Drawn:
    recipes = variants.load(root / "data/settings", root / "data/combined.yaml")
    table, curves = comparison.read(root / "report/comparison.csv"), tables.read(root / "plots/curves.csv")
    seeds = tables.read(root / "report/seeds.csv").groupby("variant")["test_accuracy"]
    by_seed = {str(variant): accuracies.to_numpy() for variant, accuracies in seeds}
    levels = comparison.factor_levels(recipes, table)
    fronts = {cost: comparison.pareto_front(table[cost], table["test_accuracy"]) for cost in ("macs", "train_seconds")}
    yield "accuracy_by_parameter.png", study.accuracy_by_parameter(levels, by_seed), 110
    yield "costs.png", study.costs(table, fronts), 110
    yield "learning_curves.png", study.learning_curves(curves), 110


def _mistakes(root: Path) -> Drawn:
    wanted = schema.load(MistakesParams, root / "params.yaml")
    test, train = (images.load(root / "data/prepared", split) for split in ("test", "train"))
    report = {name: tables.read(root / f"report/{name}.csv") for name in ("mistakes", "reasons", "confused_pairs")}
    wrong, reasons = report["mistakes"], report["reasons"].fillna({"compared_with": "", "finding": "", "kind": ""})
    calibration_error = files.read_json(root / "report/mistakes.json")["calibration_error"]
    with np.load(root / "data/mistakes.npz") as file:
        predicted, sure, neighbours = (file[name] for name in ("predicted", "sure", "neighbours"))
    uncovered = images.load_uncovered(root / "data/prepared")
    matrix = scores.confusion(test.labels, predicted, len(test.class_names))

    yield "confusion.png", mistakes.confusion_matrix(matrix, test.class_names), 110
    yield "mistakes.png", mistakes.mistakes_gallery(test, wrong.head(wanted.gallery)), 110
    bins = pd.read_csv(root / "report/calibration.csv")
    yield "calibration.png", mistakes.reliability_diagram(bins, calibration_error), 110
    yield "reasons.png", mistakes.reasons_chart(reasons), 110
    pairs = mistakes.confused_pairs_chart(test, predicted, sure, report["confused_pairs"])
    yield "confused_pairs.png", pairs, 110
    for _, finding in reasons.iterrows():
        # Always draw the last reason's page, even empty: DVC can't show a folder of plots without a picture.
        if finding["named"] or finding["reason"] == reasons["reason"].iloc[-1]:
            rows = wrong[wrong["reason"] == finding["reason"]]
            said = mistakes.headline(finding, len(wrong))
            beside = uncovered if finding["reason"] == COVERED else None
            page = mistakes.reason_page(test, train, rows, neighbours, said, wanted.per_reason, beside)
            yield f"reasons/{finding['reason']}.png", page, 110


def _reliance(root: Path) -> Drawn:
    found = files.read_json(root / "report/reliance.json")
    yield "reliance.png", reliance.reliance_chart(found), 110
    table, said = comparison.read(root / "report/comparison.csv"), files.read_json(root / "report/findings.json")
    yield "reliance_by_variant.png", reliance.variants_chart(table, said["rests"][0]), 110
    summary = tables.read(root / "report/correspondence.csv")
    yield "correspondence.png", correspondence.correspondence_chart(summary), 110


def _occlusion(root: Path) -> Drawn:
    found = experiment.load(root / "data/occlusion.npz")
    digits = max(2, len(str(len(found) - 1)))  # names sort in the order of report/occlusion.csv
    for number, one in enumerate(found):
        yield f"occlusion/{number:0{digits}d}.png", panels.occlusion_panel(one), 90
    yield "occlusion_windows.png", panels.windows_chart(found), 90
    yield "occlusion.gif", sliding_strip(found), 0


SUBJECTS: tuple[Callable[[Path], Drawn], ...] = (_occlusion, _mistakes, _study, _data, _reliance)
"""The slowest first."""
