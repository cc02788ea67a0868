"""Put the variants side by side: the study's table, what it shows, its charts, and all learning curves in one file."""

import json
from pathlib import Path

import numpy as np

from graybox import config, errors
from graybox.data import images
from graybox.figures import study, style
from graybox.study import comparison, outcome


def main() -> None:
    params = config.load_with_combined()
    choice = json.loads(Path("report/combined.json").read_text())
    # The folders may hold more than params.yaml asks for: a removed variant's files stay until they are deleted.
    metrics = {name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in params.variants}
    timings = {name: json.loads(Path(f"models/timing/{name}.json").read_text()) for name in params.variants}
    labels = images.load("data/prepared", "test").labels
    predictions = {name: f"data/predictions/{name}.npz" for name in params.variants}
    predictions[config.COMBINED] = "data/combined.npz"
    correct = {name: np.load(file)["test"].argmax(axis=-1) == labels for name, file in predictions.items()}
    seeds = {name: params.variant(name)[1].all_seeds for name in params.variants}
    live = {name: [Path(f"plots/live/{name}/seed-{seed}/plots/metrics") for seed in seeds[name]] for name in seeds}

    table = comparison.table(params, metrics, timings, correct)
    curves = comparison.learning_curves(live)
    findings = {
        "method": comparison.method(params),
        "parameters": comparison.sentences(params, table),
        "combined": outcome.sentences(params, table, correct, curves, choice),
    }
    devices = ", ".join(sorted({timing["device"] for timing in timings.values()}))
    said = "".join(f"- {sentence}\n" for sentence in [*findings["parameters"], " ".join(findings["combined"])])
    markdown = f"{comparison.markdown(table)}\n\n{said}\n{findings['method']}\n\nTrained on: {devices}.\n"

    for folder in ("report", "plots"):
        Path(folder).mkdir(exist_ok=True)
    Path("report/comparison.md").write_text(markdown, encoding="utf-8")
    Path("report/findings.json").write_text(json.dumps(findings, indent=1, ensure_ascii=False) + "\n", "utf-8")
    table.to_csv("report/comparison.csv", index=False, lineterminator="\n")
    scores = ["variant", "test_accuracy", "test_low", "test_high", "validation_accuracy"]
    table[scores].to_csv("plots/accuracy.csv", index=False, lineterminator="\n")
    curves.to_csv("plots/curves.csv", index=False, lineterminator="\n")
    levels, by_seed = comparison.factor_levels(params, table), {name: c.mean(axis=1) for name, c in correct.items()}
    style.save(study.accuracy_by_parameter(levels, by_seed), "plots/accuracy_by_parameter.png")
    fronts = {cost: comparison.pareto_front(table[cost], table["test_accuracy"]) for cost in ("macs", "train_seconds")}
    style.save(study.costs(table, fronts, comparison.overfitting(curves)), "plots/costs.png")
    print(markdown)


if __name__ == "__main__":
    errors.run(main)
