"""Hide the same part of the object in several images of a class: do the network's features change in the same way?"""

import json
from pathlib import Path

from graybox import config, errors
from graybox.data import images
from graybox.features import correspondence
from graybox.figures import style
from graybox.figures.correspondence import correspondence_chart
from graybox.network import cnn, inference


def main() -> None:
    params = config.load()
    settings = params.correspondence
    test = images.load("data/prepared", "test")
    network = cnn.load("models/best.safetensors", inference.pick_device(params.train.device))
    predicted = inference.class_scores(network, test.images).argmax(1).numpy()
    found = correspondence.measure(
        network, test, predicted, fill=params.occlusion.fill, gray=params.occlusion.gray,
        images_per_class=settings.images_per_class, random_draws=settings.random_draws, seed=settings.seed,
    )  # fmt: skip

    found.summary.round(6).to_csv("report/correspondence.csv", index=False, lineterminator="\n")
    Path("report/correspondence.json").write_text(json.dumps({"sentence": found.sentence}, indent=1) + "\n", "utf-8")
    style.save(correspondence_chart(found.summary), "plots/correspondence.png")
    print(found.sentence)


if __name__ == "__main__":
    errors.run(main)
