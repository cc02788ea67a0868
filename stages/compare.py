"""Put the variants side by side: the study's table, its charts, and all learning curves in one file."""

import json
from pathlib import Path

import numpy as np

from graybox import comparison, config, errors, figures, images


def main() -> None:
    params = config.load()
    # The folders may hold more than params.yaml asks for: a removed variant's files stay until they are deleted.
    metrics = {name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in params.variants}
    timings = {name: json.loads(Path(f"models/timing/{name}.json").read_text()) for name in params.variants}
    labels = images.load("data/prepared", "test").labels
    answers = {name: np.load(f"data/predictions/{name}.npz")["test"].argmax(axis=1) for name in params.variants}
    table = comparison.table(params, metrics, timings, {name: found == labels for name, found in answers.items()})
    devices = ", ".join(sorted({timing["device"] for timing in timings.values()}))
    said = "".join(f"- {sentence}\n" for sentence in comparison.sentences(params, table))
    markdown = f"{comparison.markdown(table)}\n\n{said}\nTrained on: {devices}.\n"

    for folder in ("report", "plots"):
        Path(folder).mkdir(exist_ok=True)
    Path("report/comparison.md").write_text(markdown, encoding="utf-8")
    table.to_csv("report/comparison.csv", index=False, lineterminator="\n")
    scores = ["variant", "test_accuracy", "test_low", "test_high", "validation_accuracy"]
    table[scores].to_csv("plots/accuracy.csv", index=False, lineterminator="\n")
    curves = {name: Path(f"plots/live/{name}/plots/metrics") for name in params.variants}
    curves = comparison.learning_curves(curves)
    curves.to_csv("plots/curves.csv", index=False, lineterminator="\n")
    levels = comparison.factor_levels(params, table)
    figures.save(figures.accuracy_by_parameter(levels), "plots/accuracy_by_parameter.png")
    fronts = {cost: comparison.pareto_front(table[cost], table["test_accuracy"]) for cost in ("macs", "train_seconds")}
    figures.save(figures.costs(table, fronts, comparison.overfitting(curves)), "plots/costs.png")
    print(markdown)


if __name__ == "__main__":
    errors.run(main)
