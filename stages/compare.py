"""Compare the variants: the study's table, what it shows, and all learning curves in one file."""

from pathlib import Path

import pandas as pd

from graybox import errors, files, schema
from graybox.data import images
from graybox.reliance import by_variant, interventions, variant_words
from graybox.study import balance, comparison, gap, outcome, variants, winner
from graybox.study.params import SelectParams


def main() -> None:
    study = variants.load("data/settings", "data/combined.yaml")
    choice = files.read_json("report/combined.json")
    # Read only the variants of params.yaml: the folders may still have files of removed variants.
    metrics = {name: files.read_json(f"data/scores/{name}.json") for name in study}
    timings = {name: files.read_json(f"models/timing/{name}.json") for name in study}
    test = images.load("data/prepared", "test")
    labels = {"test": test.labels, "validation": images.load("data/prepared", "validation").labels}
    predictions = {name: f"data/predictions/{name}.npz" for name in study} | {variants.COMBINED: "data/combined.npz"}
    answers = {name: gap.read(file, labels) for name, file in predictions.items()}
    correct = {name: found["test"].right for name, found in answers.items()}

    select = schema.load(SelectParams)
    hidden = {name: by_variant.read(file, test) for name, file in predictions.items()}
    table = by_variant.extended(study, comparison.table(study, metrics, timings, answers, select.pretrained), hidden)
    curves = comparison.learning_curves({name: Path(f"plots/curves/{name}.csv") for name in study})
    split = select.split
    findings = {
        "method": comparison.method(study),
        "balance": balance.sentences(test.labels, test.class_names, correct),
        "parameters": comparison.sentences(study, table),
        "combined": outcome.sentences(study, table, answers, choice, split),
        "best": winner.sentence(table, correct, split),
        "rests": variant_words.sentences(study, table, boxes=len(interventions.some_boxed(test, 1)) > 0),
    }
    devices = ", ".join(sorted({timing["device"] for timing in timings.values()}))
    sentences = [*findings["balance"], *findings["parameters"], " ".join(findings["combined"]), findings["best"]]
    said, rests = ("".join(f"- {sentence}\n" for sentence in some) for some in (sentences, findings["rests"]))
    markdown = f"{comparison.markdown(table)}\n\n{said}\n{findings['method']}\n\n{rests}\nTrained on: {devices}.\n"

    files.write_text("report/comparison.md", markdown)
    files.write_json("report/findings.json", findings)
    by_seed = [(name, seed, share) for name in study
               for seed, share in zip(study[name].train.all_seeds, correct[name].mean(axis=1))]  # fmt: skip
    tables = {
        "report/comparison": table,
        "report/seeds": pd.DataFrame(by_seed, columns=["variant", "seed", "test_accuracy"]),
        "plots/accuracy": table[["variant", "test_accuracy", "test_low", "test_high", "validation_accuracy"]],
        "plots/curves": curves,
    }
    for name, frame in tables.items():
        files.write_table(f"{name}.csv", frame)
    print(comparison.short(table), "The whole table, and what it shows in words: report/comparison.md", sep="\n\n")


if __name__ == "__main__":
    errors.run(main)
