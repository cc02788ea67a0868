"""Train one variant, once for each seed: write its weights, learning curves and training time.

Usage: python -m stages.train VARIANT
"""

import csv
import shutil
from pathlib import Path

import numpy as np

from graybox import errors, run
from graybox.data import images
from graybox.network import cnn, params, timing, training


def main(variant: str) -> None:
    recipe = params.load("data/combined.yaml" if variant == "combined" else f"data/settings/{variant}.yaml")
    train, validation = (images.load("data/prepared", split) for split in ("train", "validation"))
    weights, curves = Path(f"models/variants/{variant}"), Path(f"plots/curves/{variant}.csv")
    shutil.rmtree(weights, ignore_errors=True)  # DVC does this too; in a run by hand old seeds' files must not stay
    weights.mkdir(parents=True)
    curves.parent.mkdir(parents=True, exist_ok=True)

    epochs, files, seconds = [], [], []
    for seed in recipe.train.all_seeds:

        def log(epoch: training.Epoch, seed: int = seed) -> None:
            epochs.append({"seed": seed, **vars(epoch)})  # write after each epoch, so that training can be watched
            with curves.open("w", newline="") as file:
                table = csv.DictWriter(file, epochs[0].keys(), lineterminator="\n")
                table.writeheader()
                table.writerows(epochs)

        fitted = training.fit(
            recipe.model, recipe.train.model_copy(update={"seed": seed}), train, validation, log,
            name=variant if recipe.train.seeds == 1 else f"{variant}, seed {seed}",
            device=run.device(),
        )  # fmt: skip
        files.append(weights / f"seed-{seed}.safetensors")
        cnn.save(fitted.model, files[-1])
        seconds.append(fitted.seconds)
    timing.record(Path(f"models/timing/{variant}.json"), files, float(np.mean(seconds)), fitted.device)


if __name__ == "__main__":
    errors.run(main)
