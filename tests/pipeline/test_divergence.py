"""A variant that diverges is marked, is never chosen, and stops no other; if all diverge, one sentence says so."""

from __future__ import annotations

import json
import sys

import pandas as pd

WILD = {"model": {"batch_norm": False}, "train": {"learning_rate": 1e30, "gradient_clip": None}}


def strict(text: str):
    """JSON as other programs read it, without NaN."""

    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_one_variant_that_diverges_stops_no_other_and_is_not_chosen(clean):
    clean.set(variants__wild=WILD)
    clean.run_stages(
        "settings", "train wild", "evaluate wild", "combine", "train combined", "evaluate combined", "compare",
        "select_best", "mistakes",
    )  # fmt: skip
    row = strict((clean.folder / "data/scores/wild.json").read_text())
    assert row["diverged"] == "its training loss is not finite in epoch 1"
    assert row["test_loss"] is None and row["test_top5"] == row["test_accuracy"] == 0
    assert "diverged" not in strict((clean.folder / "metrics/baseline.json").read_text())
    strict((clean.folder / "models/timing/wild.json").read_text())
    shown = (clean.folder / "report/comparison.md").read_text()
    assert "| wild (diverged) |" in shown
    assert "wild diverged, so it is never chosen: its training loss is not finite in epoch 1." in shown
    assert strict((clean.folder / "report/best.json").read_text())["variant"] != "wild"
    levels = strict((clean.folder / "report/combined.json").read_text())["levels"]
    assert "wild" not in [level["variant"] for level in levels]
    curves = pd.read_csv(clean.folder / "plots/curves.csv").set_index("variant")
    assert pd.isna(curves.loc["wild", "train_loss"])
    shown = {line.split()[0]: line for line in clean.dvc("metrics", "show").splitlines() if line}
    assert "its training loss is not finite" in shown["metrics/wild.json"]
    drawn = strict(clean.dvc("plots", "show", "plots/curves.csv", "--show-vega"))
    assert drawn


def test_if_every_variant_diverges_one_sentence_says_what_to_change(clean):
    changes = {f"{section}__{key}": value for section, values in WILD.items() for key, value in values.items()}
    clean.set(**changes, variants={"baseline": {}, "conv-2": {"model": {"conv_layers": 2}}})
    names = ("baseline", "conv-2")
    clean.run_stages("settings", *(f"{stage} {name}" for stage in ("train", "evaluate") for name in names))
    said = clean.run(sys.executable, "-m", "stages.combine", fails=True).strip().splitlines()
    assert said == [
        "error: params.yaml: every variant diverged (baseline: its training loss is not finite in epoch 1); allowed: a "
        "smaller train.learning_rate (now 1e+30) or train.gradient_clip (now null)"
    ]
