"""Train one variant: its weights, its learning curve, and what training it cost.

Usage: python -m stages.train VARIANT
"""

from pathlib import Path

from dvclive import Live

from graybox import config, errors, images, model, timing, training


def main(variant: str) -> None:
    network, schedule = config.load().variant(variant)
    train, validation = (images.load("data/prepared", split) for split in ("train", "validation"))
    weights = Path(f"models/variants/{variant}.safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)

    # The experiment and the plots are dvc.yaml's business, not DVCLive's.
    with Live(f"plots/live/{variant}", save_dvc_exp=False, dvcyaml=None, report=None) as live:

        def log(epoch: training.Epoch) -> None:
            live.step = epoch.epoch
            for name, value in epoch.figures().items():
                live.log_metric(name, value)
            live.make_summary()

        fitted = training.fit(network, schedule, train, validation, log, name=variant)

    model.save(fitted.model, weights)
    timing.record(Path(f"models/timing/{variant}.json"), weights, fitted.seconds, fitted.device)


if __name__ == "__main__":
    errors.run(main)
