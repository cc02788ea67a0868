"""Score one variant on the test and validation images, and keep its probabilities for the stages that follow.

Usage: python -m stages.evaluate VARIANT
"""

import json
from pathlib import Path

import numpy as np

from graybox import config, errors, images, inference, model, scores


def main(variant: str) -> None:
    params = config.load()
    device = inference.pick_device(params.train.device)
    network = model.load(f"models/variants/{variant}.safetensors", device)
    row, answers = {}, {}
    for split in ("test", "validation"):
        part = images.load("data/prepared", split)
        answers[split] = inference.probabilities(network, part.images, flip=params.evaluate.flip)
        for name, value in scores.summarize(answers[split], part.labels).items():
            row[f"{split}_{name}"] = round(value, 6)
    row["parameters"] = network.parameter_count
    row["macs"] = model.multiply_accumulates(network.params, network.image_size, len(network.class_names))

    for folder in ("data/predictions", "metrics"):
        Path(folder).mkdir(exist_ok=True)
    np.savez(f"data/predictions/{variant}.npz", **answers)
    Path(f"metrics/{variant}.json").write_text(json.dumps(row, indent=1) + "\n")
    print(f"{variant}: {row['test_accuracy']:.1%} of the test images, {row['validation_accuracy']:.1%} of validation")


if __name__ == "__main__":
    errors.run(main)
