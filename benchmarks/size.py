"""A large study after training: how much memory and time each stage takes, and whether its pictures can be read.

Usage: python -m benchmarks.size --folder size [--classes 200] [--test 10000] [--variants 30] [--only figures report]

Nothing is trained and no photograph is read: pictures, weights and every variant's answers are made up. About six in
ten answers of the best network are right, and each class's mistakes go to a few other classes. Linux only: memory is
read from /proc, and pages that processes share are counted once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.command import parser_of, positive, start
from graybox.data import images, near_duplicates, summary
from graybox.errors import UserError
from graybox.network import cnn, inference
from graybox.network.params import ModelParams, TrainParams
from graybox.settings import Params, load
from graybox.statistics import scores

ROOT = Path(__file__).parents[1]
STAGES = (
    "combine", "compare", "select_best", "reliance", "mistakes", "occlude", "correspondence", "figures", "report",
)  # fmt: skip
SYLLABLES = ("ba", "cor", "du", "fen", "gri", "hol", "jun", "kel", "lo", "mar", "ned", "pil", "ros", "tav")


def names_of(classes: int) -> list[str]:
    """Made-up class names, some of them long."""
    random = np.random.default_rng(1)
    return [f"{'-'.join(random.choice(SYLLABLES, 2 + number % 5))} {number}" for number in range(classes)]


def settings_of(variants: int, seeds: int, size: int) -> dict:
    levels: list[dict] = [{"model": {"conv_layers": n}} for n in (1, 2, 3, 5)]
    levels += [{"model": {"filters": n}} for n in (4, 6, 10, 12, 16, 20, 24)]
    levels += [{"model": {"fc_layers": n}} for n in (1, 3, 4)]
    levels += [{"train": {"epochs_factor": n}} for n in (0.25, 0.5, 1.5, 2, 3)]
    levels += [{"model": {"stride": n}} for n in (2, 3)]
    levels += [{"model": {"max_pool": 3, "pool_stride": 2}}, {"model": {"max_pool": None, "stride": 2}}]
    levels += [{"train": {"learning_rate": n / 100}} for n in range(1, max(2, variants - len(levels)))]
    named = {f"{'-'.join(f'{key}-{value}' for part in one.values() for key, value in part.items())}"
             .replace(".", "_").replace("None", "none"): one for one in levels[: variants - 1]}  # fmt: skip
    return {
        "data": {"source": "folder"},
        "sources": {"folder": {"path": "made-up", "image_size": size}},
        "model": {"filters": 8, "fc_units": 64, "conv_layers": 4},
        "train": {"seeds": seeds},
        "variants": {"baseline": {}, **named},
        "occlusion": {"stride": 4, "other_stride": 8, "images": 30},
        "run": {"device": "cpu"},
    }


def make(folder: Path, *, classes: int, test: int, train: int, variants: int, seeds: int, size: int) -> None:
    """Write what the stages up to training and evaluation would leave in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = settings_of(variants, seeds, size)
    (folder / "params.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
    params, names = load(folder / "params.yaml"), names_of(classes)
    params.recipes.save(folder / "data/settings")
    random = np.random.default_rng(0)
    pictures = _pictures(folder / "data/prepared", random, train + train // 5 + test, size)
    model = _network(params.model, pictures[-min(test, 2000) :], names, random)
    parts = {"train": train, "validation": train // 5, "test": test}
    _table(folder / "data/prepared", model, pictures, parts, random)
    _answers(folder, params, random)
    for variant in (*params.recipes, "combined"):
        for seed in params.recipes[params.recipes.baseline].train.all_seeds:
            path = folder / f"models/variants/{variant}/seed-{seed}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            cnn.save(model, path)
    (folder / "data/raw").mkdir()
    (folder / "data/raw/source.json").write_text('{"note": "Made-up pictures."}\n')


def _pictures(folder: Path, random: np.random.Generator, count: int, size: int) -> np.memmap:
    """Coarse noise, so that networks answer differently."""
    folder.mkdir(parents=True)
    pictures = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, size, size, 3))
    for first in range(0, count, 1000):
        coarse = random.integers(0, 256, (min(1000, count - first), 8, 8, 3), np.uint8)
        pictures[first : first + 1000] = coarse.repeat(-(-size // 8), 1).repeat(-(-size // 8), 2)[:, :size, :size]
    return pictures


def _network(layers: ModelParams, some: np.ndarray, names: list[str], random: np.random.Generator) -> cnn.CNN:
    """Random weights, with the last layer scaled so that each class is answered about equally often."""
    torch.manual_seed(0)
    model = cnn.CNN(layers, some.shape[1], tuple(names)).eval()
    found = inference.class_scores(model, some)
    with torch.no_grad():
        last = model.head[-1]
        last.weight.mul_(3 / found.std(0)[:, None])
        last.bias.sub_(found.mean(0)).mul_(3 / found.std(0))
    return model


def _table(
    folder: Path, model: cnn.CNN, pictures: np.memmap, parts: Mapping[str, int], random: np.random.Generator
) -> None:
    classes, size = len(model.class_names), model.image_size
    predicted = inference.class_scores(model, pictures[-parts["test"] :]).argmax(1).numpy()
    labels = np.concatenate([np.arange(len(pictures) - len(predicted)) % classes, predicted])
    moved = np.flatnonzero(
        (random.random(len(labels)) < 0.4) & (np.arange(len(labels)) >= len(labels) - len(predicted))
    )
    labels[moved] = (labels[moved] + random.geometric(0.3, len(moved)) ** 2) % classes
    low = random.uniform(0, 0.3, (len(labels), 2)) * size
    boxes = np.hstack([low, low + random.uniform(0.3, 0.6, low.shape) * size]).astype(np.float32)
    table = pd.DataFrame(
        {
            "split": np.repeat(list(parts), list(parts.values())),
            "row": range(len(labels)),
            "label": labels,
            "class": np.array(model.class_names)[labels],
            "file": [f"{label:03d}/{row:06d}.png" for row, label in enumerate(labels)],
            **dict(zip(images.BOX_COLUMNS, boxes.T)),
        }
    )
    images.save_table(folder, table, list(model.class_names))
    summary.write(
        folder, table, list(model.class_names), size, colour_sums=np.full((len(labels), 3), 127 * size**2),
        original_sizes=np.full((len(labels), 2), size), unreadable=0, ignored={}, duplicates={},
        two_labels=0, near_duplicates={}, near_duplicates_dropped=0, remarks=[],
    )  # fmt: skip
    near_duplicates.write(folder, [], [], table, pictures)


def _answers(folder: Path, params: Params, random: np.random.Generator) -> None:
    parts = {split: images.load(folder / "data/prepared", split).labels for split in ("test", "validation", "train")}
    parts["train"] = parts["train"][images.spread(parts["train"], len(parts["validation"]))]
    classes = len(names_of(int(max(labels.max() for labels in parts.values())) + 1))
    for place, name in enumerate([*params.recipes, "combined"]):
        recipe = params.recipes["baseline" if name == "combined" else name]
        model = cnn.CNN(recipe.model, params.image_size, tuple(map(str, range(classes))))
        by_seed: dict[int, dict[str, float]] = {seed: {} for seed in recipe.train.all_seeds}
        answers: dict[str, list[np.ndarray]] = {split: [] for split in parts}
        for seed in by_seed:
            for split, labels in parts.items():
                raw = random.standard_normal((len(labels), classes), np.float32)
                raw[np.arange(len(labels)), labels] += 1.5 + 0.05 * place
                raw = np.exp(raw)
                answers[split].append(raw / raw.sum(axis=1, keepdims=True))
                found = scores.summarize(answers[split][-1], labels)
                by_seed[seed] |= {f"{split}_{key}": value for key, value in found.items()}
                by_seed[seed].pop("train_top5", None)
        row = scores.over_seeds(by_seed) | {"parameters": model.parameter_count, "macs": model.multiply_accumulates}
        file = folder / ("data/combined.npz" if name == "combined" else f"data/predictions/{name}.npz")
        _write_json(folder / f"data/scores/{name}.json", row)
        _write_json(folder / f"models/timing/{name}.json", {"seconds": 60.0 + place, "device": "made-up"})
        file.parent.mkdir(parents=True, exist_ok=True)
        by_network = {"seeds": np.array(list(by_seed)), "diverged": np.array([""] * len(by_seed))}
        by_split = {split: np.stack(found) for split, found in answers.items()}
        boxed = images.spread(parts["test"], params.evaluate.boxed_images)
        as_is = scores.right(by_split["test"][:, boxed], parts["test"][boxed])
        # In the order of graybox.reliance.interventions.NAMES.
        kept = np.array([1, 0.2, 0.9, 0.95])[:, None]
        hidden = as_is[:, None] & (random.random((len(as_is), 4, len(boxed))) < kept)
        np.savez(file, **by_network, **by_split, train_labels=parts["train"], boxed=boxed, right_when_hidden=hidden)
        curve = folder / f"plots/curves/{name}.csv"
        curve.parent.mkdir(parents=True, exist_ok=True)
        epochs = np.arange(1, 1 + max(2, TrainParams().epochs))
        pd.DataFrame(
            {
                "seed": 0, "epoch": epochs, "train_loss": 5 / epochs, "train_accuracy": 1 - 0.9 / epochs,
                "validation_loss": 5.2 / epochs, "validation_accuracy": 0.9 - 0.8 / epochs + 0.003 * place,
                "learning_rate": 0.01,
            }
        ).to_csv(curve, index=False)  # fmt: skip


def _write_json(path: Path, row: Mapping[str, float | str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row) + "\n")


def run(folder: Path, stage: str) -> tuple[float, int]:
    """Run one stage; its seconds, and the most memory of all its processes together, in bytes."""
    began, most = time.perf_counter(), 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment,
                               stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    while process.poll() is None:
        most = max(most, _memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise UserError(f"the stage {stage} failed")
    return time.perf_counter() - began, most


def _memory(session: int) -> int:
    """Bytes of memory of all processes of a session; a page that several share counts in parts."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                rollup = (stat.parent / "smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, IndexError):  # it has ended
            continue
    return total * 1024


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("size"), help="where to make the study; emptied first")
    sizes = {"classes": 200, "test": 10_000, "train": 40_000, "variants": 30, "seeds": 1, "size": 64}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=positive, default=value)
    parser.add_argument("--only", nargs="+", choices=STAGES, help="run these stages on the study that is there")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    if not options.only:
        make(folder, **{name: getattr(options, name) for name in sizes})
    print("stage            seconds   MiB")
    for stage in options.only or STAGES:
        seconds, memory = run(folder, stage)
        print(f"{stage:<16} {seconds:7.1f} {memory / 2**20:5,.0f}", flush=True)


if __name__ == "__main__":
    start(main)
