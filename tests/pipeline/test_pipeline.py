"""The real dvc on a tiny study: it runs, a second time too, and what DVC users expect works."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from graybox.data.images import BOX_COLUMNS
from graybox.reliance.rule import NO_VERDICT
from tests.support.basics import ROOT
from tests.support.tiny_study import TINY, Study, command_of, stages_run


def test_a_first_run_makes_everything(study):
    per_variant = [f"{stage}@{name}" for stage in ("train", "evaluate") for name in TINY["variants"]]
    others = ["settings", "download", "prepare", "compare", "select_best"]
    others += ["combine", "train_combined", "evaluate_combined"]
    others += ["mistakes", "reliance", "occlude", "correspondence", "figures", "report"]
    assert sorted(study.ran_first) == sorted([*others, *per_variant])
    for made in (
        "data/prepared/images.npy", "models/best.safetensors", "metrics/conv-2.json", "report/comparison.md",
        "plots/figures/confused_pairs.png", "plots/figures/reasons.png", "plots/figures/reasons/no_reason.png",
        "plots/figures/accuracy_by_parameter.png", "plots/figures/mistakes.png", "plots/figures/occlusion/00.png",
        "plots/figures/occlusion/01.png", "data/occlusion.npz", "plots/figures/occlusion.gif",
        "plots/figures/occlusion_windows.png", "plots/figures/reliance.png", "plots/figures/correspondence.png",
        "plots/figures/reliance_by_variant.png",
        "report/correspondence.csv", "report/reliance.json", "report/mistakes.json", "report/index.html",
        "report/report.pdf",
        "report/reasons.csv",
        "report/combined.json", "report/findings.json", "metrics/combined.json", "plots/curves/conv-2.csv",
        "report/seeds.csv", "report/calibration.csv", "data/mistakes.npz", "models/timing/combined.json",
        "models/variants/baseline/seed-0.safetensors", "models/variants/combined/seed-0.safetensors",
    ):  # fmt: skip
        assert (study.folder / made).stat().st_size > 0, made
    table = pd.read_csv(study.folder / "report/comparison.csv").set_index("variant")
    assert list(table.index) == [*TINY["variants"], "combined"]
    for name in table.index:
        row = json.loads((study.folder / f"metrics/{name}.json").read_text())
        assert row["test_accuracy"] == round(table.loc[name, "test_accuracy"], 3)
        assert row["macs_millions"] == round(table.loc[name, "macs"] / 1e6, 3)
    # Every test picture of the scenes has an object box; so few claim nothing.
    assert (table["boxed_images"] == 15).all() and set(table["verdict"]) == {NO_VERDICT}
    assert "15 test images with an object box" in (study.folder / "report/comparison.md").read_text()
    assert "What each variant rests on" in (study.folder / "report/index.html").read_text()
    verdict = json.loads((study.folder / "report/reliance.json").read_text())
    # Few images have no verdict, and all that shows one says so.
    assert {verdict["verdict"], verdict["swap_verdict"], verdict["claim"]} == {NO_VERDICT}
    assert verdict["sentence"].startswith(f"No verdict: {verdict['why_none']}. ") and verdict["why_none"]
    line = next(line for line in study.said.splitlines() if line.startswith("What it rests on: "))
    assert "right with the object alone, " in line and ". No verdict, as " in line
    assert "size on which the rule was checked" in line
    best = json.loads((study.folder / "report/best.json").read_text())
    assert table["test_accuracy"].max() == best["test_accuracy"]
    data = json.loads((study.folder / "data/prepared/summary.json").read_text())
    assert (len(data["images_per_class"]), data["images_per_split"]["test"], data["unreadable"]) == (3, 15, 0)


def test_a_log_of_a_run_has_no_progress_bars_and_a_table_that_fits_100_columns(study):
    assert "%|" not in study.said and "it/s" not in study.said
    table = study.said.partition("\nvariant  ")[2].partition("\n\n")[0].splitlines()
    assert len(table) == len(TINY["variants"]) + 3  # two lines of head, and `combined`
    assert max(map(len, table)) <= 100


def test_the_readmes_lines_of_python_run_after_a_study(study, tmp_path, monkeypatch):
    lines = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1]
    for made in ("models", "data"):
        (tmp_path / made).symlink_to(study.folder / made)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert Path("map.png").stat().st_size > 5000


def test_without_object_boxes_every_stage_works_and_says_so(study, tmp_path):
    """As on most people's images: from `evaluate` on, on the same pictures without their boxes."""
    made = Study(shutil.copytree(study.folder, tmp_path / "graybox", symlinks=True))
    table = made.folder / "data/prepared/table.csv"
    rows = pd.read_csv(table)
    rows[list(BOX_COLUMNS)] = float("nan")
    table.unlink()  # it may be a link into DVC's cache
    rows.to_csv(table, index=False)
    for stage in (*(f"evaluate {name}" for name in TINY["variants"]), "evaluate combined", "compare", "reliance",
                  "mistakes", "occlude", "correspondence", "figures", "report"):  # fmt: skip
        made.run(sys.executable, "-m", *f"stages.{stage}".split())
    page = (made.folder / "report/index.html").read_text()
    assert "cannot be compared without object boxes" in page
    assert "no test image has an object box" in (made.folder / "report/comparison.md").read_text()
    found = json.loads((made.folder / "report/reliance.json").read_text())
    assert found["verdict"] == found["claim"] == "cannot tell" and "swap_verdict" not in found


def test_a_second_run_does_nothing(study):
    assert "Data and pipelines are up to date" in study.dvc("repro")


def test_everything_the_run_made_is_committed_or_ignored(study):
    assert study.git("status", "--porcelain") == ""


def test_every_stage_makes_the_same_bytes_again(clean, study, tmp_path):
    """Also with the start method of macOS and Windows, and where the locale's encoding is ASCII."""
    # All but the README of data/, and the records in models/kept: the same weights keep the time that they first took.
    made = [
        *clean.folder.glob("data/[!R]*"),
        clean.folder / "models/variants",
        clean.folder / "models/timing",
        *clean.folder.glob("models/kept/*.safetensors"),
        clean.folder / "models/best.safetensors",
    ]
    for path in [*made, *(clean.folder / name for name in ("metrics", "plots", "report"))]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "elsewhere").mkdir()
    clean.run_stages_elsewhere(tmp_path / "elsewhere", *map(command_of, study.ran_first))
    assert clean.stale() == set()  # dvc.lock has the hash of every output
    assert clean.git("status", "--porcelain") == ""


def test_a_forced_run_leaves_the_lock_file_as_it_was(clean):
    before = (clean.folder / "dvc.lock").read_text()
    assert stages_run(clean.dvc("repro", "--force", "--single-item", "train@baseline")) == ["train@baseline"]
    assert (clean.folder / "dvc.lock").read_text() == before


def test_an_experiment_trains_what_it_changes_and_says_what_that_was(clean):
    """As `-S model.filters=64` in the default study: the variants that say their own number of filters stay."""
    output = clean.dvc("exp", "run", "-n", "wider", "-S", "model.filters=8", "combine")
    trained = {stage for stage in stages_run(output) if "@" in stage}
    assert trained == {f"{stage}@{name}" for stage in ("train", "evaluate") for name in ("baseline", "conv-2")}
    assert not {"train@filters-8", "evaluate@filters-8", *stages_run(output)} & clean.stale()

    rows = json.loads(clean.dvc("metrics", "diff", "--json"))
    assert set(rows) == {f"metrics/{name}.json" for name in ("baseline", "conv-2")}
    assert rows["metrics/baseline.json"]["macs_millions"]["diff"] > 0
    changed = json.loads(clean.dvc("params", "diff", "--json"))
    assert changed["params.yaml"] == {"model.filters": {"old": 4, "new": 8, "diff": 4}}
    shown = clean.dvc("exp", "show", "--only-changed", "--csv")
    assert "wider" in shown and "model.filters" in shown


def test_the_metrics_are_one_row_for_each_variant_and_fit_a_terminal(study):
    head, *rows = study.dvc("metrics", "show").strip().splitlines()
    assert head.split() == ["Path", "macs_millions", "test_accuracy", "test_loss", "validation_accuracy"]
    assert {row.split()[0] for row in rows} == {f"metrics/{name}.json" for name in [*TINY["variants"], "combined"]}
    assert not [row for row in rows if len(row) > 100 or "-" in row.split()[1:]]


def test_the_plots_page_has_everything_and_needs_no_network(study):
    study.dvc("plots", "show")
    page = (study.folder / "dvc_plots/index.html").read_text()
    for title in ("Validation accuracy by epoch", "Test accuracy and its 95% interval", "Mistakes of the best model"):
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
    for stage in ("settings", "prepare", "train@baseline", "select_best", "report"):
        assert stage in shown


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.filters=0", ["model.filters is 0", "from 1 to 65536"]),
        ("model.stride=two", ["model.stride is 'two'", "integer"]),
        ("+model.filtres=3", ["model.filtres is not a known key"]),
        ("data.source=imagenet", ["data.source is 'imagenet'", "scenes"]),
        ("occlusion.window=33", ["occlusion.window is 33", "32"]),
        ("occlusion.other_windows=[3,35]", ["occlusion.other_windows.1 is 35", "32"]),
        ("occlusion.fill=white", ["occlusion.fill is 'white'", "'gray', 'mean', 'blur' or 'noise'"]),
        ("model.conv_layers=6", ["max pooling 6", "1 x 1"]),
    ],
)
def test_a_bad_parameter_is_said_in_one_sentence(study, tmp_path, monkeypatch, override, told):
    from dvc.utils.hydra import apply_overrides

    from graybox import errors
    from stages import settings

    shutil.copy(study.folder / "params.yaml", tmp_path)
    apply_overrides(str(tmp_path / "params.yaml"), [override])  # what `dvc exp run -S` does
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/settings.py"])
    with pytest.raises(SystemExit) as stopped:
        errors.run(settings.main)
    for words in told:
        assert words in str(stopped.value)
    assert len(str(stopped.value).splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_bad_parameter_stops_before_any_work(clean):
    output = clean.dvc("exp", "run", "-S", "+model.filtres=3", fails=True)
    assert "model.filtres is not a known key" in output and "Traceback" not in output
    assert stages_run(output) == ["settings"]
    clean.git("checkout", "-q", ".")
    assert clean.repro() == []  # nothing was lost
    assert clean.stale() == set()


def test_a_missing_archive_is_named(clean):
    changes = ["-S", "data.source=tiny_imagenet", "-S", "sources.tiny_imagenet.archive=nowhere.zip"]
    output = clean.dvc("exp", "run", *changes, "-S", "sources.tiny_imagenet.image_size=32", fails=True)
    assert "sources.tiny_imagenet.archive" in output and "nowhere.zip" in output and "Traceback" not in output
    assert stages_run(output) == ["settings", "download"]


def test_an_experiment_elsewhere_runs_the_code_it_was_started_with(clean):
    """`--temp` runs in a copy of the repository, which must import its own graybox and not the installed one."""
    module = clean.folder / "graybox/statistics/scores.py"
    planted = 'round(row["macs"] / 1e6, 3)'
    assert planted in module.read_text()
    module.write_text(module.read_text().replace(planted, "0.123"))
    clean.dvc("exp", "run", "--temp", "-n", "elsewhere", "evaluate@baseline")
    rows = json.loads(clean.dvc("metrics", "diff", "HEAD", "elsewhere", "--json"))
    assert rows["metrics/baseline.json"]["macs_millions"]["new"] == 0.123
