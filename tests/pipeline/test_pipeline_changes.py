"""The real dvc on a tiny study of which something changes: only what that reaches runs again."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd

from tests.support.tiny_study import TINY, Study, command_of, stages_run

PER_NETWORK = {f"{stage}@{name}" for stage in ("train", "evaluate") for name in TINY["variants"]}


def changed_settings(study: Study) -> set[str]:
    """Write the variants' settings anew; the stages that are then stale, but for those that always read params.yaml."""
    study.run_stages("settings")
    return study.stale() - {"settings", "report"}


def test_a_changed_variant_runs_itself_and_what_follows_and_nothing_else(clean):
    clean.set(variants__conv_2={"model": {"conv_layers": 2}})  # a new one, by another name
    clean.set(**{"variants__conv-2": {"model": {"conv_layers": 1}}})
    new = {"train@conv_2", "evaluate@conv_2"}
    assert changed_settings(clean) == {"train@conv-2", *new, "combine", "compare", "mistakes", "figures"}
    ran = clean.dvc("repro", "train@conv-2", "evaluate@conv-2", "train@baseline", "evaluate@baseline")
    assert "Running stage 'train@conv-2'" in ran and "Running stage 'evaluate@conv-2'" in ran
    assert not clean.stale() & (PER_NETWORK | {"settings", "download", "prepare"})


def test_an_override_of_the_baseline_leaves_the_variants_that_say_their_own_value(clean):
    clean.set(model__filters=8)
    stale = changed_settings(clean)
    assert stale & PER_NETWORK == {"train@baseline", "train@conv-2"}
    clean.set(model__filters=4, train__seed=1)
    assert changed_settings(clean) & PER_NETWORK == {"train@baseline", "train@conv-2", "train@filters-8"}


def test_a_new_parameter_outside_model_and_train_trains_nothing(clean):
    schema = clean.folder / "graybox/occlusion/params.py"
    planted = '    key: ClassVar[str] = "occlusion"\n'
    assert planted in schema.read_text()
    schema.write_text(schema.read_text().replace(planted, f"{planted}    blink: int = 1\n"))
    clean.set(occlusion__blink=2)
    # The networks are asked again with parts hidden, which an occlusion parameter could change.
    asked = {*(f"evaluate@{name}" for name in TINY["variants"]), "evaluate_combined", "compare"}
    assert changed_settings(clean) == {*asked, "reliance", "mistakes", "occlude", "correspondence", "figures"}
    changed = json.loads(clean.dvc("params", "diff", "--json"))
    assert changed["params.yaml"] == {"occlusion.blink": {"old": None, "new": 2}}


def test_an_occlusion_parameter_reaches_what_occludes_alone(clean):
    clean.set(occlusion__window=7)
    assert changed_settings(clean) == {"reliance", "occlude"}
    clean.set(occlusion__window=TINY["occlusion.window"], occlusion__images=3)
    assert changed_settings(clean) == {"occlude"}


def test_what_is_hidden_reaches_the_scores_of_every_variant_and_trains_nothing(clean):
    scored = {*(f"evaluate@{name}" for name in TINY["variants"]), "evaluate_combined"}
    clean.set(occlusion__gray=0.4)
    assert changed_settings(clean) == {*scored, "reliance", "occlude", "correspondence"}
    clean.set(occlusion__gray=0.5, evaluate__boxed_images=10)
    assert changed_settings(clean) == scored


def test_where_the_study_runs_makes_nothing_stale(clean):
    clean.set(run__device="auto")
    assert changed_settings(clean) == set()


def test_what_makes_the_same_again_runs_nothing_else(clean):
    module = clean.folder / "graybox/data/sources/generated.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert clean.repro() == ["download", "prepare"]


def test_the_combination_is_trained_again_only_if_another_is_chosen(clean):
    rule = clean.folder / "graybox/study/combine.py"
    rule.write_text(rule.read_text() + "\n# edited\n")
    assert "Running stage" in clean.dvc("repro", "evaluate_combined")
    assert not clean.stale() & {"combine", "train_combined", "evaluate_combined"}
    before = json.loads((clean.folder / "report/combined.json").read_text())
    planted = "return -scored[name].accuracy, name != baseline, scored[name].loss"
    assert planted in rule.read_text()
    # Each parameter's other level, whatever this machine's training has made the best: all that is not the baseline, or
    # where that was chosen, the baseline.
    every = {"model": {"conv_layers": 2, "filters": 8}}
    worse = "!=" if before["overrides"] == every else "=="
    rule.write_text(rule.read_text().replace(planted, f"return float(name {worse} baseline), True, scored[name].loss"))
    output = clean.dvc("repro", "compare")
    after = json.loads((clean.folder / "report/combined.json").read_text())
    assert after["overrides"] == ({} if worse == "!=" else every)
    ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    assert ran == ["combine", "train_combined", "evaluate_combined", "compare"]
    row = pd.read_csv(clean.folder / "report/comparison.csv").set_index("variant").loc["combined"]
    assert (row["conv_layers"], row["filters"]) == ((3, 4) if worse == "!=" else (2, 8))
    said = (
        "combined is the baseline itself"
        if worse == "!="
        else "combined takes conv layers from conv-2 and filters from "
    )
    assert said in (clean.folder / "report/comparison.md").read_text()
    clean.run_stages("report")
    assert said in (clean.folder / "report/index.html").read_text()


def test_several_seeds_reach_the_table_and_leave_no_trace_when_they_go(clean):
    clean.set(train__seeds=2)
    networks = [command_of(stage) for stage in sorted(PER_NETWORK, reverse=True)]  # train before evaluate
    clean.run_stages("settings", *networks, "combine", "train combined", "evaluate combined", "compare", "select_best")
    weights = clean.folder / "models/variants/filters-8"
    files = sorted(weights.iterdir())
    assert [file.name for file in files] == ["seed-0.safetensors", "seed-1.safetensors"]
    one, other = (file.read_bytes() for file in files)
    assert one != other
    curves = pd.read_csv(clean.folder / "plots/curves/filters-8.csv")
    assert sorted(curves["seed"].unique()) == [0, 1]
    assert np.load(clean.folder / "data/predictions/baseline.npz")["test"].shape == (2, 15, 3)
    row = json.loads((clean.folder / "data/scores/baseline.json").read_text())
    assert row["seeds"] == 2 and row["test_accuracy_sd"] >= 0
    table = pd.read_csv(clean.folder / "report/comparison.csv").set_index("variant")
    assert table.loc["filters-8", "covers_seeds"] and not np.isnan(table.loc["filters-8", "difference_low"])
    best = json.loads((clean.folder / "report/best.json").read_text())
    assert best["seed"] == table.loc[best["variant"], "best_seed"] and best["seeds"] == 2
    chosen = clean.folder / f"models/variants/{best['variant']}/seed-{best['seed']}.safetensors"
    assert (clean.folder / "models/best.safetensors").read_bytes() == chosen.read_bytes()
    assert "SD over seeds" in (clean.folder / "report/comparison.md").read_text()

    kept = [*files, clean.folder / "models/timing/filters-8.json", clean.folder / "data/scores/filters-8.json"]
    before = {file: file.read_bytes() for file in kept}
    clean.run_stages("train filters-8", "evaluate filters-8")
    assert {file: file.read_bytes() for file in before} == before

    clean.set(train__seeds=1)
    clean.run_stages("settings", "train filters-8", "evaluate filters-8")  # without DVC, which empties folders first
    assert [file.name for file in weights.iterdir()] == ["seed-0.safetensors"]
    assert set(pd.read_csv(clean.folder / "plots/curves/filters-8.csv")["seed"]) == {0}
    assert "seeds" not in json.loads((clean.folder / "data/scores/filters-8.json").read_text())


def test_a_recipe_is_used_its_variant_runs_alone_and_an_undo_leaves_nothing_to_do(clean):
    (clean.folder / "recipes").mkdir(exist_ok=True)
    (clean.folder / "recipes/wide.yaml").write_text("# Network: wide\nvariants:\n  wide: {model: {filters: 6}}\n")
    before = (clean.folder / "params.yaml").read_bytes()
    clean.run(sys.executable, "-m", "graybox", "use", "wide")
    ran = stages_run(clean.dvc("repro", "evaluate@wide"))
    assert set(ran) == {"settings", "train@wide", "evaluate@wide"}
    assert (clean.folder / "metrics/wide.json").exists()
    clean.run(sys.executable, "-m", "graybox", "use", "--undo")
    assert (clean.folder / "params.yaml").read_bytes() == before
    assert stages_run(clean.dvc("repro", "evaluate@baseline", "evaluate@conv-2", "evaluate@filters-8")) in (
        [],
        ["settings"],
    )
    status = clean.git("status", "--porcelain")
    assert "uses.json" not in status and "params.yaml" not in status


def test_without_object_boxes_the_table_says_nothing_of_what_variants_rest_on(clean):
    file = clean.folder / "data/prepared/table.csv"
    table = pd.read_csv(file, dtype=str).assign(x0="", y0="", x1="", y1="")
    file.unlink()  # it may be a link into DVC's cache
    table.to_csv(file, index=False)
    names = [*TINY["variants"], "combined"]
    clean.run_stages(*(f"evaluate {name}" for name in names), "compare")
    found = pd.read_csv(clean.folder / "report/comparison.csv")
    assert len(found) == len(names) and not {"verdict", "object_alone", "boxed_images"} & set(found)
    assert (
        "rests on, the object or its surroundings, is not known: no test image has an object box"
        in (clean.folder / "report/comparison.md").read_text()
    )
    clean.run_stages("figures", "report")
    assert "is not known: no test image has an object box" in (clean.folder / "report/index.html").read_text()
