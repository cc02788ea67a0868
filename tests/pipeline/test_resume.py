"""Nothing is lost: a killed training goes on where it was, and more seeds keep the networks that are there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pandas as pd

from tests.support.tiny_study import stages_run

WEIGHTS = "models/variants/filters-8/seed-{}.safetensors"
TIMING, CURVES = "models/timing/filters-8.json", "plots/curves/filters-8.csv"


def train(study, seeds: int, **changes) -> str:
    study.set(train__seeds=seeds, **changes)
    return study.dvc("repro", "train@filters-8")


def seeds_of(study) -> list[str]:
    return sorted(file.name for file in (study.folder / "models/variants/filters-8").iterdir())


def test_more_seeds_keep_the_first_network_and_a_changed_parameter_keeps_none(clean):
    first = {name: (clean.folder / name).read_bytes() for name in (WEIGHTS.format(0), TIMING, CURVES)}
    lock = (clean.folder / "dvc.lock").read_text()
    said = train(clean, 2)
    assert "filters-8, seed 0: trained before" in said and "filters-8, seed 1: trained" not in said
    assert seeds_of(clean) == ["seed-0.safetensors", "seed-1.safetensors"]
    assert (clean.folder / WEIGHTS.format(0)).read_bytes() == first[WEIGHTS.format(0)]
    assert (clean.folder / CURVES).read_bytes().startswith(first[CURVES])
    both = json.loads((clean.folder / TIMING).read_text())["networks"]
    assert both["0"] == json.loads(first[TIMING])["networks"]["0"] and set(both) == {"0", "1"}

    assert stages_run(train(clean, 1)) == []  # DVC has it in its run cache
    assert seeds_of(clean) == ["seed-0.safetensors"]
    assert {name: (clean.folder / name).read_bytes() for name in first} == first
    assert (clean.folder / "dvc.lock").read_text() == lock

    said = train(clean, 2, train__learning_rate=0.02)
    assert "trained before" not in said
    other = (clean.folder / WEIGHTS.format(0)).read_bytes()
    assert other != first[WEIGHTS.format(0)]
    curves = (clean.folder / CURVES).read_bytes()
    assert pd.read_csv(clean.folder / CURVES)["seed"].tolist() == [0, 1]
    assert first[CURVES].splitlines()[1] not in curves.splitlines()

    # Files from elsewhere are not taken for the variant's own.
    clean.git("checkout", "-q", "-f", "HEAD")
    clean.dvc("checkout")
    (clean.folder / WEIGHTS.format(0)).unlink()
    (clean.folder / WEIGHTS.format(0)).write_bytes(other)
    (clean.folder / WEIGHTS.format(7)).write_bytes(other)
    clean.run_stages("settings", "train filters-8")
    assert {name: (clean.folder / name).read_bytes() for name in first} == first
    assert seeds_of(clean) == ["seed-0.safetensors"]


def test_a_parameter_that_is_changed_back_trains_nothing(clean):
    """Also where no network is kept, as in the folders of dvc's queue: DVC has them in its run cache."""
    lock = (clean.folder / "dvc.lock").read_text()
    shutil.rmtree(clean.folder / "models/kept")
    assert "train@filters-8" in stages_run(train(clean, 1, train__learning_rate=0.02))
    clean.git("checkout", "-q", "params.yaml")
    shutil.rmtree(clean.folder / "models/kept")
    said = clean.dvc("repro", "train@filters-8")
    assert "Stage 'train@filters-8' is cached" in said and stages_run(said) == []
    assert (clean.folder / "dvc.lock").read_text() == lock


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(clean):
    """The stage is killed once it has left a checkpoint, in the first and in the second of two seeds."""
    clean.set(train__seeds=2, train__epochs=60, run__checkpoint_seconds=0.001)
    clean.run_stages("settings", "train baseline")
    made = ["models/variants/baseline/seed-0.safetensors", "models/variants/baseline/seed-1.safetensors"]
    made.append("plots/curves/baseline.csv")
    whole = {name: (clean.folder / name).read_bytes() for name in made}
    for name in [*made, "models/timing/baseline.json"]:
        (clean.folder / name).unlink()
    shutil.rmtree(clean.folder / "models/kept")
    for seed in (0, 1):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.train", "baseline"], cwd=clean.folder, env=clean.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        checkpoint = clean.folder / f"models/checkpoints/baseline/seed-{seed}.safetensors"
        while not checkpoint.exists():
            assert process.poll() is None, "it ended before it wrote a checkpoint"
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert not any((clean.folder / name).exists() for name in made[:2])  # all of a variant come together
        kept = [file.read_bytes() for file in clean.folder.glob("models/kept/*.safetensors")]
        assert kept == [whole[made[0]]][:seed]
    said = clean.run(sys.executable, "-m", "stages.train", "baseline")
    assert "baseline, seed 0: trained before" in said and "baseline, seed 1: went on from step" in said
    assert {name: (clean.folder / name).read_bytes() for name in made} == whole
    assert not (clean.folder / "models/checkpoints/baseline").exists()
