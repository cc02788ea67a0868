"""Combine each parameter's best level, by validation accuracy alone, into the settings of the variant `combined`."""

import numpy as np

from graybox import errors, files
from graybox.data import images
from graybox.statistics import scores
from graybox.study import combine, variants


def main() -> None:
    study = variants.load("data/settings")
    validation = images.load("data/prepared", "validation")
    scored = {}
    for name in study:
        said = np.load(f"data/predictions/{name}.npz")
        answers, diverged = said["validation"], scores.faults(dict(zip(said["seeds"], said["diverged"].tolist())))
        loss = np.mean([scores.summarize(answer, validation.labels)["loss"] for answer in answers])
        scored[name] = combine.Scored(scores.right(answers, validation.labels), round(float(loss), 6), diverged)
    with errors.within("params.yaml: "):
        choice = combine.choose(study, scored, validation.size)

    files.write_json("report/combined.json", choice.record())
    variants.changed(study[study.baseline], choice.overrides, variants.COMBINED).save("data/combined.yaml")
    taken = [level.variant for level in choice.levels if level.level and not level.given_up]
    print(f"combined: {' + '.join(taken) or 'every parameter as in the baseline'}")


if __name__ == "__main__":
    errors.run(main)
