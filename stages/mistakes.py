"""Explain what the best model gets wrong: evidence, reasons, confused pairs, and whether it is rightly sure."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from graybox import config, errors
from graybox.data import images
from graybox.figures import mistakes, style
from graybox.mistakes import confusions, reasons_table
from graybox.mistakes.analysis import analyse
from graybox.network import cnn, inference
from graybox.statistics import scores
from graybox.statistics.tables import read


def main() -> None:
    params = config.load()
    wanted, splits = params.mistakes, {split: images.load("data/prepared", split) for split in images.SPLITS}
    test, network = splits["test"], cnn.load("models/best.safetensors", inference.pick_device(params.train.device))
    files = {name: f"data/predictions/{name}.npz" for name in params.variants} | {config.COMBINED: "data/combined.npz"}
    networks = {name: np.load(file)["test"] for name, file in files.items()}
    found = analyse(network, splits, networks, read("report/reliance.csv"), **params.evaluate.model_dump())
    wrong, predicted = found.mistakes, found.probabilities.argmax(axis=1)
    pairs = confusions.confused_pairs(test, predicted, wanted.pairs)
    bins, error = confusions.calibration(found.probabilities, test.labels)

    names = np.array(test.class_names)
    answers = pd.DataFrame({"true class": names[test.labels], "predicted class": names[predicted]})
    tables = {"report/mistakes": wrong, "report/reasons": found.reasons, "report/confused_pairs": pairs}
    for path, table in {**tables, "plots/confusion": answers}.items():
        table.round(6).to_csv(f"{path}.csv", index=False, lineterminator="\n")
    row = reasons_table.metrics(found.reasons, len(wrong), error)
    Path("report/mistakes.json").write_text(json.dumps(row, indent=1) + "\n")

    matrix = scores.confusion(test.labels, predicted, len(names))
    style.save(mistakes.confusion_matrix(matrix, test.class_names), "plots/confusion.png")
    style.save(mistakes.mistakes_gallery(test, wrong.head(wanted.gallery)), "plots/mistakes.png")
    style.save(mistakes.reliability_diagram(bins, error), "plots/calibration.png")
    style.save(mistakes.reasons_chart(found.reasons), "plots/reasons.png")
    sure = found.probabilities.max(axis=1)
    style.save(mistakes.confused_pairs_chart(test, predicted, sure, pairs), "plots/confused_pairs.png")
    folder = Path("plots/reasons")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for _, finding in found.reasons.iterrows():
        # The last one's page is there even if it is empty, as a folder of plots without a picture can't be shown.
        if finding["named"] or finding["reason"] == found.reasons["reason"].iloc[-1]:
            page = mistakes.reason_page(
                test, splits["train"], wrong[wrong["reason"] == finding["reason"]], found.neighbours.rows,
                mistakes.headline(finding, len(wrong)), wanted.per_reason,
            )  # fmt: skip
            style.save(page, folder / f"{finding['reason']}.png")
    print(f"{len(wrong)} of {len(test)} test images are misclassified; " + reasons_table.sentence(found.reasons))


if __name__ == "__main__":
    errors.run(main)
