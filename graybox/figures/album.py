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
from graybox.figures import correspondence, data, faithfulness, mistakes, panels, reliance, study, style
from graybox.figures.network import network_drawing
from graybox.figures.strip import sliding_strip
from graybox.figures.text import UndrawableWarning, sentence
from graybox.mistakes.params import MistakesParams
from graybox.mistakes.reasons_table import COVERED
from graybox.network import sizes
from graybox.reliance import experiment
from graybox.statistics import scores, tables
from graybox.study import comparison, variants

# A file's name, and its figure or its bytes. Charts without photographs are .svg, and get a .png beside them.
Drawn = Iterator[tuple[str, Figure | bytes]]


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
        for name, drawn in subject(root):
            if isinstance(drawn, bytes):
                with files.replacing(folder / name) as part:
                    part.write_bytes(drawn)
            else:
                style.save(drawn, folder / name)
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
    yield "contact_sheet.png", data.contact_sheet(images.load(root / "data/prepared", "train"))
    yield "data.svg", data.counts_chart(summary)
    pairs, pictures = (
        tables.read(root / "data/prepared/near_duplicates.csv"),
        np.load(root / "data/prepared/near_duplicates.npy"),
    )
    if len(pictures):
        yield "near_duplicates.png", data.near_duplicates_chart(pairs, pictures)


def _study(root: Path) -> Drawn:
    recipes = variants.load(root / "data/settings", root / "data/combined.yaml")
    table, curves = comparison.read(root / "report/comparison.csv"), tables.read(root / "plots/curves.csv")
    seeds = tables.read(root / "report/seeds.csv").groupby("variant")["test_accuracy"]
    by_seed = {str(variant): accuracies.to_numpy() for variant, accuracies in seeds}
    levels = comparison.factor_levels(recipes, table)
    costs = table.assign(training_work=comparison.training_work(table, recipes.baseline))
    fronts = {cost: comparison.on_front(costs, cost) for cost in study.COSTS}
    changed = {name: rows for name, rows in levels.items() if len(rows) > 1}
    if changed:
        yield "accuracy_by_parameter.svg", study.accuracy_by_parameter(changed, by_seed)
    else:  # all variants are other networks, or none
        yield "accuracy_by_parameter.svg", study.accuracy_by_variant(table, recipes.baseline)
    yield "costs.svg", study.costs(costs, fronts)
    yield "gaps.svg", study.gaps(table)
    best = recipes[files.read_json(root / "report/best.json")["variant"]].model
    if best.parametric:
        summary = files.read_json(root / "data/prepared/summary.json")
        layers = sizes.layer_sizes(best, summary["image_size"], len(summary["images_per_class"]))
        yield "network.svg", network_drawing(layers, summary["image_size"], best.kernel_size)
    groups = {name: dict(zip(rows["variant"], rows["level"].astype(str))) for name, rows in changed.items()}
    placed = {variant for group in groups.values() for variant in group}
    groups["others"] = {name: name for name in table["variant"] if name not in placed and name != recipes.baseline}
    yield "learning_curves.svg", study.learning_curves(curves, groups, recipes.baseline)


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

    yield "confusion.svg", mistakes.confusion_matrix(matrix, test.class_names)
    yield "mistakes.png", mistakes.mistakes_gallery(test, wrong.head(wanted.gallery))
    bins = pd.read_csv(root / "report/calibration.csv")
    yield "calibration.svg", mistakes.reliability_diagram(bins, calibration_error)
    yield "reasons.svg", mistakes.reasons_chart(reasons)
    pairs = mistakes.confused_pairs_chart(test, predicted, sure, report["confused_pairs"])
    yield "confused_pairs.png", pairs
    for _, finding in reasons.iterrows():
        # Always draw the last reason's page, even empty: DVC can't show a folder of plots without a picture.
        if finding["named"] or finding["reason"] == reasons["reason"].iloc[-1]:
            rows = wrong[wrong["reason"] == finding["reason"]]
            said = mistakes.headline(finding, len(wrong))
            beside = uncovered if finding["reason"] == COVERED else None
            page = mistakes.reason_page(test, train, rows, neighbours, said, wanted.per_reason, beside)
            yield f"reasons/{finding['reason']}.png", page


def _reliance(root: Path) -> Drawn:
    found = files.read_json(root / "report/reliance.json")
    yield "reliance.svg", reliance.reliance_chart(found)
    table, said = comparison.read(root / "report/comparison.csv"), files.read_json(root / "report/findings.json")
    yield "reliance_by_variant.svg", reliance.variants_chart(table, said["rests"][0])
    summary = tables.read(root / "report/correspondence.csv")
    yield "correspondence.svg", correspondence.correspondence_chart(summary)


def _occlusion(root: Path) -> Drawn:
    found = experiment.load(root / "data/occlusion.npz")
    digits = max(2, len(str(len(found) - 1)))  # names sort in the order of report/occlusion.csv
    for number, one in enumerate(found):
        yield f"occlusion/{number:0{digits}d}.png", panels.occlusion_panel(one)
        yield f"maps/{number:0{digits}d}.png", panels.map_row(one)
    yield "occlusion_windows.png", panels.windows_chart(found)
    yield "faithfulness.svg", faithfulness.faithfulness_chart([one.look for one in found if one.look])
    yield "occlusion.gif", sliding_strip(found)


SUBJECTS: tuple[Callable[[Path], Drawn], ...] = (_occlusion, _mistakes, _study, _data, _reliance)
"""The slowest first."""
