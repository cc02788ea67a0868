"""What each good practice is worth: one network, trained with each addition alone, on the same images.

Usage: python -m benchmarks.ablation --prepared data/prepared [--epochs 16] [--only cutout mixup ...] [--keep ablation]

The network is small and its max pooling overlaps (NETWORK below); everything else is as in params.yaml. Each change is
compared with the first row, which changes nothing, on the validation and test images together. Both may be used,
because this benchmark chooses defaults for other images, not a model for these. --keep DIR saves the answers; networks
that are already there are not trained again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import parser_of, positive, prepared, start
from graybox.network import inference, training
from graybox.network.params import ModelParams, TrainParams
from graybox.settings import Params, load
from graybox.statistics import paired

NETWORK = {
    "conv_layers": 4, "filters": [16, 48, 96, 192], "max_pool": 3, "pool_stride": 2, "fc_layers": 1,
    "global_average_pool": True,
}  # fmt: skip
RATE = 0.08
CHANGES: dict[str, dict[str, dict]] = {
    "as it is": {},
    "as it is, another seed": {"train": {"seed": 1}},
    "no batch norm": {"model": {"batch_norm": False}},
    "residual 1": {"model": {"residual": 1}},
    "dropout 0.3": {"model": {"dropout": 0.3}},
    "no label smoothing": {"train": {"label_smoothing": 0.0}},
    "no weight decay": {"train": {"weight_decay": 0.0}},
    "weight decay 0.002": {"train": {"weight_decay": 0.002}},
    "weight decay 0.005": {"train": {"weight_decay": 0.005}},
    "constant rate": {"train": {"schedule": "constant"}},
    "no flip": {"train": {"flip": False}},
    "no shift": {"train": {"shift": 0}},
    "rate 0.06": {"train": {"learning_rate": 0.06}},
    "batches of 32, rate 0.03": {"train": {"batch_size": 32, "learning_rate": 0.03}},
    "batches of 256, rate 0.16": {"train": {"batch_size": 256, "learning_rate": 0.16}},
    "muon, batches of 256, rate 0.16": {"train": {"optimizer": "muon", "batch_size": 256, "learning_rate": 0.16}},
    "zoom 1.25": {"train": {"zoom": 1.25}},
    "color_jitter 0.3": {"train": {"color_jitter": 0.3}},
    "cutout 0.25": {"train": {"cutout": 0.25}},
    "mixup 0.2": {"train": {"mixup": 0.2}},
    "weight_average 1": {"train": {"weight_average": 1.0}},
    "start_size 0.5": {"train": {"start_size": 0.5}},
}


def settings(params: Params, change: dict[str, dict], epochs: int) -> tuple[ModelParams, TrainParams]:
    network = {**params.model.model_dump(), **NETWORK, **change.get("model", {})}
    schedule = {**params.train.model_dump(), "epochs": epochs, "learning_rate": RATE, **change.get("train", {})}
    return ModelParams(**network), TrainParams(**schedule)


def answers(name: str, change: dict, epochs: int, parts: dict, keep: Path | None) -> dict[str, np.ndarray]:
    """Probabilities of both splits, with and without the mirror image; training accuracy and seconds."""
    file = keep / f"{name.replace(' ', '_').replace(',', '')}-{epochs}.npz" if keep else None
    if file and file.exists():
        return dict(np.load(file))
    network, schedule = settings(load(), change, epochs)
    fitted = training.fit(network, schedule, parts["train"], parts["validation"], name=name)
    found = {"training": np.array(fitted.curve[-1].train_accuracy), "seconds": np.array(fitted.seconds)}
    for split in ("validation", "test"):
        for flip in (False, True):
            answer = inference.probabilities(fitted.model, parts[split].images, flip=flip)
            found[f"{split}{' flipped' * flip}"] = answer
    if file:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    return found


def row(name: str, found: dict[str, np.ndarray], base: dict[str, np.ndarray], parts: dict) -> dict[str, str]:
    """One line of the table: accuracies, and the paired difference from the first row on all held-out images."""

    def right(of: dict[str, np.ndarray], flip: bool) -> np.ndarray:
        splits = ("validation", "test")
        return np.concatenate([of[s + " flipped" * flip].argmax(1) == parts[s].labels for s in splits])

    line = {"change": name, "training": f"{found['training']:.1%}"}
    line |= {s: f"{(found[s].argmax(1) == parts[s].labels).mean():.1%}" for s in ("validation", "test")}
    against = paired.compare(right(found, False), right(base, False))
    mirrored = paired.compare(right(found, True), right(found, False))
    for title, one in (("against the first, points (95% CI)", against), ("with the mirror image", mirrored)):
        line[title] = f"{100 * one.difference:+.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"
    return line | {"seconds": f"{float(found['seconds']):.0f}"}


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--prepared", default="data/prepared")
    parser.add_argument("--epochs", type=positive, default=16)
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args(arguments)
    parts = prepared(options.prepared)
    names = dict.fromkeys(["as it is", *options.only])
    found = {name: answers(name, CHANGES[name], options.epochs, parts, options.keep) for name in names}
    table = pd.DataFrame([row(name, one, found["as it is"], parts) for name, one in found.items()])
    print(f"\n{len(parts['train']):,} training images, {options.epochs} epochs\n\n{table.to_markdown(index=False)}")


if __name__ == "__main__":
    start(main)
