"""The real dvc on a tiny study: it runs, a second time too, and what DVC users expect works."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.support.tiny_study import TINY


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
    module = clean.folder / "graybox/statistics/scores.py"
    module.write_text(module.read_text().replace("float((rank < 5).mean())", "0.123"))
    clean.dvc("exp", "run", "--temp", "-n", "elsewhere")
    rows = json.loads(clean.dvc("metrics", "diff", "HEAD", "elsewhere", "--json"))
    assert rows["metrics/baseline.json"]["test_top5"]["new"] == 0.123
