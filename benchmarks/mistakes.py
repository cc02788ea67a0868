"""Are the right reasons found? Plant known faults in scenes, and let the study explain its networks' mistakes.

Usage, after `dvc repro` with the default parameters: python -m benchmarks.mistakes [--planted 100]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.command import parser_of, positive, prepared, start
from graybox import settings
from graybox.data.images import ImageSet
from graybox.data.scenes import NEUTRAL, OBJECTS, World, draw
from graybox.mistakes.analysis import analyse
from graybox.network import cnn, inference
from graybox.reliance import interventions, rule
from graybox.study import comparison

CLASSES = 10


def world(params: settings.Params) -> World:
    scenes = params.sources.scenes
    return World(**scenes.model_dump(exclude={"train_per_class", "test_per_class"}), seed=params.data.seed)


def pictures(of: World, count: int, background: int | None = None) -> ImageSet:
    scenes = [draw(of, "planted", n, n % CLASSES, background=background) for n in range(count)]
    return ImageSet(
        np.stack([scene.image for scene in scenes]), np.arange(count) % CLASSES, tuple(OBJECTS[:CLASSES]),
        tuple(str(n) for n in range(count)), np.array([scene.box for scene in scenes], np.float32),
    )  # fmt: skip


def altered(plain: ImageSet, change: Callable[[np.ndarray], np.ndarray]) -> ImageSet:
    return replace(plain, images=change(plain.images.astype(np.float32)).clip(0, 255).astype(np.uint8))


def faults(of: World, count: int) -> dict[str, ImageSet]:
    """Pictures with one fault each, by the reason that should be found ("" = no fault planted)."""
    plain, draws = pictures(of, count), np.random.default_rng(0)
    wrong = (plain.labels + draws.integers(1, CLASSES, count)) % CLASSES
    return {
        "": plain,
        "label_suspect": replace(plain, labels=wrong),
        "small_object": pictures(replace(of, object_size=(0.25, 0.35)), count),
        "faint_object": pictures(replace(of, contrast=(0.15, 0.3)), count),
        "object_not_recognised": pictures(replace(of, hidden=1.0, hidden_share=(0.4, 0.55)), count),
        "dark": altered(plain, lambda x: x * 0.12),
        "bright": altered(plain, lambda x: x * 2.2 + 40),
        "blurred": altered(plain, lambda x: gaussian_filter(x, (0, 3, 3, 0))),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--planted", type=positive, default=100)
    options = parser.parse_args(arguments)
    params = settings.load()
    device = inference.pick_device(params.run.device)
    splits = prepared("data/prepared")
    best = cnn.load("models/best.safetensors", device)
    files = {
        name: sorted(Path(f"models/variants/{name}").glob("*.safetensors"))
        for name in comparison.read("report/comparison.csv")["variant"]
    }
    explained = json.loads(Path("report/best.json").read_text(encoding="utf-8"))["variant"]
    networks = {name: cnn.load(found[0], device) for name, found in files.items()} | {explained: best}
    test = splits["test"]
    for reason, planted in faults(world(params), options.planted).items():
        joined = (np.concatenate([getattr(part, name) for part in (test, planted)])
                  for name in ("images", "labels", "boxes"))  # fmt: skip
        pixels, labels, boxes = joined
        both = ImageSet(pixels, labels, test.class_names, test.files + planted.files, boxes)
        said = {name: inference.probabilities(network, both.images) for name, network in networks.items()}
        hidden = rule.per_image(interventions.intervene(best, both))
        found = analyse(best, {**splits, "test": both}, said, hidden, explained)
        rows, mistakes = found.reasons.set_index("reason"), found.mistakes
        mine, others = mistakes[mistakes["row"] >= len(test)], mistakes[mistakes["row"] < len(test)]
        print(f"\n{reason or 'nothing'} planted in {len(planted)}: {len(mine)} of them and {len(others)} others wrong")
        claimed = rows[rows["finding"].str.startswith("more") & (rows["kind"] != "networks")]
        for name, row in claimed.iterrows():
            print(f"  {name}: mistakes {row['share']:.0%}, correct {row['correct_share']:.0%}, p {row['p_value']:.1g}, "
                  f"strength {row['strength']:.2f}, {row['finding']}")  # fmt: skip
        print(
            "  planted:",
            mine["reason"].value_counts().to_dict(),
            "\n  others:",
            others["reason"].value_counts().to_dict(),
        )
        if reason:
            has = found.mistakes.set_index("row")["reason"] == reason
            print(f"  {reason} named for {has[has.index >= len(test)].sum()} of the {len(mine)} planted, "
                  f"{has[has.index < len(test)].sum()} of the {len(others)} others")  # fmt: skip
        else:
            _redrawn(best, world(params), test, found.evidence)


def _redrawn(best: cnn.CNN, of: World, test: ImageSet, evidence) -> None:
    """Is the context the reason? Check with the same test pictures on a plain ground, without hiding anything."""
    plain = [draw(of, "test", int(file.split("/")[-1][:-4]), label, background=NEUTRAL).image
             for file, label in zip(test.files, test.labels)]  # fmt: skip
    right = inference.probabilities(best, np.stack(plain)).argmax(axis=1) == test.labels
    wrong = ~evidence["correct"].to_numpy()[: len(test)]
    hidden, box = (evidence[name].to_numpy()[: len(test)] for name in ("p_context_hidden", "p_box_hidden"))
    back = wrong & (hidden >= 0.5) & (hidden - np.maximum(evidence["p_as_is"][: len(test)], box) >= 0.25)
    print(f"  on a plain ground right: {right[back].sum()} of {back.sum()} that hiding the context gives back, "
          f"{right[wrong & ~back].sum()} of {(wrong & ~back).sum()} other mistakes")  # fmt: skip


if __name__ == "__main__":
    start(main)
