"""Train one variant, once for each seed: weights, learning curves, and what training a network cost.

Usage: python -m stages.train VARIANT
"""

import shutil
from pathlib import Path

import numpy as np
from dvclive import Live

from graybox import config, errors
from graybox.data import images
from graybox.network import cnn, timing, training


def main(variant: str) -> None:
    params = config.load_with_combined() if variant == config.COMBINED else config.load()
    network, schedule = params.variant(variant)
    train, validation = (images.load("data/prepared", split) for split in ("train", "validation"))
    weights, curves = Path(f"models/variants/{variant}"), Path(f"plots/live/{variant}")
    for folder in (weights, curves):  # DVC empties them itself; run by hand, another seed's files must not stay
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    files, seconds = [], []
    for seed in schedule.all_seeds:
        # The experiment and the plots are dvc.yaml's business, not DVCLive's.
        with Live(f"{curves}/seed-{seed}", save_dvc_exp=False, dvcyaml=None, report=None) as live:

            def log(epoch: training.Epoch, live: Live = live) -> None:
                live.step = epoch.epoch
                for name, value in epoch.figures().items():
                    live.log_metric(name, value)
                live.make_summary()

            one = schedule.model_copy(update={"seed": seed})
            name = variant if schedule.seeds == 1 else f"{variant}, seed {seed}"
            fitted = training.fit(network, one, train, validation, log, name=name)
        files.append(weights / f"seed-{seed}.safetensors")
        cnn.save(fitted.model, files[-1])
        seconds.append(fitted.seconds)
    timing.record(Path(f"models/timing/{variant}.json"), files, float(np.mean(seconds)), fitted.device)


if __name__ == "__main__":
    errors.run(main)
