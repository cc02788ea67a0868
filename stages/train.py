"""Train one variant, once for each seed: write its weights, learning curves and training time.

A training that was killed goes on from its last checkpoint. A network whose code, settings and data have not changed is
kept, so that more seeds train only the new ones.

Usage: python -m stages.train VARIANT
"""

import shutil
from pathlib import Path

from graybox import errors, run
from graybox.data import images
from graybox.network import params, training
from graybox.network.checkpoint import Checkpoint, key_of
from graybox.network.progress import Epoch
from graybox.network.trained import Networks


def main(variant: str) -> None:
    recipe = params.load("data/combined.yaml" if variant == "combined" else f"data/settings/{variant}.yaml")
    train, validation = (images.load("data/prepared", split) for split in ("train", "validation"))
    checkpoints, seconds, device = Path(f"models/checkpoints/{variant}"), run.checkpoint_seconds(), run.device()
    networks = Networks(
        Path(f"models/variants/{variant}"), Path(f"models/timing/{variant}.json"), Path(f"plots/curves/{variant}.csv")
    )
    seeds = {seed: recipe.train.model_copy(update={"seed": seed}) for seed in recipe.train.all_seeds}
    keys = {seed: key_of(recipe.model, settings, train, validation) for seed, settings in seeds.items()}
    kept = networks.keep(keys)
    for seed, settings in seeds.items():
        name = variant if len(seeds) == 1 else f"{variant}, seed {seed}"
        if seed in kept:
            print(f"{name}: trained before, with the same code, settings and data")
            continue
        curve: list[Epoch] = []

        def log(epoch: Epoch, seed: int = seed, curve: list[Epoch] = curve) -> None:
            curve.append(epoch)
            networks.watch(seed, curve)

        checkpoint = Checkpoint(checkpoints / f"seed-{seed}.safetensors", seconds)
        try:
            fitted = training.fit(recipe.model, settings, train, validation, log, name, device, checkpoint)
        except training.Diverged as error:  # the other variants can still be compared
            fitted = error.fit
        networks.add(seed, keys[seed], fitted)
        if fitted.resumed:
            print(f"{name}: went on from step {fitted.resumed}")
        if fitted.model.diverged:
            print(f"{name} diverged: {fitted.model.diverged}")
    shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    errors.run(main)
