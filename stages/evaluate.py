"""Score one variant and save its probabilities for later stages: python -m stages.evaluate VARIANT."""

from pathlib import Path
from typing import Any

import numpy as np

from graybox import errors, files, run, schema
from graybox.data import images
from graybox.network import cnn, inference
from graybox.occlusion.params import OcclusionParams
from graybox.reliance import interventions
from graybox.statistics import scores
from graybox.study.params import EvaluateParams


def main(variant: str) -> None:
    wanted, window, device = schema.load(EvaluateParams), schema.load(OcclusionParams), run.device()
    weights = {int(file.stem.split("-")[1]): file for file in Path(f"models/variants/{variant}").glob("*.safetensors")}
    if not weights:
        raise errors.UserError(f"models/variants/{variant}: there are no weights; allowed: a trained variant")
    networks = {seed: cnn.load(weights[seed], device) for seed in sorted(weights)}
    by_seed: dict[int, dict[str, float]] = {seed: {} for seed in networks}
    answers: dict[str, np.ndarray] = {}
    loaded = {split: images.load("data/prepared", split) for split in ("test", "validation", "train")}
    parts = {split: (part.images, part.labels) for split, part in loaded.items()}
    # Without augmentation, as the others: how much better they are is the generalisation gap.
    some = images.spread(loaded["train"].labels, min(scores.MOST_TRAINING, len(loaded["validation"])))
    parts["train"] = (loaded["train"].images[some], loaded["train"].labels[some])
    for split, (pixels, labels) in parts.items():
        answers[split] = np.stack([inference.probabilities(net, pixels, **wanted.views) for net in networks.values()])
        for seed, answer in zip(networks, answers[split]):
            by_seed[seed] |= {f"{split}_{name}": value for name, value in scores.summarize(answer, labels).items()}
            by_seed[seed].pop("train_top5", None)
    # With the object hidden, and with everything else hidden: what the variant rests on.
    test, boxed = loaded["test"], interventions.some_boxed(loaded["test"], wanted.boxed_images)
    hidden = [interventions.hidden_answers(network, test, boxed, window.fill, window.gray, **wanted.views)
              for network in networks.values()]  # fmt: skip
    all_four = np.concatenate([answers["test"][:, None, boxed], np.stack(hidden)], axis=1)
    answers |= {"boxed": boxed, "right_when_hidden": scores.right(all_four, test.labels[boxed])}
    # JSON has no NaN, which a network that diverged has for a loss.
    means = scores.over_seeds(by_seed)
    row: dict[str, Any] = {name: round(value, 6) if np.isfinite(value) else None for name, value in means.items()}
    network = next(iter(networks.values()))
    row |= {"parameters": network.parameter_count, "macs": network.multiply_accumulates}
    diverged = {seed: net.diverged for seed, net in networks.items()}
    if found := scores.faults(diverged):
        row["diverged"] = found
    # Stage combine reads data/predictions, and `combined` is made from its result: in that folder it would be a cycle.
    predictions = "data/combined.npz" if variant == "combined" else f"data/predictions/{variant}.npz"
    by_network = {"seeds": np.array(list(diverged)), "diverged": np.array(list(diverged.values()))}
    files.write_arrays(predictions, **by_network, **answers, train_labels=parts["train"][1])
    files.write_json(f"data/scores/{variant}.json", row)
    files.write_json(f"metrics/{variant}.json", scores.shown(row))
    said = f"{row['test_accuracy']:.1%} of the test images, {row['validation_accuracy']:.1%} of validation"
    print(f"{variant}: {said}" + f"; it diverged: {found}" * bool(found))


if __name__ == "__main__":
    errors.run(main)
