"""Explain the best model's mistakes: evidence, reasons, confused pairs of classes, and calibration."""

import numpy as np

from graybox import errors, files, run, schema
from graybox.data import images
from graybox.mistakes import confusions, reasons_table
from graybox.mistakes.analysis import analyse
from graybox.mistakes.params import MistakesParams
from graybox.network import cnn
from graybox.statistics import scores
from graybox.statistics.tables import read
from graybox.study import variants
from graybox.study.params import EvaluateParams


def main() -> None:
    splits = {split: images.load("data/prepared", split) for split in images.SPLITS}
    test, device = splits["test"], run.device()
    predictions = {name: f"data/predictions/{name}.npz" for name in variants.load("data/settings")}
    answers = {name: np.load(file) for name, file in {**predictions, "combined": "data/combined.npz"}.items()}
    networks = {
        f"{name} {seed}": answer for name, of in answers.items()
        for seed, diverged, answer in zip(of["seeds"], of["diverged"], of["test"]) if not diverged
    }  # fmt: skip
    best = files.read_json("report/best.json")
    found = analyse(
        cnn.load("models/best.safetensors", device), splits, networks, read("report/reliance.csv"),
        explained=f"{best['variant']} {best['seed']}", uncovered=images.load_uncovered("data/prepared"),
        **schema.load(EvaluateParams).views,
    )  # fmt: skip
    wrong, predicted = found.mistakes, found.probabilities.argmax(axis=1)
    bins, error = confusions.calibration(found.probabilities, test.labels)

    matrix = scores.confusion(test.labels, predicted, len(test.class_names))
    tables = {
        "report/mistakes": wrong,
        "report/reasons": found.reasons,
        "report/confused_pairs": confusions.confused_pairs(test, predicted, schema.load(MistakesParams).pairs),
        "report/calibration": bins,
        "plots/confusion": confusions.confusion_counts(matrix, test.class_names),
    }
    for path, table in tables.items():
        files.write_table(f"{path}.csv", table.round(6))
    files.write_json("report/mistakes.json", reasons_table.figures(found.reasons, len(wrong), error))
    sure = found.probabilities.max(axis=1)
    files.write_arrays("data/mistakes.npz", predicted=predicted, sure=sure, neighbours=found.neighbours.rows)
    print(f"{len(wrong)} of {len(test)} test images are misclassified; " + reasons_table.sentence(found.reasons))


if __name__ == "__main__":
    errors.run(main)
