"""Combine each parameter's best level, by validation accuracy alone, into the settings of the variant `combined`."""

import json
from pathlib import Path

import numpy as np

from graybox import errors
from graybox.data import images
from graybox.statistics import scores
from graybox.study import combine, variants


def main() -> None:
    study = variants.load("data/settings")
    validation = images.load("data/prepared", "validation")
    scored = {}
    for name in study:
        answers = np.load(f"data/predictions/{name}.npz")["validation"]
        loss = np.mean([scores.summarize(answer, validation.labels)["loss"] for answer in answers])
        scored[name] = combine.Scored(answers.argmax(axis=-1) == validation.labels, round(float(loss), 6))
    choice = combine.choose(study, scored, validation.size)

    Path("report").mkdir(exist_ok=True)
    Path("report/combined.json").write_text(json.dumps(choice.record(), indent=1) + "\n")
    variants.changed(study[study.baseline], choice.overrides, variants.COMBINED).save("data/combined.yaml")
    taken = [level.variant for level in choice.levels if level.level and not level.given_up]
    print(f"combined: {' + '.join(taken) or 'every parameter as in the baseline'}")


if __name__ == "__main__":
    errors.run(main)
