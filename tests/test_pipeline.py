"""The real dvc on a tiny study: it runs, it re-runs only what changed, and what DVC users expect works."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from tiny_study import TINY, Study, new_study


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """The tiny study, reproduced from nothing and committed."""
    made = new_study(tmp_path_factory.mktemp("study") / "graybox")
    made.ran_first = made.repro()
    made.git("add", "-A")
    made.git("commit", "-qm", "Its results")
    return made


@pytest.fixture
def clean(study, tmp_path) -> Study:
    """A copy of the reproduced study, with its cache, for a test that changes it."""
    return Study(shutil.copytree(study.folder, tmp_path / "graybox", symlinks=True))


def test_a_first_run_makes_everything(study):
    per_variant = [f"{stage}@{name}" for stage in ("train", "evaluate") for name in TINY["variants"]]
    others = ["check", "download", "prepare", "summarize", "compare", "select_best", "vega"]
    others += ["combine", "train_combined", "evaluate_combined"]
    others += ["mistakes", "reliance", "occlude", "correspondence", "report"]
    assert sorted(study.ran_first) == sorted([*others, *per_variant])
    for made in (
        "data/prepared/images.npy", "models/best.safetensors", "metrics/conv-2.json", "report/comparison.md",
        "plots/confused_pairs.png", "plots/reasons.png", "plots/reasons/no_reason.png", "report/reasons.csv",
        "plots/accuracy_by_parameter.png", "plots/mistakes.png", "plots/occlusion/00.png", "plots/occlusion/01.png",
        "data/occlusion.npz", "plots/occlusion.gif", "plots/occlusion_windows.png", "plots/reliance.png",
        "plots/correspondence.png", "report/correspondence.csv", "report/verdict.json", "report/index.html",
        "report/combined.json", "report/findings.json", "metrics/combined.json",
        "models/variants/baseline/seed-0.safetensors", "models/variants/combined/seed-0.safetensors",
    ):  # fmt: skip
        assert (study.folder / made).stat().st_size > 0, made
    table = pd.read_csv(study.folder / "report/comparison.csv").set_index("variant")
    assert list(table.index) == [*TINY["variants"], "combined"]
    for name in table.index:
        row = json.loads((study.folder / f"metrics/{name}.json").read_text())
        assert table.loc[name, "test_accuracy"] == row["test_accuracy"]
    best = json.loads((study.folder / "report/best.json").read_text())
    assert table["test_accuracy"].max() == best["test_accuracy"]
    data = json.loads((study.folder / "metrics/data.json").read_text())
    assert (data["classes"], data["test_images"], data["unreadable"]) == (3, 15, 0)


def test_a_second_run_does_nothing(study):
    assert "Data and pipelines are up to date" in study.dvc("repro")


def test_everything_the_run_made_is_committed_or_ignored(study):
    assert study.git("status", "--porcelain") == ""


def test_a_forced_run_leaves_the_lock_file_as_it_was(clean):
    before = (clean.folder / "dvc.lock").read_text()
    clean.dvc("repro", "--force")
    assert (clean.folder / "dvc.lock").read_text() == before


def test_a_changed_variant_runs_itself_and_what_follows_and_nothing_else(clean):
    clean.set(variants__conv_2={"model": {"conv_layers": 2}})  # a new one, by another name
    clean.set(**{"variants__conv-2": {"model": {"conv_layers": 1}}})
    ran = clean.repro()
    assert {"train@conv-2", "evaluate@conv-2", "train@conv_2", "evaluate@conv_2", "compare"} <= set(ran)
    assert not {"download", "prepare", "train@baseline", "train@filters-8", "evaluate@baseline"} & set(ran)


def test_an_edit_of_a_late_module_retrains_nothing(clean):
    module = clean.folder / "graybox/occlusion.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert clean.repro() == ["reliance", "occlude"]  # their outputs are the same, so the report stands


def test_the_combination_is_trained_again_only_if_another_is_chosen(clean):
    rule = clean.folder / "graybox/combine.py"
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
    assert [file.name for file in (clean.folder / "plots/live/filters-8").iterdir()] == ["seed-0"]
    assert "seeds" not in json.loads((clean.folder / "metrics/filters-8.json").read_text())


def test_an_occlusion_parameter_reaches_occlusion_and_report_alone(clean):
    clean.set(occlusion__window=7)
    assert clean.repro() == ["check", "reliance", "occlude", "report"]
    clean.set(occlusion__images=3)
    assert clean.repro() == ["check", "occlude", "report"]


def test_an_experiment_and_its_difference(clean):
    clean.dvc("exp", "run", "-n", "wider", "-S", "model.filters=6")
    rows = json.loads(clean.dvc("metrics", "diff", "--json"))
    trained = {row for row in rows if row.startswith("metrics/")}
    trained.discard("metrics/combined.json")  # which may have been any of them
    assert trained == {f"metrics/{name}.json" for name in ("baseline", "conv-2")}  # filters-8 says its own number
    assert rows["metrics/baseline.json"]["parameters"]["diff"] > 0
    shown = clean.dvc("exp", "show", "--only-changed", "--csv")
    assert "wider" in shown and "model.filters" in shown


def test_the_metrics_are_the_table(study):
    shown = study.dvc("metrics", "show", "--md")
    for name in TINY["variants"]:
        assert f"metrics/{name}.json" in shown
    assert "report/mistakes.json" in shown and "calibration_error" in shown
    for column in ("test_accuracy", "validation_accuracy", "test_top5", "test_loss", "parameters", "macs"):
        assert column in shown


def test_the_plots_page_has_everything_and_needs_no_network(study):
    study.dvc("plots", "show")
    page = (study.folder / "dvc_plots/index.html").read_text()
    for title in ("Validation accuracy by epoch", "Test accuracy and its 95% interval", "Confusion matrix"):
        assert title in page
    for picture in (
        "contact_sheet.png", "costs.png", "data.png", "accuracy_by_parameter.png", "mistakes.png", "reliance.png",
        "calibration.png", "correspondence.png", "occlusion_windows.png", "reasons.png", "confused_pairs.png",
        "no_reason.png",
        "occlusion.gif", "00.png", "01.png",
    ):  # fmt: skip
        assert picture in page
    assert "vegaEmbed" in (study.folder / "plots/vega.js").read_text()
    assert '<script src="../plots/vega.js">' in page


def test_the_graph_can_be_drawn(study):
    shown = study.dvc("dag", "--mermaid")
    for stage in ("check", "prepare", "train@baseline", "select_best", "report"):
        assert stage in shown


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.filters=0", ["model.filters is 0", "at least 1"]),
        ("model.stride=two", ["model.stride is 'two'", "integer"]),
        ("+model.filtres=3", ["model.filtres is not a known key"]),
        ("data.source=imagenet", ["data.source is 'imagenet'", "scenes"]),
        ("occlusion.window=33", ["occlusion.window is 33", "32"]),
        ("occlusion.other_windows=[3,35]", ["occlusion.other_windows.1 is 35", "32"]),
        ("occlusion.fill=white", ["occlusion.fill is 'white'", "'gray', 'mean', 'blur' or 'noise'"]),
        ("model.conv_layers=6", ["max pooling 6", "1 x 1"]),
    ],
)
def test_a_bad_parameter_stops_before_any_work(clean, override, told):
    output = clean.dvc("exp", "run", "-S", override, fails=True)
    for words in told:
        assert words in output
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("Running stage")] == ["Running stage 'check':"]
    clean.git("checkout", "-q", ".")
    assert clean.repro() == []  # nothing was lost


def test_a_missing_archive_is_named(clean):
    changes = ["-S", "data.source=tiny_imagenet", "-S", "sources.tiny_imagenet.archive=nowhere.zip"]
    output = clean.dvc("exp", "run", *changes, "-S", "sources.tiny_imagenet.image_size=32", fails=True)
    assert "sources.tiny_imagenet.archive" in output and "nowhere.zip" in output and "Traceback" not in output
    assert "prepare" not in output.split("Running stage")[-1].split(":")[0]


def test_an_experiment_elsewhere_runs_the_code_it_was_started_with(clean):
    """`--temp` runs in a copy of the repository, which must import its own graybox and not the installed one."""
    module = clean.folder / "graybox/scores.py"
    module.write_text(module.read_text().replace("float((rank < 5).mean())", "0.123"))
    clean.dvc("exp", "run", "--temp", "-n", "elsewhere")
    rows = json.loads(clean.dvc("metrics", "diff", "HEAD", "elsewhere", "--json"))
    assert rows["metrics/baseline.json"]["test_top5"]["new"] == 0.123
