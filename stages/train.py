"""Train one variant, once for each seed: write its weights, learning curves and training time.

A training that was killed goes on from its last checkpoint. A network that was trained before with the same code,
settings and data is taken from models/kept, so that more seeds train only the new ones.

Usage: python -m stages.train VARIANT
"""

import shutil
from pathlib import Path

from graybox import errors, run
from graybox.data import images
from graybox.network import params, trained, training
from graybox.network.checkpoint import Checkpoint
from graybox.network.progress import Epoch


def main(variant: str) -> None:
    recipe = params.load("data/combined.yaml" if variant == "combined" else f"data/settings/{variant}.yaml")
    train, validation = (images.load("data/prepared", split) for split in ("train", "validation"))
    checkpoints, seconds, device = Path(f"models/checkpoints/{variant}"), run.checkpoint_seconds(), run.device()
    weights, timing = Path(f"models/variants/{variant}"), Path(f"models/timing/{variant}.json")
    curves = Path(f"plots/curves/{variant}.csv")
    kept, networks = trained.Kept("models/kept"), dict[int, trained.Network]()
    for seed in recipe.train.all_seeds:
        settings = recipe.train.model_copy(update={"seed": seed})
        key = trained.key_of(params.Recipe(model=recipe.model, train=settings), train, validation, device)
        name = variant if recipe.train.seeds == 1 else f"{variant}, seed {seed}"
        if found := kept.find(key):
            networks[seed] = found
            print(f"{name}: trained before, with the same code, settings and data")
            continue
        rows = {seed: network.curve for seed, network in networks.items()} | {seed: []}

        def log(epoch: Epoch, seed: int = seed, rows: dict[int, list[Epoch]] = rows) -> None:
            rows[seed].append(epoch)
            trained.write_curves(rows, curves)

        checkpoint = Checkpoint(checkpoints / f"seed-{seed}.safetensors", seconds)
        try:
            fitted = training.fit(recipe.model, settings, train, validation, log, name, device, checkpoint)
        except training.Diverged as error:  # the other variants can still be compared
            fitted = error.fit
        networks[seed] = kept.add(key, fitted)
        if fitted.resumed:
            print(f"{name}: went on from step {fitted.resumed}")
        if fitted.model.diverged:
            print(f"{name} diverged: {fitted.model.diverged}")
    trained.write(networks, weights, timing, curves)
    shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    errors.run(main)
