"""The real dvc on a tiny study of which something changes: only what that reaches runs again."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd


def test_a_changed_variant_runs_itself_and_what_follows_and_nothing_else(clean):
    clean.set(variants__conv_2={"model": {"conv_layers": 2}})  # a new one, by another name
    clean.set(**{"variants__conv-2": {"model": {"conv_layers": 1}}})
    ran = clean.repro()
    assert {"train@conv-2", "evaluate@conv-2", "train@conv_2", "evaluate@conv_2", "compare"} <= set(ran)
    assert not {"download", "prepare", "train@baseline", "train@filters-8", "evaluate@baseline"} & set(ran)


def test_an_edit_of_a_late_module_retrains_nothing(clean):
    module = clean.folder / "graybox/occlusion/maps.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert clean.repro() == ["reliance", "occlude"]  # their outputs are the same, so the report stands


def test_the_combination_is_trained_again_only_if_another_is_chosen(clean):
    rule = clean.folder / "graybox/study/combine.py"
    rule.write_text(rule.read_text() + "\n# edited\n")
    assert clean.repro() == ["combine"]
    before = json.loads((clean.folder / "report/combined.json").read_text())
    planted = "return -scored[name].accuracy, name != baseline, scored[name].loss"
    assert planted in rule.read_text()
    # Each parameter's other level, whatever this machine's training has made the best: all that is not the baseline, or
    # where that was chosen, the baseline.
    every = {"model": {"conv_layers": 2, "filters": 8}}
    worse = "!=" if before["overrides"] == every else "=="
    rule.write_text(rule.read_text().replace(planted, f"return float(name {worse} baseline), True, scored[name].loss"))
    ran = clean.repro()
    after = json.loads((clean.folder / "report/combined.json").read_text())
    assert after["overrides"] == ({} if worse == "!=" else every)
    assert ran[:4] == ["combine", "train_combined", "evaluate_combined", "compare"]
    assert not [stage for stage in ran if "@" in stage]
    row = pd.read_csv(clean.folder / "report/comparison.csv").set_index("variant").loc["combined"]
    assert (row["conv_layers"], row["filters"]) == ((3, 4) if worse == "!=" else (2, 8))
    said = (
        "combined is the baseline itself"
        if worse == "!="
        else "combined takes conv layers from conv-2 and filters from "
    )
    assert said in (clean.folder / "report/comparison.md").read_text()
    assert said in (clean.folder / "report/index.html").read_text()


def test_several_seeds_reach_the_table_and_leave_no_trace_when_they_go(clean):
    clean.set(train__seeds=2)
    clean.dvc("repro", "select_best")
    weights = clean.folder / "models/variants/filters-8"
    assert sorted(file.name for file in weights.iterdir()) == ["seed-0.safetensors", "seed-1.safetensors"]
    one, other = (file.read_bytes() for file in weights.iterdir())
    assert one != other
    assert np.load(clean.folder / "data/predictions/baseline.npz")["test"].shape == (2, 15, 3)
    row = json.loads((clean.folder / "metrics/baseline.json").read_text())
    assert row["seeds"] == 2 and row["test_accuracy_sd"] >= 0
    table = pd.read_csv(clean.folder / "report/comparison.csv").set_index("variant")
    assert table.loc["filters-8", ["seeds_low", "seeds_high", "difference_low"]].notna().all()
    best = json.loads((clean.folder / "report/best.json").read_text())
    assert best["seed"] == table.loc[best["variant"], "best_seed"] and best["seeds"] == 2
    chosen = clean.folder / f"models/variants/{best['variant']}/seed-{best['seed']}.safetensors"
    assert (clean.folder / "models/best.safetensors").read_bytes() == chosen.read_bytes()
    assert "over 2 seeds" in (clean.folder / "report/comparison.md").read_text()

    before = {file: file.read_bytes() for file in [*clean.folder.glob("metrics/*.json"), clean.folder / "dvc.lock"]}
    clean.dvc("repro", "--force", "--single-item", "train@filters-8", "evaluate@filters-8")
    assert {file: file.read_bytes() for file in before} == before

    clean.set(train__seeds=1)
    for command in ("stages.train", "stages.evaluate"):  # by hand, where DVC does not empty the folders first
        clean.run(sys.executable, "-m", command, "filters-8")
    assert [file.name for file in weights.iterdir()] == ["seed-0.safetensors"]
    assert [file.name for file in (clean.folder / "plots/curves/filters-8").iterdir()] == ["seed-0"]
    assert "seeds" not in json.loads((clean.folder / "metrics/filters-8.json").read_text())


def test_an_occlusion_parameter_reaches_occlusion_and_report_alone(clean):
    clean.set(occlusion__window=7)
    assert clean.repro() == ["check", "reliance", "occlude", "report"]
    clean.set(occlusion__images=3)
    assert clean.repro() == ["check", "occlude", "report"]
